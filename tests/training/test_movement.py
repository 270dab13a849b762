"""Movements found in the data, and the crops of mouth and eyes."""

from dataclasses import replace

import pytest
import torch

from lssl.data import FaceDataset
from lssl.data.landmarks import half_sides
from lssl.training.augmentation import Mouths, composed, move_images, move_points, moves_of
from lssl.training.movement import (
    LANDMARK_DEPTH,
    LANDMARK_WEIGHTS,
    balanced_rows,
    mirrored_pose,
    movement_error,
    pose_affine,
    pose_between,
    roughness,
    targets_of,
    way_gone,
    with_pose,
)
from lssl.training.parts import PartCrops, in_light_of


def test_targets_know_each_subjects_other_picture(faces):
    data = FaceDataset(faces, split="train")
    targets = targets_of(data, mirrored=False)
    assert targets.y.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert targets.known_share == 1.0
    for row in range(len(data)):
        other = 1 - int(targets.of_row[row])
        partner = int(targets.partner[row, other])
        assert data.subject_index[partner] == data.subject_index[row]
        assert int(targets.of_row[partner]) == other
    alone = targets_of(data, mirrored=False, pairs=False)
    assert alone.known_share == 0.5  # its own
    assert (alone.partner >= 0).sum() == len(data)  # its own


def test_mean_shapes_are_symmetric_where_faces_are_mirrored(faces):
    from lssl.data.landmarks import flip_landmarks

    shapes = targets_of(FaceDataset(faces, split="train"), mirrored=True).shapes
    pixels = (shapes + 1) / 2 * 16 - 0.5
    torch.testing.assert_close(flip_landmarks(pixels, 16), pixels)


@pytest.mark.parametrize("count", [4, 6, 9])
def test_batches_are_balanced(count):
    of_row = torch.tensor([0] * 50 + [1] * 3 + [2] * 7)
    drawn = torch.zeros(3)
    for step in range(60):
        rows = balanced_rows(of_row, count, step, torch.Generator().manual_seed(step))
        in_batch = torch.bincount(of_row[rows], minlength=3)
        assert in_batch.max() - in_batch.min() <= 1
        drawn += in_batch
    assert drawn.max() - drawn.min() < 0.25 * drawn.max()


def test_a_flow_that_carries_the_landmarks_has_no_error():
    before = torch.rand(2, 68, 2) - 0.5
    shift = torch.tensor([0.1, -0.05])
    flow = -shift[None, :, None, None].expand(2, 2, 32, 32)
    assert movement_error(flow, before, before + shift, LANDMARK_WEIGHTS) < 1e-6
    wrong = movement_error(-flow, before, before + shift, LANDMARK_WEIGHTS)
    of_face = torch.full((len(flow),), 0.25)
    torch.testing.assert_close(movement_error(-flow, before, before + shift, LANDMARK_WEIGHTS, of_face), wrong / 4)
    torch.testing.assert_close(wrong, 0.3 * LANDMARK_WEIGHTS.mean(), atol=1e-5, rtol=1e-4)
    assert roughness(flow) < 1e-6


def test_crops_follow_landmarks_and_mirror_the_right_eye():
    image = torch.zeros(1, 3, 64, 64)
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 48:], landmarks[:, 36:42], landmarks[:, 42:48] = (
        torch.tensor([0.0, 0.5]),
        torch.tensor([-0.4, -0.2]),
        torch.tensor([0.4, -0.2]),
    )
    left, right, mouth = (tuple(round((v + 1) * 32 - 0.5) for v in p) for p in ((-0.4, -0.2), (0.4, -0.2), (0.0, 0.5)))
    for x, y in (left, right, mouth):
        image[:, :, y - 1 : y + 2, x - 1 : x + 2] = 1
    image[:, 0, right[1], right[0] + 3] = 1  # a mark towards the temple
    image[:, 0, left[1], left[0] - 3] = 1
    crops = PartCrops(64)
    mouths, eyes = crops(image, landmarks, torch.zeros(1, 3, 2))
    assert mouths.shape == (1, 3, *crops.mouth_size)
    assert eyes.shape == (2, 3, *crops.eye_size)
    for part in (*mouths, *eyes):
        weights = part[1]
        centre = [(weights.sum(1 - k) * torch.arange(weights.shape[k])).sum() / weights.sum() for k in range(2)]
        for k in range(2):
            assert abs(float(centre[k]) - (weights.shape[k] - 1) / 2) < 1
    torch.testing.assert_close(eyes[0], eyes[1], atol=0.6, rtol=0)


def test_another_picture_is_seen_in_the_same_light():
    points = heads(2)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 - 0.5
    gain = torch.tensor([[0.7, 0.8, 0.9], [1.2, 1.1, 1.0]])[:, :, None, None]
    other = (image + 1) * gain - 1
    torch.testing.assert_close(in_light_of(image, points, other, points), image, atol=1e-5, rtol=0)
    assert not torch.allclose(in_light_of(image, points, other.flip(0), points), image, atol=1e-2)


def test_the_face_is_cut_out_without_its_surroundings():
    points = heads(1)
    middle = points.mean(1)[0]
    c = (torch.arange(64) + 0.5) / 32 - 1
    near = ((c[None] - middle[0]).abs() < 0.62) & ((c[:, None] - middle[1]).abs() < 0.72)
    image = torch.where(near, 0.5, -1.0).expand(1, 3, 64, 64)
    face = PartCrops(64).face(image, points)
    assert face.shape == (1, 3, 19, 16)
    torch.testing.assert_close(face, torch.full_like(face, 0.5))


def test_points_move_with_their_pictures():
    affine, _ = moves_of(torch.rand(3, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.tensor(0.8))
    points = torch.tensor([[[0.25, -0.3], [-0.4, 0.35]]]).expand(3, 2, 2)
    c = (torch.arange(96) + 0.5) / 48 - 1
    blobs = torch.exp(
        -((c[None, None, :] - points[..., 0, None, None]) ** 2 + (c[None, :, None] - points[..., 1, None, None]) ** 2)
        / 0.004
    )
    moved = move_images(blobs, affine)
    mass = moved.sum((2, 3))
    found = torch.stack([(moved.sum(2) * c).sum(2) / mass, (moved.sum(3) * c).sum(2) / mass], -1)
    torch.testing.assert_close(move_points(points, affine), found, atol=0.01, rtol=0)


def test_moved_pictures_stay_sharp():
    """As in `look_up`: half a pixel aside, a wave of four pixels keeps its height."""
    wave = torch.sin(torch.arange(32) * torch.pi / 2 + 0.4) * 0.9
    aside = torch.tensor([[[1.0, 0.0, 1 / 32], [0.0, 1.0, 0.0]]])
    assert move_images(wave.expand(1, 1, 32, 32), aside)[..., 4:-4].std() > 0.85 * wave[4:-4].std()
    assert move_images(wave.expand(1, 1, 32, 32), aside, mode="bilinear")[..., 4:-4].std() < 0.8 * wave[4:-4].std()


@pytest.mark.parametrize("narrowing", [-0.4, -0.1, 0.15, 0.4])
def test_mouths_change_with_their_pictures(narrowing):
    """A dot at a corner of the mouth lies in the changed picture where its point says; one far away stays."""
    size = 96
    affine, _ = moves_of(torch.tensor([[0.5, -0.3, 0.2, -0.4, 0, 0, 0, 0]]), 1.0)
    dots = torch.tensor([[[-0.25, 0.4], [-0.6, -0.7]]])
    ax = (torch.arange(size) + 0.5) / size * 2 - 1
    off = torch.stack(torch.meshgrid(ax, ax, indexing="xy"), 2) - dots[0][:, None, None]
    pictures = torch.exp(-off.square().sum(3) / 0.002)[:, None]  # (2, 1, H, W), one dot each
    centre = move_points(torch.tensor([[[0.0, 0.4]]]), affine)[:, 0]
    mouths = Mouths(centre, torch.tensor([narrowing]))
    places = mouths.move_points(move_points(dots, affine))[0]
    both = Mouths(centre.expand(2, -1), torch.full((2,), narrowing))
    for picture, place in zip(move_images(pictures, affine.expand(2, -1, -1), both), places, strict=True):
        weight = picture[0] / picture.sum()
        found = torch.stack([(weight.sum(0) * ax).sum(), (weight.sum(1) * ax).sum()])
        torch.testing.assert_close(found, place, atol=0.01, rtol=0)
    before = move_points(dots, affine)[0]
    width = (places[0, 0] - centre[0, 0]).abs() / (before[0, 0] - centre[0, 0]).abs()
    assert (width < 0.95) if narrowing > 0.1 else (width > 1.05)
    torch.testing.assert_close(places[1], before[1], atol=0.003, rtol=0)


def test_half_sides_are_pixel_centres():
    corners = half_sides(torch.tensor([[-0.5, -0.5], [31.5, 15.5]]), (16, 32))
    torch.testing.assert_close(corners, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def heads(count):
    """Landmarks (count, 68, 2), roughly in a frontal face's proportions; their exact places hardly matter."""
    return (torch.rand(count, 68, 2, generator=torch.Generator().manual_seed(1)) - 0.5) * 1.2


def test_a_head_held_otherwise_is_put_right_and_its_expression_stays():
    wanted = heads(3)
    pose = torch.tensor([[0.05, -0.03, 0.02, 0.01, 0.06, -0.04]]).expand(3, -1)
    smile = torch.zeros(68, 2)
    smile[48:] = torch.tensor([0.05, -0.02])
    held = wanted.clone()
    for _ in range(60):  # the inverse of with_pose
        held = wanted - (with_pose(held, pose, LANDMARK_DEPTH) - held)
    found = pose_between(held + smile, wanted)
    torch.testing.assert_close(found, pose, atol=1e-4, rtol=1e-3)
    after = with_pose(held + smile, found, LANDMARK_DEPTH)
    torch.testing.assert_close((after - wanted)[:, :48], torch.zeros(3, 48, 2), atol=1e-4, rtol=0)
    assert (after - wanted)[:, 48:, 0].min() > 0.045


def test_a_mirrored_face_has_the_mirrored_pose():
    from lssl.data.landmarks import flip_landmarks

    def mirror(points):
        return half_sides(flip_landmarks((points + 1) * 50 - 0.5, 100), (100, 100))

    points, pose = heads(2), torch.tensor([[0.05, -0.03, 0.02, 0.01, 0.06, -0.04]]).expand(2, -1)
    torch.testing.assert_close(
        with_pose(mirror(points), mirrored_pose(pose), LANDMARK_DEPTH),
        mirror(with_pose(points, pose, LANDMARK_DEPTH)),
        atol=1e-5,
        rtol=0,
    )


def test_a_picture_follows_the_pose_in_a_plane():
    pose = torch.tensor([[0.1, -0.05, 0.03, 0.02, 0.0, 0.0]])
    points = heads(1)
    torch.testing.assert_close(
        move_points(points, pose_affine(pose)), with_pose(points, pose, LANDMARK_DEPTH), atol=1e-5, rtol=0
    )
    affine, _ = moves_of(torch.rand(1, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, 1.0)
    both = composed(pose_affine(pose), affine)
    torch.testing.assert_close(
        move_points(points, both), move_points(move_points(points, pose_affine(pose)), affine), atol=1e-5, rtol=0
    )


def test_a_pose_that_belongs_to_the_class_is_kept(faces):
    """The partner takes the pose of the target class's mean face, so a pose that the whole class shares is kept."""
    targets = targets_of(FaceDataset(faces, split="train"), mirrored=False)
    points = half_sides(FaceDataset(faces, split="train").landmarks, (16, 16))
    for row, other in ((0, 1 - int(targets.of_row[0])),):
        partner = points[targets.partner[row, other]][None]
        put = with_pose(partner, targets.pose[row, other][None], LANDMARK_DEPTH)
        wanted = points[row] + targets.shapes[other] - targets.shapes[targets.of_row[row]]
        assert (put[0] - wanted)[27:36].abs().mean() <= (partner[0] - wanted)[27:36].abs().mean() + 1e-6


def test_the_way_gone_is_one_where_the_flow_moves_as_asked():
    before, asked = torch.rand(2, 68, 2) - 0.5, torch.tensor([0.1, -0.05]).expand(2, 68, 2)
    flow = -asked[:, 0, :, None, None].expand(2, 2, 32, 32)
    assert way_gone(flow, before, asked, LANDMARK_WEIGHTS) == pytest.approx(1, abs=1e-4)
    assert way_gone(0.5 * flow, before, asked, LANDMARK_WEIGHTS) == pytest.approx(0.5, abs=1e-4)
    assert way_gone(0 * flow, before, asked, LANDMARK_WEIGHTS) == 0


def test_the_movement_is_warmed_up_before_the_rest_and_alone(standard, tmp_path):
    from lssl.methods.run import prepare_run

    config = standard.with_overrides({"warm_up.movement": 60, "data.jitter": 0.0, "schedule.batch_size": 8})
    loop = prepare_run(config, tmp_path / "run", quiet=True)
    method = loop.method
    stage = next(method.warm_up())
    assert (stage.title, stage.count) == ("warming up the movement", 60)
    plan = method.draw(0, warm_up=True)
    batch = method.batch(plan)
    flow = method.generator.move(batch.image, batch.side, batch.y, batch.told)[0]
    assert 0 < batch.own.sum() < 8  # those that should stay count a quarter
    missed = movement_error(flow, batch.before, batch.after, LANDMARK_WEIGHTS, torch.where(batch.own > 0, 0.25, 1.0))
    expected = config.settings.losses.movement * missed + config.settings.losses.roughness * roughness(flow)
    loss, terms = method.movement_loss(batch)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(terms["g_move"], missed)

    painter = [p.clone() for p in method.generator.painter.parameters()]
    for _ in range(stage.count):
        after = loop.steps.run(stage.update, plan)
    assert after[0] < 0.95 * missed
    assert all(torch.equal(a, b) for a, b in zip(painter, method.generator.painter.parameters(), strict=True))
    assert [stage.title for stage in method.warm_up()][1] == "warming up D_cls"


def test_paint_is_warmed_up_with_the_movement_by_the_subjects_own_pictures(standard, tmp_path):
    from lssl.methods.run import prepare_run

    config = standard.with_overrides({"warm_up.paint": 40, "data.jitter": 0.0, "schedule.batch_size": 8})
    loop = prepare_run(config, tmp_path / "run", quiet=True)
    method = loop.method
    stage = next(method.warm_up())
    assert (stage.title, stage.count) == ("warming up the paint", 40)
    critics = [p.clone() for name in ("critic", "parts") for p in method.networks[name].parameters()]
    plan = method.draw(0, warm_up=True)
    before = method.paint_loss(method.batch(plan))[1]
    assert set(before) == {"g_own", "g_move", "g_pair"}
    for _ in range(stage.count):
        loop.steps.run(stage.update, plan)
    after = method.paint_loss(method.batch(plan))[1]
    assert after["g_pair"] < 0.9 * before["g_pair"]
    now = [p for name in ("critic", "parts") for p in method.networks[name].parameters()]
    assert all(torch.equal(a, b) for a, b in zip(critics, now, strict=True))

    method.known_share = method.own_share  # nobody has a picture of another class
    assert next(method.warm_up()).title == "warming up D_cls"


def test_the_generator_is_told_what_three_faces_of_four_show(standard, tmp_path):
    from lssl.methods.run import prepare_run

    method = prepare_run(standard, tmp_path / "run", quiet=True).method
    plans = [method.draw(step) for step in range(40)]
    assert float(torch.cat([plan["told"] for plan in plans]).mean()) == pytest.approx(0.75, abs=0.15)
    batch = method.batch(plans[0])
    assert torch.equal(batch.told, batch.y_source * plans[0]["told"])
    method.generator.mover.blocks[0].modulation.weight.data += 1.0  # so that it counts
    assert method.movement_loss(batch)[0] != method.movement_loss(replace(batch, told=batch.y))[0]

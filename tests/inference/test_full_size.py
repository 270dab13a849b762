"""An edit on the photograph's own pixels."""

import numpy as np
import pytest
import torch

from lssl.data.align import Similarity
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.inference.full_size import NetworkEdit, part_of_edit, part_of_whole
from lssl.inference.moved_pixels import apply_edit
from lssl.inference.synthesis import Blend, InputFace
from lssl.models.export import TrainedGenerator
from lssl.models.moving import Edit, MovingGenerator
from lssl.ops.moved_pixels import NATIVE, moved_pixels_reference

SIZE, PHOTO = 32, (150, 170)


@pytest.fixture(params=["native", "tiles"], autouse=True)
def path(request, monkeypatch):
    """How an edit is applied, with the native library and without."""
    if request.param == "native" and not NATIVE:
        pytest.skip("the native operators are not built")
    monkeypatch.setattr("lssl.inference.moved_pixels.NATIVE", request.param == "native")
    return request.param


@pytest.fixture
def photograph():
    y, x = np.mgrid[: PHOTO[0], : PHOTO[1]]
    waves = np.stack([np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 5) * np.sin(y / 13)], -1)
    return np.clip(128 + 60 * waves, 0, 255).astype(np.uint8)


@pytest.fixture
def similarity():
    angle, scale = 0.1, SIZE / 80
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Similarity(matrix, np.array([-9.0, -6.0]))


def edit(flow=(0.0, 0.0), tone=0.0, opacity=0.0, paint=0.0):
    return Edit(
        torch.tensor(flow).reshape(1, 2, 1, 1).repeat(1, 1, 16, 16),
        torch.full((1, 3, 16, 16), tone),
        torch.full((1, 3, SIZE, SIZE), paint),
        torch.full((1, 1, SIZE, SIZE), opacity),
    )


def disc():
    c = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return np.clip(3 - 4 * np.hypot(c[None], c[:, None]), 0, 1).astype(np.float32)


def test_nothing_asked_for_changes_nothing(photograph, similarity):
    assert np.array_equal(apply_edit(photograph, similarity, edit(), disc()), photograph)


def test_outside_the_face_the_photograph_is_left_bit_for_bit(photograph, similarity):
    made = apply_edit(photograph, similarity, edit((0.2, 0.1), 0.3, 0.5, 1.0), disc())
    y, x = np.mgrid[: PHOTO[0], : PHOTO[1]]
    at = np.stack([x, y], -1) @ similarity.matrix.T + similarity.offset
    outside = np.hypot(*np.moveaxis((at + 0.5) / SIZE * 2 - 1, -1, 0)) > 0.85
    assert np.array_equal(made[outside], photograph[outside])
    assert not np.array_equal(made, photograph)


def test_flow_moves_the_photographs_own_pixels(photograph, similarity):
    made = apply_edit(photograph, similarity, edit((0.1, 0.0)), np.ones((SIZE, SIZE), np.float32))
    shift = np.array([0.1 * SIZE / 2, 0.0]) @ similarity.inverse().matrix.T  # photograph pixels
    y, x = np.mgrid[70:80, 70:80]
    from scipy.ndimage import map_coordinates

    for channel in range(3):
        expected = map_coordinates(photograph[..., channel].astype(float), [y + shift[1], x + shift[0]], order=3)
        assert np.abs(made[70:80, 70:80, channel] - expected).max() < 3


def test_paint_is_no_greener_than_faces_are(photograph, similarity):
    skin = np.stack([photograph[..., 0], photograph[..., 0] // 2, photograph[..., 0] // 3], -1)
    green = edit(opacity=1.0)
    green.paint[:, 0], green.paint[:, 1], green.paint[:, 2] = -0.5, 0.8, -0.9
    everywhere = np.ones((SIZE, SIZE), np.float32)
    made = apply_edit(skin, similarity, green, everywhere)[60:90, 60:90].astype(int)
    assert (made[..., 1] <= made[..., 0] + 1).all()
    in_green_light = apply_edit(skin[..., [1, 0, 2]], similarity, green, everywhere)[60:90, 60:90].astype(int)
    assert (in_green_light[..., 1] > in_green_light[..., 0] + 50).all()


def test_tone_and_paint(photograph, similarity):
    everywhere = np.ones((SIZE, SIZE), np.float32)
    darker = apply_edit(photograph, similarity, edit(tone=-0.5), everywhere)[60:90, 60:90]
    assert np.abs(darker - photograph[60:90, 60:90] * np.exp(-0.5)).max() < 1.5
    painted = apply_edit(photograph, similarity, edit(opacity=1.0, paint=0.5), everywhere)[60:90, 60:90]
    assert np.abs(painted - 1.5 * 127.5).max() <= 1


def wavy_edit(seed=0):
    chance = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.randn(1, 5, 5, 5, generator=chance), size=(16, 16), mode="bicubic", align_corners=True
    )
    opacity = torch.zeros(1, 1, SIZE, SIZE)
    opacity[:, :, 18:25, 10:22] = 0.9
    paint = torch.rand(1, 3, SIZE, SIZE, generator=chance) * 2 - 1
    return Edit(0.04 * smooth[:, :2], 0.1 * smooth[:, 2:], paint, opacity)


def large_photograph():
    """700 x 900, so that a face of it lies on several tiles."""
    y, x = np.mgrid[:700, :900]
    waves = np.stack([np.sin(x / 6) + np.cos(y / 9), np.sin((x + y) / 8), np.cos(x / 7) * np.sin(y / 5)], -1)
    return np.clip(128 + 60 * waves, 0, 255).astype(np.uint8)


def large_similarity():
    angle, scale = 0.1, SIZE / 640
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Similarity(matrix, np.array([15.5, 15.5]) - matrix @ np.array([440.0, 340.0]))


def in_one_piece(photograph, similarity, edit, mask):
    """Every plane sampled at every pixel of the photograph."""
    made = moved_pixels_reference(
        torch.from_numpy(photograph),
        torch.einsum("ij,jhw->ihw", torch.from_numpy(similarity.inverse().matrix * SIZE / 2).float(), edit.flow[0]),
        edit.tone[0],
        torch.cat([edit.opacity, edit.paint], 1)[0],
        torch.from_numpy(mask),
        torch.from_numpy(np.column_stack([similarity.matrix, similarity.offset])),
    )
    return made.numpy().astype(int)


def test_fewer_samples_give_what_the_formula_gives(path):
    photograph, similarity = large_photograph(), large_similarity()
    made = apply_edit(photograph, similarity, wavy_edit(), disc()).astype(int)
    away = np.abs(made - in_one_piece(photograph, similarity, wavy_edit(), disc()))
    assert away.max() <= 1  # flow and tone are linear between their samples
    assert (away > 0).mean() < (0.01 if path == "native" else 0.02)
    assert (made != photograph).any(-1).mean() > 0.2


def test_tiles_side_by_side_give_the_same_as_one_by_one(monkeypatch):
    monkeypatch.setattr("lssl.inference.moved_pixels.NATIVE", False)
    photograph, similarity = large_photograph(), large_similarity()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = apply_edit(photograph, similarity, wavy_edit(), disc())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr("lssl.data.tiles._SIDE_BY_SIDE", 0)
    assert np.array_equal(apply_edit(photograph, similarity, wavy_edit(), disc()), alone)


@pytest.mark.parametrize(
    ("shares", "part", "whole"),
    [
        ({}, 0.0, {}),
        ({"happy": 0.0}, 0.0, {}),
        ({"happy": 0.25}, 0.25, {"happy": 1.0}),
        ({"happy": 0.25, "sad": 0.25}, 0.5, {"happy": 0.5, "sad": 0.5}),
        ({"happy": 0.5, "sad": 0.5}, 1.0, {"happy": 0.5, "sad": 0.5}),
        ({"happy": 1.5}, 1.5, {"happy": 1.0}),
    ],
)
def test_part_of_an_edit_is_part_of_the_whole_one(shares, part, whole):
    made, full = part_of_whole(Blend({("expression", name): share for name, share in shares.items()}, "asked"))
    assert (made, {name: share for (_, name), share in full.shares.items()}) == (part, whole)


def test_a_slider_asks_the_network_once():
    schema = AttributeSchema((AttributeGroup("expression", ("neutral", "happy", "sad")),))
    torch.manual_seed(0)
    model = TrainedGenerator(MovingGenerator(3, SIZE, 1, 4, 4), schema, SIZE).eval().requires_grad_(False)
    with torch.no_grad():
        model.network.mover.head.weight.mul_(20)
    image = large_photograph()[:SIZE, :SIZE]
    marks = np.random.default_rng(0).uniform(8, 24, (68, 2)).astype(np.float32)
    face = InputFace("face", image, marks, {"expression": "neutral"}, image, Similarity(np.eye(2), np.zeros(2)))
    asked, network = [], model.network.edit
    model.network.edit = lambda *arguments: asked.append(1) or network(*arguments)

    def blend(value, share):
        return Blend({("expression", value): share}, value)

    kept = NetworkEdit(model, face)
    for value, share in (("happy", 0.3), ("happy", 0.7), ("happy", 1.0), ("sad", 0.5), ("happy", 1.5)):
        made = kept.change(image, blend(value, share))
        assert np.array_equal(made, NetworkEdit(model, face).change(image, blend(value, share)))
    assert len(asked) == 5 + 3  # beside the five fresh ones: happy, sad, happy again


def test_beyond_the_whole_edit_the_movement_goes_on_and_the_paint_does_not():
    edit = wavy_edit()
    half, more = part_of_edit(edit, 0.5), part_of_edit(edit, 1.5)
    assert torch.equal(half.opacity, 0.5 * edit.opacity)
    assert torch.equal(more.flow, 1.5 * edit.flow)
    assert torch.equal(more.tone, 1.5 * edit.tone)
    assert torch.equal(more.opacity, edit.opacity)

"""The edit by the fitted 3D model: what moves, how far, and what does not change."""

import numpy as np
import pytest
import torch

from lssl.face3d import FaceGenerator, GenerateConfig
from lssl.face3d.builtin import load_face_model
from lssl.face3d.editing.edit import edit_photograph
from lssl.face3d.editing.expression import expression_step, named_opening, own_expression
from lssl.face3d.editing.field import expression_flows, flow_field, named_movement
from lssl.face3d.editing.flow import draw, face_window, spread_flow
from lssl.face3d.editing.lips import mouth_frame
from lssl.face3d.editing.movement import known_face, move, place_face
from lssl.face3d.scene.framing import portrait_camera

NAMES = ("angry", "contemptuous", "disgusted", "fearful", "happy", "sad", "surprised")
UPPER, LOWER = (61, 62, 63), (67, 66, 65)


@pytest.fixture(scope="module")
def ict():
    return load_face_model("ict")


@pytest.fixture(scope="module")
def faces(ict):
    config = GenerateConfig(subjects=2, expressions=("neutral", "happy", "surprised"), size=256, variation=0.3, seed=3)
    generator = FaceGenerator(ict, config)
    return {(f.cell.subject, f.cell.expression): f for f in generator.render(generator.cells)}


@pytest.fixture(scope="module")
def neutral(faces):
    """A photograph (512, 512, 3) with room around the face, and its landmarks."""
    face = faces[0, "neutral"]
    image = np.pad(face.image.permute(1, 2, 0).numpy(), ((128, 128), (128, 128), (0, 0)), mode="reflect")
    return np.ascontiguousarray(image), face.landmarks.float() + 128


@pytest.fixture(scope="module")
def placed(ict, neutral):
    return place_face(ict, neutral[1])


def gap(marks):
    return float((marks[list(LOWER), 1] - marks[list(UPPER), 1]).mean())


def test_the_surface_lies_on_the_landmarks(placed, neutral):
    surface = placed.project(placed.vertices(placed.expression))
    inner = placed.face.landmarks[17:]  # the jaw's slide with the pose
    assert (surface[inner, :2] - neutral[1][17:]).norm(dim=1).mean() < 0.02 * placed.unit


def test_intensity_zero_gives_the_photograph_back(placed, neutral):
    movement = move(placed, expression_step(placed, "happy", 0.0, "neutral"))
    flow, _ = spread_flow(draw(movement, face_window(movement, 512, 512)), placed.unit)
    assert np.abs(flow).max() < 1e-3
    assert np.array_equal(edit_photograph(neutral[0], [movement])[0], neutral[0])


@pytest.mark.parametrize("name", NAMES)
def test_only_the_face_changes(placed, neutral, name):
    image, marks = neutral
    edited = edit_photograph(image, [move(placed, expression_step(placed, name, 1.0, "neutral"))])[0]
    assert edited.shape == image.shape
    assert edited.dtype == np.uint8
    assert (edited != image).any(-1).mean() > 0.02, "the face changed"
    y, x = np.mgrid[:512, :512]
    low, high = marks.amin(0) - 1.6 * placed.unit, marks.amax(0) + 1.6 * placed.unit
    far = (x < float(low[0])) | (x > float(high[0])) | (y < float(low[1])) | (y > float(high[1]))
    assert far.any()
    assert np.array_equal(edited[far], image[far])


@pytest.mark.parametrize("name", NAMES)
def test_the_flow_carries_the_landmarks_where_the_model_says(placed, name):
    """Backwards: at a landmark's new place, the flow points to its old one."""
    movement = move(placed, expression_step(placed, name, 1.0, "neutral"))
    window = face_window(movement, 512, 512)
    flow, _ = spread_flow(draw(movement, window), placed.unit)
    rows = [8, 30, 19, 24, 27, 33, 51, 57]  # not on an edge, where either side would be right
    marks = placed.face.landmarks[rows]
    new, old = movement.after[marks, :2].numpy(), movement.before[marks, :2].numpy()
    column, row = (np.rint(new - [window.left, window.top]).astype(int)).T
    assert np.abs(new + flow[row, column] - old).max() < 0.08 * placed.unit


@pytest.mark.parametrize("name", ["happy", "surprised"])
def test_the_flow_does_not_fold(placed, name):
    movement = move(placed, expression_step(placed, name, 1.0, "neutral"))
    drawn = draw(movement, face_window(movement, 512, 512))
    flow, _ = spread_flow(drawn, placed.unit)
    outside = ~(drawn.skin | drawn.mouth | drawn.eyes)
    down = 1 + np.diff(flow[..., 1], axis=0)
    across = 1 + np.diff(flow[..., 0], axis=1)
    assert down[outside[1:] & outside[:-1]].min() > -0.05
    assert across[outside[:, 1:] & outside[:, :-1]].min() > -0.05


def test_expressions_do_what_their_names_say(placed):
    def moved(name):
        movement = move(placed, expression_step(placed, name, 1.0, "neutral"))
        rows = placed.face.landmarks
        return ((movement.after - movement.before)[rows, :2] / placed.unit).numpy()

    corners, brows, chin = [48, 54], [19, 24], 8
    assert moved("happy")[corners, 1].mean() < -0.05
    assert moved("happy")[54, 0] - moved("happy")[48, 0] > 0.08
    assert moved("sad")[corners, 1].mean() > 0.03
    assert moved("surprised")[chin, 1] > 0.1
    assert moved("surprised")[brows, 1].mean() < -0.03
    assert moved("angry")[[21, 22], 1].mean() > 0.03
    sneer = moved("contemptuous")[corners, 1]
    assert abs(sneer[0] - sneer[1]) > 0.04


def test_lips_that_should_meet_do(placed, ict):
    assert named_opening(ict, "happy") > 0.05 > named_opening(ict, "sad")
    step = expression_step(placed, "happy", 1.0, "neutral")
    rows = placed.face.landmarks
    opened, closed = move(placed, step).after[rows], move(placed, step, closing=1.0).after[rows]
    assert gap(opened) > 0.06 * placed.unit
    assert abs(gap(closed)) < 0.03 * placed.unit


def test_a_smile_is_seen_and_taken_away(ict, faces):
    smiling, still = (place_face(ict, faces[1, name].landmarks.float()) for name in ("happy", "neutral"))
    direction = ict.expression("happy") - ict.expressions["neutral"]
    shown = [float(own_expression(p) @ direction / direction.square().sum()) for p in (smiling, still)]
    assert shown[0] > 0.5
    assert abs(shown[1]) < 0.2
    movement = move(smiling, expression_step(smiling, "neutral", 1.0), closing=1.0)
    corners = smiling.face.landmarks[[48, 54]]
    assert float((movement.after - movement.before)[corners, 1].mean()) > 0.02 * smiling.unit


def test_an_opened_mouth_shows_teeth_in_the_photographs_light(placed, neutral):
    image, _ = neutral
    step = expression_step(placed, "happy", 1.0, "neutral")
    bright, dim = (edit_photograph(picture, [move(placed, step)])[0] for picture in (image, image // 3))
    movement = move(placed, step)
    window = face_window(movement, 512, 512)
    inside = draw(movement, window).mouth
    inside[:, :] &= np.roll(inside, 2, 0) & np.roll(inside, -2, 0)
    assert inside.any()
    colours = [edited[window.slices][inside].astype(float) for edited in (bright, dim)]
    assert np.percentile(colours[0].mean(1), 90) > 90
    assert np.percentile(colours[1].mean(1), 90) < np.percentile(colours[0].mean(1), 90) - 25


def test_closed_lips_part_along_the_darkest_line(placed, neutral):
    image = neutral[0].copy()
    points = placed.landmarks.numpy()
    middle = (points[62] + points[66]) / 2
    y = round(float(middle[1])) + 2
    image[y, int(points[48, 0]) : int(points[54, 0])] = 5
    frame = mouth_frame(placed, image)
    along, across = frame.to_frame(np.array([middle[0], y], np.float64))
    upper, lower = frame.lines(np.asarray(along))
    assert abs(float(upper) - float(across)) < 1.0
    assert float(upper) == float(lower)


def test_a_large_photograph_is_edited_as_a_small_one(ict, neutral):
    from PIL import Image

    image, marks = neutral
    large = np.asarray(Image.fromarray(image).resize((1536, 1536), Image.Resampling.BICUBIC))
    bigger = place_face(ict, (marks + 0.5) * 3 - 0.5)
    small = place_face(ict, marks)
    a = edit_photograph(image, [move(small, expression_step(small, "happy", 1.0, "neutral"))])[0]
    b = edit_photograph(large, [move(bigger, expression_step(bigger, "happy", 1.0, "neutral"))])[0]
    reduced = np.asarray(Image.fromarray(b).resize((512, 512), Image.Resampling.BOX)).astype(float)
    assert np.abs(reduced - a).mean() < 2.0


@pytest.mark.parametrize(("shown", "wanted"), [("neutral", "happy"), ("surprised", "happy")])
def test_mouth_and_eyes_of_a_huge_photograph_are_drawn_smaller(ict, faces, monkeypatch, shown, wanted):
    """With the same result, and every pixel outside the face left as it is."""
    from PIL import Image

    face = faces[0, shown]
    small = face.image.permute(1, 2, 0).numpy()
    image = np.asarray(Image.fromarray(small).resize((1023, 1023), Image.Resampling.BICUBIC))
    placed = place_face(ict, (face.landmarks.float() + 0.5) * 1023 / 256 - 0.5)
    movement = move(placed, expression_step(placed, wanted, 1.0, shown))
    plain = edit_photograph(image, [movement])[0].astype(int)
    monkeypatch.setattr("lssl.face3d.editing.edit._ENOUGH", placed.unit / 2.5)
    fewer = edit_photograph(image, [movement])[0].astype(int)
    changed = (plain != image).any(-1)
    assert changed.mean() > 0.05
    assert np.abs(plain - fewer)[changed].mean() < 1.0
    assert (np.abs(plain - fewer).max(-1) > 40).mean() < 1e-3
    assert (fewer[~changed] == image[~changed]).all(-1).mean() > 0.99


def test_fits_of_the_embedded_model_can_be_edited_too(neutral):
    image, marks = neutral
    embedded = load_face_model("embedded")
    placed = place_face(embedded, marks)
    movement = move(placed, expression_step(placed, "happy", 1.0, "neutral"))
    corners = placed.face.landmarks[[48, 54]]
    assert float((movement.after - movement.before)[corners, 1].mean()) < -0.02 * placed.unit
    assert (edit_photograph(image, [movement])[0] != image).any()


def test_a_step_of_nothing_moves_nothing(placed):
    movement = move(placed, torch.zeros_like(placed.expression))
    assert torch.equal(movement.before, movement.after)


def test_the_flow_of_a_rendered_face_is_its_vertices_movement(ict):
    """Known weights and camera: at the new place of a vertex, the flow points to its old one."""
    camera = portrait_camera(ict.mean_face()[None, torch.from_numpy(ict.topology.landmarks).long()], 128)
    placed = known_face(ict, ict.identity_mean, ict.expressions["neutral"], camera)
    movement = named_movement(placed, "surprised", 1.0, "neutral")
    field = flow_field(movement, 128, 128)
    assert field.flow.shape == (128, 128, 2)
    assert not bool(field.shown.all()), "the mouth opens"
    rows = placed.face.landmarks[[8, 27, 30, 33, 57]]
    x, y = movement.after[rows, :2].round().long().unbind(1)
    missed = movement.after[rows, :2] + field.flow[y, x] - movement.before[rows, :2]
    assert float(missed.abs().max()) < 1.0
    assert not bool(field.flow[:, 0].any())


def test_flows_of_many_faces_at_once(ict, faces):
    marks = torch.stack([faces[k, "neutral"].landmarks.float() for k in (0, 1)]) / 2
    fields = expression_flows(ict, marks, "happy", 128, 128, source="neutral")
    assert len(fields) == 2
    for field, points in zip(fields, marks, strict=True):
        x, y = points[30].round().long().tolist()
        assert bool(field.flow.isfinite().all())
        assert float(field.flow[y - 30 : y + 30].abs().max()) > 1
    still = expression_flows(ict, marks[:1], "happy", 128, 128, intensity=0.0)[0]
    assert float(still.flow.abs().max()) < 1e-3

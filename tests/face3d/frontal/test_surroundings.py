"""What is drawn around the face, and how the mouth and the gaps beside the eyes are filled."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.membrane import Membrane
from lssl.face3d.frontal.slivers import slivers
from lssl.face3d.frontal.surroundings import _hair
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import to_uint8

SIZE = 128
GREEN = (0, 255, 0)


@pytest.fixture(scope="module")
def person():
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(6)
    vertices = model.vertices(model.sample_identity(1, generator), model.expression("happy")[None])
    return model, vertices, model.albedo(model.sample_albedo(1, generator))


def photograph(person, yaw):
    """(H, W, 3) uint8, its landmarks (1, 68, 2), and its face's pixels (H, W): skin, lips and eyes."""
    model, vertices, albedo = person
    places = vertices[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=yaw)
    picture = render(vertices, albedo, model.topology, camera, Lighting.named("normal"), SIZE, background=0.3)
    return (
        to_uint8(picture.images)[0],
        model.landmarks(camera.project(vertices))[..., :2],
        picture.classes[0].numpy() > 0,
    )


@pytest.mark.parametrize("background", ["original", "blur"])
@pytest.mark.parametrize("yaw", [-45.0, -25.0, 45.0])
def test_the_turned_face_does_not_stand_beside_the_frontal_one(person, yaw, background):
    image, landmarks, face = photograph(person, yaw)
    marked = np.where(face[..., None], np.uint8(GREEN), image)
    drawn = render_frontal(person[0], fit_landmarks(person[0], landmarks), [marked], size=SIZE, background=background)
    green = (drawn.image[..., 1] > 180) & (drawn.image[..., 0] < 90) & (drawn.image[..., 2] < 90)
    around = ndimage.binary_dilation(drawn.mask > 0.01, iterations=2)
    assert green.mean() > 0.15
    assert (green & ~around).mean() < 0.002


@pytest.mark.parametrize("yaw", [-45.0, 30.0])
def test_a_skull_smaller_than_the_models_is_drawn_low_and_nothing_is_painted_over_it(person, yaw):
    model, vertices, albedo = person
    brows = vertices[0, torch.from_numpy(model.topology.landmarks).long()][17:27, 1].max()
    low = vertices.clone()
    low[..., 1] = torch.where(low[..., 1] > brows, brows + 0.6 * (low[..., 1] - brows), low[..., 1])
    image, landmarks, _ = photograph((model, low, albedo), yaw)
    camera = portrait_camera(low[:, torch.from_numpy(model.topology.landmarks).long()], SIZE, yaw=yaw)
    lights = Lighting.named("normal")
    grounds = [render(low, albedo, model.topology, camera, lights, SIZE, background=g).images[0] for g in (-1.0, 1.0)]
    behind = ((grounds[1] - grounds[0]).mean(0) > 1).numpy()
    photo = np.where(behind[..., None], np.uint8((0, 0, 255)), image)
    drawn = render_frontal(model, fit_landmarks(model, landmarks), [photo], size=SIZE, background="original").image
    blue = (drawn[..., 2] > 180) & (drawn[..., 0] < 90) & (drawn[..., 1] < 90)
    top = blue[: int(drawn.shape[0] * 0.35)]
    between = np.logical_or.accumulate(~top, 1) & np.logical_or.accumulate(~top[:, ::-1], 1)[:, ::-1]
    assert (top & between).sum() < 0.06 * between.sum()  # a shallow dip where the halves meet
    assert blue[:3].mean() > 0.9


def test_a_photograph_from_the_front_hardly_changes(person):
    image, landmarks, _ = photograph(person, 0.0)
    drawn = render_frontal(person[0], fit_landmarks(person[0], landmarks), [image], size=SIZE, background="original")
    error = ((drawn.image.astype(float) - image) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 26


def test_hair_over_the_temple_is_hair_and_brows_are_not():
    model = load_embedded_model()
    marks = model.mean_face()[None, torch.from_numpy(model.topology.landmarks).long()]
    places = portrait_camera(marks, SIZE).project(marks)[0, :, :2].numpy()
    brows = int(places[17:27, 1].min())
    left, right = int(places[0, 0]), int(places[16, 0])
    painted = torch.tensor([0.8, 0.6, 0.5]).expand(SIZE, SIZE, 3)
    photograph = painted.clone()
    dark = torch.tensor([0.2, 0.15, 0.1])
    photograph[: brows - 8] = dark
    photograph[: brows + 20, left : left + 6] = dark  # a strand down the temple
    strand = np.zeros((SIZE, SIZE), bool)
    strand[brows - 4 : brows + 12, left + 1 : left + 4] = True
    for x, y in places[17:27].round().astype(int):
        photograph[y - 1 : y + 2, x - 1 : x + 2] = dark
    usual = HeadColours(painted[0, 0], dark, dark[None], 0.03)
    hair = _hair(usual, photograph, places).numpy()
    assert hair[strand].mean() > 0.85
    assert hair[brows - 2 : brows + 30, left + 14 : right - 14].max() < 0.1
    assert hair[100:, :].max() == 0


def test_a_membrane_is_flat_between_straight_edges_and_leaves_the_rest():
    ramp = torch.arange(12.0).expand(9, 12)[..., None]
    holes = np.zeros((9, 12), bool)
    holes[3:6, 4:8] = True
    torn = torch.where(torch.from_numpy(holes)[..., None], torch.tensor(99.0), ramp)
    filled = Membrane(holes, ~holes).fill(torn)
    assert torch.allclose(filled, ramp, atol=1e-4)


def test_a_membrane_ignores_what_is_not_known():
    holes, known = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    holes[2, 2], known[2, 1] = True, True
    values = torch.full((5, 5, 1), 7.0)
    values[2, 1] = 3.0
    assert float(Membrane(holes, known).fill(values)[2, 2, 0]) == pytest.approx(3.0)
    alone = Membrane(holes, np.zeros((5, 5), bool)).fill(values)
    assert float(alone[2, 2, 0]) == 0.0


def test_edges_of_a_neck_wider_than_the_fitted_one_are_left_out_and_ears_and_shoulders_are_not():
    parts, head = np.zeros((2, 200, 200), bool)
    head[20:, 60:150] = True
    parts[60:90, 150:164] = True  # an ear
    parts[86:96, 150:153] = True  # with a lobe
    parts[60:90, 175:190] = True  # a piece of something else
    parts[110:160, 150:155] = True  # the edge of a neck, and a shoulder
    parts[160:, 150:] = True
    parts[70:90, 56:60] = True  # the edge of a cheek
    left_out = slivers(parts, head, 100)
    assert left_out[110:150, 150:155].all()
    assert left_out[70:90, 56:60].all()
    assert left_out[60:90, 175:190].all()
    assert not left_out[60:96, 150:164].any()
    assert not left_out[170:, 160:].any()


@pytest.mark.parametrize("yaw", [-30.0, 45.0])
def test_no_background_shows_under_the_chin(person, yaw):
    image, landmarks, face = photograph(person, yaw)
    head = ndimage.binary_fill_holes((np.abs(image.astype(int) - image[0, 0]) > 3).any(-1) | face)
    before_green = np.where(head[..., None], image, np.uint8(GREEN))
    fit = fit_landmarks(person[0], landmarks)
    drawn = render_frontal(person[0], fit, [before_green], size=SIZE, background="original")
    chin = drawn.landmarks[8].round().astype(int)
    under = drawn.image[chin[1] - 2 : chin[1] + 12, chin[0] - 14 : chin[0] + 15].astype(int)
    assert (under[..., 1] - under[..., 0]).max() < 10

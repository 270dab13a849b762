"""The light on a fitted face: found, moved to another pose, and taken away, against faces whose light is known."""

import numpy as np
import pytest
import torch

from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.frontal.relight import estimate_light, irradiance, relighting_gain, well_exposed
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import GAMMA, render
from lssl.face3d.sheet import to_uint8

SIZE = 96


@pytest.fixture(scope="module")
def person():
    """The model, and a person's vertices (1, V, 3) and albedo (1, V, 3)."""
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(4)
    vertices = model.vertices(model.sample_identity(1, generator), model.expression("neutral")[None])
    return model, vertices, model.albedo(model.sample_albedo(1, generator))


def photograph(person, yaw, name="normal", **light):
    """(H, W, 3) uint8 and landmarks (1, 68, 2) under the normal light, turned or weakened."""
    model, vertices, albedo = person
    places = vertices[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=yaw)
    picture = render(vertices, albedo, model.topology, camera, Lighting.named(name, **light), SIZE, background=0.1)
    return to_uint8(picture.images)[0], model.landmarks(camera.project(vertices))[..., :2]


def face_difference(a, b):
    """Mean absolute difference (0 to 255) of two frontal faces over the cheeks, nose and mouth."""
    x0, x1 = a.landmarks[[2, 14], 0].round().astype(int)
    y0, y1 = int(a.landmarks[17:27, 1].min()), int(a.landmarks[57, 1])
    return np.abs(a.image.astype(int) - b.image)[y0:y1, x0:x1].mean()


def test_a_known_light_is_found(person):
    model, vertices, _ = person
    normals = vertex_normals(vertices[0], model.faces, model.topology.weld)
    true = torch.zeros(9, 3)
    true[0], true[1], true[3] = 0.6, 0.12, -0.12  # from above and from the left
    lit = (model.albedo_mean.clamp(0.05, 1) ** GAMMA * irradiance(true, normals)) ** (1 / GAMMA)
    found = irradiance(estimate_light(model, lit, normals, (normals[:, 2] > 0.1).float()), normals)
    seen = normals[:, 2] > 0.1
    error = (found / irradiance(true, normals) - 1).abs()[seen]
    assert error.mean() < 0.08


def test_hair_over_the_face_does_not_pass_for_a_shadow(person):
    model, vertices, _ = person
    normals = vertex_normals(vertices[0], model.faces, model.topology.weld)
    seen = (normals[:, 2] > 0.1).float()
    even = torch.cat([torch.full((1, 3), 0.7), torch.zeros(8, 3)])
    lit = (model.albedo_mean.clamp(0.05, 1) ** GAMMA * irradiance(even, normals)) ** (1 / GAMMA)
    covered = vertices[0, :, 0] > 4.5
    lit[covered] = 0.12
    found = irradiance(estimate_light(model, lit, normals, seen), normals)[(seen > 0) & ~covered]
    assert (found / 0.7 - 1).abs().mean() < 0.1


@pytest.mark.parametrize("yaw", [-35.0, 35.0])
def test_the_light_stays_where_it_is_while_the_head_turns(person, yaw):
    """Closer to the true frontal face than if the light turned with the head."""
    image, landmarks = photograph(person, yaw)
    true, _ = photograph(person, 0.0)
    drawn = render_frontal(person[0], fit_landmarks(person[0], landmarks), [image], size=SIZE)
    x0, x1 = drawn.landmarks[[2, 14], 0].round().astype(int)
    y0, y1 = int(drawn.landmarks[17:27, 1].min()), int(drawn.landmarks[57, 1])
    left, right = slice(x0, (x0 + x1) // 2), slice((x0 + x1) // 2, x1)
    for half in (left, right):
        brightness = drawn.image[y0:y1, half].mean() - true[y0:y1, half].mean()
        assert abs(brightness) < 6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"azimuth": -35.0}, {"azimuth": 35.0}),
        ({}, {"name": "weak"}),
        ({}, {"name": "dark"}),
    ],
    ids=["from two sides", "weak", "dark"],
)
def test_without_light_two_photographs_of_a_face_look_more_alike(person, first, second):
    faces = {}
    for removed in (False, True):
        faces[removed] = []
        for light in (first, second):
            image, landmarks = photograph(person, 15.0, **light)
            fit = fit_landmarks(person[0], landmarks)
            faces[removed].append(render_frontal(person[0], fit, [image], size=SIZE, remove_light=removed))
    assert face_difference(*faces[True]) < 0.6 * face_difference(*faces[False])


def test_light_changes_in_strength_and_hardly_in_colour():
    normals = torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1], [0.9, 0, 0.4], [-0.9, 0, 0.4]]), dim=-1)
    light = torch.zeros(9, 3)
    light[0] = torch.tensor([0.9, 0.5, 0.05])  # a lamp with hardly any blue ...
    light[3] = torch.tensor([0.1, 0.2, -0.2])  # ... whose shape differs from channel to channel
    values = irradiance(light, normals) / light[0]
    assert (values.amax(-1) / values.amin(-1)).max() < 1.5
    gain = relighting_gain(torch.tensor([0.9, 0.5, 0.01]), torch.tensor([0.4, 0.4, 0.2]))
    assert (gain.max() / gain.min()) < 1.15
    assert gain[1] == pytest.approx(((0.4 / 0.554) * 1.1) ** (1 / GAMMA), abs=0.06)


def test_a_tinted_photograph_is_not_brightened_into_another_colour():
    angle = np.linspace(0, 2 * np.pi, 27, endpoint=False)
    landmarks = np.stack([32 - 20 * np.cos(angle), 32 + 20 * np.sin(angle)], -1)
    warm = np.full((64, 64, 3), (200, 90, 20), np.uint8)
    face = well_exposed(warm, landmarks)[32, 32].astype(float)
    assert face[0] > 240
    assert face[0] / face[1] == pytest.approx(200 / 90, rel=0.05)


def test_exposure_is_judged_by_highlights_and_not_by_skin():
    angle = np.linspace(0, 2 * np.pi, 27, endpoint=False)
    landmarks = np.stack([32 - 20 * np.cos(angle), 32 + 20 * np.sin(angle)], -1)  # jaw and brows
    dark_skin = np.full((64, 64, 3), 60, np.uint8)
    dark_skin[20:24, 20:30] = 200  # the whites of the eyes
    assert np.array_equal(well_exposed(dark_skin, landmarks), dark_skin)
    underexposed = np.full((64, 64, 3), 40, np.uint8)
    underexposed[:5] = 230  # a bright wall
    assert well_exposed(underexposed, landmarks)[32, 32].mean() > 80
    assert np.array_equal(well_exposed(underexposed, landmarks + 1000), underexposed)


@pytest.mark.parametrize("yaw", [-30.0, 30.0])
def test_the_half_in_shadow_keeps_its_tint(person, yaw):
    """The far half is the near half under weaker light; under a red lamp it must not come out grey."""
    for name in ("warm", "dim"):
        image, landmarks = photograph(person, yaw, name)
        true, _ = photograph(person, 0.0, name)
        drawn = render_frontal(person[0], fit_landmarks(person[0], landmarks), [image], size=SIZE)
        x0, x1 = drawn.landmarks[[2, 14], 0].round().astype(int)
        y0, y1 = int(drawn.landmarks[17:27, 1].max()) + 4, int(drawn.landmarks[33, 1])
        hidden = (drawn.seen[y0:y1, x0 + 5 : x1 - 5] < 0.3) & (drawn.mask[y0:y1, x0 + 5 : x1 - 5] > 0.99)
        tints = []
        for picture in (drawn.image, true):
            linear = (picture[y0:y1, x0 + 5 : x1 - 5][hidden].astype(float) / 255) ** GAMMA
            tints.append(linear.mean(0) / linear.mean())
        assert hidden.sum() > 100
        assert np.abs(tints[0] / tints[1] - 1)[:2].max() < 0.035


def test_a_channel_that_is_clipped_tells_nothing_of_the_lights_shape(person):
    model, vertices, _ = person
    normals = vertex_normals(vertices[0], model.faces, model.topology.weld)
    seen = normals[:, 2] > 0.1
    light = torch.zeros(9, 3)
    light[0], light[3] = 0.6, -0.2
    lit = (model.albedo_mean.clamp(0.05, 1) ** GAMMA * irradiance(light, normals)) ** (1 / GAMMA)
    overexposed = lit.clone()
    overexposed[:, 0] = 1.0
    found = irradiance(estimate_light(model, overexposed, normals, seen.float()), normals)[seen]
    shape = found / found.mean(0)
    assert (shape[:, 0] / shape[:, 1] - 1).abs().max() < 0.02


@pytest.mark.parametrize("yaw", [-6.0, 6.0])
def test_of_a_face_that_looks_ahead_both_halves_are_its_own(person, yaw):
    """A spot on one cheek stays, and none appears on the other."""
    image, landmarks = photograph(person, yaw)
    x, y = landmarks[0, [1, 31] if yaw < 0 else [15, 35]].mean(0).round().int().tolist()
    image = image.copy()
    image[y - 2 : y + 3, x - 2 : x + 3] = (20, 40, 250)
    drawn = render_frontal(person[0], fit_landmarks(person[0], landmarks), [image], size=SIZE)
    blue = (drawn.image[..., 2] > 150) & (drawn.image[..., 0] < 90)
    averted = np.arange(SIZE) < drawn.landmarks[30, 0]
    averted = averted if yaw < 0 else ~averted
    assert blue[:, averted].sum() > 12
    assert blue[:, ~averted].sum() == 0

"""A head is as large as its photograph shows it, with what it wears; where that cannot be seen, it is left as fitted."""

import numpy as np
import pytest
import torch

from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.frontal.skull import find_skull
from lssl.face3d.model.face_region import face_region
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.hair import Wig
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import to_uint8
from lssl.ops import rasterize

HAIR = torch.tensor([0.1, 0.2, 0.5])
SIZE = 160


@pytest.fixture(scope="module")
def person():
    model = load_embedded_model()
    head = model.vertices(model.identity_mean[None], model.expression("neutral")[None])
    return model, head, model.albedo_mean[None]


def photograph(person, style, yaw):
    """(H, W, 3) uint8 in front of a pale wall, its camera, and where head and hair are (H, W)."""
    model, head, albedo = person
    wig = Wig(model, style)
    places = head[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=yaw).zoom(0.8)
    vertices, colours = wig.vertices(head), wig.albedo(albedo, HAIR[None])
    image = render(vertices, colours, wig.topology, camera, Lighting.named("normal"), SIZE, background=0.7).images
    return to_uint8(image)[0], camera, covered(camera, vertices, torch.from_numpy(wig.topology.faces))


def covered(camera, vertices, faces):
    triangle, _, _ = rasterize(camera.project(vertices).contiguous(), faces, SIZE, SIZE)
    return triangle[0].numpy() >= 0


@pytest.mark.parametrize(("style", "yaw"), [("hat", 0.0), ("hat", -30.0), ("none", 30.0)])
def test_the_crown_meets_what_the_photograph_shows(person, style, yaw):
    model, head, _ = person
    image, camera, true = photograph(person, style, yaw)
    skull = find_skull(model, head[0], camera, image, HAIR)
    crown = np.arange(SIZE)[:, None] < camera.project(head)[0, model.topology.landmarks[17:27], 1].min().item() - 10
    outlines = [covered(camera, vertices[None], model.faces) for vertices in (head[0], skull.head(head[0]))]
    before, after = (((outline != true) & crown).sum() / (true & crown).sum() for outline in outlines)
    assert skull.sure
    assert after < 0.06
    assert after < 0.6 * before
    held = face_region(model) == 1
    assert torch.equal(skull.head(head[0])[held], head[0][held])


def test_a_head_that_cannot_be_told_from_what_is_behind_it_is_left(person):
    model, head, _ = person
    image, camera, _ = photograph(person, "hat", 0.0)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    skull = find_skull(model, head[0], camera, noise, HAIR)
    assert not skull.sure
    assert torch.equal(skull.head(head[0]), head[0])


def test_a_turned_head_before_much_detail_is_doubtful_where_that_is_drawn(person):
    model, head, _ = person
    image, camera, true = photograph(person, "short", 25.0)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    noisy = np.where(true[..., None], image, noise)
    fit = fit_landmarks(model, model.landmarks(camera.project(head))[..., :2])
    for background, doubtful in (("original", True), ("plain", False)):
        said = render_frontal(model, fit, [noisy], size=48, background=background).doubts
        assert any("outline of its hair" in doubt for doubt in said) == doubtful

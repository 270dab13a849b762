"""Hair, hats and light of turned faces: what covers or surrounds a face stays as in the photograph."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lssl.face3d import fit_landmarks
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.frontal.covering import HeadColours, head_colours
from lssl.face3d.frontal.draw import render_frontal
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.topology import Part
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.hair import Wig
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import to_uint8
from lssl.ops import rasterize

SIZE = 80
GREEN = (0.1, 0.6, 0.15)


@pytest.fixture(scope="module")
def person():
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(9)
    head = model.vertices(model.sample_identity(1, generator), model.expression("neutral")[None])
    return model, head, model.albedo(model.sample_albedo(1, generator, spread=0.3))


def photograph(person, style, yaw=0.0, pitch=0.0, light="normal"):
    """(H, W, 3) uint8 of the person with green hair, its landmarks (1, 68, 2), its hair's pixels, and its eyes under
    the hair, (H, W)."""
    model, head, albedo = person
    wig = Wig(model, style, side=1)
    places = head[:, torch.from_numpy(model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=yaw, pitch=pitch)
    vertices, lights = wig.vertices(head), Lighting.named(light)
    image = render(vertices, wig.albedo(albedo, torch.tensor([GREEN])), wig.topology, camera, lights, SIZE).images
    bare = render(head, albedo, Wig(model, "none").topology, camera, lights, SIZE)
    triangle, _, _ = rasterize(camera.project(vertices).contiguous(), torch.from_numpy(wig.topology.faces), SIZE, SIZE)
    hair = (triangle[0].numpy() >= 0) & wig.covers[triangle[0].numpy()]
    eyes = ndimage.binary_dilation(bare.classes[0].numpy() == 3, iterations=2) & hair
    return to_uint8(image)[0], model.landmarks(camera.project(head))[..., :2], hair, eyes


def draw(person, image, landmarks):
    fit = fit_landmarks(person[0], landmarks)
    return render_frontal(person[0], fit, [image], size=SIZE, background="original")


def green(picture):
    red, middle, blue = (picture[..., c].astype(int) for c in range(3))
    return (middle > red + 15) & (middle > blue + 15)


@pytest.mark.parametrize(
    ("style", "yaw", "pitch", "kept"),
    [
        ("short", 0.0, -15.0, 0.6),
        ("hat", 0.0, -15.0, 0.75),
        ("long", 15.0, 0.0, 0.8),
        ("fringe", -30.0, 0.0, 0.75),
        ("long", 0.0, 0.0, 0.9),
    ],
)
def test_hair_stays(person, style, yaw, pitch, kept):
    image, landmarks, *_ = photograph(person, style, yaw, pitch)
    _, _, hair, _ = photograph(person, style)
    drawn = draw(person, image, landmarks).image
    assert green(drawn)[hair].mean() > kept
    # No bare skull: what is not hair there is the black wall, not skin.
    skin = (drawn[..., 0] > drawn[..., 2] + 15) & ~green(drawn)
    assert skin[hair].mean() < 0.16


@pytest.mark.parametrize("yaw", [0.0, 15.0])
def test_hair_over_an_eye_is_left_and_reported(person, yaw):
    image, landmarks, *_ = photograph(person, "sweep", yaw)
    _, _, _, eyes = photograph(person, "sweep")
    face = draw(person, image, landmarks)
    assert green(face.image)[eyes].mean() > 0.85
    assert "something covers an eye" in face.doubts


def test_hair_is_distinguished_from_skin_under_any_light():
    skin, hair = torch.tensor([0.75, 0.58, 0.48]), torch.tensor([0.30, 0.20, 0.15])
    seen = torch.stack([skin, hair, 0.9 * skin, 1.2 * hair])
    for tint in ((1.0, 1.0, 1.0), (1.2, 0.75, 0.25), (0.3, 0.3, 0.3)):
        light = torch.tensor(tint)
        found = HeadColours(skin * light, hair * light, hair[None] * light, 0.03).hairlike(seen * light)
        assert found[[0, 2]].max() < 0.05
        assert found[[1, 3]].min() > 0.9
    bald = HeadColours(skin, skin * 0.98, skin[None] * 0.98, 0.03)
    assert bald.hairlike(seen).max() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"yaw": 45.0}, ("turned by 4", "far side")),
        ({"filter": (0.25, 0.25, 0.25)}, ("hardly any light",)),
        ({"filter": (1.2, 0.75, 0.2)}, ("strongly coloured light",)),
    ],
)
def test_doubtful_faces_say_why(person, change, words):
    tint = np.array(change.pop("filter", (1.0, 1.0, 1.0)))
    image, landmarks, *_ = photograph(person, "short", **change)
    doubts = draw(person, (image * tint).clip(0, 255).astype(np.uint8), landmarks).doubts
    assert len(doubts) == bool(words)
    for word in words:
        assert word in doubts[0]


@pytest.mark.parametrize(("yaw", "doubtful"), [(20.0, False), (34.0, True)])
def test_hair_beside_the_neck_is_doubtful_where_the_head_turned_far(person, yaw, doubtful):
    image, landmarks, *_ = photograph(person, "long", yaw)
    said = draw(person, image, landmarks).doubts
    assert any("beside the neck" in doubt for doubt in said) == doubtful


def test_a_frontal_photograph_drawn_turned_is_doubtful_for_its_hair(person):
    image, landmarks, *_ = photograph(person, "short")
    fit = fit_landmarks(person[0], landmarks)
    for background, yaw, doubtful in (("original", 28.0, True), ("original", 0.0, False), ("plain", 28.0, False)):
        said = render_frontal(person[0], fit, [image], size=SIZE, background=background, yaw=yaw).doubts
        assert any("the head's back" in doubt for doubt in said) == doubtful


@pytest.mark.parametrize("part", [Part.SKIN, Part.HAIR])
def test_hair_is_what_is_seen_on_the_skull_whatever_part_it_is_in_the_model(part) -> None:
    model = load_embedded_model()
    held, heights = face_region(model), model.mean_face()[:, 1]
    brows = heights[torch.from_numpy(model.topology.landmarks[17:27]).long()].mean()
    skull = (held < 0.1) & (heights > brows)
    parts = np.where(skull.numpy(), part, model.topology.vertex_parts)
    named = SimpleNamespace(topology=SimpleNamespace(vertex_parts=parts, landmarks=model.topology.landmarks))
    skin, hair = torch.tensor([0.8, 0.6, 0.5]), torch.tensor([0.3, 0.2, 0.1])
    colours = torch.where(skull[:, None], hair, skin)
    everything = torch.ones(len(parts))
    usual = head_colours(named, colours, everything, everything > 0, held, heights)
    assert torch.equal(usual.skin, skin)
    assert torch.equal(usual.hair, hair)

"""Rendering: geometry against arithmetic, light against its formula, masks and landmarks against one another."""

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline

from lssl.data.align import face_anchors, face_similarity
from lssl.face3d import Camera, FaceTopology, Part
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.model.topology import EYEBALL_PARTS
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.gaze import sphere_centres, turn_eyes
from lssl.face3d.scene.lighting import LIGHTINGS, Lighting, harmonic_basis
from lssl.face3d.scene.render import expose, render, shade, visible_points


@pytest.fixture(scope="module")
def model():
    return load_embedded_model()


@pytest.fixture(scope="module")
def frontal(model):
    """Two people, neutral and surprised, frontal at 160 pixels: the rendering and its landmarks."""
    identity = model.sample_identity(2, torch.Generator().manual_seed(4))
    expression = torch.stack([model.expression("neutral"), model.expression("surprised")])
    points = model.vertices(identity, expression)
    where = torch.from_numpy(model.topology.landmarks).long()
    camera = portrait_camera(model.vertices(identity, model.expression("neutral")[None], where), 160)
    colours = model.albedo(torch.zeros(2, model.num_albedo))
    picture = render(points, colours, model.topology, camera, Lighting.named(["normal"] * 2), 160)
    return picture, model.landmarks(camera.project(points)), camera, points


def quad(part=Part.SKIN, size=4.0):
    """Two triangles that face the viewer: a square of side `size` about the origin."""
    corners = torch.tensor([[-1.0, -1.0, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * size / 2
    extra = torch.zeros(64, 3)
    topology = FaceTopology(
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        vertex_parts=np.full(68, part),
        face_parts=np.full(2, part),
        landmarks=np.arange(68),
        jaw_contours=np.arange(17)[:, None],
        mirror=np.arange(68),
    )
    return torch.cat([corners, extra])[None], topology


def test_a_square_covers_the_pixels_it_should():
    vertices, topology = quad(size=4.0)
    camera = Camera.create(scale=2.0, x=7.5, y=7.5)  # edges at 3.5 and 11.5, between pixel centres
    picture = render(vertices, torch.ones(1, 68, 3), topology, camera, Lighting.named("normal"), 16, background=-1.0)
    expected = torch.zeros(16, 16)
    expected[4:12, 4:12] = 1
    assert torch.equal(picture.coverage[0], expected)
    assert torch.equal(picture.classes[0], expected.to(torch.uint8))
    assert (picture.images[0][:, expected == 0] == -1).all()
    assert torch.isinf(picture.depth[0][expected == 0]).all()


def test_a_pixel_half_covered_is_half_light():
    vertices, topology = quad(part=Part.CLOTHES, size=4.0)
    camera = Camera.create(scale=2.0, x=8.0, y=7.5)  # left and right edges through pixels 4 and 12
    light = Lighting.from_harmonics(
        torch.cat([torch.full((1, 1, 3), 0.5 * 2 * math.sqrt(math.pi)), torch.zeros(1, 8, 3)], 1)
    )
    picture = render(vertices, torch.ones(1, 68, 3), topology, camera, light, 16, background=-1.0)
    assert picture.coverage[0, 7, 4].item() == 0.5
    linear = ((picture.images + 1) / 2) ** 2.2
    assert linear[0, 0, 7, 7].item() == pytest.approx(0.5, abs=1e-4)
    assert linear[0, 0, 7, 4].item() == pytest.approx(0.25, abs=1e-4)


def test_light_from_the_side_shades_as_the_cosine():
    normals = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    light = Lighting(torch.zeros(1, 3), torch.tensor([[[0.0, 0.0, 1.0]]]), torch.ones(1, 1, 3), torch.zeros(1, 9, 3))
    white = shade(torch.ones(50, 3), normals, torch.tensor([0.0, 1.0]).expand(50, 2), light)
    blue_wrap = 0.12
    expected = ((normals[:, 2] + blue_wrap) / (1 + blue_wrap)).clamp(min=0)
    assert torch.allclose(white[:, 2], expected, atol=1e-6)
    assert (white[normals[:, 2] < 0][:, 0] >= white[normals[:, 2] < 0][:, 2]).all()  # skin's shadows are warm


def test_a_highlight_sits_between_light_and_viewer():
    angles = torch.linspace(-1.2, 1.2, 241)
    normals = torch.stack([angles.sin(), torch.zeros(241), angles.cos()], -1)
    lit = Lighting.named("normal")
    light = Lighting(
        torch.zeros(1, 3),
        torch.tensor([[[math.sin(0.8), 0.0, math.cos(0.8)]]]),
        lit.colours[:, :1],
        torch.zeros(1, 9, 3),
    )
    shiny = shade(torch.zeros(241, 3), normals, torch.tensor([1.0, 50.0]).expand(241, 2), light)
    assert angles[shiny[:, 0].argmax()].item() == pytest.approx(0.4, abs=0.02)


def test_harmonics_are_orthonormal_on_the_sphere():
    n = 200_000
    k = torch.arange(n, dtype=torch.float64) + 0.5
    z = 1 - 2 * k / n
    angle = math.pi * (1 + 5**0.5) * k
    r = (1 - z * z).sqrt()
    basis = harmonic_basis(torch.stack([r * angle.cos(), r * angle.sin(), z], -1))
    assert torch.allclose(basis.T @ basis * 4 * math.pi / n, torch.eye(9, dtype=torch.float64), atol=1e-3)


def test_exposure_is_linear_then_bends_and_never_clips():
    x = torch.linspace(0, 4, 400)
    y = expose(x)
    assert torch.allclose(y[x < 0.6], x[x < 0.6])
    assert (y.diff() > 0).all()
    assert y.max() < 1


def test_named_lightings_differ_and_unknown_ones_are_refused(model):
    face = model.mean_face()[None].expand(3, -1, -1)
    camera = Camera.create(scale=[5.0] * 3, x=48.0, y=48.0)
    pictures = render(face, model.albedo_mean[None], model.topology, camera, Lighting.named(LIGHTINGS), 96).images
    level = ((pictures[:, :, 40:56, 40:56] + 1) / 2).mean((1, 2, 3))
    assert level[0] > 1.5 * level[1] > 1.5 * 1.3 * level[2] > 0.05
    with pytest.raises(ValueError, match="normal, weak, dark"):
        Lighting.named("noon")


def test_normals_of_a_sphere_are_its_radii():
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3)
    normals = vertex_normals(
        torch.tensor(np.asarray(ball.vertices)).float()[None], torch.tensor(np.asarray(ball.faces)).int()
    )
    assert (normals[0] * torch.tensor(np.asarray(ball.vertices)).float()).sum(-1).min() > 0.999


def test_welded_vertices_share_a_normal():
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]]])
    faces = torch.tensor([[0, 1, 2], [3, 5, 4]], dtype=torch.int32)
    apart = vertex_normals(vertices, faces)
    joined = vertex_normals(vertices, faces, torch.tensor([0, 1, 2, 1, 2, 5]))
    assert not torch.allclose(apart[0, 1], apart[0, 3])
    assert torch.equal(joined[0, 1], joined[0, 3])


def test_batches_do_not_mix_pictures(model):
    identity = model.sample_identity(3, torch.Generator().manual_seed(0))
    points = model.vertices(identity, model.expression("happy")[None])
    colours = model.albedo(model.sample_albedo(3, torch.Generator().manual_seed(0)))
    camera = Camera.create(yaw=[0.0, 30.0, -50.0], scale=4.0, x=32.0, y=32.0, distance=100.0)
    lights = Lighting.named(["normal", "weak", "dark"])
    together = render(points, colours, model.topology, camera, lights, 64)
    for n in range(3):
        one = slice(n, n + 1)
        alone = render(points[one], colours[one], model.topology, camera[one], lights[one], 64)
        assert torch.allclose(together.images[n], alone.images[0], atol=2e-3)
        assert torch.equal(together.classes[n], alone.classes[0])


def test_supersampling_only_smooths(model):
    points, colours = model.mean_face()[None], model.albedo_mean[None]
    camera = Camera.create(scale=4.0, x=32.0, y=32.0)
    one, two, four = (
        render(points, colours, model.topology, camera, Lighting.named("normal"), 64, supersample=s).images
        for s in (1, 2, 4)
    )
    assert (two - four).abs().mean() < 0.6 * (one - four).abs().mean()
    with pytest.raises(ValueError, match="supersample"):
        render(points, colours, model.topology, camera, Lighting.named("normal"), 64, supersample=9)


def test_portraits_place_eyes_and_mouth_like_aligned_photographs(frontal):
    _, landmarks, _, _ = frontal
    crop = face_similarity(face_anchors(landmarks[0, :, :2].numpy()), 160)
    assert crop.scale == pytest.approx(1, abs=0.02)
    corners = np.array([[40.0, 40.0], [120.0, 120.0]], np.float32)
    assert np.abs(crop.apply(corners) - corners).max() < 0.02 * 160


@pytest.mark.parametrize("person", [0, 1])
def test_masks_agree_with_landmarks(frontal, person):
    picture, landmarks, _, _ = frontal
    mask, points = picture.classes[person].numpy(), landmarks[person, :, :2].numpy()
    y, x = np.mgrid[0:160, 0:160]
    pixels = np.stack([x.ravel(), y.ravel()], 1)

    def polygon(indices, radius=0.0):
        return Outline(points[indices]).contains_points(pixels, radius=radius).reshape(160, 160)

    def overlap(a, b):
        return (a & b).sum() / (a | b).sum()

    eyes = polygon(list(range(36, 42))) | polygon(list(range(42, 48)))
    assert overlap(mask == 3, eyes) > 0.6
    lips = polygon(list(range(48, 60))) & ~polygon(list(range(60, 68)))
    assert overlap(mask == 2, lips) > 0.6
    face = polygon(list(range(17)) + list(range(26, 16, -1)))
    assert (mask[face] > 0).mean() > 0.93


def test_frontal_landmarks_are_visible_and_hidden_ones_are_not(model, frontal):
    picture, landmarks, _, _ = frontal
    assert visible_points(landmarks, picture.depth).float().mean() > 0.97
    face = model.mean_face()[None]
    camera = Camera.create(yaw=70.0, scale=5.0, x=64.0, y=64.0)
    turned = render(face, model.albedo_mean[None], model.topology, camera, Lighting.named("normal"), 128)
    seen = visible_points(model.landmarks(camera.project(face)), turned.depth)[0]
    near, far = [36, 37, 48, 17, 18], [45, 46, 26, 25]
    assert seen[near].all()
    assert not seen[far].any()
    outside = torch.tensor([[[-5.0, 3.0, -10.0]]])
    assert not visible_points(outside, turned.depth).any()


def test_gaze_turns_irises_the_way_it_says_and_nothing_else(model):
    face = model.mean_face()[None]
    turned = turn_eyes(face, model.topology, torch.tensor([15.0]), torch.tensor([0.0]))
    parts = model.topology.vertex_parts
    assert model.topology.has_eyeballs
    move = (turned - face)[0]
    pupils = torch.from_numpy(parts == Part.PUPIL)
    assert (move[pupils, 0] > 0.1).all()
    others = torch.from_numpy(~np.isin(parts, EYEBALL_PARTS))
    assert torch.equal(move[others], torch.zeros_like(move[others]))
    down = turn_eyes(face, model.topology, torch.tensor([0.0]), torch.tensor([15.0]))[0] - face[0]
    assert (down[pupils, 1] < -0.1).all()


def test_sphere_centres_are_found_from_a_cap():
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=generator), dim=-1)
    cap = directions[directions[:, 2] > 0.3]
    centre = torch.tensor([1.0, -2.0, 3.0])
    assert torch.allclose(sphere_centres((centre + 1.2 * cap)[None])[0], centre, atol=1e-3)

"""Fitting and frontal rendering against faces whose shape is known."""

import numpy as np
import pytest
import torch

from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.fitting.fit import fit_landmarks
from lssl.face3d.frontal.draw import render_frontal
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render

SIZE = 128


@pytest.fixture(scope="module")
def people():
    """Four people who are not in the model, each with an expression: vertices, albedo, 3D landmarks."""
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(3)
    identity = model.sample_identity(4, generator)
    albedo = model.albedo(model.sample_albedo(4, generator))
    expression = torch.stack([model.expression(name) for name in ("neutral", "happy", "surprised", "sad")])
    vertices = model.vertices(identity, expression)
    return model, vertices, albedo, vertices[:, torch.from_numpy(model.topology.landmarks).long()]


def photographs(people, yaw):
    """uint8 pictures (N, H, W, 3) and landmarks (N, 68, 2) with a pixel of noise."""
    model, vertices, albedo, points = people
    camera = portrait_camera(points, SIZE, yaw=yaw)
    images = render(vertices, albedo, model.topology, camera, Lighting.named(["normal"] * len(vertices)), SIZE).images
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    landmarks = model.landmarks(camera.project(vertices))[..., :2]
    noise = torch.randn(landmarks.shape, generator=torch.Generator().manual_seed(1))
    return pixels, landmarks + noise


@pytest.mark.parametrize("yaw", [-45.0, -15.0, 0.0, 30.0])
def test_yaw_is_found_within_a_few_degrees(people, yaw):
    _, landmarks = photographs(people, yaw)
    fit = fit_landmarks(people[0], landmarks)
    assert (fit.camera.yaw - yaw).abs().mean() < 3
    assert fit.trusted.all()
    assert (fit.error < 0.05).all()


def test_wild_points_do_not_spoil_the_fit(people):
    _, landmarks = photographs(people, 15.0)
    spoiled = landmarks.clone()
    spoiled[:, [3, 30, 50]] += 40
    fit = fit_landmarks(people[0], spoiled)
    assert (fit.camera.yaw - 15).abs().mean() < 3


def test_hidden_and_missing_landmarks_are_left_out(people):
    _, landmarks = photographs(people, 0.0)
    visible = torch.ones(4, 68, dtype=torch.bool)
    visible[:, :17] = False
    landmarks[:, :17] = 1e4
    landmarks[:, 20] = float("nan")
    fit = fit_landmarks(people[0], landmarks, visible=visible)
    assert fit.trusted.all()
    assert fit.camera.yaw.abs().mean() < 5


def test_two_views_share_one_identity_and_find_it_better(people):
    left, right = photographs(people, -45.0)[1], photographs(people, 45.0)[1]
    both = fit_landmarks(people[0], torch.stack([left, right], 1))
    assert both.views == 2
    assert both.identity.shape[0] == 4
    assert (both.camera.yaw.reshape(4, 2) - torch.tensor([-45.0, 45.0])).abs().mean() < 4


def test_full_perspective_is_fitted_too(people):
    model, vertices, _, points = people
    camera = portrait_camera(points, SIZE, yaw=20.0, distance=60.0)
    fit = fit_landmarks(model, model.landmarks(camera.project(vertices))[..., :2], distance=60.0)
    assert (fit.camera.yaw - 20).abs().mean() < 2


def test_noise_instead_of_a_face_is_not_trusted(people):
    points = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) * SIZE
    fit = fit_landmarks(people[0], points)
    assert not fit.trusted.any()
    assert "eye distance" in fit.reasons[0] or "plausible" in fit.reasons[0] or "turned" in fit.reasons[0]


def test_wrong_shapes_are_named(people):
    with pytest.raises(ValueError, match=r"landmarks: expected \(N, 68, 2\)"):
        fit_landmarks(people[0], torch.zeros(1, 67, 2))


def frontal_ratios(people, yaws):
    """PSNR (dB) over the face proper of each person's frontal face from the views at `yaws` together."""
    truth = photographs(people, 0.0)[0]
    shots = [photographs(people, yaw) for yaw in yaws]
    fit = fit_landmarks(people[0], torch.stack([landmarks for _, landmarks in shots], 1))
    ratios = []
    for i in range(4):
        face = render_frontal(people[0], fit, [pixels[i] for pixels, _ in shots], subject=i, size=SIZE)
        # Between the brows and the chin, inside the jaw.
        x0, x1 = face.landmarks[[1, 15], 0].round().astype(int)
        y0, y1 = int(face.landmarks[17:27, 1].min()), int(face.landmarks[8, 1])
        error = (face.image[y0:y1, x0:x1].astype(float) - truth[i, y0:y1, x0:x1]) ** 2
        ratios.append(10 * np.log10(255**2 / error.mean()))
    return np.array(ratios)


@pytest.mark.parametrize(("yaw", "least"), [(15.0, 26.0), (-30.0, 24.0), (45.0, 22.0)])
def test_frontal_rendering_is_close_to_the_true_frontal_face(people, yaw, least):
    assert frontal_ratios(people, [yaw]).mean() > least


def test_two_views_give_a_better_face_than_one(people):
    one = [frontal_ratios(people, [yaw]).mean() for yaw in (-45.0, 45.0)]
    assert frontal_ratios(people, [-45.0, 45.0]).mean() > np.mean(one)


def test_background_never_reaches_the_face(people):
    """With a background of saturated colour the frontal face is the same, except at its outermost border."""
    model, vertices, albedo, points = people
    camera = portrait_camera(points, SIZE, yaw=30.0)
    landmarks = model.landmarks(camera.project(vertices))[..., :2]
    fit = fit_landmarks(model, landmarks)
    faces = []
    for colour in (-1.0, 1.0):
        images = render(
            vertices, albedo, model.topology, camera, Lighting.named(["normal"] * 4), SIZE, background=colour
        ).images
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        faces.append(render_frontal(model, fit, [pixels[0]], subject=0, size=SIZE))
    x0, x1 = faces[0].landmarks[[2, 14], 0].round().astype(int)
    y0, y1 = int(faces[0].landmarks[17:27, 1].min()), int(faces[0].landmarks[57, 1])
    difference = np.abs(faces[0].image.astype(int) - faces[1].image)[y0:y1, x0:x1]
    assert difference.mean() < 1.5


def test_a_face_outside_the_photograph_is_an_error(people):
    _, landmarks = photographs(people, 0.0)
    fit = fit_landmarks(people[0], landmarks + 5000)
    with pytest.raises(ValueError, match="lies outside"):
        render_frontal(people[0], fit, [np.zeros((128, 128, 3), np.uint8)], subject=0)

"""Photographs that are hard to turn to the front: each gives a good result, or an error that says what is wrong."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lssl.data.landmarks import LEFT_EYE, RIGHT_EYE
from lssl.data.writer import write_image
from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import to_uint8
from lssl.inference.frontal_jobs import Job
from lssl.inference.frontalize import Options, frontalize_all

SIZE = 96


class Person:
    """One generated person with an expression, and pictures of the person at any yaw and size."""

    def __init__(self, expression):
        self.model = load_embedded_model()
        generator = torch.Generator().manual_seed(11)
        identity = self.model.sample_identity(1, generator)
        self.vertices = self.model.vertices(identity, self.model.expression(expression)[None])
        self.albedo = self.model.albedo(self.model.sample_albedo(1, generator))

    def photograph(self, yaw, size=SIZE, background=0.2):
        """(size, size, 3) uint8 and its true landmarks (68, 2)."""
        places = self.vertices[:, torch.from_numpy(self.model.topology.landmarks).long()]
        camera = portrait_camera(places, size, yaw=yaw)
        lights = Lighting.named("normal")
        picture = render(
            self.vertices, self.albedo, self.model.topology, camera, lights, size, background=background
        )  # fmt: skip
        landmarks = self.model.landmarks(camera.project(self.vertices))[0, :, :2]
        return to_uint8(picture.images)[0], landmarks.numpy().astype(np.float32)


@pytest.fixture(scope="module")
def neutral():
    return Person("neutral")


@pytest.fixture(scope="module")
def surprised():
    return Person("surprised")


def psnr(a, b):
    return 10 * np.log10(255**2 / max(((a.astype(float) - b) ** 2).mean(), 1e-9))


def inner_face(landmarks):
    """Rows and columns between the brows and the lower lip, within the eyes' outer corners."""
    x0, x1 = landmarks[[36, 45], 0].round().astype(int)
    return slice(int(landmarks[17:27, 1].min()), int(landmarks[57, 1])), slice(x0, x1 + 1)


def draw(person, image, landmarks, **options):
    fit = fit_landmarks(person.model, torch.from_numpy(landmarks)[None])
    assert fit.trusted.all(), fit.reasons
    return render_frontal(person.model, fit, [image], size=SIZE, **options)


def rejected(tmp_path, image, landmarks):
    """Why `lssl render-frontal` refuses the photograph; '' where it does not."""
    write_image(tmp_path / "hard.png", image)
    job = Job("hard", (str(tmp_path / "hard.png"),), (None,), subject="hard", points=(landmarks,))
    (_, entry), *_ = frontalize_all([job], Options(size=64), tmp_path / "out", workers=1)
    return entry.get("rejected", "")


def test_open_mouth_stays_open_and_dark(surprised):
    image, landmarks = surprised.photograph(30.0)
    true, _ = surprised.photograph(0.0)
    face = draw(surprised, image, landmarks)
    inside = face.landmarks[[61, 62, 63, 65, 66, 67]].mean(0).round().astype(int)
    area = slice(inside[1] - 1, inside[1] + 2), slice(inside[0] - 2, inside[0] + 3)
    assert abs(face.image[area].mean() - true[area].mean()) < 40
    rows, columns = inner_face(face.landmarks)
    assert psnr(face.image[rows, columns], true[rows, columns]) > 20


def test_closed_eyes_are_fitted_and_drawn(neutral):
    """Lids on one line, as a detector gives them; the eyes' texture is the photograph's."""
    image, landmarks = neutral.photograph(15.0)
    for eye in (LEFT_EYE, RIGHT_EYE):
        upper, lower = [eye[1], eye[2]], [eye[5], eye[4]]
        landmarks[upper] = landmarks[lower] - [0, 0.5]
    true, _ = neutral.photograph(0.0)
    face = draw(neutral, image, landmarks)
    rows, columns = inner_face(face.landmarks)
    assert psnr(face.image[rows, columns], true[rows, columns]) > 18


def test_spectacles_and_displaced_eye_landmarks_leave_the_rest_alone(neutral):
    image, landmarks = neutral.photograph(-20.0)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for eye in (LEFT_EYE, RIGHT_EYE):
        x, y = landmarks[list(eye)].mean(0)
        pen.rectangle((x - 9, y - 6, x + 9, y + 7), outline=(10, 10, 10), width=2)
    shifted = landmarks.copy()
    shifted[list(LEFT_EYE) + list(RIGHT_EYE)] += np.random.default_rng(0).normal(0, 1.5, (12, 2))
    true, _ = neutral.photograph(0.0)
    face = draw(neutral, np.asarray(picture), shifted.astype(np.float32))
    rows = slice(int(face.landmarks[30, 1]), int(face.landmarks[57, 1]))
    columns = slice(int(face.landmarks[36, 0]), int(face.landmarks[45, 0]))
    assert psnr(face.image[rows, columns], true[rows, columns]) > 21


def test_a_three_quarter_face_is_drawn_and_a_profile_refused(neutral, tmp_path):
    image, landmarks = neutral.photograph(60.0)
    assert rejected(tmp_path / "a", image, landmarks) == ""
    image, landmarks = neutral.photograph(85.0)
    assert "turned too far" in rejected(tmp_path / "b", image, landmarks)


def test_a_face_of_twenty_pixels_is_refused_by_name(neutral, tmp_path):
    image, landmarks = neutral.photograph(0.0, size=28)
    assert np.ptp(landmarks[:, 0]) < 20
    assert "the face is too small" in rejected(tmp_path, image, landmarks)


def test_a_photograph_of_4000_pixels_is_drawn_as_well_as_a_small_one(neutral, tmp_path):
    image, landmarks = neutral.photograph(20.0, size=1000)
    large = np.asarray(Image.fromarray(image).resize((4000, 4000)))
    small = draw(neutral, image, landmarks, background="original")
    big = draw(neutral, large, (landmarks + 0.5) * 4 - 0.5, background="original")
    assert psnr(small.image, big.image) > 32


def test_landmarks_outside_the_picture(neutral, tmp_path):
    """A chin that is cut off is filled; half a face is refused."""
    image, landmarks = neutral.photograph(0.0)
    chin = int(landmarks[8, 1])
    cut = np.ascontiguousarray(image[: chin - 3])
    assert rejected(tmp_path / "a", cut, landmarks) == ""
    half = np.ascontiguousarray(image[:, : SIZE // 2])
    assert "the face is cut off: " in rejected(tmp_path / "b", half, landmarks)


def test_identical_views_give_what_one_gives(neutral):
    image, landmarks = neutral.photograph(20.0)
    points = torch.from_numpy(landmarks)[None]
    one = render_frontal(neutral.model, fit_landmarks(neutral.model, points), [image], size=SIZE)
    twice = fit_landmarks(neutral.model, torch.stack([points, points], 1))
    assert twice.trusted.all()
    assert (twice.camera.yaw[0] - twice.camera.yaw[1]).abs() < 0.1
    two = render_frontal(neutral.model, twice, [image, image], size=SIZE)
    rows, columns = inner_face(one.landmarks)
    assert psnr(one.image[rows, columns], two.image[rows, columns]) > 25


def test_a_near_photograph_is_fitted_with_its_distance(neutral):
    """From 35 cm the nose is large: with the distance the frontal landmarks are nearer to the truth."""
    places = neutral.vertices[:, torch.from_numpy(neutral.model.topology.landmarks).long()]
    camera = portrait_camera(places, SIZE, yaw=25.0, distance=35.0)
    landmarks = neutral.model.landmarks(camera.project(neutral.vertices))[..., :2]
    errors = [
        abs(float(fit_landmarks(neutral.model, landmarks, distance=distance).camera.yaw) - 25.0)
        for distance in (float("inf"), 35.0)
    ]
    assert errors[1] < 1.5
    assert errors[1] < errors[0]

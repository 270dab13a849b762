import numpy as np
import pytest

from lssl.data.landmarks import flip_landmarks
from lssl.data.masks import BACKGROUND, EYES, LIPS, SKIN, landmark_mask


@pytest.fixture
def points(faces):
    return faces.face_points(80, (63.5, 56))


def test_parts_lie_where_the_landmarks_are(points) -> None:
    mask = landmark_mask(points, (128, 128))
    assert mask.dtype == np.uint8

    def at(point):
        return mask[round(float(point[1])), round(float(point[0]))]

    assert at(points[36:42].mean(0)) == EYES
    assert at(points[42:48].mean(0)) == EYES
    assert at((points[51] + points[62]) / 2) == LIPS
    assert at(points[30]) == SKIN
    assert at(points[21] - [0, 10]) == SKIN  # forehead
    assert mask[127, 0] == BACKGROUND
    assert mask[2, 64] == BACKGROUND
    shares = [(mask == part).mean() for part in (SKIN, LIPS, EYES)]
    assert shares[0] > 0.25
    assert 0.005 < shares[1] < 0.06
    assert 0.003 < shares[2] < 0.04


def test_the_open_mouth_shows_background(points) -> None:
    points[65:68, 1] += 10
    points[54:60, 1] += 10
    mask = landmark_mask(points, (128, 128))
    x, y = points[60:68].mean(0).round().astype(int)
    assert mask[y, x] == BACKGROUND


def test_mirrored_landmarks_give_the_mirrored_mask(points) -> None:
    points += np.random.default_rng(0).normal(0, 0.7, points.shape).astype(np.float32)
    mask = landmark_mask(points, (128, 128))
    other = landmark_mask(flip_landmarks(points, 128), (128, 128))[:, ::-1]
    assert (mask != other).mean() < 0.01


def test_landmarks_beyond_the_picture_are_clipped(points) -> None:
    assert (landmark_mask(points + np.float32(60), (128, 128)) == SKIN).any()
    assert not landmark_mask(points + np.float32(1000), (128, 128)).any()

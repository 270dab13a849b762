"""Landmarks that come with a photograph must lie on its face."""

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.data.landmark_check import check_on_face
from lssl.data.landmark_files import write_pts
from lssl.data.portrait import read_portrait
from lssl.errors import LsslError

pytestmark = pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")


@pytest.fixture(scope="module")
def photograph():
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def points(photograph):
    found = detect.detect_landmarks(photograph)
    assert found is not None
    return found


@pytest.mark.parametrize("error", [0.0, 4.0])
def test_landmarks_on_the_face_are_accepted(photograph, points, error) -> None:
    check_on_face(points + np.float32(error), photograph)
    turned = np.random.default_rng(0).normal(0, error / 2, points.shape).astype(np.float32)
    check_on_face(points + turned, photograph)


@pytest.mark.parametrize("size", [0.5, 0.8, 1.25, 2.0])
def test_landmarks_of_the_picture_at_another_size_are_refused(tmp_path, photograph, points, size) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.png")
    write_pts(tmp_path / "a.pts", (points + 0.5) * size - 0.5)
    with pytest.raises(LsslError, match=rf"a.png: .*{1 / size:.1f}.*at another size|cut off") as error:
        read_portrait(tmp_path / "a.png")
    assert size > 1.9 or "a.pts" in str(error.value)


def test_landmarks_of_another_crop_are_refused(photograph, points) -> None:
    crop = np.ascontiguousarray(photograph[:, 90:])
    with pytest.raises(LsslError, match="another crop of the picture"):
        check_on_face(points, crop)


def test_where_no_face_is_detected_landmarks_are_accepted(points) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    check_on_face(points, noise)


def test_a_face_that_is_not_seen_beside_one_that_is(photograph, points) -> None:
    """The landmarks of a person who is half turned away are not compared with the face beside."""
    other = points - points.mean(0)
    other[:, 0] *= 0.4
    other[48:68] += [8, 6]
    check_on_face((other + [400, 400]).astype(np.float32), photograph)

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.data.landmarks import LEFT_EYE, RIGHT_EYE
from lssl.data.portrait import Portrait

dlib_there = pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")


@pytest.fixture(scope="module")
def astronaut():
    data = pytest.importorskip("skimage.data")
    return data.astronaut()


@dlib_there
def test_a_face_is_found_with_its_eyes_in_order(astronaut) -> None:
    faces = detect.find_faces(astronaut)
    assert len(faces) == 1
    points = faces[0].landmarks
    assert points.shape == (68, 2)
    left, right = points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0)
    assert left[0] < right[0]
    # the irises are dark: the eyes' centres lie on darker pixels than the cheek
    assert np.hypot(*(right - left)) == pytest.approx(48, abs=8)
    assert points[8, 1] > left[1]


@dlib_there
@pytest.mark.parametrize("side", [64, 1500])
def test_small_and_large_pictures_give_the_same_points(astronaut, side) -> None:
    points = detect.detect_landmarks(astronaut)
    assert points is not None
    crop, expected, _ = Portrait(astronaut, points).crop(64)
    if side > 64:
        crop = np.array(Image.fromarray(astronaut).resize((side, side), Image.Resampling.BICUBIC))
        expected = (points + 0.5) * (side / 512) - 0.5
    found = detect.detect_landmarks(crop)
    assert found is not None
    distance = np.linalg.norm(expected[36] - expected[45])
    assert np.linalg.norm(found - expected, axis=1).mean() / distance < 0.06


@dlib_there
def test_the_shipped_detector_is_the_librarys(astronaut) -> None:
    dlib = detect.import_dlib()
    shipped, own = detect._detector(), dlib.get_frontal_face_detector()
    assert isinstance(shipped, dlib.fhog_object_detector)
    found = [detector.run(astronaut, 1, -0.5) for detector in (shipped, own)]
    assert [str(box) for box in found[0][0]] == [str(box) for box in found[1][0]]
    assert list(found[0][1]) == list(found[1][1])


@dlib_there
def test_no_face_and_two_faces(astronaut) -> None:
    assert detect.find_faces(np.zeros((200, 200, 3), np.uint8)) == []
    assert detect.detect_landmarks(np.zeros((200, 200, 3), np.uint8)) is None
    both = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    assert len(detect.find_faces(both)) == 2


@dlib_there
def test_identity_survives_reduction_and_differs_between_people(astronaut) -> None:
    points = detect.detect_landmarks(astronaut)
    crops = [Portrait(astronaut, points).crop(size)[0] for size in (256, 128)]
    embeddings = [detect.identity_embedding(crop[None])[0] for crop in crops]
    assert np.linalg.norm(embeddings[0] - embeddings[1]) < 0.3
    nobody = detect.identity_embedding(np.full((1, 64, 64, 3), 127, np.uint8))[0]
    assert np.linalg.norm(embeddings[0] - nobody) > 0.6
    assert detect.identity_embedding(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 128)


def test_without_dlib_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(detect.DetectionError, match=r"pip install 'lssl\[landmarks\]'"):
        detect.find_faces(np.zeros((64, 64, 3), np.uint8))

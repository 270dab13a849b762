import numpy as np
import pytest
from scipy import ndimage

from lssl.data.align import Similarity, check_inside, face_anchors, face_similarity, warp, warp_labels
from lssl.data.landmarks import eye_centres
from lssl.data.portrait import Portrait
from lssl.errors import LsslError


def turned(points, degrees, scale=1.0, about=(256, 256), shift=(0, 0)):
    a = np.deg2rad(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) * scale
    return ((points - about) @ rotation.T + about + shift).astype(np.float32)


def test_warp_agrees_with_spline_interpolation() -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((90, 110)), 3)
    image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    a = np.deg2rad(20)
    matrix = 1.4 * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    similarity = Similarity(matrix, np.array([-30.3, -60.7]))
    crop = warp(np.repeat(image[..., None], 3, 2), similarity, 64)[..., 0]
    y, x = np.mgrid[0:64, 0:64]
    at = np.stack([x, y], -1) @ similarity.inverse().matrix.T + similarity.inverse().offset
    expected = ndimage.map_coordinates(image.astype(float), [at[..., 1], at[..., 0]], order=3, mode="mirror")
    inside = ((at > 1) & (at < [108, 88])).all(-1)
    assert inside.mean() > 0.5
    assert np.abs(crop - expected)[inside].max() < 4


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    similarity = Similarity(np.eye(2) / 8, np.array([-0.4375, -0.4375]))
    crop = warp(stripes, similarity, 32)
    assert np.abs(crop[4:-4, 4:-4].astype(int) - 127).max() < 12


def test_labels_stay_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (50, 50)).astype(np.uint8)
    crop = warp_labels(labels, Similarity(np.eye(2), np.array([-10.0, -5.0])), 60)
    assert np.array_equal(crop[:45, :40], labels[5:, 10:])
    assert not crop[45:].any()


@pytest.mark.parametrize("degrees", [0, 25, -70, 180])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_crop_does_not_depend_on_tilt_size_and_place(faces, degrees, scale) -> None:
    points = faces.face_points(150)
    moved = turned(points, degrees, scale, shift=(10, -20))
    size = 96
    expected = face_similarity(face_anchors(points), size).apply(points)
    found = face_similarity(face_anchors(moved), size).apply(moved)
    assert np.abs(found - expected).max() < 0.02


def test_the_face_is_upright_and_framed(faces) -> None:
    points = turned(faces.face_points(180), 15)
    image = faces.face_picture(points)
    crop, landmarks, similarity = Portrait(image, points).crop(128)
    assert crop.shape == (128, 128, 3)
    left, right = eye_centres(landmarks)
    assert abs(left[1] - right[1]) < 0.5
    assert abs(np.hypot(*(right - left)) - 32) < 1
    assert abs((left[0] + right[0]) / 2 - 63.5) < 1
    assert landmarks.min() > 10
    assert landmarks.max() < 118
    # the drawn eye is where the landmarks say
    x, y = np.rint(left).astype(int)
    assert crop[y, x].min() > 200
    assert np.abs(similarity.inverse().apply(landmarks) - points).max() < 0.01


def test_an_open_mouth_or_a_smile_leaves_the_heads_size(faces) -> None:
    points = faces.face_points(150)
    opened = points.copy()
    opened[54:60, 1] += 25
    opened[[48, 54], 1] += 15
    opened[5:12, 1] += 25
    closed = face_similarity(face_anchors(points), 128).scale
    assert abs(face_similarity(face_anchors(opened), 128).scale / closed - 1) < 0.005


def test_a_turned_head_is_not_enlarged_by_its_foreshortened_eyes(faces) -> None:
    points = faces.face_points(150)
    aside = ((points - [256, 240]) * [0.7, 1] + [256, 240]).astype(np.float32)
    frontal = face_similarity(face_anchors(points), 128).scale
    assert face_similarity(face_anchors(aside), 128).scale / frontal < 1.15


def test_beyond_the_photograph_there_is_no_hard_edge(faces) -> None:
    points = faces.face_points(200, (120, 110))
    image = faces.face_picture(points, (300, 260))
    crop, _, _ = Portrait(image, points).crop(128)
    assert crop.std(axis=(0, 1)).min() > 1
    outside = crop[:6].astype(int)
    assert np.abs(np.diff(outside, axis=1)).max() < 120
    assert outside.min() > 40  # not filled with black


def cropped(points):
    check_inside(points, 512, 512)
    return Portrait(np.zeros((512, 512, 3), np.uint8), points).crop(128)


@pytest.mark.parametrize(
    ("centre", "width", "message"),
    [((20, 240), 200, "the face is cut off: .* of 68"), ((256, 240), 12, "too small")],
)
def test_unusable_faces_are_named(faces, centre, width, message) -> None:
    points = faces.face_points(width, centre)
    with pytest.raises(LsslError, match=message):
        cropped(points)
    with pytest.raises(LsslError, match="do not make a face"):
        cropped(np.full((68, 2), 100, np.float32))

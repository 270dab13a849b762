"""Checks that landmarks given with a photograph lie on its face, and do not belong to it at another size or crop."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.align import UPPER_LIP, face_anchors
from lssl.data.landmarks import eye_centres
from lssl.errors import LsslError

_FACE_SIDE = 110  # pixels of a face in the search around the landmarks: the detector sees faces of 80 pixels and more
# dlib's box relative to the landmarks' bounding box, in units of the latter's longer side, on 38 photographs and drawn
# faces: shifted by -0.02 +- 0.07 to the right and -0.08 +- 0.1 down, 0.95 to 1.15 times its size.
_BOX_MOVED = np.array([-0.02, -0.08])
_MOST_MOVED = 0.14
_BOX_SIZES = (0.85, 1.25)
# Mean distances of the points, in distances between the eyes. dlib errs by 0.02 on photographs, 0.07-0.3 on drawings.
_FAR = 0.5  # the landmarks are not on this face
_ALIKE = 0.17  # after scaling and shifting, the landmarks are this face's
_FIX = "mark this picture, or let dlib find them (--redetect, or take the file away)"


def check_on_face(points: NDArray[np.float32], image: NDArray[np.uint8], name: str = "") -> None:
    """Raises LsslError if landmarks (68, 2) miss the face of a uint8 RGB picture (H, W, 3) but would fit it if scaled
    or shifted: they were marked on the picture before it was resized or cropped.

    name: the landmark file's, for the message. If dlib is not installed or sees no face, nothing is checked.
    """
    if not detect.available():
        return
    if _framed(points, image):
        return
    found = _everywhere(image)
    if any(_distance(points, face) < _FAR for face in found):
        return
    for face in found:
        scale, shift = _onto(points, face)
        if _distance(scale * points + shift, face) < _ALIKE:
            raise LsslError(f"the landmarks{f' of {name}' if name else ''} {_what(points, face, scale)}; {_FIX}")


def check_folder_landmarks(path: Path, landmarks: NDArray[np.float32], size: tuple[int, int]) -> None:
    """Raises LsslError if most faces of a data set folder have landmarks that cannot be theirs: outside the picture, in
    fractions of its side, or mirrored, as where x and y are swapped.

    path: the file, for the message. landmarks: (rows, 68, 2), (x, y) in pixels. size: height and width of the pictures.
    """
    height, width = size
    sides = np.array([width, height], np.float32)
    inside = ((landmarks > -0.25 * sides) & (landmarks < 1.25 * sides)).all(2).mean(1)
    extent = np.ptp(landmarks, axis=1).max(1)
    left, right = eye_centres(landmarks)
    across, down = right - left, landmarks[:, list(UPPER_LIP)].mean(1) - (left + right) / 2
    mirrored = across[:, 0] * down[:, 1] < across[:, 1] * down[:, 0]
    mirrored &= np.hypot(*across.T) > 0.25 * extent  # the eyes of a face, not of any points
    pictures = f"pictures of {width}x{height}"
    for wrong, what in (
        (
            (extent > 0) & (extent <= 2),
            f"within two pixels of {pictures}: are they fractions of the side? Multiply them by it",
        ),
        (
            inside < 0.5,
            f"outside their {pictures}: are they in another size's pixels? Scale them, or prepare the data again",
        ),
        (mirrored, f"mirrored in {pictures}: are x and y swapped? The file holds (x, y)"),
    ):
        if 2 * wrong.sum() > len(wrong):
            raise LsslError(f"{path}: the landmarks of {wrong.sum()} of {len(wrong)} faces are {what}")


def _what(points: NDArray[np.float32], face: NDArray[np.float32], scale: float) -> str:
    """What is wrong with landmarks that a scale and a shift bring onto a face."""
    pixels, own = points + 0.5, face + 0.5  # from the picture's corner, so that they scale with the picture
    ratio = float((pixels * own).sum() / (pixels * pixels).sum())
    if _distance((ratio * pixels - 0.5).astype(np.float32), face) < _ALIKE and abs(np.log(ratio)) > 0.03:
        return f"fit the face if multiplied by {ratio:.2f}: they belong to the picture at another size"
    place, marked = (f"({x:.0f}, {y:.0f})" for x, y in (face.mean(0), points.mean(0)))
    size = "" if abs(np.log(scale)) < 0.1 else f" and {1 / scale:.2f} times its size"
    return f"lie at {marked}, but the face at {place}{size}: they belong to another crop of the picture"


def _distance(points: NDArray[np.float32], face: NDArray[np.float32]) -> float:
    """The mean distance of points (68, 2) from those of a face, in distances between its eyes."""
    left, right, mouth = face_anchors(face)
    unit = max(float(np.hypot(*(right - left))), float(np.hypot(*(mouth - (left + right) / 2))), 1e-3)
    return float(np.linalg.norm(points - face, axis=1).mean()) / unit


def _onto(points: NDArray[np.float32], face: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """The scale and the shift (2,) that bring points (68, 2) closest to those of a face."""
    centred, target = points - points.mean(0), face - face.mean(0)
    scale = float((centred * target).sum() / max(float((centred * centred).sum()), 1e-6))
    return scale, face.mean(0) - scale * points.mean(0)


def _framed(points: NDArray[np.float32], image: NDArray[np.uint8]) -> bool:
    """Whether dlib's detector sees a face where the landmarks lie, of their size; only a small window is searched."""
    reach = float(np.ptp(points, axis=0).max())
    middle = (points.min(0) + points.max(0)) / 2
    low = np.clip(np.floor(middle - 1.2 * reach), 0, None).astype(int)
    high = np.ceil(middle + 1.2 * reach).astype(int)
    window = image[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if reach < 1 or min(window.shape[:2]) < 8:
        return False
    small, scale = _resized(window, min(_FACE_SIDE / reach, 8.0))
    for (left, top, right, bottom), _ in detect.search_once(small):
        place = np.array([left + right, top + bottom]) / 2 * scale + low
        moved = (place - middle) / reach - _BOX_MOVED
        size = (right - left) * float(scale.mean()) / reach
        if np.abs(moved).max() < _MOST_MOVED and _BOX_SIZES[0] < size < _BOX_SIZES[1]:
            return True
    return False


def _everywhere(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """dlib's landmarks, each (68, 2), of all faces in a picture, in its pixels."""
    small, scale = _resized(image, detect.working_scale(image))
    found = [detect.landmarks_in_box(small, box) for box, _ in detect.search_once(small)]
    return [((points + 0.5) * scale - 0.5).astype(np.float32) for points in found]


def _resized(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A copy about `scale` times as large, and the picture's pixels per pixel of the copy, (x, y)."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small), np.array([width, height]) / size

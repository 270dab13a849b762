"""Finds faces, 68 landmarks and identity embeddings with dlib (`pip install lssl[landmarks]`).

The detector is dlib's frontal one (HOG), the landmarks come from its 68-point regression trees (Kazemi and Sullivan
2014), the embedding from its 128-dimensional face recognition network (99.4% on LFW); two faces usually show one
person if their embeddings are less than 0.6 apart (http://dlib.net/face_recognition.py.html).
"""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.landmarks import COUNT
from lssl.errors import LsslError

EXTRA_MISSING = (
    "finding faces needs dlib: pip install 'lssl[landmarks]' "
    "(or pip install dlib-bin face-recognition-models), or give landmarks in .pts or .csv files"
)
_LARGEST_SIDE = 800  # pictures are shrunk to this before the search: the detector's time grows with the area
_SMALLEST_SIDE = 400  # and enlarged to this: it finds no face under some 80 pixels
_LARGER_SIDES = (1600, 3200, 6400)  # tried where no face is found: finds one of 80 pixels in a picture of 6,400
_WEAKEST = 0.25  # of the best score: faces score 1 to 3, folds and badges near a face 0.01 to 0.1


class DetectionError(LsslError):
    """dlib or its models are not installed; the message says how to get them."""


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A detected face: its box (left, top, right, bottom) and (68, 2) landmarks, in pixels, and the detection score."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32]
    score: float


def available() -> bool:
    """Whether dlib and its models are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("dlib", "face_recognition_models"))


def find_faces(image: NDArray[np.uint8]) -> list[Face]:
    """All faces of a uint8 RGB picture (H, W, 3), largest first. Small pictures are enlarged for the search.

    If none is found, the search is repeated: brightened if the picture is dim, at larger scales (a small face in a
    large picture), and with a border around the picture (a face that fills it). Detections that score under a quarter
    of the best one are left out.

    Raises DetectionError where dlib is not installed.
    """
    import_dlib()
    versions = [image, _brightened(image)] if _is_dim(image) else [image]
    largest = max(image.shape[:2])
    scales = [_working_scale(image), *(min(1.0, side / largest) for side in _LARGER_SIDES if side < 1.5 * largest)]
    for doublings in (0, 1):
        for number, scale in enumerate(scales):
            if doublings and (number or scale < 1):
                break
            if number and scale <= 1.2 * scales[number - 1]:
                continue
            for version in versions:
                boxes, scores = _search(_resized(version, scale), doublings)
                if boxes:
                    return _faces(version, boxes, scores, scale)
    return _faces_with_border(versions[-1])


def _faces(
    image: NDArray[np.uint8], boxes: list[Any], scores: list[float], scale: float, border: int = 0
) -> list[Face]:
    """The faces of `image` whose boxes were found in a copy `scale` times as large with a border of `border` pixels."""
    faces = []
    for box, score in zip(boxes, scores, strict=True):
        if score < _WEAKEST * max(scores):
            continue
        edges = np.array([box.left(), box.top(), box.right(), box.bottom()]) - border
        left, top, right, bottom = (float(edge) for edge in (edges + 0.5) / scale - 0.5)
        inside = image[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
        points = _landmarks(_brightened(image, inside) if _is_dim(inside) else image, (left, top, right, bottom))
        faces.append(Face((left, top, right, bottom), points, float(score)))
    return sorted(faces, key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))


def _faces_with_border(image: NDArray[np.uint8]) -> list[Face]:
    """Faces that fill the picture: the detector needs room around a face."""
    scale = _working_scale(image)
    small = _resized(image, scale)
    border = max(small.shape[:2]) // 3
    padded = np.pad(small, ((border, border), (border, border), (0, 0)), mode="edge")
    boxes, scores = _search(padded, 0)
    return _faces(image, boxes, scores, scale, border)


def _is_dim(image: NDArray[np.uint8]) -> bool:
    """Whether a picture is dark or has little contrast, so that its edges are weak."""
    if not image.size:
        return False
    low, high = np.percentile(_sample(image), (0.1, 99.9))
    return bool(high < 110 or high - low < 60)


def _brightened(image: NDArray[np.uint8], part: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """The picture, its values stretched by the range of `part` (default: of the whole) and its dark half brightened."""
    sample = _sample(image if part is None else part)
    low, high = (float(v) for v in np.percentile(sample, (1, 99.5)))
    share = np.clip((float(np.median(sample)) - low) / max(high - low, 1.0), 0.02, 0.5)
    gamma = float(np.clip(np.log(0.42) / np.log(share), 0.35, 1.0))
    levels = np.clip((np.arange(256) - low) / max(high - low, 1.0), 0, 1) ** gamma
    return np.rint(255 * levels).astype(np.uint8)[image]


def _sample(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[:: max(1, image.shape[0] // 400), :: max(1, image.shape[1] // 400)]


def detect_landmarks(image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """The (68, 2) landmarks of the largest face of a uint8 RGB picture, or None where no face is found."""
    faces = find_faces(image)
    return faces[0].landmarks if faces else None


def landmarks_in_box(image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """The (68, 2) landmarks of a uint8 RGB picture's face in the box (left, top, right, bottom), without a search.

    The box is as the detector frames faces: brows to chin. Raises DetectionError where dlib is not installed.
    """
    return _landmarks(image, box)


def search_once(image: NDArray[np.uint8], *, threshold: float = 0.0) -> list[tuple[Box, float]]:
    """Boxes (left, top, right, bottom) and scores above a threshold of a uint8 RGB picture's faces, by one search.

    The picture is searched at its own size: the detector sees faces of some 80 pixels and more. The best is first.
    Raises DetectionError where dlib is not installed.
    """
    import_dlib()
    boxes, scores, _ = _detector().run(np.ascontiguousarray(image), 0, threshold)
    edges = [(float(box.left()), float(box.top()), float(box.right()), float(box.bottom())) for box in boxes]
    return sorted(zip(edges, scores, strict=True), key=lambda found: -found[1])


def working_scale(image: NDArray[np.uint8]) -> float:
    """The factor by which a picture is resized for a search that is quick and still finds faces of a useful size."""
    return _working_scale(image)


def identity_embedding(images: NDArray[np.uint8], landmarks: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """dlib's identity embeddings (N, 128) of N uint8 RGB pictures (N, H, W, 3), a face in each.

    landmarks: (N, 68, 2) where known; else they are detected, and where no face is found it is assumed to lie as in an
        aligned crop. Distances under 0.6 mean one person.
    Raises DetectionError where dlib is not installed.
    """
    dlib = import_dlib()
    network = _model("dlib_face_recognition_resnet_model_v1.dat")
    embeddings = np.zeros((len(images), 128), dtype=np.float32)
    for k, image in enumerate(images):
        points = landmarks[k] if landmarks is not None else detect_landmarks(image)
        if points is None:
            points = _landmarks(image, _central_box(image))
        pixels, scale = _enlarged(image, 256)
        points = (points + 0.5) * scale - 0.5
        parts = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in points])
        left, top = points.min(0)
        right, bottom = points.max(0)
        box = dlib.rectangle(int(left), int(top), int(right), int(bottom))
        shape = dlib.full_object_detection(box, parts)
        embeddings[k] = np.array(network.compute_face_descriptor(pixels, shape), dtype=np.float32)
    return embeddings


def _search(image: NDArray[np.uint8], doublings: int) -> tuple[list[Any], list[float]]:
    boxes, scores, _ = _detector().run(np.ascontiguousarray(image), doublings, 0.0)
    return list(boxes), list(scores)


def _landmarks(image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    dlib = import_dlib()
    pixels, scale = _enlarged(image, 256)
    left, top, right, bottom = (round((float(edge) + 0.5) * scale - 0.5) for edge in box)
    shape = _model("shape_predictor_68_face_landmarks.dat")(pixels, dlib.rectangle(left, top, right, bottom))
    points = np.array([[shape.part(k).x, shape.part(k).y] for k in range(COUNT)], dtype=np.float32)
    return ((points + 0.5) / scale - 0.5).astype(np.float32)


def _working_scale(image: NDArray[np.uint8]) -> float:
    largest = max(image.shape[:2])
    return min(1.0, _LARGEST_SIDE / largest) if largest > _SMALLEST_SIDE else _SMALLEST_SIDE / largest


def _enlarged(image: NDArray[np.uint8], smallest: int) -> tuple[NDArray[np.uint8], float]:
    scale = max(1.0, smallest / min(image.shape[:2]))
    return _resized(image, scale), scale


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return np.ascontiguousarray(image)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0))


def _central_box(image: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Where the face lies in this project's aligned crops (see `align.py`), as the detector would frame it."""
    height, width = image.shape[:2]
    return 0.2 * width, 0.28 * height, 0.8 * width, 0.88 * height


def import_dlib() -> Any:
    """The dlib module. Raises DetectionError saying how to install it."""
    if not available():
        raise DetectionError(EXTRA_MISSING)
    import dlib

    return dlib


@functools.cache
def _detector() -> Any:
    """dlib's frontal detector, from a file that its `save` wrote: unpacking the one in the library takes half a second."""
    dlib = import_dlib()
    try:
        return dlib.fhog_object_detector(str(Path(__file__).with_name("frontal_faces.svm")))
    except (OSError, RuntimeError):  # not installed with the package, or of another dlib's format
        return dlib.get_frontal_face_detector()


@functools.cache
def _model(name: str) -> Any:
    """One of dlib's models, read from the files of face_recognition_models (whose own code needs pkg_resources)."""
    dlib = import_dlib()
    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / "models" / name
        if path.is_file():
            if name.startswith("shape"):
                return dlib.shape_predictor(str(path))
            return dlib.face_recognition_model_v1(str(path))
    raise DetectionError(f"face_recognition_models is installed, but has no {name}; reinstall it")

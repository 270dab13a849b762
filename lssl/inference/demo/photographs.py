"""An uploaded photograph: what is refused, and in which words; its faces; the parts of it that the page shows."""

import secrets
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.align import check_inside, face_anchors
from lssl.data.detect import Face
from lssl.data.images import read_picture
from lssl.data.picture_files import SUFFIXES, formats_for, kind_of, why_not_read
from lssl.data.portrait import check_upright
from lssl.errors import LsslError

#: Finds the faces of a picture, uint8 RGB (H, W, 3); returns the largest first.
FindFaces = Callable[[NDArray[np.uint8]], list[Face]]

MEGABYTES = 40
MEGAPIXELS = 60
SCREEN = 1600  # pixels: the longest side of a picture on the page; a download has the photograph's own size
_AROUND_FACE = 0.9  # margin on each side of a face in its own view, as a share of the face's larger extent
_SMALLEST_UNIT = 8.0  # the smallest distance between the eyes, in pixels


class Trouble(LsslError):
    """An error as the page shows it: what is wrong, in plain words, and what to do. status: the HTTP status code."""

    def __init__(self, what: str, advice: str = "", status: int = 422) -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what, self.advice, self.status = what, advice, status


@dataclass(frozen=True)
class View:
    """A part of a photograph as the page shows it.

    pixels: uint8 (h, w, 3). corner: (2,), x and y of its first pixel in the photograph. scale: (2,), a factor per axis, at
    most 1. A point p of the photograph lies at (p - corner + 0.5) * scale - 0.5.
    """

    pixels: NDArray[np.uint8]
    corner: NDArray[np.float64]
    scale: NDArray[np.float64]

    def place(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Maps points (..., 2) from the photograph's pixels to the view's."""
        return ((points - self.corner + 0.5) * self.scale - 0.5).astype(np.float32)


@dataclass
class Photograph:
    """An upload. pixels: uint8 RGB (H, W, 3), upright. data: the file. faces: largest first. reasons: for each face, why it
    cannot be changed; '' if it can."""

    name: str
    data: bytes
    pixels: NDArray[np.uint8]
    faces: list[Face]
    reasons: list[str]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    _views: dict[int | None, View] = field(default_factory=dict, repr=False)

    def view(self, face: int | None = None) -> View:
        """The whole photograph, or a face and its surroundings."""
        if face not in self._views:
            low, high = np.zeros(2, int), np.array(self.pixels.shape[1::-1])
            if face is not None:
                low, high = around(self.faces[face].landmarks, _AROUND_FACE, self.pixels.shape)
            self._views[face] = seen(self.pixels, low, high, SCREEN)
        return self._views[face]


def around(
    landmarks: NDArray[np.float32], margin: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """(low, high): the pixels (x, y) around a face, `high` excluded, in a picture of shape (H, W, ...).

    margin: how far beyond the landmarks (68, 2), as a share of their larger extent.
    """
    first, last = landmarks.min(0), landmarks.max(0)
    reach = margin * float((last - first).max())
    extent = np.array(shape[1::-1])
    low = np.clip(np.floor(first - reach), 0, extent - 1).astype(int)
    return low, np.clip(np.ceil(last + reach), low + 1, extent).astype(int)


def seen(pixels: NDArray[np.uint8], low: NDArray[np.int_], high: NDArray[np.int_], largest: float) -> View:
    """The part of a picture from `low` to `high`, made smaller if its longest side exceeds `largest` pixels."""
    piece = pixels[low[1] : high[1], low[0] : high[0]]
    size = high - low
    small = np.maximum(np.rint(size * min(1.0, largest / size.max())), 1).astype(int)
    if (small < size).any():
        shrunk = Image.fromarray(piece).resize((int(small[0]), int(small[1])), Image.Resampling.LANCZOS, reducing_gap=3)
        piece = np.asarray(shrunk)
    return View(np.ascontiguousarray(piece), low.astype(np.float64), small / size)


def read_upload(name: str, data: bytes, find_faces: FindFaces) -> Photograph:
    """A photograph from a file's bytes. Raises Trouble if it is no picture, is too large, or shows no face."""
    check_size(len(data))
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory(prefix="lssl-demo-") as folder:  # readable by its owner only, and removed at once
        path = Path(folder) / f"photograph{suffix if suffix in SUFFIXES else ''}"
        path.write_bytes(data)
        _check_header(path)
        try:
            pixels = read_picture(path).pixels
        except LsslError as error:
            raise Trouble("This picture cannot be read.", _sentence(str(error).removeprefix(f"{path}: "))) from None
    faces = find_faces(pixels)
    if not faces:
        raise Trouble(
            "No face was found in this photograph.",
            "It works best with a face that looks towards the camera, in even light, uncovered, and at least 80 pixels wide.",
        )
    return Photograph(Path(name).stem or "photograph", data, pixels, faces, [_why_not(face, pixels) for face in faces])


def check_size(count: int) -> None:
    """Raises Trouble for an upload of `count` bytes that is too large or empty."""
    if count > MEGABYTES * 1_000_000:
        raise Trouble(
            f"This file is too large: {count / 1e6:.0f} MB.",
            f"Up to {MEGABYTES} MB are accepted; save the photograph as JPEG, or make it smaller.",
            status=413,
        )
    if count == 0:
        raise Trouble("This file is empty.", "Choose another photograph.")


def _check_header(path: Path) -> None:
    """Raises Trouble if it is no picture or its header says that it is too large, before any pixel is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=formats_for(path)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise _too_many_pixels("over 178") from None
    except Exception:  # damaged files make Pillow's decoders raise almost anything
        reason = why_not_read(kind_of(path))
        raise Trouble(
            "This file is not a picture that can be read.",
            _sentence(reason) if reason else "Choose a photograph, such as a JPEG, PNG or WebP file.",
            status=415,
        ) from None
    if width * height > MEGAPIXELS * 1e6:
        raise _too_many_pixels(f"{width * height / 1e6:.0f}")


def _too_many_pixels(count: str) -> Trouble:
    return Trouble(
        f"This picture is too large: {count} megapixels.",
        f"Up to {MEGAPIXELS} megapixels are accepted; make it smaller first.",
        status=413,
    )


def _why_not(face: Face, pixels: NDArray[np.uint8]) -> str:
    left, right, _ = face_anchors(face.landmarks)
    if np.hypot(*(right - left)) < _SMALLEST_UNIT:
        return "This face is too small to be changed."
    try:
        check_inside(face.landmarks, *pixels.shape[:2])
    except LsslError:
        return "This face is cut off by the picture's edge."
    try:
        check_upright(face.landmarks)
    except LsslError:
        return "This face lies on its side."
    return ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."

"""An uploaded photograph: what is refused and in which words, its faces, and the parts of it that the page shows."""

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

#: Finds the faces of a picture, uint8 RGB (H, W, 3), largest first.
FindFaces = Callable[[NDArray[np.uint8]], list[Face]]

MEGABYTES = 40
MEGAPIXELS = 60
SCREEN = 1600  # pixels: the longest side of what a page is shown; a download has the photograph's own size
_AROUND_FACE = 0.9  # of a face's larger extent, on each side, in its own view
_SMALLEST_UNIT = 8.0  # pixels between the eyes


class Trouble(LsslError):
    """What a page says: what is wrong in plain words, and what to do. status: of the answer by HTTP."""

    def __init__(self, what: str, advice: str = "", status: int = 422) -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what, self.advice, self.status = what, advice, status


@dataclass(frozen=True)
class View:
    """A part of a photograph as the page shows it.

    pixels uint8 (h, w, 3). A point p of the photograph lies at (p - corner + 0.5) * scale - 0.5, scale a factor an axis.
    """

    pixels: NDArray[np.uint8]
    corner: NDArray[np.float64]
    scale: NDArray[np.float64]

    def place(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (..., 2) of the photograph, in the view."""
        return ((points - self.corner + 0.5) * self.scale - 0.5).astype(np.float32)


@dataclass
class Photograph:
    """An upload. pixels: uint8 RGB (H, W, 3), upright. data: the file. faces: largest first, each with why it cannot be
    changed, '' where it can."""

    name: str
    data: bytes
    pixels: NDArray[np.uint8]
    faces: list[Face]
    reasons: list[str]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    _views: dict[int | None, View] = field(default_factory=dict, repr=False)

    def view(self, face: int | None = None) -> View:
        """The whole photograph, or a face and what is round it."""
        if face not in self._views:
            low, high = np.zeros(2, int), np.array(self.pixels.shape[1::-1])
            if face is not None:
                low, high = around(self.faces[face].landmarks, _AROUND_FACE, self.pixels.shape)
            self._views[face] = seen(self.pixels, low, high, SCREEN)
        return self._views[face]


def around(
    landmarks: NDArray[np.float32], margin: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The pixels (x, y) from `low` to before `high` round a face, in a picture of a shape (H, W, ...).

    margin: beyond the landmarks (68, 2), a share of their larger extent.
    """
    first, last = landmarks.min(0), landmarks.max(0)
    reach = margin * float((last - first).max())
    extent = np.array(shape[1::-1])
    low = np.clip(np.floor(first - reach), 0, extent - 1).astype(int)
    return low, np.clip(np.ceil(last + reach), low + 1, extent).astype(int)


def seen(pixels: NDArray[np.uint8], low: NDArray[np.int_], high: NDArray[np.int_], largest: float) -> View:
    """A part of a picture, made smaller where its longest side is beyond `largest` pixels."""
    piece = pixels[low[1] : high[1], low[0] : high[0]]
    size = high - low
    small = np.maximum(np.rint(size * min(1.0, largest / size.max())), 1).astype(int)
    if (small < size).any():
        shrunk = Image.fromarray(piece).resize((int(small[0]), int(small[1])), Image.Resampling.LANCZOS, reducing_gap=3)
        piece = np.asarray(shrunk)
    return View(np.ascontiguousarray(piece), low.astype(np.float64), small / size)


def read_upload(name: str, data: bytes, find_faces: FindFaces) -> Photograph:
    """A photograph from a file's bytes. Raises Trouble for what is no picture, too large, or shows no face."""
    check_size(len(data))
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory(prefix="lssl-demo-") as folder:  # read by its owner alone, and gone at once
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
    """Raises Trouble for an upload of so many bytes where they are too many or none."""
    if count > MEGABYTES * 1_000_000:
        raise Trouble(
            f"This file is too large: {count / 1e6:.0f} MB.",
            f"Up to {MEGABYTES} MB are taken; save the photograph as JPEG, or smaller.",
            status=413,
        )
    if count == 0:
        raise Trouble("This file is empty.", "Choose another photograph.")


def _check_header(path: Path) -> None:
    """Raises Trouble for what is no picture, or says that it is huge, before any of its pixels is unpacked."""
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
            "This file is no picture that can be read.",
            _sentence(reason) if reason else "Choose a photograph, such as a JPEG, PNG or WebP file.",
            status=415,
        ) from None
    if width * height > MEGAPIXELS * 1e6:
        raise _too_many_pixels(f"{width * height / 1e6:.0f}")


def _too_many_pixels(count: str) -> Trouble:
    return Trouble(
        f"This picture is too large: {count} megapixels.",
        f"Up to {MEGAPIXELS} megapixels are taken; make it smaller first.",
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

"""Converts pictures as programs hold them (PIL images, arrays, tensors) to uint8 RGB and back, and finds the faces in them.

A result is the same kind of object as was given, and pixels that were not changed keep their exact values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lssl.data import detect, to_float, to_uint8
from lssl.data.images import Picture, exif_orientation, read_picture, upright, upright_metadata
from lssl.data.landmarks import COUNT
from lssl.data.portrait import Portrait, check_face, only_face
from lssl.errors import LsslError

_SMALLEST_SIDE = 16
_KEPT_MODES = ("RGB", "L", "RGBA", "LA")  # pictures of other modes come back as RGB
_STORED = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # for each EXIF orientation, the one that undoes it
#: Finds faces: takes a picture, uint8 RGB (H, W, 3), and returns the landmarks of its K faces, (K, 68, 2) in pixels.
Detector = Callable[[NDArray[np.uint8]], Any]
Faces = Literal["largest", "all"]
Back = Callable[[NDArray[np.uint8]], Any]


@dataclass(frozen=True)
class GivenPicture:
    """A picture that a program gave.

    pixels: uint8 RGB (H, W, 3), upright. back: turns changed pixels into a changed copy of what was given. fresh: turns
    pixels of any size into a new object of the same kind. orientation: EXIF's, of the stored pixels.
    """

    pixels: NDArray[np.uint8]
    back: Back
    fresh: Back
    orientation: int = 1


@dataclass(frozen=True)
class Given:
    """The pictures that a program gave. several: whether it gave a batch. join: makes a batch of the results, of the same
    kind as was given; for a single picture, returns its result."""

    pictures: list[GivenPicture]
    several: bool
    join: Callable[[list[Any]], Any]

    def each(self, change: Callable[[GivenPicture, Any], Any], landmarks: Any = None) -> Any:
        """The results of `change` for each picture and its landmarks, joined.

        landmarks: those of the picture, or a sequence with one entry per picture of a batch; None: not known. An LsslError
        for a picture of a batch says which one.
        """
        count = len(self.pictures)
        marks = [landmarks] if not self.several else [None] * count if landmarks is None else list(landmarks)
        if len(marks) != count:
            raise LsslError(f"landmarks of {len(marks)} pictures, but there are {count} pictures")
        results = []
        for number, (picture, points) in enumerate(zip(self.pictures, marks, strict=True)):
            try:
                results.append(change(picture, points))
            except LsslError as error:
                if not self.several or isinstance(error, detect.DetectionError):
                    raise
                raise LsslError(f"picture {number}: {error}") from None
        return self.join(results)


def given_pictures(given: Any) -> Given:
    """The pictures that a program gives.

    given: a PIL image, a file's path, a uint8 array (H, W, 3), a tensor (3, H, W) in [-1, 1] or uint8; or several: an array
        (N, H, W, 3), a tensor (N, 3, H, W), a list or tuple of any of these.
    Raises LsslError for another shape, type or range, saying what is expected; TypeError for any other kind of object.
    """
    if isinstance(given, Tensor) and given.ndim == 4:
        return Given([_of_tensor(image) for image in given], True, torch.stack)
    if isinstance(given, np.ndarray) and given.ndim == 4:
        return Given([_of_array(image) for image in given], True, np.stack)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Given([given_picture(image) for image in given], True, list)
    return Given([given_picture(given)], False, lambda results: results[0])


def given_picture(given: Any) -> GivenPicture:
    """One picture; see `given_pictures`."""
    if isinstance(given, Image.Image):
        return _of_pil(given)
    if isinstance(given, np.ndarray):
        return _of_array(given)
    if isinstance(given, Tensor):
        return _of_tensor(given)
    if isinstance(given, str | Path):
        picture = read_picture(given)
        back = partial(_image_with, metadata=picture.metadata)
        return GivenPicture(picture.pixels, back, back)
    raise TypeError(f"expected a PIL image, an array, a tensor or a file's path, not {type(given).__name__}")


def _of_array(image: NDArray[Any]) -> GivenPicture:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise LsslError(
            f"a picture as an array must be uint8 (height, width, 3), RGB; got {image.dtype} {image.shape}"
            + (": multiply by 255 and convert" if image.dtype.kind == "f" else "")
        )
    _check_size(image)
    return GivenPicture(np.ascontiguousarray(image), _as_it_is, _as_it_is)


def _of_tensor(image: Tensor) -> GivenPicture:
    if image.ndim != 3 or image.shape[0] != 3 or not (image.dtype == torch.uint8 or image.dtype.is_floating_point):
        raise LsslError(
            "a picture as a tensor must be (3, height, width), floats in [-1, 1] or uint8; got "
            f"{str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
        )
    image = image.detach()
    if image.dtype == torch.uint8:
        start = image.permute(1, 2, 0).cpu().numpy()
        _check_size(start)

        def bytes_back(changed: NDArray[np.uint8]) -> Tensor:
            return torch.from_numpy(changed).permute(2, 0, 1).to(image.device)

        return GivenPicture(np.ascontiguousarray(start), bytes_back, bytes_back)
    low, high = (float(value) for value in image.aminmax()) if image.numel() else (0.0, 0.0)
    if not -1.001 <= low <= high <= 1.001:
        raise LsslError(f"a picture as a tensor of floats must lie in [-1, 1]; got {low:g} to {high:g}")
    pixels = np.ascontiguousarray(to_uint8(image).permute(1, 2, 0).cpu().numpy())
    _check_size(pixels)

    def fresh(made: NDArray[np.uint8]) -> Tensor:
        return to_float(torch.from_numpy(made).permute(2, 0, 1)).to(image.device, image.dtype)

    def back(changed: NDArray[np.uint8]) -> Tensor:
        made = fresh(changed)
        same = torch.from_numpy((changed == pixels).all(2)).to(image.device)
        return torch.where(same, image, made)

    return GivenPicture(pixels, back, fresh)


def _of_pil(image: Image.Image) -> GivenPicture:
    """Turned upright by EXIF for the search; a result is stored the way the given image was, with its EXIF and colour profile."""
    orientation = exif_orientation(image)
    mode = image.mode if image.mode in _KEPT_MODES else "RGBA" if image.has_transparency_data else "RGB"
    stored = np.asarray(image.convert(mode).convert("RGB"))
    _check_size(stored)
    alpha = image.convert(mode).getchannel("A") if mode.endswith("A") else None

    def back(pixels: NDArray[np.uint8]) -> Image.Image:
        made = Image.fromarray(upright(pixels, _STORED[orientation]))
        if mode in ("L", "LA"):
            made = made.convert("L")
        if alpha is not None:
            made.putalpha(alpha)
        made.info = {name: value for name, value in image.info.items() if name != "transparency"}
        if image.mode not in _KEPT_MODES:
            made.info.pop("icc_profile", None)  # it is for another number of channels
        return made

    fresh = partial(_image_with, metadata=upright_metadata(image))
    return GivenPicture(upright(stored, orientation), back, fresh, orientation)


def _image_with(pixels: NDArray[np.uint8], *, metadata: Mapping[str, bytes]) -> Image.Image:
    made = Image.fromarray(pixels)
    made.info.update(dict(metadata))
    return made


def _as_it_is(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels


def _check_size(pixels: NDArray[Any]) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        raise LsslError(f"the picture has only {width}x{height} pixels")


def find_portraits(
    picture: GivenPicture, faces: Faces = "largest", landmarks: Any = None, detector: Detector | None = None
) -> list[Portrait]:
    """The largest face of a picture, or all usable ones.

    landmarks: (68, 2) or (K, 68, 2), in pixels, if known; else `detector` finds them, by default dlib.
    Raises LsslError if there is no face, or none that is usable (cut off, on its side); DetectionError if dlib is missing.
    """
    if faces not in ("largest", "all"):
        raise LsslError(f"faces={faces!r}: expected 'largest' or 'all'")
    pixels = picture.pixels
    if landmarks is not None:
        found = _landmark_sets(landmarks)
    elif detector is not None:
        found = _landmark_sets(detector(pixels))
    elif faces == "largest":
        found = [only_face(pixels, largest_face=True)]
    else:
        found = [face.landmarks for face in detect.find_faces(pixels)]
    if not found:
        raise LsslError("no face found")
    if faces == "largest":
        found = [max(found, key=_extent)]
    usable, reasons = [], []
    for points in found:
        try:
            check_face(points, Picture(pixels, picture.orientation))
            usable.append(Portrait(pixels, points))
        except LsslError as error:
            reasons.append(error)
    if not usable:
        raise reasons[0]
    return usable


def _landmark_sets(given: Any) -> list[NDArray[np.float32]]:
    """Landmarks (68, 2) or (K, 68, 2), of any number type, as K float32 arrays. Raises LsslError for another shape."""
    points = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given, dtype=np.float32)
    if points.size == 0:
        return []
    if points.ndim == 2:
        points = points[None]
    if points.ndim != 3 or points.shape[1:] != (COUNT, 2):
        raise LsslError(f"landmarks must be ({COUNT}, 2) or (faces, {COUNT}, 2), x and y in pixels; got {points.shape}")
    return list(points)


def _extent(points: NDArray[np.float32]) -> float:
    width, height = np.ptp(points, axis=0)
    return float(width * height)

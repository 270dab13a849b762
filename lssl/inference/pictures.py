"""Pictures as programs hold them (PIL images, arrays, tensors), as uint8 RGB and back again.

What comes back is of the kind that was given, and where its pixels were not changed they are the given ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lssl.data import to_float, to_uint8
from lssl.data.images import exif_orientation, read_picture, upright
from lssl.errors import LsslError

_SMALLEST_SIDE = 16
_KEPT_MODES = ("RGB", "L", "RGBA", "LA")  # others come back as RGB
_STORED = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # the orientation that undoes each
Back = Callable[[NDArray[np.uint8]], Any]


@dataclass(frozen=True)
class GivenPicture:
    """pixels: uint8 RGB (H, W, 3), upright. back: makes of such pixels, of any size, a picture of the kind that was
    given. orientation: by EXIF, of the stored pixels."""

    pixels: NDArray[np.uint8]
    back: Back
    orientation: int = 1


@dataclass(frozen=True)
class Given:
    """pictures: those in what a program gave. several: whether it gave a batch. join: makes a batch of their results, of the
    kind that was given; of a single picture, that picture."""

    pictures: list[GivenPicture]
    several: bool
    join: Callable[[list[Any]], Any]


def given_pictures(given: Any) -> Given:
    """The pictures in what a program gives.

    given: a PIL image, a file's path, a uint8 array (H, W, 3), a tensor (3, H, W) in [-1, 1] or uint8; or several: arrays
        (N, H, W, 3), tensors (N, 3, H, W), a list or tuple of any of these.
    Raises LsslError for anything else, naming what is expected; TypeError for a kind of object that holds no picture.
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
        return GivenPicture(picture.pixels, Image.fromarray)
    raise TypeError(f"a PIL image, an array, a tensor or a file's path is expected, not {type(given).__name__}")


def _of_array(image: NDArray[Any]) -> GivenPicture:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise LsslError(
            f"an array of a picture is uint8 (height, width, 3), RGB; got {image.dtype} {image.shape}"
            + (": multiply by 255 and convert" if image.dtype.kind == "f" else "")
        )
    _check_size(image)
    return GivenPicture(np.ascontiguousarray(image), lambda pixels: pixels)


def _of_tensor(image: Tensor) -> GivenPicture:
    if image.ndim != 3 or image.shape[0] != 3 or not (image.dtype == torch.uint8 or image.dtype.is_floating_point):
        raise LsslError(
            "a tensor of a picture is (3, height, width), of floats in [-1, 1] or uint8; got "
            f"{str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
        )
    image = image.detach()
    if image.dtype == torch.uint8:
        start = image.permute(1, 2, 0).cpu().numpy()
        _check_size(start)
        return GivenPicture(
            np.ascontiguousarray(start), lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).to(image.device)
        )
    low, high = (float(value) for value in image.aminmax()) if image.numel() else (0.0, 0.0)
    if not -1.001 <= low <= high <= 1.001:
        raise LsslError(f"a tensor of a picture lies in [-1, 1]; got {low:g} to {high:g}")
    pixels = np.ascontiguousarray(to_uint8(image).permute(1, 2, 0).cpu().numpy())
    _check_size(pixels)

    def back(changed: NDArray[np.uint8]) -> Tensor:
        made = to_float(torch.from_numpy(changed).permute(2, 0, 1)).to(image.device, image.dtype)
        if changed.shape != pixels.shape:
            return made
        same = torch.from_numpy((changed == pixels).all(2)).to(image.device)
        return torch.where(same, image, made)

    return GivenPicture(pixels, back)


def _of_pil(image: Image.Image) -> GivenPicture:
    """Upright by EXIF for the search; what comes back is stored as it was, with its EXIF and colour profile."""
    orientation = exif_orientation(image)
    mode = image.mode if image.mode in _KEPT_MODES else "RGBA" if image.has_transparency_data else "RGB"
    stored = np.asarray(image.convert(mode).convert("RGB"))
    _check_size(stored)
    alpha = image.convert(mode).getchannel("A") if mode.endswith("A") else None

    def back(pixels: NDArray[np.uint8]) -> Image.Image:
        made = Image.fromarray(upright(pixels, _STORED[orientation]))
        if mode in ("L", "LA"):
            made = made.convert("L")
        if alpha is not None and made.size == alpha.size:
            made.putalpha(alpha)
        made.info = {name: value for name, value in image.info.items() if name != "transparency"}
        if image.mode not in _KEPT_MODES:
            made.info.pop("icc_profile", None)  # of another number of channels
        return made

    return GivenPicture(upright(stored, orientation), back, orientation)


def _check_size(pixels: NDArray[Any]) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        raise LsslError(f"the picture has only {width}x{height} pixels")

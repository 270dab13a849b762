"""Reads photographs as people have them: any size, EXIF orientation, grey, 16 bit, palette, alpha, CMYK."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from lssl.errors import LsslError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
_SMALLEST_SIDE = 16


class ImageError(LsslError):
    """A picture that cannot be used; `reason` is why, without the file's name."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return (ImageError, (str(self).split(": ")[0], self.reason))


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The picture upright (EXIF), as uint8 RGB (H, W, 3).

    Grey is repeated, more than 8 bits are reduced to 8, transparency is laid over white, CMYK and palettes are
    converted, of an animation the first frame is taken.
    Raises ImageError for what is missing, empty, truncated, no picture, or smaller than 16 pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(path, "no such file")
    if path.stat().st_size == 0:
        raise ImageError(path, "the file is empty")
    if ImageFile.LOAD_TRUNCATED_IMAGES:  # a process-wide switch that would turn missing rows into grey
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path) as image:
            image.load()
            pixels = _to_rgb(ImageOps.exif_transpose(image))
    except Image.UnidentifiedImageError:
        raise ImageError(path, "not a picture in a format that can be read") from None
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"too large ({error})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        text = str(error)
        reason = "the file is truncated" if "truncated" in text.lower() else f"the file is damaged ({text})"
        raise ImageError(path, reason) from None
    if min(pixels.shape[:2]) < _SMALLEST_SIDE:
        raise ImageError(path, f"only {pixels.shape[1]}x{pixels.shape[0]} pixels")
    return pixels


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return np.repeat(_eight_bits(np.asarray(image), image.mode)[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _eight_bits(values: NDArray[np.generic], mode: str) -> NDArray[np.uint8]:
    data = np.nan_to_num(np.asarray(values, dtype=np.float64))
    top = float(data.max(initial=0))
    if mode == "F":
        scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 255.0 / 65535
    else:
        scale = 1.0 if mode == "I" and top <= 255 else 255.0 / 65535
    return np.clip(np.rint(data * scale), 0, 255).astype(np.uint8)

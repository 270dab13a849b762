"""Reads photographs as people have them: any size, EXIF orientation, grey, 10 to 32 bits, palette, alpha, CMYK."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from lssl.data.depth import eight_bits, wide_colour
from lssl.data.picture_files import formats_for, kind_of, why_not_read
from lssl.errors import LsslError

#: An environment variable with the largest picture to read, in megapixels; `--max-megapixels` sets it for a command.
LIMIT_VARIABLE = "LSSL_MAX_MEGAPIXELS"
DEFAULT_LIMIT = 179.0
_SMALLEST_SIDE = 16
_STRIP = 1 << 22  # pixels that are converted at a time
_ORIENTATION = 0x0112
_PAGE_KIND = 254  # TIFF: bit 0, a reduced version of another page; bit 2, a mask of it
_ONE_PICTURE = ("MPO", "PSD", "ICO")  # what else these hold are a stereo or gain map, layers, other sizes


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 RGB (H, W, 3), upright. orientation: EXIF's, of the stored pixels, 1 to 8 (1: upright).
    note: what was done to its values that a user should know, or empty. metadata: see `upright_metadata`."""

    pixels: NDArray[np.uint8]
    orientation: int = 1
    note: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The picture upright (EXIF), as uint8 RGB (H, W, 3); see `read_picture`."""
    return read_picture(path).pixels


def read_picture(path: str | Path) -> Picture:
    """The picture upright (EXIF), as uint8 RGB, and what was done to it.

    Grey is repeated in three channels; more than 8 bits per value are reduced to 8 by the scale that the file declares,
    or that its values need; transparency is laid over white; CMYK, Lab and palettes are converted.
    Raises LsslError for a file that is missing, empty, truncated, not a picture, an animation, smaller than 16 pixels,
    or larger than 179 megapixels (or what the environment variable LSSL_MAX_MEGAPIXELS says).
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise unusable(path, "no such file" if missing else str(error.strerror or error)) from None
    if not path.is_file():
        raise unusable(path, "is a folder" if path.is_dir() else "is not an ordinary file")
    if size == 0:
        raise unusable(path, "the file is empty")
    if ImageFile.LOAD_TRUNCATED_IMAGES:  # a process-wide switch that would turn missing rows into grey
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        picture = _decode(path)
    except LsslError as error:
        raise unusable(path, str(error).removeprefix(f"{path}: ")) from None
    except Image.UnidentifiedImageError:
        raise unusable(path, why_not_read(kind_of(path)) or "not a picture in a format that can be read") from None
    except Image.DecompressionBombError:
        raise unusable(path, _too_large(None)) from None
    except MemoryError:
        raise unusable(path, "too large for the memory") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        text = str(error) or type(error).__name__
        cut = "truncated" in text.lower() or isinstance(error, EOFError)
        raise unusable(path, "the file is truncated" if cut else f"the file is damaged ({text})") from None
    height, width = picture.pixels.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        raise unusable(path, f"only {width}x{height} pixels")
    return picture


def unusable(path: str | Path, reason: str) -> LsslError:
    """The error for a picture that cannot be used."""
    return LsslError(f"{path}: {reason}")


def megapixel_limit() -> float:
    """The largest picture that is read, in megapixels."""
    try:
        return float(os.environ.get(LIMIT_VARIABLE, "") or DEFAULT_LIMIT)
    except ValueError:
        return DEFAULT_LIMIT


def _decode(path: Path) -> Picture:
    limit = megapixel_limit() * 1e6
    if LIMIT_VARIABLE in os.environ and limit > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
        Image.MAX_IMAGE_PIXELS = int(limit)  # raises Pillow's own limit, for the whole process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")  # on odd metadata
        with Image.open(path, formats=formats_for(path)) as image:
            if image.width * image.height > limit:
                raise unusable(path, _too_large(image.width * image.height))
            if (frames := _frames(image)) > 1:
                what = "pages" if image.format == "TIFF" else "frames"
                raise unusable(path, f"an animation or a stack of {frames} {what}: save those you want as pictures")
            wide = wide_colour(path, image)
            if wide is None:
                image.load()
            orientation = exif_orientation(image)  # after the pixels: in a PNG it may follow them
            pixels, note = _to_rgb(image) if wide is None else wide
            metadata = upright_metadata(image)
    return Picture(upright(pixels, orientation), orientation, note, metadata)


def _frames(image: Image.Image) -> int:
    """How many pictures a file holds, not counting smaller versions and masks of others."""
    count = int(getattr(image, "n_frames", 1))
    if count == 1 or image.format in _ONE_PICTURE:
        return 1
    if image.format != "TIFF":
        return count
    own = 0
    for page in range(min(count, 100)):
        image.seek(page)
        own += not int(image.tag_v2.get(_PAGE_KIND, 0)) & 5  # type: ignore[attr-defined]
    image.seek(0)
    return own


def exif_orientation(image: Image.Image) -> int:
    """EXIF's orientation of the stored pixels, 1 (upright) to 8; 1 if it is missing or damaged."""
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata of a whole picture
        return 1
    return value if 1 <= value <= 8 else 1


def upright_metadata(image: Image.Image) -> dict[str, bytes]:
    """A picture's EXIF and colour profile under the names by which Pillow saves them (`exif`, `icc_profile`), fit for
    its upright RGB pixels: without the orientation, the embedded preview, and a profile for other channels."""
    kept = {}
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile[16:20] == b"RGB ":
        kept["icc_profile"] = profile
    try:
        exif = image.getexif()
        exif.pop(_ORIENTATION, None)
        if len(exif):
            kept["exif"] = exif.tobytes()
    except Exception:  # damaged metadata of a whole picture
        return kept
    return kept


def colour_profile(metadata: Mapping[str, bytes]) -> dict[str, bytes]:
    """The part of a picture's metadata that describes its colours, for pictures derived from it."""
    return {name: value for name, value in metadata.items() if name == "icc_profile"}


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels turned and mirrored as EXIF's orientation says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _to_rgb(image: Image.Image) -> tuple[NDArray[np.uint8], str]:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values, note = eight_bits(np.asarray(image), image)
        return np.repeat(values[..., None], 3, axis=2), note
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    strip = max(1, _STRIP // image.width)  # Pillow keeps 4 bytes a pixel, and np.array(image) would copy twice
    visible = False
    for top in range(0, image.height, strip):
        part = image.crop((0, top, image.width, min(top + strip, image.height)))
        made, shows = _strip_to_rgb(part)
        pixels[top : top + strip] = np.asarray(made)
        visible |= shows
    if not visible:
        raise LsslError("every pixel is transparent: save it without transparency")
    return pixels, ""


def _strip_to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """Part of a picture as RGB, transparency laid over white, and whether any pixel of it is visible."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert made is not None  # it is None only for a conversion in place
        return made, True
    visible = True
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        extremes: Any = image.getchannel("A").getextrema()
        visible = extremes[1] > 0
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB"), visible


def _too_large(pixels: int | None) -> str:
    size = "" if pixels is None else f"{pixels / 1e6:.0f} megapixels; "
    return f"too large: {size}at most {megapixel_limit():g} megapixels are read (--max-megapixels allows more)"

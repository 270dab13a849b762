"""Reduces pictures of more than 8 bits per value to 8, by the scale that the file declares or that its values need."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SAMPLE_BITS = 258  # TIFF tags
_PLANES = 284
_LARGEST_SAMPLE = 281
# Pillow keeps the high byte of 16-bit colour; read once more with the bytes in the other order, it keeps the low one.
_OTHER_BYTE = {f"{m};16{a}": f"{m};16{b}" for m in ("RGB", "RGBA") for a, b in ("BL", "LB", "NB")}
_OTHER_BYTE["LA;16B"] = "RGBA"  # two values of two bytes each, kept as they are


def eight_bits(values: NDArray[Any], image: Image.Image | None = None) -> tuple[NDArray[np.uint8], str]:
    """uint8 values for integers of up to 32 bits or floats of any shape, and a note on the scale if it was unusual.

    Floats up to 1 are shares of white, and those up to 65,535 are treated like integers; larger ones, and arrays with
    negative values, are stretched over their range. Integers are divided by the largest value of as many bits as the
    file declares (PNG's sBIT, TIFF's MaxSampleValue), or else as its values need.
    """
    data = np.nan_to_num(np.asarray(values, dtype=np.float32), posinf=0, neginf=0)
    low, top = float(data.min(initial=0)), float(data.max(initial=0))
    if np.issubdtype(values.dtype, np.floating):
        whole = 1.0 if top <= 1 else 2.0 ** _bits_used(None, top) - 1 if top <= 65535 else top
        note = f"values of up to {top:g} stretched to 8 bits" if top > 255 else ""
    else:
        bits = _bits_used(image, top)
        whole = 2.0**bits - 1 if bits <= 16 or bits == 32 else top  # no camera uses a scale between those
        note = "" if bits in (8, 16) else f"{bits} bits per value stretched to 8"
    if low < 0:
        data, whole, note = data - low, top - low, f"values of {low:g} to {top:g} stretched to 8 bits"
    data *= np.float32(255 / max(whole, 1e-12))
    return np.clip(np.rint(data, out=data), 0, 255).astype(np.uint8), note


def wide_colour(path: Path, image: Image.Image) -> tuple[NDArray[np.uint8], str] | None:
    """uint8 RGB (H, W, 3) and a note for colour of 16 bits per value, of which Pillow keeps only the high bytes; None
    for any other picture. `image`: as opened, not loaded."""
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA") or not tiles:
        return None
    if image.format == "TIFF" and image.tag_v2.get(_PLANES, 1) == 2:  # type: ignore[attr-defined]
        bits = image.tag_v2.get(_SAMPLE_BITS, 8)  # type: ignore[attr-defined]
        return _separate_planes(path, image) if max(np.atleast_1d(bits)) > 8 else None
    swapped = []
    for tile in tiles:
        args = tile[3]
        raw = args if isinstance(args, str) else args[0] if args else None
        other = _OTHER_BYTE.get(raw) if isinstance(raw, str) else None
        if other is None:
            return None
        swapped.append((*tile[:3], other if isinstance(args, str) else (other, *args[1:])))
    if tiles[0][3] == "LA;16B":
        four = _loaded(path, image, swapped).astype(np.uint16)
        values = ((four[..., ::2] << 8) | four[..., 1::2])[..., [0, 0, 0, 1]]
    else:
        image.load()
        values = (np.asarray(image).astype(np.uint16) << 8) | _loaded(path, image, swapped)
    pixels, note = eight_bits(values[..., :3], image)
    if values.shape[2] == 4:
        share = values[..., 3:].astype(np.float32) / 65535
        pixels = np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)
    return pixels, note


def _loaded(path: Path, image: Image.Image, tiles: list[tuple[Any, ...]]) -> NDArray[np.uint8]:
    """The pixels of a picture, read with other tiles than those that Pillow chose."""
    opened: Any = Image.open(path, formats=(image.format or "",))
    with opened as again:
        kind = type(again.tile[0])  # a plain tuple before Pillow 11
        again.tile = [tile if kind is tuple else kind(*tile) for tile in tiles]
        again.load()
        return np.asarray(again)


def _separate_planes(path: Path, image: Image.Image) -> tuple[NDArray[np.uint8], str]:
    """A TIFF with one plane per colour, which Pillow reads as 8 bits per value."""
    import tifffile  # comes with scikit-image

    values = np.moveaxis(np.asarray(tifffile.imread(path, key=0)), 0, -1)
    return eight_bits(values[..., :3], image)


def _bits_used(image: Image.Image | None, top: float) -> int:
    """The bits of the values' scale: what the file declares, else the fewest usual ones that hold the largest value."""
    needed = max(1, int(top).bit_length())
    said = _bits_said(image) if image is not None else 0
    if 1 < said <= 32 and said >= needed:
        return said
    return next(bits for bits in (8, 10, 12, 14, 16, 20, 24, 32, 64) if needed <= bits)


def _bits_said(image: Image.Image) -> int:
    if image.format == "PNG":
        return _png_significant_bits(getattr(image, "filename", ""))
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        largest = tags.get(_LARGEST_SAMPLE)
        largest = max(largest) if isinstance(largest, tuple) else largest
        if isinstance(largest, int) and 0 < largest < 65535:
            return largest.bit_length()
        bits = tags.get(_SAMPLE_BITS)
        bits = max(bits) if isinstance(bits, tuple) else bits
        return bits if isinstance(bits, int) and bits not in (8, 16, 32) else 0
    return 16 if image.format == "PPM" else 0  # which Pillow has scaled by the file's own largest value


def _png_significant_bits(path: str | bytes | Path) -> int:
    """The most bits of any channel according to the chunk sBIT, which precedes the pixels; 0 if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(8)
            for _ in range(64):
                length, kind = struct.unpack(">I4s", file.read(8))
                if kind == b"sBIT":
                    return max(file.read(min(length, 4)), default=0)
                if kind == b"IDAT" or length > 2**24:
                    break
                file.seek(length + 4, 1)
    except (OSError, struct.error, TypeError):
        pass
    return 0

"""PNGs of large photographs: the same pixels as Pillow's, in half its processor time, using all processors.

Pillow tries five filters on every row. The difference from the row above serves photographs as well, and makes strips
that can be packed in parallel: deflate's blocks may be concatenated if each strip ends on a byte (as in pigz).
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.threads import processors

_LEVEL = 1
_STRIP = 1 << 21  # bytes of pixels
_UP = 2  # PNG's number of the filter that subtracts the row above
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB = b"\x78\x01"  # deflate, a window of 32 KiB, packed fast (RFC 1950)
_ADLER = 65521


def png_pieces(image: NDArray[np.uint8], metadata: Mapping[str, bytes] | None = None) -> list[bytes]:
    """A PNG of an RGB picture (H, W, 3), in pieces to be written one after the other.

    metadata: `exif` and `icc_profile` to embed.
    """
    pieces = [_SIGNATURE]
    for kind, data in _chunks_of_one_pixel(metadata or {}):
        if kind == b"IHDR":
            pieces += _chunk(kind, struct.pack(">II", image.shape[1], image.shape[0]) + data[8:])
        elif kind == b"IDAT":
            for packed in _packed(image):
                pieces += _chunk(kind, packed)
        else:
            pieces += _chunk(kind, data)
    return pieces


def _chunks_of_one_pixel(metadata: Mapping[str, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(kind, data) of each chunk that Pillow writes for a picture of one pixel with this metadata."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", **metadata)
    data, at = buffer.getvalue(), len(_SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    return struct.pack(">I4s", len(data), kind), data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _packed(image: NDArray[np.uint8]) -> Iterator[bytes]:
    """zlib's stream of the filtered rows, in parts."""
    height, width, _ = image.shape
    rows = max(1, _STRIP // (3 * width))
    starts = range(0, height, rows)
    checksum = zlib.adler32(b"")
    yield _ZLIB
    with ThreadPoolExecutor(min(len(starts), processors())) as pool:
        for packed, adler, length in pool.map(lambda start: _strip(image, start, min(start + rows, height)), starts):
            checksum = _joined(checksum, adler, length)
            yield packed
    yield struct.pack(">I", checksum)


def _strip(image: NDArray[np.uint8], start: int, stop: int) -> tuple[bytes, int, int]:
    """Rows start to stop, filtered and packed; the Adler-32 checksum of the filtered bytes, and their number."""
    pixels = image.reshape(len(image), -1)
    raw = np.empty((stop - start, 1 + pixels.shape[1]), np.uint8)
    raw[:, 0] = _UP
    raw[0, 1:] = pixels[start] - pixels[start - 1] if start else pixels[start]
    np.subtract(pixels[start + 1 : stop], pixels[start : stop - 1], out=raw[1:, 1:])
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    end = zlib.Z_FINISH if stop == len(image) else zlib.Z_FULL_FLUSH
    packed = raw.reshape(-1).data
    return deflate.compress(packed) + deflate.flush(end), zlib.adler32(packed), raw.size


def _joined(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces in sequence, from the checksums of both and the second's length (RFC 1950, section 9)."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return (high % _ADLER) << 16 | low % _ADLER

"""Large photographs as PNG: any reader sees the pixels that were given."""

import io

import numpy as np
import pytest
from PIL import Image

from lssl.data.png import png_pieces
from lssl.data.writer import write_image


def photograph(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (1200, 700), (1100, 1), (3, 800_000)])
def test_any_reader_sees_the_pixels_that_were_given(shape):
    image = photograph(*shape)
    with Image.open(io.BytesIO(b"".join(png_pieces(image)))) as read:
        read.verify()  # the chunks' checksums
    with Image.open(io.BytesIO(b"".join(png_pieces(image)))) as read:
        assert read.mode == "RGB"
        assert np.array_equal(np.asarray(read), image)


def test_strips_are_joined_with_the_right_checksum():
    import zlib

    pieces = png_pieces(photograph(1200, 700))
    stream = b"".join(pieces[k + 1] for k, piece in enumerate(pieces) if piece[4:8] == b"IDAT")
    assert len(zlib.decompress(stream)) == 1200 * (1 + 3 * 700)  # raises where Adler-32 is another


def test_exif_and_profile_go_with_it(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    about = {"exif": exif.tobytes(), "icc_profile": b"p" * 200}
    image = np.zeros((2048, 2048, 3), np.uint8)
    write_image(tmp_path / "a.png", image, about)
    with Image.open(tmp_path / "a.png") as read:
        assert read.getexif()[0x010F] == "a camera"
        assert read.info["icc_profile"] == about["icc_profile"]
        assert np.array_equal(np.asarray(read), image)

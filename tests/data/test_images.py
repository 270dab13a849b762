import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from lssl.data.images import read_image, read_picture
from lssl.errors import LsslError

GRADIENT = np.linspace(0, 255, 40 * 30).reshape(40, 30).astype(np.uint8)


def colours() -> np.ndarray:
    return np.stack([GRADIENT, 255 - GRADIENT, np.full_like(GRADIENT, 60)], -1)


def test_plain_colour(tmp_path) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), colours())


def test_exif_orientation_is_applied(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn 90 degrees clockwise
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    turned = read_image(tmp_path / "a.jpg")
    assert turned.shape == (30, 40, 3)
    assert np.abs(turned.astype(int) - np.rot90(colours(), -1)).max() < 12


def test_grey_is_repeated(tmp_path) -> None:
    Image.fromarray(GRADIENT).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(GRADIENT[..., None], 3, 2))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight(tmp_path, name) -> None:
    Image.fromarray(GRADIENT.astype(np.uint16) * 257).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name)[..., 1], GRADIENT)


def test_float_tiff(tmp_path) -> None:
    Image.fromarray((GRADIENT / 255).astype(np.float32)).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif")[..., 0].astype(int) - GRADIENT).max() <= 1


def test_cmyk(tmp_path) -> None:
    Image.new("CMYK", (30, 30), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red = read_image(tmp_path / "a.jpg")
    assert red.shape == (30, 30, 3)
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(tmp_path, mode) -> None:
    image = Image.new("RGBA", (30, 30), (0, 0, 0, 0))
    image.paste((80, 80, 80, 255), (0, 0, 15, 30))
    image.convert(mode).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels[5, 25].tolist() == [255, 255, 255]
    assert abs(int(pixels[5, 5, 0]) - 80) < 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_an_animation_is_refused_and_one_frame_is_read(tmp_path, name) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(LsslError, match=r"a stack of 3 (frames|pages): save those you want as pictures"):
        read_image(tmp_path / name)
    frames[0].save(tmp_path / name, save_all=True)
    assert read_image(tmp_path / name)[0, 0, 0] > 250


def test_a_tiff_with_a_preview_page_is_one_picture(tmp_path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", colours(), photometric="rgb")
    small = np.full((20, 20, 3), 9, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", small, photometric="rgb", append=True, subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif"), colours())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright_and_reported(tmp_path, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours()).save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, expected)
    assert picture.orientation == orientation


def png16(values: np.ndarray, significant: int = 0) -> bytes:
    """A 16-bit PNG (grey, grey and alpha, RGB or RGBA), which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    said = chunk(b"sBIT", bytes([significant] * channels)) if significant else b""
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + said + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bit_files_are_scaled_by_the_bits_they_use(tmp_path, channels, bits) -> None:
    grey = np.round(GRADIENT / 255 * (2**bits - 1)).astype(np.uint16)
    planes = np.repeat(grey[..., None], channels, 2)
    if channels in (2, 4):
        planes[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png16(planes))
    picture = read_picture(tmp_path / "a.png")
    assert np.abs(picture.pixels[..., 1].astype(int) - GRADIENT).max() <= 1
    assert picture.note == ("" if bits == 16 else f"{bits} bits per value stretched to 8")


def test_what_a_file_says_of_its_bits_wins_over_its_range(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(png16(np.full((20, 20, 3), 500, np.uint16), significant=12))
    assert read_image(tmp_path / "a.png").max() == round(500 / 4095 * 255)


@pytest.mark.parametrize("dtype", ["int32", "uint16", "int16", "float32"])
def test_values_of_other_kinds_are_neither_black_nor_white(tmp_path, dtype) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", (GRADIENT / 255 * 1023).astype(dtype))
    tifffile.imwrite(tmp_path / "b.tif", np.repeat(GRADIENT[None].astype(np.uint16) * 4, 3, 0), photometric="rgb",
                     planarconfig="separate")  # fmt: skip
    for name in "ab":
        assert 90 < read_image(tmp_path / f"{name}.tif").mean() < 160


def test_lab_is_converted(tmp_path) -> None:
    Image.new("LAB", (30, 30), (255, 128, 128)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").min() > 240


def test_a_picture_over_the_limit_is_refused_in_our_words_and_read_when_allowed(tmp_path, monkeypatch) -> None:
    Image.fromarray(colours()).save(tmp_path / "a.png")
    monkeypatch.setenv("LSSL_MAX_MEGAPIXELS", "0.001")
    with pytest.raises(LsslError, match=r"at most 0\.001 megapixels are read \(--max-megapixels allows more\)"):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("LSSL_MAX_MEGAPIXELS", "0.01")
    assert read_image(tmp_path / "a.png").shape == (40, 30, 3)
    monkeypatch.delenv("LSSL_MAX_MEGAPIXELS")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow's own limit, half of what it refuses
    with pytest.raises(LsslError, match="too large: at most 179 megapixels"):
        read_image(tmp_path / "a.png")


def test_a_postscript_file_under_another_name_runs_no_interpreter(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n")
    with pytest.raises(LsslError, match="a drawing or a document is not read"):
        read_image(tmp_path / "a.jpg")


def write(path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: write(p, b""), "the file is empty"),
        (lambda p: write(p, p.read_bytes()[: p.stat().st_size // 2]), "truncated"),
        (lambda p: write(p, b"<html>not found</html>"), "not a picture"),
        (lambda p: Image.new("RGB", (9, 40)).save(p), "only 9x40 pixels"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_reason_for_each_picture_that_cannot_be_used(tmp_path, damage, reason, suffix) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(path)
    damage(path)
    with pytest.raises(LsslError, match=reason) as error:
        read_image(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_strips_make_what_the_whole_makes(tmp_path, monkeypatch, mode):
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).convert(mode)
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(colours[..., 0]))
    path = tmp_path / "picture.tif"
    picture.save(path)
    try:
        with Image.open(path) as written:
            written.load()
    except OSError:
        assert mode == "YCbCr"
        pytest.skip("this Pillow does not read the YCbCr TIFF that it writes")
    whole = read_image(path)
    monkeypatch.setattr("lssl.data.images._STRIP", 7 * 30)
    assert np.array_equal(read_image(path), whole)

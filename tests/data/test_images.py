import numpy as np
import pytest
from PIL import Image

from lssl.data.images import ImageError, read_image

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


def test_palette_and_the_first_frame_of_an_animation(tmp_path) -> None:
    frames = [Image.new("P", (30, 30), k) for k in range(3)]
    for frame in frames:
        frame.putpalette([0, 0, 200, 0, 200, 0, 200, 0, 0])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [0, 0, 200]


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
    with pytest.raises(ImageError, match=reason) as error:
        read_image(path)
    assert str(path) in str(error.value)
    assert str(path) not in error.value.reason

"""Whatever looks like a picture is read, or listed with the reason why not."""

import numpy as np
import pytest
from PIL import Image

from lssl.data.images import read_image
from lssl.data.picture_files import SUFFIXES, PictureFiles, find_pictures
from lssl.errors import LsslError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8))
FORMATS = {".jpg": "JPEG", ".JPEG": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".bmp": "BMP"}
FORMATS |= {".TIF": "TIFF", ".webp": "WEBP", ".gif": "GIF", ".ppm": "PPM", ".tga": "TGA", ".jp2": "JPEG2000"}
FORMATS |= {".avif": "AVIF", ".pcx": "PCX", ".sgi": "SGI", ".dds": "DDS", ".ico": "ICO"}
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
MP4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(40)


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_pillow_reads_is_read(tmp_path, suffix) -> None:
    if suffix.lower() not in SUFFIXES:
        pytest.skip(f"this Pillow reads no {suffix}")
    PICTURE.save(tmp_path / f"a{suffix}", FORMATS[suffix])
    assert find_pictures(tmp_path).pictures == [tmp_path / f"a{suffix}"]
    if suffix != ".ico":  # whose sizes are its own
        assert read_image(tmp_path / f"a{suffix}").shape == (24, 30, 3)


@pytest.mark.parametrize(
    ("name", "data", "fix"),
    [
        ("a.HEIC", HEIC, "pip install pillow-heif"),
        ("a.cr2", b"II*\0", "develop it"),
        ("a.MOV", MP4, "ffmpeg"),
        ("a.mp4", MP4, "ffmpeg"),
        ("a.svg", b"<svg/>", "export it as PNG"),
        ("a.pdf", b"%PDF-1.4", "export it as PNG"),
        ("a.jxl", b"\xff\x0a", "save it as JPEG or PNG"),
        ("faces.zip", b"PK\3\4", "unpack it"),
        ("IMG_0001", b"\xff\xd8\xff\xe0" + bytes(30), "a JPEG picture by its content: give its name the suffix .jpeg"),
        ("photo.jpg~", b"\x89PNG\r\n\x1a\n" + bytes(30), "a PNG picture by its content"),
        ("photo.JPG_large", HEIC, "pip install pillow-heif"),
    ],
)
def test_what_is_not_read_is_listed_with_the_fix(tmp_path, name, data, fix) -> None:
    (tmp_path / name).write_bytes(data)
    found = find_pictures(tmp_path)
    if (tmp_path / name).suffix.lower() in SUFFIXES:
        pytest.skip("pillow-heif is installed")
    assert not found.pictures
    assert fix in dict(found.refused)[tmp_path / name]


@pytest.mark.parametrize(
    "name", ["a.pts", "a.csv", "notes.txt", "Thumbs.db", ".DS_Store", "._a.jpg", "a.json", "README"]
)
def test_what_is_no_picture_is_left_alone(tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"nothing of that kind")
    assert find_pictures(tmp_path) == PictureFiles()


@pytest.mark.parametrize(
    ("data", "message"), [(HEIC, "HEIC"), (MP4, "a video is not read"), (b"x" * 40, "not a picture")]
)
def test_another_kind_under_a_pictures_name_is_named(tmp_path, data, message) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(LsslError, match=message):
        read_image(tmp_path / "a.jpg")


def test_links_are_followed_once_and_dead_ones_listed(tmp_path) -> None:
    (tmp_path / "far" / "happy").mkdir(parents=True)
    PICTURE.save(tmp_path / "far" / "happy" / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "happy").symlink_to(tmp_path / "far" / "happy")
    (tmp_path / "far" / "happy" / "loop").symlink_to(root)
    (root / "dead.jpg").symlink_to(tmp_path / "gone.jpg")
    found = find_pictures(root)
    assert found.pictures == [root / "happy" / "a.png"]
    assert found.refused == [(root / "dead.jpg", "a link to nothing")]


def test_files_that_stand_for_pictures_elsewhere_are_named(tmp_path) -> None:
    (tmp_path / ".a.heic.icloud").write_bytes(b"bplist")
    (tmp_path / "page").write_bytes(b"<!DOCTYPE html>")
    found = find_pictures(tmp_path)
    assert found.refused[0] == (tmp_path / "a.heic", "is not on this disk: let iCloud download it first")
    assert found.pictures == []

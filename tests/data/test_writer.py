"""What is written is whole, and what cannot be written is named."""

import pytest
from PIL import Image

from lssl.data.writer import save_picture


def test_a_picture_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    picture = Image.new("RGB", (8, 6), (200, 10, 30))
    save_picture(tmp_path / "new" / "a.jpg", picture, quality=95)
    with Image.open(tmp_path / "new" / "a.jpg") as read:
        assert (read.format, read.size) == ("JPEG", (8, 6))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*b\.png'"):
        save_picture(tmp_path / "b.png", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]

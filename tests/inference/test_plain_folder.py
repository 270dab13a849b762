"""Photographs in folders named after what they show, as a data set folder for a model."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lssl.data import AttributeGroup, AttributeSchema
from lssl.data.landmark_files import write_pts
from lssl.errors import LsslError
from lssl.inference.plain_folder import open_faces

# A frontal face's outline, brows, nose, eyes and mouth, coarsely: enough for alignment.
FACE = np.concatenate(
    [
        np.stack([np.linspace(40, 160, 17), 100 + 80 * np.sin(np.linspace(0, np.pi, 17))], 1),
        np.stack([np.r_[np.linspace(55, 90, 5), np.linspace(110, 145, 5)], np.full(10, 80)], 1),
        np.stack([np.r_[np.full(4, 100), np.linspace(90, 110, 5)], np.r_[np.linspace(95, 120, 4), np.full(5, 125)]], 1),
        np.stack([np.r_[np.linspace(65, 85, 6), np.linspace(115, 135, 6)], np.full(12, 95)], 1),
        np.stack([np.linspace(80, 120, 20), np.full(20, 150)], 1),
    ]
).astype(np.float32)


@dataclass
class Model:
    schema: AttributeSchema = field(
        default_factory=lambda: AttributeSchema((AttributeGroup("mood", ("neutral", "happy")),))
    )
    image_size: int = 32
    info: dict[str, Any] = field(default_factory=dict)


def write(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
    write_pts(path.with_suffix(".pts"), FACE)


def test_names_of_folders_say_what_photographs_show(tmp_path) -> None:
    for name in ("holiday/happy/a.png", "holiday/a.png", "b.png"):
        write(tmp_path / "in" / name)
    lines: list[str] = []
    folder = open_faces(tmp_path / "in", Model(), tmp_path / "prepared", lines.append)
    assert sorted(zip(folder.subjects, folder.columns["mood"], strict=True)) == [
        ("a", "happy"),
        ("a", "neutral"),
        ("b", "neutral"),
    ]
    assert set(folder.splits) == {"train"}
    assert "3 photographs, prepared to" in lines[0]
    again = open_faces(tmp_path / "prepared", Model(), tmp_path / "other")
    assert again.file_names == folder.file_names
    assert not (tmp_path / "other").exists()


def test_photographs_that_all_show_one_thing_are_refused_before_the_work(tmp_path) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(
        LsslError, match=r"all 1 photographs are taken to show neutral.*folders named after what they show"
    ):
        open_faces(tmp_path / "a.png", Model(), tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()

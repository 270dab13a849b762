"""A stranger's folder: pictures, a metadata.csv that LSSL did not write; one command, one sentence at its end."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import detect, read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments.plain_data import class_column, is_plain, open_plain
from lssl.face3d.builtin import load_face_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated

VALUES = ("joy", "calm")


def write_plain(root, rows, header=("file_name", "subject", "emotion"), side=40):
    """Pictures of one colour each and a table of the given rows, whose first cells are file names."""
    root.mkdir()
    chance = np.random.default_rng(0)
    for row in rows:
        pixels = chance.integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / row[0])
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return root


def people(count=6):
    return [(f"{who}-{value}.png", who, value) for who in range(1, count + 1) for value in VALUES]


@pytest.fixture
def no_dlib(monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)


def evaluate(*arguments):
    return CliRunner().invoke(main, ["evaluate", "augmentation", *map(str, arguments)])


def test_one_command_ends_with_the_sentence(tmp_path, no_dlib):
    data = write_plain(tmp_path / "mine", people())
    out = tmp_path / "runs" / "mine"
    result = evaluate("--data", data, "--out", out, "--classifier-iterations", 4, "--size", 32, "--folds", 2)
    assert result.exit_code == 0, result.output
    assert "dlib is not installed" in result.output
    last = result.output.rstrip().splitlines()[-1]
    assert last.startswith("synthesized faces ")
    assert last.endswith(" points with 3 people")
    folder = read_metadata(tmp_path / "runs" / "mine-prepared")
    assert folder.attributes == ("emotion",)
    assert sorted(set(folder.subjects)) == ["1", "2", "3", "4", "5", "6"]
    again = evaluate("--data", data, "--out", out, "--classifier-iterations", 4, "--size", 32, "--folds", 2)
    assert again.output.rstrip().splitlines()[-1] == last


def test_landmarks_that_the_folder_has_are_used(tmp_path):
    made = tmp_path / "made"
    config = GenerateConfig(4, ("neutral", "happy"), size=96, test_fraction=0)
    write_generated(made, FaceGenerator(load_face_model("ict"), config), model="ict", progress=False)
    for name in ("dataset.json", "masks"):
        path = made / name
        path.rename(tmp_path / name)
    assert is_plain(made)
    prepared, column = open_plain(made, tmp_path / "out", size=32)
    folder = read_metadata(prepared)
    assert column == "expression"
    assert folder.landmarks is not None
    assert len(folder) == 8


def test_where_no_face_is_found_small_squares_are_crops_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: True)
    monkeypatch.setattr("lssl.data.prepare.only_face", lambda image, **options: None)
    told = []
    prepared, _ = open_plain(write_plain(tmp_path / "small", people()), tmp_path / "out", say=told.append)
    assert prepared.name == "out-crops"
    assert "a face is found in only 0" in told[-1]
    assert len(read_metadata(prepared)) == 12
    with pytest.raises(LsslError, match=r"only 0 of 12 pictures can be used \(1-calm\.png: no face found\)"):
        open_plain(write_plain(tmp_path / "large", people(), side=300), tmp_path / "other")


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (("file_name", "person", "emotion"), people(), "has no column 'subject'.*rename 'person' to it"),
        (("image", "subject", "emotion"), people(), "has no column 'file_name'.*rename 'image' to it"),
        (("file_name", "subject", "emotion"), [row for row in people() if row[2] == "joy"], "no column of classes"),
        (("file_name", "subject", "emotion"), people(2), "only 2 of 2 people show emotion 'calm'; three are needed"),
        (("file_name", "subject", "emotion"), people()[:1] + [("x.png", "1", "calm")], "folds of 1 subjects"),
        (
            ("file_name", "subject", "mood", "side"),
            [(*row, "left" if k % 4 < 2 else "right") for k, row in enumerate(people())],
            "--attribute mood or --attribute side",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, no_dlib, header, rows, message):
    data = write_plain(tmp_path / "mine", rows, header)
    with pytest.raises(LsslError, match=message):
        open_plain(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_class_column_is_the_likely_one_or_the_one_asked_for(tmp_path):
    rows = [(*row, "left" if k % 4 < 2 else "right") for k, row in enumerate(people())]
    data = write_plain(tmp_path / "mine", rows, ("file_name", "Subject", "Emotion", "side"))
    assert class_column(data) == "Emotion"
    assert class_column(data, "side") == "side"
    with pytest.raises(LsslError, match="has no column 'mood'"):
        class_column(data, "mood")


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path, no_dlib):
    data = write_plain(tmp_path / "mine", [*people(), ("bad.png", 3, "joy")])
    (data / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "kept").mkdir()
    with pytest.raises(detect.DetectionError):  # not all are known to be small squares
        open_plain(data, tmp_path / "out")

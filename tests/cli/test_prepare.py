import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import detect


def write_face(path, points=None):
    """A picture with a `.pts` beside it whose landmarks are a plain frontal layout."""
    from lssl.data.landmark_files import write_pts

    rng = np.random.default_rng(abs(hash(path.stem)) % 100)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
    if points is None:
        points = np.tile([[100.0, 100.0]], (68, 1))
        points[36:42], points[42:48], points[48:68] = [70, 90], [130, 90], [100, 150]
    write_pts(path.with_suffix(".pts"), np.asarray(points, np.float32))


def run(*arguments):
    return CliRunner().invoke(main, ["prepare", *map(str, arguments)])


def test_a_folder_is_prepared_counted_and_shown(tmp_path) -> None:
    for mood in ("happy", "sad"):
        for name in ("ann_1", "bob_1", "cem_1"):
            write_face(tmp_path / "in" / mood / f"{name}.png")
    (tmp_path / "in" / "sad" / "bob_1.png").write_bytes(b"")
    result = run(
        "folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--preview", "--class-name", "mood",
        "--subject-pattern", r"(\w+)_", "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "5 faces of 3 subjects" in result.output
    assert "mood: happy, sad" in result.output
    assert re.search(r"1 rejected, listed in .*rejected.csv", result.output)
    assert "1 x the file is empty" in result.output
    assert (tmp_path / "out" / "preview.png").is_file()
    again = run(
        "folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--preview", "--class-name", "mood",
        "--subject-pattern", r"(\w+)_", "--workers", 1,
    )  # fmt: skip
    assert again.exit_code == 0
    assert "5 faces" in again.output
    other = run("folder", tmp_path / "in", tmp_path / "out", "--size", 48)
    assert other.exit_code == 1
    assert "made with other settings" in other.output
    assert "--overwrite" in other.output


@pytest.mark.parametrize("source", ["folder", "london", "rafd", "oulu-casia", "mug", "bu3dfe", "helen"])
def test_a_wrong_folder_is_one_clear_line(tmp_path, source) -> None:
    result = run(source, tmp_path / "nowhere", tmp_path / "out")
    assert result.exit_code == 1
    assert "no such folder" in result.output
    assert not (tmp_path / "out").exists()


def test_only_leaves_out_and_counts(tmp_path) -> None:
    for camera in ("045", "090", "180"):
        for emotion in ("sad", "happy"):
            for model in ("01", "02"):
                write_face(tmp_path / "in" / f"Rafd{camera}_{model}_Caucasian_male_{emotion}_frontal.jpg")
    result = run("rafd", tmp_path / "in", tmp_path / "out", "--size", 32, "--only", "camera=90", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "4 faces of 2 subjects" in result.output
    assert "not asked for: 4 with camera=180" in result.output
    bad = run("rafd", tmp_path / "in", tmp_path / "out2", "--only", "camera")
    assert bad.exit_code == 2
    assert "COLUMN=VALUE" in bad.output


@pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")
def test_no_face_and_two_faces_are_named(tmp_path) -> None:
    astronaut = pytest.importorskip("skimage.data").astronaut()
    for mood in ("a", "b"):
        (tmp_path / "in" / mood).mkdir(parents=True)
        Image.fromarray(astronaut).save(tmp_path / "in" / mood / "one.png")
    Image.fromarray(np.concatenate([astronaut, astronaut], 1)).save(tmp_path / "in" / "a" / "two.png")
    Image.new("RGB", (300, 300), (90, 140, 90)).save(tmp_path / "in" / "a" / "grass.png")
    result = run("folder", tmp_path / "in", tmp_path / "out", "--size", 64, "--workers", 1)
    assert result.exit_code == 0, result.output
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert "a/grass.png,no face found" in rejected
    assert "a/two.png,2 faces found" in rejected
    result = run("folder", tmp_path / "in", tmp_path / "more", "--size", 64, "--workers", 1, "--largest-face")
    assert "3 faces" in result.output


def test_help_teaches() -> None:
    result = run("--help")
    assert "lssl prepare london" in result.output
    assert "Ctrl-C" in result.output

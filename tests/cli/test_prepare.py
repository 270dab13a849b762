import errno
import json
import os
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import detect
from tests.apart import invoke_apart


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


def with_json(*arguments):
    return invoke_apart(main, ["prepare", *map(str, arguments), "--quiet", "--json"])


def test_a_folder_is_prepared_counted_and_shown(tmp_path) -> None:
    for mood in ("happy", "sad"):
        for name in ("ann_1", "bob_1", "cem_1"):
            write_face(tmp_path / "in" / mood / f"{name}.png")
    (tmp_path / "in" / "sad" / "bob_1.png").write_bytes(b"")
    result = run(
        "folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--preview", "--class-name", "mood",
        "--subject-pattern", r"(\w+)_", "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 1, result.output  # one was rejected
    assert "5 faces of 3 subjects" in result.output
    assert "mood: happy, sad" in result.output
    assert re.search(r"1 rejected, listed in .*rejected.csv", result.output)
    assert "1 x the file is empty" in result.output
    assert (tmp_path / "out" / "preview.png").is_file()
    again = run(
        "folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--preview", "--class-name", "mood",
        "--subject-pattern", r"(\w+)_", "--workers", 1,
    )  # fmt: skip
    assert again.exit_code == 1
    assert "5 faces" in again.output
    other = run("folder", tmp_path / "in", tmp_path / "out", "--size", 48)
    assert other.exit_code == 1
    assert "made with other settings" in other.output
    assert "--overwrite" in other.output


def test_ctrl_c_while_a_result_is_written_ends_the_bar_first(tmp_path, monkeypatch) -> None:
    """The bar lives in a generator, which the interruption's traceback keeps: it wrote itself below the last line."""
    from lssl.progress import tqdm

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lssl.data.writer.FaceFolderWriter.append", stopped)
    open_bars = {}
    monkeypatch.setattr("lssl.cli.main.click.secho", lambda text, **_: open_bars.update({text: len(tqdm._instances)}))
    write_face(tmp_path / "in" / "happy" / "ann_1.png")
    result = run("folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--workers", 1)
    assert result.exit_code == 130
    assert open_bars["\nInterrupted; run the same command again to continue."] == 0


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
    assert result.exit_code == 1, result.output
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert "a/grass.png,no face found" in rejected
    assert "a/two.png,2 faces found" in rejected
    result = run("folder", tmp_path / "in", tmp_path / "more", "--size", 64, "--workers", 1, "--largest-face")
    assert "3 faces" in result.output


def test_reasons_are_counted_whole_and_the_first_pictures_named() -> None:
    from lssl.cli.prepare import _by_reason

    few = "b.pts: has {} landmarks (it says n_points: 67), expected 68"
    video = "take pictures out of it first (ffmpeg -i FILE frame_%04d.png)"
    not_text = "p.pts is not UTF-8 text: save it as UTF-8"
    rejected = [(f"{k}.jpg", few.format(60 + k)) for k in range(5)] + [("v.mp4", video), ("w.jpg", not_text)]
    assert _by_reason([*rejected, *[(f"{k}.gif", "2 faces found") for k in range(4)]]) == [
        "5 x has N landmarks (it says n_points: N), expected N (0.jpg, 1.jpg, 2.jpg and 2 others)",
        "4 x 2 faces found (0.gif, 1.gif, 2.gif, 3.gif)",
        f"1 x {video} (v.mp4)",
        "1 x is not UTF-8 text: save it as UTF-8 (w.jpg)",
    ]


def test_every_landmark_file_that_cannot_be_read_is_named(tmp_path) -> None:
    for mood in ("happy", "sad"):
        for name in "abc":
            write_face(tmp_path / "in" / mood / f"{name}.png")
    (tmp_path / "in" / "happy" / "a.pts").write_text("garbage")
    (tmp_path / "in" / "sad" / "b.pts").write_text("garbage")
    result = run("folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--workers", 1)
    assert "2 x no { ... } block of points, so this is not an iBUG .pts file (happy/a.png, sad/b.png)" in result.output
    rows = (tmp_path / "out" / "rejected.csv").read_text().splitlines()
    assert [row.split(":")[0] for row in rows[1:]] == ['happy/a.png,"a.pts', 'sad/b.png,"b.pts']


def test_help_teaches() -> None:
    result = run("--help")
    assert "lssl prepare london" in result.output
    assert "Ctrl-C" in result.output


def test_out_may_be_an_option_and_the_result_json(tmp_path) -> None:
    for mood in ("happy", "sad"):
        for name in "abc":
            write_face(tmp_path / "in" / mood / f"{name}.png")
    (tmp_path / "in" / "sad" / "film.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    for out in (["-o", tmp_path / "out"], [tmp_path / "out"]):
        result = with_json("folder", tmp_path / "in", *out, "--size", 32, "--workers", 1)
        assert result.exit_code == 1
        report = json.loads(result.stdout)
        assert (report["faces"], report["splits"]) == (6, {"train": 4, "test": 2})
        assert "ffmpeg" in report["rejected"]["sad/film.mov"]
    assert run("folder", tmp_path / "in").exit_code == 2
    assert run("folder", tmp_path / "in", tmp_path / "a", "-o", tmp_path / "b").exit_code == 2


def test_a_size_that_train_refuses_is_said_before_the_work(tmp_path) -> None:
    for name in ("happy/a", "neutral/a", "happy/b", "neutral/b"):
        write_face(tmp_path / "in" / f"{name}.png")
    result = run("folder", tmp_path / "in", tmp_path / "out", "--size", 50, "--workers", 1)
    said = "`lssl train` refuses pictures of 50 pixels: the side must be divisible by 16; --size 48 or 64"
    assert result.exit_code == 0
    assert result.output.index(said) < result.output.index("faces of 2 subjects")
    again = with_json("folder", tmp_path / "in", tmp_path / "out", "--size", 50)
    assert json.loads(again.stdout)["warnings"] == [said]


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path) -> None:
    for mood in ("happy", "sad"):
        write_face(tmp_path / "in" / mood / "a.png")
    (tmp_path / "file").touch()
    result = run("folder", tmp_path / "in", tmp_path / "file" / "x", "--size", 32, "--workers", 1)
    assert result.exit_code == 1
    assert re.search(r"Error: .*/file is a file; give a folder", result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("where", ["images", "."])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(tmp_path, monkeypatch, where) -> None:
    for mood in ("happy", "sad"):
        for name in "ab":
            write_face(tmp_path / "in" / mood / f"{name}.png")
    arguments = ("folder", tmp_path / "in", tmp_path / "out", "--size", 32, "--workers", 1)
    replace, left = os.replace, [2]

    def full(source, target):
        left[0] -= os.path.basename(os.path.dirname(target)) == (where if where != "." else "out")
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert "Traceback" not in result.output
    assert not list((tmp_path / "out").rglob("*.tmp"))
    monkeypatch.setattr(os, "replace", replace)
    assert run(*arguments).exit_code == 0

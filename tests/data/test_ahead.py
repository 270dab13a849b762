"""Photographs read by a second process: the same faces, and the same reasons, as without it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.data.landmark_files import write_pts

PROGRAM = """
import sys
from pathlib import Path
from lssl.data import ahead
from lssl.data.portrait import read_portrait
from lssl.errors import LsslError
import numpy as np

assert "torch" not in sys.modules, "reading photographs needs no PyTorch"
ahead.processors = lambda: 2
paths = [Path(name) for name in sys.argv[2:]]
if sys.argv[1] == "large":
    ahead._LARGEST = 10
with ahead.PortraitsAhead(paths, landmarks=None, largest_face=False) as portraits:
    assert bool(portraits._process) == sys.platform.startswith("linux")
    if sys.argv[1] == "dies":
        import os, signal
        os.kill(portraits._process, signal.SIGKILL)
    for path in paths:
        try:
            own, other = read_portrait(path), portraits.read(path)
        except LsslError as error:
            first = str(error)
            try:
                portraits.read(path)
            except LsslError as error:
                assert str(error) == first
                print("refused", first.removeprefix(f"{path}: "))
            continue
        assert np.array_equal(own.image, other.image) and np.array_equal(own.landmarks, other.landmarks)
        assert own.metadata == other.metadata and own.note == other.note
        print("read", other.image.shape)
"""


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 68)
    marks = np.stack([60 + 30 * np.cos(angles), 60 + 30 * np.sin(angles)], -1)
    marks[36:42], marks[42:48], marks[48:] = (45, 50), (75, 50), (60, 80)
    for name in ("a", "c"):
        image = Image.fromarray(rng.integers(0, 255, (120, 130, 3), np.uint8))
        image.save(tmp_path / f"{name}.jpg", exif=Image.Exif(), dpi=(72, 72))
        write_pts(tmp_path / f"{name}.pts", marks.astype(np.float32))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    return [str(tmp_path / f"{name}.jpg") for name in "abc"]


@pytest.mark.skipif(not detect.available(), reason="dlib is not installed")
@pytest.mark.parametrize("case", ["reads", "large", "dies"])
def test_a_second_process_reads_the_same(photographs, case):
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM, case, *photographs], capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["read", "refused", "read"], made.stdout

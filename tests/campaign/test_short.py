"""The campaign's short form: seconds of what `python -m tests.campaign.fuzz` and `.kill` do for hours."""

import random
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from tests.campaign.fuzz import _at, try_inputs
from tests.campaign.kill import ENVIRONMENT, Task, differences, killed_and_repeated, undisturbed


def test_damaged_files_are_read_or_refused(tmp_path) -> None:
    counts, findings = try_inputs(tmp_path, range(120), seed=7)
    assert findings == []
    assert counts["read"] + counts["refused"] == 120


def test_a_killed_command_ends_as_an_undisturbed_one(tmp_path) -> None:
    options = ("--subjects", "6", "--expressions", "neutral,happy,sad", "--size", "32", "--quiet")
    task = Task("generate-faces", ("generate-faces", "{out}", *options))
    seconds = undisturbed(task, tmp_path / "whole")
    killed_and_repeated(task, tmp_path / "killed", seconds, random.Random(0), kills=2)
    assert differences(tmp_path / "whole", tmp_path / "killed") == []


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path) -> None:
    (tmp_path / "faces").mkdir()
    hold = "import sys, time; from pathlib import Path; from lssl.data.lock import lock_folder; "
    hold += "lock_folder(Path(sys.argv[1]), '.lock-0000'); print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "faces")], stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        arguments = ["generate-faces", str(tmp_path / "faces"), "--subjects", "2", "--size", "32", "--quiet"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
        assert "faces: another run is writing to it; wait for it, or choose another folder" in result.output
    finally:
        other.kill()
        other.wait()


def test_a_large_picture_stays_below_two_gigabytes(tmp_path) -> None:
    Image.fromarray(np.zeros((6000, 6000, 3), np.uint8)).save(tmp_path / "a.jpg")
    code = (
        # This process's own peak: ru_maxrss starts at its parent's.
        "import re, sys; from pathlib import Path; from lssl.data.images import read_image; read_image(sys.argv[1]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jpg")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )
    assert int(done.stdout) * 1024 < 1.2 * 2**30


@pytest.mark.parametrize("text", ["", "{", '{"number": 5}', "[]", "null", None])
def test_the_watcher_reads_whatever_a_killed_child_left(tmp_path, text) -> None:
    if text is not None:
        (tmp_path / "now").write_text(text)
    assert _at(tmp_path / "now", 3) == (3, "?")

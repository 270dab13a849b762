"""Ctrl-C while a command works: exit code 130, one line, and no half-written file under its final name."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lssl.cli.main import GOING_ON, main
from tests.campaign.kill import ENVIRONMENT, make_inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether work has begun"),
]

_SMALL = [
    "--set", "network.width=4", "--set", "network.num_downsamplings=2", "--set", "network.critic_layers=3",
    "--set", "network.critic_width=4", "--set", "network.residual_blocks=1", "--set", "losses.parsing=0",
    "--set", "schedule.batch_size=4", "--set", "schedule.iterations=100000",
]  # fmt: skip

#: Each has more to do than the test waits for; {name} is an input of `make_inputs`, {out} what is written.
COMMANDS = {
    "prepare": "prepare folder {photographs} {out} --size 2048 --workers 1",
    "prepare, two processes": "prepare folder {photographs} {out} --size 2048 --workers 2",
    "generate-faces": "generate-faces {out} --subjects 5000 --size 64",
    "train": "train --data {faces} -o {out} --preset paper " + " ".join(_SMALL),
    "train-classifier": "train-classifier --data {faces} -o {out} --iterations 100000",
    "train-parser": "train-parser --data {faces} -o {out} --iterations 100000",
    "render-frontal": "render-frontal {photographs} -o {out} --size 1024 --workers 1",
    "render-frontal, two processes": "render-frontal {photographs} -o {out} --size 1024 --workers 2",
    "synthesize": "synthesize 3d {photographs} --to happy -o {out}",
    "augment": "augment {model} {faces} {out} --per-class 100000",
    "evaluate transfer": "evaluate transfer --data {faces} -o {out} --preset paper " + " ".join(_SMALL),
    "evaluate augmentation": "evaluate augmentation --data {faces} -o {out} --quick --preset paper " + " ".join(_SMALL),
    "evaluate images": "evaluate images {faces} {faces} -o {out}",
    "morph": "morph 3d {photograph} --through neutral,happy --seconds 60 -o {out}/a.gif",
    "export": "export {model} --pt2 -o {out}.pt2",
    "face-model show": "face-model show embedded --modes 20 --size 512 -o {out}.png",
}
_ADVANCED = re.compile(r"[ |]([1-9]\d*)/\d+ \[")  # of a progress bar


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    made = make_inputs(tmp_path_factory.mktemp("inputs"))
    return {**made, "photograph": min((made["photographs"] / "neutral").glob("*.png"))}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_with_130_and_one_line(tmp_path, inputs, name) -> None:
    out = tmp_path / "made" / "out"
    words = [word.format(**inputs, out=out) for word in COMMANDS[name].split()]
    code, said = interrupted(words, tmp_path)
    assert code == 130, said[-2000:]
    assert "Traceback" not in said
    last = [line for line in re.split(r"[\r\n]+", said) if line.strip() and "it/s" not in line][-1]
    assert re.match(r"Interrupted|Stopped|Not judged", last), said[-2000:]
    halves = [path for path in (tmp_path / "made").rglob("*") if path.suffix == ".tmp"]
    if words[0] not in GOING_ON:
        assert halves == []
    for path in (tmp_path / "made").glob("out.*"):
        pytest.fail(f"{path} was left, and is not whole")


def test_what_was_interrupted_goes_on(tmp_path, inputs) -> None:
    out = tmp_path / "made"
    words = ["generate-faces", str(out), "--subjects", "100", "--size", "64", "--quiet"]
    code, said = interrupted(words, tmp_path)
    assert (code, said.strip()) == (130, "Interrupted; run the same command again to continue.")
    assert CliRunner().invoke(main, words).exit_code == 0
    assert len(list((out / "images").glob("*.png"))) == len((out / "metadata.csv").read_text().splitlines()) - 1
    assert not list(out.rglob("*.tmp"))


def interrupted(words: list[str], work: Path) -> tuple[int, str]:
    """Sends SIGINT to `lssl` and its processes once it works, as a terminal does; its exit code and output."""
    log = work / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lssl", *words], stdout=output, stderr=output, env=ENVIRONMENT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until and not works(process.pid, log, work / "made"):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, log.read_text(errors="replace")


def works(process: int, log: Path, made: Path) -> bool:
    """Whether a bar has advanced, a picture was written, or, for a command that shows nothing, PyTorch is loaded."""
    if _ADVANCED.search(log.read_text(errors="replace")) or any(path.is_file() for path in made.rglob("*.png")):
        return True
    command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    silent = b"export" in command or b"face-model" in command or b"images" in command
    return silent and "libtorch_python" in Path(f"/proc/{process}/maps").read_text()

"""`lssl train` as users run it: seconds per iteration, from the second half of the run's own log.

Faces of the embedded model, batch 8, no parser; 300 iterations on a GPU, a small rehearsal on the CPU.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SETTINGS = {
    "cuda": "--batch-size 8 --iterations 300 --subjects 24 --log-every 20",
    "cpu": "--batch-size 2 --iterations 2 --subjects 8 --log-every 1 --width 8",
}
QUIET = ("--no-report", "--sample-every", "100000", "--checkpoint-every", "100000", "--quiet", "--seed", "0")


@pytest.mark.parametrize(("preset", "size"), [("paper", 128), ("standard", 128), ("standard", 64)])
def test_train(record: Callable[..., Any], device: str, tmp_path: Path, preset: str, size: int) -> None:
    size = size if device == "cuda" else size // 2
    settings = ["--size", str(size), *SETTINGS[device].split()]
    command = ["train", "--preset", preset, *settings, *QUIET]
    if preset == "paper":
        command += ["--without", "parsing"]
    run = tmp_path / "run"
    result = subprocess.run(
        [sys.executable, "-m", "lssl", *command, "--device", device, "--out", str(run)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [entry["seconds"] for entry in log if "seconds" in entry]
    record(
        f"lssl train --preset {preset}",
        shape=f"{settings[3]} faces, {settings[1]}x{settings[1]}",
        dtype=torch.float32,
        device=device,
        samples={"native": seconds[len(seconds) // 2 :]},
        note=f"per iteration; `lssl {' '.join(command)}`",
    )

"""Training, pinned: short runs of every method log the same losses as when `training.json` was written.

    python -m pytest tests/pins                              compares
    LSSL_RECORD=1 python -m pytest tests/pins                writes the file anew, for an intended change

The values hold on the machine where they were written bit for bit, on others within 1e-5. Each run has a process of its own, whose
convolutions (oneDNN) use AVX2 at most: with AVX-512 they round otherwise, by which six updates of `quick` come to differ by 3e-5.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lssl.data import FaceFolderWriter, FaceRow
from lssl.methods.run import prepare_run
from lssl.models import FaceParser
from lssl.models.parser import save_parser
from lssl.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).with_name("training.json")
SIZE, SUBJECTS, VALUES = 32, 8, ("neutral", "happy")
TINY = {
    "network.width": 4,
    "network.critic_width": 4,
    "schedule.iterations": 6,
    "schedule.batch_size": 4,
    "speed.bf16": "off",
    "output.log_every": 1,
    "output.sample_every": 100,
    "output.checkpoint_every": 100,
    "output.sample_faces": 2,
}
LSSL = {"network.num_downsamplings": 2, "network.residual_blocks": 1, "network.critic_layers": 4}
RUNS = {
    "paper": {**LSSL, "schedule.critic_updates": 2},
    "standard": {"network.movement_width": 4, "warm_up.updates": 3},
    "quick": {"network.movement_width": 4, "warm_up.updates": 3, "warm_up.movement": 3},
    "pose": {**LSSL, "warm_up.updates": 3, "pose.keep": 0.5},
    "simgan": {
        "warm_up.updates": 3,
        "warm_up.refiner": 2,
        "network.refiner_blocks": 1,
    },
}


def write_faces(root: Path) -> Path:
    """Drawn faces whose mouth is lifted by an expression, each with a picture of itself turned by a yaw in side/."""
    chance = np.random.default_rng(0)
    writer = FaceFolderWriter(root, attributes=("expression",), settings={"background": "original", "model": "None"})
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for subject in range(SUBJECTS):
        colour = chance.integers(60, 200, 3)
        for k, value in enumerate(VALUES):
            for yaw in (-20, 5):
                face = np.full((SIZE, SIZE, 3), 30 + 2 * subject, np.uint8)
                face[np.hypot(rows - 16, columns - 16) < 13] = colour
                face[20 + 2 * k : 23 + 2 * k, 9:23] = 230
                turned = np.roll(face, yaw // 5, axis=1)
                writer.add(
                    FaceRow(
                        f"{subject}_{value}_{yaw:+d}",
                        face,
                        f"s{subject}",
                        "test" if subject >= SUBJECTS - 2 else "train",
                        {"expression": value},
                        landmarks=chance.uniform(3, SIZE - 3, (68, 2)).astype(np.float32),
                        side=turned,
                        extra={"yaw": f"{yaw:.2f}"},
                    )
                )
    writer.finish(source="render-frontal")
    return root


def train(name: str, work: Path) -> None:
    torch.set_num_threads(1)
    faces = write_faces(work / "faces")
    config = TrainConfig.preset(name).with_overrides(
        {**TINY, **RUNS[name], "data.folder": str(faces), "data.attributes": "expression"}
    )
    torch.manual_seed(1)
    save_parser(work / "parser.safetensors", FaceParser(8, 2))
    assert prepare_run(config, work / "run", parser_path=work / "parser.safetensors", quiet=True).train()


@pytest.mark.parametrize("name", RUNS)
def test_losses_are_those_pinned(name: str, tmp_path: Path) -> None:
    program = f"from pathlib import Path; from tests.pins.test_training import train; train({name!r}, Path({str(tmp_path)!r}))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=environment)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    found = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    pins = json.loads(PINS.read_text()) if PINS.is_file() else {}
    if os.environ.get("LSSL_RECORD"):
        PINS.write_text(json.dumps({**pins, name: found}, indent=1) + "\n")
        return
    assert len(found) == len(pins[name])
    for expected, row in zip(pins[name], found, strict=True):
        assert row.keys() == expected.keys()
        for term, value in expected.items():
            assert row[term] == pytest.approx(value, rel=1e-5, abs=1e-5), (row["iteration"], term)

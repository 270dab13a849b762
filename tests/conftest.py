"""A tiny data set folder of drawn faces, and settings of a run that takes a second."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lssl.training.config import TrainConfig

SIZE = 16
VALUES = ("neutral", "happy")
TINY = {
    "data.jitter": 1.0,
    "speed.threads": 1,  # a measured number may differ from run to run, and with it the last bits
    "network.width": 4,
    "network.movement_width": 4,
    "network.num_downsamplings": 2,
    "network.residual_blocks": 1,
    "network.side_channels": 1,
    "network.critic_width": 4,
    "network.critic_layers": 3,
    "losses.parsing": 0.0,
    "warm_up.updates": 1,
    "schedule.iterations": 6,
    "schedule.batch_size": 4,
    "schedule.critic_updates": 2,
    "schedule.learning_rate": 1e-3,
    "schedule.decay_start": 0.5,
    "schedule.ema": 0.9,
    "output.log_every": 2,
    "output.sample_every": 3,
    "output.checkpoint_every": 2,
    "output.sample_faces": 3,
}


def write_faces(root: Path, subjects: int = 10, values: tuple[str, ...] = VALUES, size: int = SIZE) -> Path:
    """One colour per subject, and a bright bar whose height follows the value."""
    chance = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows, landmarks = ["file_name,subject,split,expression"], []
    for subject in range(subjects):
        colour = chance.integers(40, 200, 3)
        for k, value in enumerate(values):
            pixels = np.full((size, size, 3), colour, np.uint8)
            pixels[10 + 2 * k : 12 + 2 * k, 4:12] = 250
            name = f"images/{subject}_{k}.png"
            Image.fromarray(pixels).save(root / name)
            rows.append(f"{name},{subject},{'test' if subject >= subjects - 2 else 'train'},{value}")
            landmarks.append(chance.uniform(2, size - 2, (68, 2)))
    (root / "metadata.csv").write_text("\n".join(rows) + "\n")
    np.save(root / "landmarks.npy", np.array(landmarks, np.float32))
    return root


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces")


@pytest.fixture
def config(faces: Path) -> TrainConfig:
    return tiny_config("paper", faces)


def tiny_config(method: str, faces: Path) -> TrainConfig:
    """Settings of a method for a run of about a second."""
    config = TrainConfig(method=method)
    settings = {name: value for name, value in TINY.items() if config.has(name)}
    return config.with_overrides({**settings, "data.folder": str(faces)})


@pytest.fixture(params=["paper", "standard"])
def recipe(request: pytest.FixtureRequest, faces: Path) -> TrainConfig:
    return tiny_config(request.param, faces)


@pytest.fixture
def standard(faces: Path) -> TrainConfig:
    return tiny_config("standard", faces)


@pytest.fixture
def tiny(faces: Path) -> Callable[..., TrainConfig]:
    """`tiny_config` of a method, on the drawn faces or on another folder."""
    return lambda method, folder=faces: tiny_config(method, folder)

"""A tiny data set folder of drawn faces, and settings of a run that takes a second."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lssl.training.config import TrainConfig

SIZE = 16
VALUES = ("neutral", "happy")


def write_faces(root: Path, subjects: int = 10, values: tuple[str, ...] = VALUES) -> Path:
    """A colour a subject, a bright bar whose height follows the value."""
    chance = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows, landmarks = ["file_name,subject,split,expression"], []
    for subject in range(subjects):
        colour = chance.integers(40, 200, 3)
        for k, value in enumerate(values):
            pixels = np.full((SIZE, SIZE, 3), colour, np.uint8)
            pixels[10 + 2 * k : 12 + 2 * k, 4:12] = 250
            name = f"images/{subject}_{k}.png"
            Image.fromarray(pixels).save(root / name)
            rows.append(f"{name},{subject},{'test' if subject >= subjects - 2 else 'train'},{value}")
            landmarks.append(chance.uniform(2, SIZE - 2, (68, 2)))
    (root / "metadata.csv").write_text("\n".join(rows) + "\n")
    np.save(root / "landmarks.npy", np.array(landmarks, np.float32))
    return root


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces")


@pytest.fixture
def config(faces: Path) -> TrainConfig:
    return TrainConfig().with_overrides(
        {
            "data.folder": str(faces),
            "data.jitter": 1.0,
            "network.width": 4,
            "network.num_downsamplings": 2,
            "network.residual_blocks": 1,
            "network.side_channels": 1,
            "network.critic_width": 4,
            "network.critic_layers": 3,
            "losses.parsing": 0.0,
            "schedule.iterations": 6,
            "schedule.batch_size": 4,
            "schedule.critic_updates": 2,
            "schedule.critic_warmup": 1,
            "schedule.learning_rate": 1e-3,
            "schedule.constant_epochs": 0.0,
            "schedule.decay_start": 0.5,
            "schedule.ema": 0.9,
            "output.log_every": 2,
            "output.sample_every": 3,
            "output.checkpoint_every": 2,
            "output.sample_faces": 3,
        }
    )

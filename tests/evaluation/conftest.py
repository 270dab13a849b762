"""Drawn faces of 32 x 32 (a subject is a colour, an expression a bar's height), and a generator that can draw them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder, FaceFolderWriter, FaceRow, read_metadata
from lssl.evaluation.experiments.experiment import Settings
from lssl.models.export import TrainedGenerator
from lssl.training.classifier_training import ClassifierConfig
from lssl.training.config import TrainConfig

SIZE = 32
VALUES = ("neutral", "happy", "sad")
BARS = {"neutral": 6, "happy": 14, "sad": 22}


def draw(colour: np.ndarray, value: str) -> np.ndarray:
    pixels = np.full((SIZE, SIZE, 3), colour, np.uint8)
    pixels[BARS[value] : BARS[value] + 4, 6:26] = 250
    return pixels


def write_faces(root: Path, subjects: int = 8, values: tuple[str, ...] = VALUES) -> Path:
    chance = np.random.default_rng(0)
    writer = FaceFolderWriter(root, attributes=["expression"], settings={})
    for subject in range(subjects):
        colour = chance.integers(30, 150, 3)
        for value in values:
            points = np.stack([chance.uniform(6, 26, 68), chance.uniform(6, 26, 68)], 1).astype(np.float32)
            points[36:42] = (11, 12)
            points[42:48] = (21, 12)
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[BARS[value] : BARS[value] + 4, 6:26] = 2
            split = "test" if subject >= subjects - 2 else "train"
            writer.add(
                FaceRow(
                    f"{subject:02d}_{value}",
                    draw(colour, value),
                    f"s{subject:02d}",
                    split,
                    {"expression": value},
                    landmarks=points,
                    mask=mask,
                )
            )
    writer.finish()
    return root


class BarPainter(torch.nn.Module):
    """Stands for a perfect generator: paints over the bar in the subject's colour and draws the target's."""

    side_channels = 0

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image: Tensor, side: Tensor | None, y: Tensor) -> tuple[Tensor, None]:
        output = image[:, :, :1, :1].expand_as(image).clone()
        for k, picture in enumerate(output):
            top = BARS[VALUES[int(y[k].argmax())]]
            picture[:, top : top + 4, 6:26] = 250 / 127.5 - 1
        return output, None


class Copier(BarPainter):
    """Stands for a generator that ignores the target."""

    def forward(self, image: Tensor, side: Tensor | None, y: Tensor) -> tuple[Tensor, None]:
        return image, None


def bar_model(network: torch.nn.Module) -> TrainedGenerator:
    return TrainedGenerator(network, AttributeSchema((AttributeGroup("expression", VALUES),)), SIZE).eval()


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("evaluation") / "faces")


@pytest.fixture(scope="session")
def folder(faces: Path) -> FaceFolder:
    return read_metadata(faces)


@pytest.fixture
def painter() -> TrainedGenerator:
    return bar_model(BarPainter())


@pytest.fixture
def copier() -> TrainedGenerator:
    return bar_model(Copier())


@pytest.fixture
def settings(faces: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an experiment of seconds: two iterations per generator, six per classifier, no losses.png."""
    monkeypatch.setattr("lssl.training.loop.draw_losses", lambda rows, path: None)
    training = TrainConfig().with_overrides(
        {
            "network.width": 4,
            "network.num_downsamplings": 2,
            "network.residual_blocks": 1,
            "network.side_channels": 1,
            "network.critic_width": 4,
            "network.critic_layers": 3,
            "losses.parsing": 1.0,
            "schedule.iterations": 2,
            "schedule.batch_size": 4,
            "schedule.critic_updates": 1,
            "output.sample_faces": 2,
        }
    )
    judge = ClassifierConfig(iterations=6, batch_size=8)
    return Settings(data=faces, folds=2, training=training, judge=judge, parser_iterations=2, quiet=True)

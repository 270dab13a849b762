"""Every file of examples/ runs and does what it says."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data import AttributeGroup, AttributeSchema
from lssl.data.landmark_files import write_pts
from lssl.face3d import FaceGenerator, GenerateConfig
from lssl.face3d.embedded import load_embedded_model
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, save_generator

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lssl_example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photograph(tmp_path) -> Path:
    """A generated face turned by 20 degrees, with its landmarks beside it."""
    config = GenerateConfig(
        subjects=1, expressions=("neutral",), yaw=(20.0,), size=160, background="plain", variation=0
    )
    generator = FaceGenerator(load_embedded_model(), config)
    (face,) = generator.render(generator.cells)
    path = tmp_path / "photo.png"
    Image.fromarray(face.image.permute(1, 2, 0).numpy()).save(path)
    write_pts(path.with_suffix(".pts"), face.landmarks.numpy())
    return path


def test_op_in_your_network() -> None:
    losses = load("op_in_your_network").main(steps=15)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0], "the critic learns to tell squares from noise"


def test_fit_a_face(photograph, tmp_path) -> None:
    yaw, error = load("fit_a_face").main(photograph, tmp_path / "out.png")
    assert abs(yaw - 20) < 4
    assert error < 0.05
    assert Image.open(tmp_path / "out.png").size == (256, 256)


def test_edit(photograph, tmp_path) -> None:
    torch.manual_seed(0)
    schema = AttributeSchema((AttributeGroup("expression", ("neutral", "happy")),))
    model = tmp_path / "generator.safetensors"
    save_generator(model, TrainedGenerator(Generator(2, 3, 1, 8, 2, 1), schema, 64))
    load("edit").main(model, photograph, "happy", tmp_path / "out.png")
    before, after = (np.asarray(Image.open(path), np.int16) for path in (photograph, tmp_path / "out.png"))
    assert before.shape == after.shape
    assert np.abs(before - after).mean() > 1, "the face is another"
    assert np.abs(before - after)[:4].max() < 3, "the photograph's border is the photograph's"


def test_train(tmp_path) -> None:
    small = {
        "network.width": 4,
        "network.movement_width": 4,
        "network.critic_width": 4,
        "schedule.iterations": 2,
        "schedule.batch_size": 4,
    }
    generator = load("train").main(tmp_path / "run", subjects=6, size=32, settings=small)
    assert generator.image_size == 32
    assert [value for _, value in generator.schema.targets()] == ["neutral", "happy"]
    assert (tmp_path / "run" / "losses.png").is_file()

"""Generators that come with the package."""

import shutil

import numpy as np
import pytest
import torch

import lssl
from lssl.models.export import WEIGHTS, built_in_generators


@pytest.mark.parametrize("name", built_in_generators())
def test_each_loads_by_its_name_is_small_and_has_a_card(name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 16 * 2**20
    card = (WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    for said in ("licence", "made by", "What it cannot", "Intended use"):
        assert said in card
    model = lssl.load_generator(name)
    size = model.image_size
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, size, size)).astype(np.float32))
    y = torch.eye(model.schema.dimension)[:1]
    made = model.translate(image, torch.rand(1, 68, 2) * size, y)
    assert made.shape == image.shape
    assert made.isfinite().all()


def test_london_is_there_and_knows_smiles():
    assert lssl.load_generator("london").schema.groups[0].values == ("neutral", "happy")


def test_generated_knows_the_eight_expressions_of_generated_faces():
    from lssl.face3d.model.bilinear import EXPRESSIONS

    assert set(lssl.load_generator("generated").schema.groups[0].values) == set(EXPRESSIONS)


def test_a_run_of_the_same_name_comes_first_but_not_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "london").mkdir()
    (tmp_path / "london" / "metadata.csv").write_text("file_name,subject,split,expression\n")
    assert lssl.load_generator("london").info == lssl.load_generator(WEIGHTS / "london.safetensors").info
    shutil.copy(WEIGHTS / "generated.safetensors", tmp_path / "london" / "generator.safetensors")
    assert "angry" in lssl.load_generator("london").schema.groups[0].values

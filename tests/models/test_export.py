"""generator.safetensors: everything inside, nothing else needed, clear errors."""

import json

import pytest
import torch
from safetensors.torch import save_file

import lssl
from lssl.data import AttributeSchema
from lssl.errors import LsslError
from lssl.models import Generator
from lssl.models.classifier import load_classifier
from lssl.models.export import FILE, TrainedGenerator, save_generator


@pytest.fixture
def trained() -> TrainedGenerator:
    torch.manual_seed(0)
    schema = AttributeSchema.from_columns({"expression": ["neutral", "happy"], "glasses": ["0", "1"]})
    network = Generator(schema.dimension, width=4, num_downsamplings=2, residual_blocks=1, output="warp")
    return TrainedGenerator(network, schema, 16, info={"data": "tiny"})


def test_round_trip(trained, tmp_path):
    save_generator(tmp_path / "generator.safetensors", trained)
    image, landmarks = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 68, 2) * 16
    y = trained.schema.sample(2, torch.Generator().manual_seed(0))
    for path in (tmp_path, tmp_path / "generator.safetensors"):
        loaded = lssl.load_generator(path)
        assert loaded.schema == trained.schema
        assert (loaded.image_size, loaded.info, loaded.task) == (16, {"data": "tiny"}, "attribute-synthesis")
        assert torch.equal(loaded.translate(image, landmarks, y), trained.translate(image, landmarks, y))
        assert not any(p.requires_grad for p in loaded.parameters())


def test_errors_name_the_file(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"generator\.safetensors: no such generator"):
        lssl.load_generator(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"londn: no such generator.* name a built-in one \(.*london"):
        lssl.FaceEditor("londn")
    with pytest.raises(LsslError, match="is a web address: download it first"):
        lssl.FaceEditor("https://example.org/generator.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    with pytest.raises(
        LsslError, match=r"text\.safetensors: not a safetensors file .*; `lssl train` writes generator\.safetensors"
    ):
        lssl.load_generator(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(LsslError, match="not a generator"):
        lssl.load_generator(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="landmarks"):
        trained.translate(torch.zeros(1, 3, 16, 16), None, torch.zeros(1, 3))


def test_a_file_of_another_version_is_not_called_damaged(trained, tmp_path):
    path = tmp_path / "generator.safetensors"
    about = {"schema": trained.schema.to_dict(), "network": {**trained.network.settings(), "colour": 3}}
    FILE.write(path, trained.network, about)
    with pytest.raises(
        LsslError, match=r"written by lssl \d.* cannot build this generator \(.*'colour'\): train it again"
    ):
        lssl.load_generator(path)
    weights = trained.network.state_dict()
    for description in (json.dumps(about), "{}"):  # as versions wrote it that did not say which they were
        save_file(weights, path, metadata={"format": FILE.format, "lssl": description})
        with pytest.raises(LsslError, match="written by an earlier version of lssl"):
            lssl.load_generator(path)
    save_file(weights, path, metadata={"format": "lssl-generator-2", "lssl": "{}"})
    with pytest.raises(LsslError, match=r"a generator in layout 2, which another version of lssl wrote .* update lssl"):
        lssl.load_generator(path)


def test_a_file_of_another_kind_is_called_what_it_is(trained, tmp_path):
    save_generator(tmp_path / "generator.safetensors", trained)
    with pytest.raises(LsslError, match=r"a generator, not a classifier; `lssl train-classifier` makes one"):
        load_classifier(tmp_path / "generator.safetensors")

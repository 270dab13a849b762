"""classifier.safetensors: classes, size and network inside; clear errors for anything else."""

import pytest
import torch
from safetensors.torch import save_file

from lssl.data import AttributeGroup
from lssl.errors import LsslError
from lssl.models.classifier import SmallClassifier, TrainedClassifier, load_classifier, save_classifier


@pytest.fixture
def trained() -> TrainedClassifier:
    torch.manual_seed(0)
    group = AttributeGroup("expression", ("neutral", "happy", "sad"))
    return TrainedClassifier(SmallClassifier(3), group, "small", 32, {"data": "tiny"}).eval()


def test_round_trip(trained, tmp_path):
    save_classifier(tmp_path / "classifier.safetensors", trained)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    for path in (tmp_path, tmp_path / "classifier.safetensors"):
        loaded = load_classifier(path)
        assert loaded.classes == ("neutral", "happy", "sad")
        assert (loaded.group.name, loaded.image_size, loaded.info) == ("expression", 32, {"data": "tiny"})
        assert torch.equal(loaded.predict(images, batch_size=2), trained.predict(images, batch_size=2))
        assert not any(p.requires_grad for p in loaded.parameters())


def test_probabilities_and_other_sizes(trained):
    images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    assert torch.allclose(trained.predict(images).sum(1), torch.ones(2))
    assert trained.features(torch.zeros(2, 3, 64, 64)).shape == trained.features(torch.zeros(2, 3, 32, 32)).shape


def test_what_is_no_classifier_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="lssl train-classifier"):
        load_classifier(tmp_path)
    (tmp_path / "text.safetensors").write_text("no")
    with pytest.raises(LsslError, match=r"text\.safetensors: not a safetensors file"):
        load_classifier(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(LsslError, match="not a classifier"):
        load_classifier(tmp_path / "other.safetensors")

"""Classifiers: shapes, published parameter names, loading of foreign weights."""

import pytest
import torch
from safetensors.torch import save_file

from lssl.models.classifier import VGG16, ResNet50, SmallClassifier, build_classifier, load_pretrained


def test_resnet50_has_the_published_number_of_parameters():
    model = ResNet50(1000)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032  # torchvision's resnet50
    assert {"layer1.0.downsample.0.weight", "layer4.2.bn3.running_var", "fc.bias"} <= set(model.state_dict())


def test_small_classifier_shapes():
    model = SmallClassifier(8, width=4).eval()
    assert model(torch.zeros(2, 3, 48, 48)).shape == (2, 8)
    assert model.features(torch.zeros(2, 3, 48, 48)).shape == (2, 64)


def test_weights_for_other_classes_load_all_but_the_head(tmp_path):
    torch.manual_seed(0)
    source = SmallClassifier(10, width=4)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = SmallClassifier(3, width=4)
    missing = load_pretrained(model, tmp_path / "w.safetensors")
    assert missing == ["head.weight", "head.bias"]
    assert torch.equal(model.stages[0].weight, source.stages[0].weight)


def test_vgg_face_names_load(tmp_path):
    model = VGG16(7)
    own = model.state_dict()
    published = {
        "conv1_1.weight": own["features_stack.0.weight"],
        "conv5_3.bias": own["features_stack.28.bias"],
    }
    torch.save(published, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match="parameters are missing"):
        load_pretrained(model, tmp_path / "vgg.pth")


def test_errors_name_the_file_or_the_choice(tmp_path):
    save_file({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"bad\.safetensors: conv1\.weight"):
        load_pretrained(ResNet50(8), tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="small, resnet50, vgg16"):
        build_classifier("alexnet", 8)

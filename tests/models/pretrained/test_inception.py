"""Inception v3: published names, both published variants, the same features as written-out formulas."""

import pytest
import torch
from torch.nn import functional as F

from lssl.models.pretrained.inception import FEATURES, InceptionV3, load_inception


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return InceptionV3().eval()


def state_of_kind(network, classes, aux=False):
    """A file as published: the features' parameters and a classifier of so many classes."""
    state = {**network.state_dict(), "fc.weight": torch.zeros(classes, FEATURES), "fc.bias": torch.zeros(classes)}
    if aux:
        state["AuxLogits.conv0.conv.weight"] = torch.zeros(128, 768, 1, 1)
    return state


def test_parameters_are_torchvisions(network):
    # torchvision's inception_v3 has 27,161,264: less 3,326,696 of AuxLogits and 2,049,000 of fc.
    assert sum(p.numel() for p in network.parameters()) == 21_785_568
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert shapes["Mixed_6a.branch3x3dbl_3.bn.running_var"] == (96,)
    assert shapes["Mixed_6c.branch7x7dbl_4.conv.weight"] == (160, 160, 7, 1)
    assert shapes["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["Mixed_7c.branch_pool.conv.weight"] == (192, 2048, 1, 1)


def test_a_file_of_1008_classes_is_the_fid_network_and_of_1000_is_imagenets(network, tmp_path):
    torch.save(state_of_kind(network, 1008), tmp_path / "fid.pth")
    torch.save(state_of_kind(network, 1000, aux=True), tmp_path / "imagenet.pth")
    fid, imagenet = load_inception(tmp_path / "fid.pth"), load_inception(tmp_path / "imagenet.pth")
    assert fid.fid
    assert not imagenet.fid
    torch.manual_seed(1)
    image = torch.rand(1, 3, 75, 75) * 2 - 1
    with torch.inference_mode():
        features, others, own = fid(image), imagenet(image), network(image)
    assert features.shape == (1, FEATURES)
    assert torch.equal(features, own)
    assert not torch.allclose(features, others)


def layer(block, name, x):
    """conv, batch norm, ReLU of a block's named layer, by hand."""
    conv, bn = block.get_submodule(name).conv, block.get_submodule(name).bn
    rows, columns = conv.weight.shape[2:]
    y = F.conv2d(x, conv.weight, None, conv.stride, (rows // 2, columns // 2))
    return F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias, False, 0, 0.001).relu()


def chain(block, x, *names):
    for name in names:
        x = layer(block, name, x)
    return x


@pytest.mark.parametrize("fid", [True, False])
def test_blocks_are_the_published_formulas(fid):
    torch.manual_seed(2)
    network = InceptionV3(fid).eval()
    with torch.inference_mode():
        block, x = network.Mixed_5b, torch.randn(1, 192, 9, 9)
        border = F.avg_pool2d(x, 3, 1, 1, count_include_pad=not fid)
        branches = [
            chain(block, x, "branch1x1"),
            chain(block, x, "branch5x5_1", "branch5x5_2"),
            chain(block, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            chain(block, border, "branch_pool"),
        ]
        torch.testing.assert_close(block(x), torch.cat(branches, 1))

        block, x = network.Mixed_7c, torch.randn(1, 2048, 4, 4)
        pooled = F.max_pool2d(x, 3, 1, 1) if fid else F.avg_pool2d(x, 3, 1, 1)
        single, double = chain(block, x, "branch3x3_1"), chain(block, x, "branch3x3dbl_1", "branch3x3dbl_2")
        branches = [
            chain(block, x, "branch1x1"),
            *(layer(block, f"branch3x3_2{side}", single) for side in "ab"),
            *(layer(block, f"branch3x3dbl_3{side}", double) for side in "ab"),
            chain(block, pooled, "branch_pool"),
        ]
        torch.testing.assert_close(block(x), torch.cat(branches, 1))


def test_features_are_torchvisions():
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    torch.manual_seed(3)
    theirs = torchvision.models.inception_v3(weights=None, init_weights=False).eval()
    theirs.fc = torch.nn.Identity()
    ours = InceptionV3(fid=False).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    image = torch.rand(1, 3, 299, 299) * 2 - 1
    with torch.inference_mode():
        features, expected = ours(image), theirs(image)
    torch.testing.assert_close(features / expected.max(), expected / expected.max())


def test_features_are_pytorch_fids(network, monkeypatch):
    theirs = pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid is not installed")
    file = state_of_kind(network, 1008)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *args, **options: file)
    model = theirs.InceptionV3([3]).eval()
    torch.manual_seed(4)
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        features, expected = network(image * 2 - 1), model(image)[0].flatten(1)
    torch.testing.assert_close(features / expected.max(), expected / expected.max())


def test_errors_name_the_file(network, tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"resnet\.pth does not hold a InceptionV3"):
        load_inception(tmp_path / "resnet.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pth: not a file of weights"):
        load_inception(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_inception(tmp_path / "none.pth")

"""LPIPS: zero for equal pictures, the formula written out, published files."""

import pytest
import torch
from torch.nn import functional as F

from lssl.models.pretrained.lpips import LPIPS, load_lpips

ALEX_TAPS = {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}


def alexnet_features(seed=0):
    """A state dict with the names and shapes of torchvision's alexnet file (its classifier stands for the rest)."""
    torch.manual_seed(seed)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {"classifier.6.weight": torch.zeros(1000, 4096)}
    for number, shape in shapes.items():
        state[f"features.{number}.weight"] = torch.randn(shape) / (shape[1] * shape[2] * shape[3]) ** 0.5
        state[f"features.{number}.bias"] = 0.1 * torch.randn(shape[0])
    return state


def alex_lin(seed=1):
    """A state dict with the names and shapes of lpips' weights/v0.1/alex.pth."""
    torch.manual_seed(seed)
    return {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(ALEX_TAPS.values())}


@pytest.fixture
def files(tmp_path):
    torch.save(alexnet_features(), tmp_path / "alexnet.pth")
    torch.save(alex_lin(), tmp_path / "lin.pth")
    return [tmp_path / "alexnet.pth", tmp_path / "lin.pth"]


def images(count=2, size=64):
    torch.manual_seed(5)
    return torch.rand(count, 3, size, size) * 2 - 1, torch.rand(count, 3, size, size) * 2 - 1


def by_hand(first, second):
    state, lin = alexnet_features(), alex_lin()

    def activations(x):
        x = (x - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        found = []
        for number, (stride, padding) in {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}.items():
            if number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            x = F.conv2d(
                x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], stride, padding
            ).relu()
            found.append(x)
        return found

    total = 0
    for k, (a, b) in enumerate(zip(activations(first), activations(second), strict=True)):
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        weighed = (a - b) ** 2 * lin[f"lin{k}.model.1.weight"]
        total = total + weighed.sum(1).mean((1, 2))
    return total


def test_equal_pictures_are_at_distance_zero_and_order_does_not_matter(files):
    model = load_lpips(files)
    first, second = images()
    assert torch.equal(model(first, first), torch.zeros(2))
    torch.testing.assert_close(model(first, second), model(second, first))
    assert (model(first, second) > 0).all()


def test_the_distance_is_the_formula(files):
    first, second = images()
    torch.testing.assert_close(load_lpips(files)(first, second), by_hand(first, second))


def test_one_file_of_the_lpips_package_loads(files, tmp_path):
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    whole = {
        f"net.slice{slices[int(key.split('.')[1])]}.{key.split('.', 1)[1]}": value
        for key, value in alexnet_features().items()
        if key.startswith("features.")
    }
    torch.save({**whole, **alex_lin(), "scaling_layer.shift": torch.zeros(1, 3, 1, 1)}, tmp_path / "lpips.pth")
    first, second = images()
    assert torch.equal(load_lpips([tmp_path / "lpips.pth"])(first, second), load_lpips(files)(first, second))


def test_vgg_compares_the_five_stages():
    model = LPIPS("vgg").eval()
    names = {name for name, _ in model.named_parameters()}
    assert {"features.0.weight", "features.28.bias", "lin0.model.1.weight", "lin4.model.1.weight"} <= names
    assert [model.get_parameter(f"lin{k}.model.1.weight").shape[1] for k in range(5)] == [64, 128, 256, 512, 512]
    first, second = images(1, 32)
    with torch.inference_mode():
        assert model(first, second).shape == (1,)


def test_distances_are_the_lpips_packages(files):
    lpips = pytest.importorskip("lpips", reason="lpips is not installed")
    theirs = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False).eval()
    state = {f"net.slice{s}.{n}.{p}": alexnet_features()[f"features.{n}.{p}"]
             for n, s in {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}.items() for p in ("weight", "bias")}  # fmt: skip
    theirs.load_state_dict({**state, **alex_lin()}, strict=False)
    first, second = images()
    torch.testing.assert_close(load_lpips(files)(first, second), theirs(first, second).flatten())


def test_errors_say_which_file_is_lacking(files):
    with pytest.raises(ValueError, match="give lpips' weights"):
        load_lpips(files[:1])
    with pytest.raises(ValueError, match="give torchvision's AlexNet or VGG-16"):
        load_lpips(files[1:])
    with pytest.raises(ValueError, match="alex, vgg"):
        LPIPS("squeeze")

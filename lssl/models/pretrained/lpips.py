"""LPIPS, the learned perceptual distance (Zhang et al. 2018), from local weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lssl.errors import LsslError
from lssl.models.pretrained.weights import fill, read_weights

# (channels, kernel, stride, padding), or a 3x3 maximum pool with stride 2.
_ALEX = ((64, 11, 4, 2), "pool", (192, 5, 1, 2), "pool", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
_VGG_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
#: For each backbone: the layers of `features`, torchvision's numbering, whose outputs are compared.
_TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}


class LPIPS(nn.Module):
    """Distance of two pictures in features of AlexNet or VGG-16, with channel weights fitted to human judgement (v0.1).

    Args:
        backbone: `alex` or `vgg`.

    Inputs (N, 3, H, W) in [-1, 1], H and W at least 32; output (N,), 0 for equal pictures. Parameters are named
    `features.<torchvision's number>` and `lin<k>.model.1`, so that torchvision's and lpips' files load.
    """

    def __init__(self, backbone: str = "alex") -> None:
        super().__init__()
        if backbone not in _TAPS:
            raise ValueError(f"backbone is {backbone!r}; choose one of {', '.join(_TAPS)}")
        self.backbone = backbone
        self.taps = _TAPS[backbone]
        self.features = nn.Sequential(*(_alex_layers() if backbone == "alex" else _vgg_layers()))
        for k, tap in enumerate(self.taps):
            channels = self._channels(tap)
            head = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{k}", _Head(head))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).reshape(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).reshape(3, 1, 1), persistent=False)
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        total = first.new_zeros(len(first))
        for k, (a, b) in enumerate(zip(self._activations(first), self._activations(second), strict=True)):
            difference = (_unit(a) - _unit(b)).square()
            total = total + self.get_submodule(f"lin{k}")(difference).mean((1, 2, 3))
        return total

    def _activations(self, image: Tensor) -> list[Tensor]:
        x = (image - self.shift) / self.scale
        outputs = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                outputs.append(x)
        return outputs

    def _channels(self, tap: int) -> int:
        layer = self.features[tap - 1]
        assert isinstance(layer, nn.Conv2d)
        return layer.out_channels


class _Head(nn.Module):
    """`lin<k>`: in lpips the 1x1 convolution follows a dropout, hence the name `model.1`."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x)
        return output


def load_lpips(paths: Sequence[str | Path]) -> LPIPS:
    """LPIPS from local files, frozen: the backbone's (torchvision's `alexnet-...pth` or `vgg16-...pth`) and lpips'
    `lin` weights (`weights/v0.1/alex.pth` or `vgg.pth`), or one file with both (the state dict of `lpips.LPIPS`).

    Raises FileNotFoundError, or LsslError naming the files and what is missing.
    """
    weights: dict[str, Tensor] = {}
    for path in paths:
        weights.update({_name(key): value for key, value in read_weights(path).items()})
    source = " and ".join(str(path) for path in paths)
    first = weights.get("features.0.weight")
    if first is None:
        raise LsslError(f"{source}: no features.0.weight; give torchvision's AlexNet or VGG-16 file too")
    if "lin0.model.1.weight" not in weights:
        raise LsslError(f"{source}: no lin0.model.1.weight; give lpips' weights/v0.1/alex.pth or vgg.pth too")
    model = LPIPS("alex" if first.shape[-1] == 11 else "vgg")
    fill(model, weights, source)
    return model.requires_grad_(False).eval()


def _name(key: str) -> str:
    """lpips names its backbone's layers `net.slice<k>.<torchvision's number>`."""
    if key.startswith("net.slice"):
        return "features." + key.split(".", 2)[2]
    return key


def _unit(x: Tensor) -> Tensor:
    """Each pixel's channels (N, C, H, W) scaled to length 1; lpips' own epsilon."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _alex_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    c_in = 3
    for entry in _ALEX:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(3, 2))
        else:
            c_out, kernel, stride, padding = entry
            layers += [nn.Conv2d(c_in, c_out, kernel, stride, padding), nn.ReLU()]
            c_in = c_out
    return layers


def _vgg_layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    c_in = 3
    for stage, (c_out, count) in enumerate(_VGG_STAGES):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU()]
            c_in = c_out
    return layers

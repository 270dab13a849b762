"""Inception v3 up to its last average pool: the features of FID and KID (Heusel et al. 2017)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.models.pretrained.weights import fill, read_weights

FEATURES = 2048
_FID_CLASSES = 1008  # of the TensorFlow network that FID is defined with; ImageNet's own has 1,000


class _Step(NamedTuple):
    """One convolution of a branch: the name of its parameters, output channels, kernel (rows, columns)."""

    name: str
    channels: int
    kernel: tuple[int, int]


_Branch = Sequence[_Step | tuple[_Step, _Step]]


class ConvBatchNorm(nn.Module):
    """Convolution, batch norm, ReLU: torchvision's `BasicConv2d`, with its names."""

    def __init__(
        self, c_in: int, c_out: int, kernel: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu_()


class Mixed(nn.Module):
    """Parallel branches of convolutions and one of pooling, concatenated (Szegedy et al. 2016, Fig. 5 to 7, 10).

    A branch is a chain of steps; a pair of steps forks it. With `pool_channels` 0 the block halves the picture: each
    branch's last step has stride 2, and pooling takes the maximum.
    """

    def __init__(
        self,
        c_in: int,
        branches: Sequence[_Branch],
        pool_channels: int = 0,
        pool: str = "average",
    ) -> None:
        super().__init__()
        self.halves = pool_channels == 0
        self.pool = pool
        self.branches = [[step if isinstance(step[0], _Step) else (step,) for step in branch] for branch in branches]
        for branch in self.branches:
            channels = c_in
            for position, fork in enumerate(branch):
                last = self.halves and position == len(branch) - 1
                for name, c_out, kernel in fork:
                    padding = (0, 0) if last else (kernel[0] // 2, kernel[1] // 2)
                    self.add_module(name, ConvBatchNorm(channels, c_out, kernel, 2 if last else 1, padding))
                channels = sum(step.channels for step in fork)
        if not self.halves:
            self.branch_pool = ConvBatchNorm(c_in, pool_channels, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            y = x
            for fork in branch:
                y = torch.cat([self.get_submodule(name)(y) for name, _, _ in fork], 1)
            outputs.append(y)
        if self.halves:
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        if self.pool == "max":
            pooled = F.max_pool2d(x, 3, 1, 1)
        else:
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.pool == "average with border")
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


class InceptionV3(nn.Module):
    """Inception v3 (Szegedy et al. 2016) without its classifier, with torchvision's parameter names.

    Args:
        fid: the network that FID is defined with, a TensorFlow one of 2015: its average pools leave the border out,
            and the last block uses a maximum pool. False: torchvision's and timm's ImageNet network.

    Input (N, 3, H, W) in [-1, 1], resized inside to 299 x 299; output features (N, 2048).
    """

    def __init__(self, fid: bool = True) -> None:
        super().__init__()
        self.fid = fid
        pool = "average" if fid else "average with border"
        self.Conv2d_1a_3x3 = ConvBatchNorm(3, 32, (3, 3), 2)
        self.Conv2d_2a_3x3 = ConvBatchNorm(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = ConvBatchNorm(32, 64, (3, 3), padding=(1, 1))
        self.Conv2d_3b_1x1 = ConvBatchNorm(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = ConvBatchNorm(80, 192, (3, 3))
        self.Mixed_5b = _mixed_5(192, 32, pool)
        self.Mixed_5c = _mixed_5(256, 64, pool)
        self.Mixed_5d = _mixed_5(288, 64, pool)
        self.Mixed_6a = Mixed(288, [[_Step("branch3x3", 384, (3, 3))], _double_3x3(96)])
        self.Mixed_6b = _mixed_6(128, pool)
        self.Mixed_6c = _mixed_6(160, pool)
        self.Mixed_6d = _mixed_6(160, pool)
        self.Mixed_6e = _mixed_6(192, pool)
        self.Mixed_7a = Mixed(768, [_chain("branch3x3", (192, 1, 1), (320, 3, 3)), _reduction_7x7()])
        self.Mixed_7b = _mixed_7(1280, pool)
        self.Mixed_7c = _mixed_7(2048, "max" if fid else pool)

    def features(self, image: Tensor) -> Tensor:
        """Features (N, 2048) of images (N, 3, H, W) in [-1, 1]."""
        x = F.interpolate(image, size=(299, 299), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)


def load_inception(path: str | Path) -> InceptionV3:
    """Inception v3 from a local file, frozen.

    Takes pytorch-fid's and torch-fidelity's `pt_inception-2015-12-05-...pth` (the FID network, recognised by its 1,008
    classes) and torchvision's or timm's ImageNet weights (`InceptionV3.fid` is then False: distances are not comparable
    with published FID). Raises FileNotFoundError, or LsslError naming the file and the parameter.
    """
    weights = read_weights(path)
    classes = len(weights["fc.weight"]) if "fc.weight" in weights else _FID_CLASSES
    model = InceptionV3(fid=classes == _FID_CLASSES)
    fill(model, weights, str(path))
    return model.requires_grad_(False).eval()


def _chain(name: str, *layers: tuple[int, int, int]) -> list[_Step]:
    """Steps `name_1`, `name_2`, ... of (channels, rows, columns)."""
    return [_Step(f"{name}_{k}", channels, (rows, columns)) for k, (channels, rows, columns) in enumerate(layers, 1)]


def _double_3x3(channels: int) -> list[_Step]:
    return _chain("branch3x3dbl", (64, 1, 1), (channels, 3, 3), (channels, 3, 3))


def _mixed_5(c_in: int, pool_channels: int, pool: str) -> Mixed:
    one = [_Step("branch1x1", 64, (1, 1))]
    return Mixed(c_in, [one, _chain("branch5x5", (48, 1, 1), (64, 5, 5)), _double_3x3(96)], pool_channels, pool)


def _mixed_6(c7: int, pool: str) -> Mixed:
    one = [_Step("branch1x1", 192, (1, 1))]
    seven = _chain("branch7x7", (c7, 1, 1), (c7, 1, 7), (192, 7, 1))
    double = _chain("branch7x7dbl", (c7, 1, 1), (c7, 7, 1), (c7, 1, 7), (c7, 7, 1), (192, 1, 7))
    return Mixed(768, [one, seven, double], 192, pool)


def _reduction_7x7() -> list[_Step]:
    return _chain("branch7x7x3", (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3))


def _mixed_7(c_in: int, pool: str) -> Mixed:
    def fork(name: str) -> tuple[_Step, _Step]:
        return _Step(f"{name}a", 384, (1, 3)), _Step(f"{name}b", 384, (3, 1))

    one = [_Step("branch1x1", 320, (1, 1))]
    single: _Branch = [*_chain("branch3x3", (384, 1, 1)), fork("branch3x3_2")]
    double: _Branch = [*_chain("branch3x3dbl", (448, 1, 1), (384, 3, 3)), fork("branch3x3dbl_3")]
    return Mixed(c_in, [one, single, double], 192, pool)

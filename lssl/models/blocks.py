"""Convolution blocks shared by the networks (paper 4.1)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lssl.ops import pixel_shuffle_instance_norm


class Described(nn.Module):
    """A network that knows its constructor's arguments: `Kind(**network.settings())` has the same shapes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = settings

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._settings)


class ConvNorm(nn.Module):
    """Convolution, pixel shuffle by `upscale_factor` (1: none), affine instance norm and activation, fused.

    (N, in, H, W) -> (N, out, H * upscale_factor / stride, W * upscale_factor / stride). The convolution has no bias:
    instance norm would remove it. With `alike_start` the channels that pixel shuffle interleaves start with equal
    weights (ICNR, Aitken et al. 2017, https://arxiv.org/abs/1707.02937), so that training does not start from a
    checkerboard.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        upscale_factor: int = 1,
        activation: str = "relu",
        alike_start: bool = False,
    ) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor
        self.activation = activation
        self.conv = nn.Conv2d(
            in_channels,
            out_channels * upscale_factor**2,
            kernel_size,
            stride,
            (kernel_size - 1) // 2,
            bias=False,
        )
        if alike_start:
            with torch.no_grad():
                copies = self.conv.weight.unflatten(0, (out_channels, upscale_factor**2))
                copies.copy_(copies[:, :1].clone().expand_as(copies))
        self.weight = nn.Parameter(torch.ones(out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(
            self.conv(x), self.weight, self.bias, self.upscale_factor, activation=self.activation
        )


class ResidualBlock(nn.Module):
    """x + norm(conv3(relu(norm(conv3(x))))): one of the six blocks at the latent's resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def start_normal(network: nn.Module) -> None:
    """Initialises weights of convolutions and linear layers from N(0, 0.02), those of batch norms from N(1, 0.02), and
    biases to 0, as DCGAN does (Radford et al. 2016, https://arxiv.org/abs/1511.06434), and after it CycleGAN and IcGAN.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d):
            mean = 1.0 if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) else 0.0
            nn.init.normal_(layer.weight, mean, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class InvertedResidual(nn.Module):
    """MobileNet-v2 block: expand 1x1, depthwise 3x3, project 1x1, with a shortcut where shapes allow.

    Source: Sandler et al. 2018, https://arxiv.org/abs/1801.04381. Batch norm, as there: the parser is trained on
    whole batches and then frozen.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, expansion: int = 4) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == out_channels
        self.layers = nn.Sequential(
            *_conv_batch_norm(in_channels, hidden, 1),
            nn.ReLU6(),
            *_conv_batch_norm(hidden, hidden, 3, stride, groups=hidden),
            nn.ReLU6(),
            *_conv_batch_norm(hidden, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers(x)
        return x + output if self.shortcut else output


def _conv_batch_norm(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> Iterable[nn.Module]:
    padding = (kernel_size - 1) // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_channels)

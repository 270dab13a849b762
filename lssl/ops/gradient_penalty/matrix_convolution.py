"""Convolutions with many weights and few positions, as matrix products on the CPU.

The last layers of a critic have millions of weights and a handful of output positions (paper 4.1: 33 million weights,
2x2 positions). There the time goes into moving weights, and oneDNN's convolutions move them several times, because
every call reorders them into its own layout. A matrix product reads them once; the unfolded input is small.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Where the products win, measured with AVX-512 on two cores (benchmarks/bench_gradient_penalty.py times whole steps).
_LEAST_WEIGHTS = 1 << 22
_MOST_POSITIONS = 256


class Window(NamedTuple):
    """Geometry of a two-dimensional convolution without groups, padded with zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


def pays(window: Window, x: Tensor, weight: Tensor) -> bool:
    """True where the matrix products are faster than the library's convolutions for input like `x`."""
    if x.device.type != "cpu" or x.ndim != 4 or weight.dtype not in (torch.float32, torch.float64):
        return False
    if weight.numel() < _LEAST_WEIGHTS or not (weight.is_contiguous() or _channels_last(weight)):
        return False
    height, width = _output_size(window, x.shape, weight)
    return 0 < x.shape[0] * height * width <= _MOST_POSITIONS


def convolve(window: Window, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution: x (N, C, H, W), weight (O, C, kh, kw) -> (N, O, H', W')."""
    size = _output_size(window, x.shape, weight)
    product = _matrix(weight) @ _columns(window, x, weight)
    if bias is not None:
        product += bias[:, None]
    return product.view(weight.shape[0], x.shape[0], *size).transpose(0, 1).contiguous()


def input_gradient(window: Window, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
    """The gradient with respect to the input, of `shape`, given that of the output."""
    channels, *kernel = weight.shape[1:]
    columns = _matrix(weight).T @ _rows(gradient)
    count = shape[0]
    if _channels_last(weight):
        columns = columns.view(*kernel, channels, -1).movedim(2, 0)
    columns = columns.reshape(channels * kernel[0] * kernel[1], count, -1).transpose(0, 1)
    return F.fold(columns, tuple(shape[2:]), tuple(kernel), window.dilation, window.padding, window.stride)


def weight_gradient(window: Window, gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """The gradient with respect to the weight, in its memory format, given that of the output."""
    product = _rows(gradient) @ _columns(window, x, weight).T
    outputs, channels, *kernel = weight.shape
    if _channels_last(weight):
        return product.view(outputs, *kernel, channels).permute(0, 3, 1, 2)
    return product.view_as(weight)


def _columns(window: Window, x: Tensor, weight: Tensor) -> Tensor:
    """The patches of `x` as (weights of one output, N H' W'), in the order in which `weight` holds them."""
    channels, kernel = weight.shape[1], tuple(weight.shape[2:])
    patches = F.unfold(x, kernel, window.dilation, window.padding, window.stride)
    patches = patches.transpose(0, 1)
    if _channels_last(weight):
        patches = patches.view(channels, kernel[0] * kernel[1], *patches.shape[1:]).transpose(0, 1)
    return patches.reshape(weight[0].numel(), -1)


def _rows(gradient: Tensor) -> Tensor:
    """(N, O, H', W') -> (O, N H' W')."""
    return gradient.transpose(0, 1).reshape(gradient.shape[1], -1)


def _matrix(weight: Tensor) -> Tensor:
    """(O, weights of one output), a view."""
    ordered = weight.permute(0, 2, 3, 1) if _channels_last(weight) else weight
    return ordered.view(weight.shape[0], -1)


def _channels_last(weight: Tensor) -> bool:
    return not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)


def _output_size(window: Window, shape: torch.Size, weight: Tensor) -> tuple[int, int]:
    height, width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(
            shape[2:], weight.shape[2:], window.stride, window.padding, window.dilation, strict=True
        )
    )
    return height, width

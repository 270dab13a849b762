"""The gradient penalty of a chain of linear layers and (leaky) ReLUs in four passes, without a graph of a graph.

With g = grad_x sum D(x) and v = dP/dg held fixed, dP/dtheta = d<g(theta), v>/dtheta, and <g, v> is the derivative of
sum D along v. A (leaky) ReLU has no second derivative almost everywhere, so with s_l the slopes, d_l the backward
signal at layer l's output and t_l = s_l (W_l t_{l-1}), t_0 = v, the gradient of W_l is the ordinary weight gradient
for input t_{l-1} and output gradient d_l; biases get zero. (WGAN-GP: arXiv 1704.00028; paper eq. 1.)
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lssl.ops.gradient_penalty.forward_over_reverse import refuse_second_derivative
from lssl.ops.gradient_penalty.kernels import dense, penalty_cotangent, penalty_rectify_, penalty_slope_
from lssl.ops.gradient_penalty.layers import (
    Chain,
    Convolution,
    Dense,
    Layer,
    Rectifier,
    autocast_dtype,
    with_strides,
)


class Layout(NamedTuple):
    """A layer's input, without its values and its batch."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def unread(self, like: Tensor) -> Tensor:
        """Uninitialised memory of this layout with `like`'s batch size, for calls that read only the layout."""
        shape = (like.shape[0], *self.shape)
        return torch.empty_strided(shape, self.strides, dtype=like.dtype, device=like.device)


def analytic_penalty(chain: Chain, x: Tensor, target: float) -> Tensor:
    """The penalty at `x` (N, ...), which is overwritten; a scalar whose backward reaches the chain's parameters."""
    parameters = (*chain.weights, *chain.biases)
    dtype = autocast_dtype(x)
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parameters):
        return _Penalty.apply(x, target, chain.layers, dtype, *parameters)
    weights, biases = cast(chain.weights, dtype), cast(chain.biases, dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return _penalty(x, target, chain.layers, weights, biases)[0]


def cast(tensors: tuple[Any, ...], dtype: torch.dtype | None) -> tuple[Any, ...]:
    return tuple(t if t is None or dtype is None else t.to(dtype) for t in tensors)


class _Penalty(torch.autograd.Function):
    """Forward: images -> g -> (P, v). Backward: the tangent pass along v, with each layer's weight gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: float, layers: tuple[Layer, ...], dtype: torch.dtype | None, *parameters: Any
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weights = cast(parameters[: len(layers)], dtype)
            biases = cast(parameters[len(layers) :], dtype)
            penalty, cotangent, signals, slopes, layouts = _penalty(x, target, layers, weights, biases)
        ctx.layers, ctx.layouts = layers, layouts
        ctx.dtypes = tuple(None if p is None else p.dtype for p in parameters)
        ctx.save_for_backward(cotangent, *weights, *signals, *slopes)
        return penalty

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple:
        refuse_second_derivative()
        layers, count = ctx.layers, len(ctx.layers)
        cotangent, *saved = ctx.saved_tensors
        weights, signals, slopes = saved[:count], saved[count : 2 * count], saved[2 * count :]
        wanted = ctx.needs_input_grad[4:]
        gradients: list[Any] = [None] * (2 * count)
        # P is linear in v: scaling v scales every gradient, at the cost of the smallest tensor here.
        with torch.autocast(scale.device.type, enabled=False):
            tangent = cotangent * scale
            last = max([i for i in range(count) if wanted[i]] or [-1])
            for i, layer in enumerate(layers[: last + 1]):
                if wanted[i]:
                    gradient = layer.weight_gradient(signals[i], weights[i], tangent.to(weights[i].dtype))
                    gradients[i] = gradient.to(ctx.dtypes[i])
                if i < last:
                    tangent = onward(layer, tangent, weights[i], slopes[i], ctx.layouts[i])
        for i in range(count, 2 * count):
            if wanted[i]:
                width = bias_width(layers[i - count], weights[i - count])
                gradients[i] = scale.new_zeros(width, dtype=ctx.dtypes[i])
        return None, None, None, None, *gradients


def bias_width(layer: Layer, weight: Tensor) -> int:
    if isinstance(layer, Convolution) and layer.transposed:
        return weight.shape[1] * layer.groups
    return weight.shape[0]


def _penalty(
    x: Tensor,
    target: float,
    layers: tuple[Layer, ...],
    weights: tuple[Any, ...],
    biases: tuple[Any, ...],
) -> tuple[Tensor, Tensor, list[Any], list[Any], list[Layout]]:
    """(P, v, d_l at each weighted layer's output, packed slopes of each rectifier, each layer's layout)."""
    image_dtype = x.dtype
    slopes: list[Any] = [None] * len(layers)
    signals: list[Any] = [None] * len(layers)
    layouts: list[Layout] = []
    for i, (layer, weight, bias) in enumerate(zip(layers, weights, biases, strict=True)):
        x = dense(x) if isinstance(layer, Rectifier) else x
        layouts.append(Layout(tuple(x.shape[1:]), x.stride(), x.dtype))
        if isinstance(layer, Convolution | Dense):
            x = layer(x.to(weight.dtype), weight, bias)
        elif isinstance(layer, Rectifier):
            slopes[i] = penalty_rectify_(x, layer.negative_slope)
        else:
            x = layer(x)
    signal = torch.ones_like(x)
    del x
    for i in range(len(layers) - 1, -1, -1):
        if isinstance(layers[i], Convolution | Dense):
            signals[i] = signal
        signal = back(layers[i], signal, weights[i], slopes[i], layouts[i])
    penalty, cotangent = penalty_cotangent(signal.to(image_dtype), target)
    return penalty, cotangent, signals, slopes, layouts


def back(layer: Layer, signal: Tensor, weight: Any, slopes: Any, layout: Layout) -> Tensor:
    """The backward signal from a layer's output (which a rectifier overwrites) to its input."""
    if isinstance(layer, Rectifier):
        signal = with_strides(signal, layout.strides)
        penalty_slope_(signal, slopes, layer.negative_slope)
        return signal
    if isinstance(layer, Convolution | Dense):
        return layer.input_gradient(signal, weight, layout.unread(signal)).to(layout.dtype)
    return layer.input_gradient(signal, layout.unread(signal)).to(layout.dtype)


def onward(layer: Layer, tangent: Tensor, weight: Any, slopes: Any, layout: Layout) -> Tensor:
    """The tangent from a layer's input (which a rectifier overwrites) to its output."""
    if isinstance(layer, Rectifier):
        tangent = with_strides(tangent, layout.strides)
        penalty_slope_(tangent, slopes, layer.negative_slope)
        return tangent
    if isinstance(layer, Convolution | Dense):
        return layer(tangent.to(weight.dtype), weight, None)
    return layer(tangent)

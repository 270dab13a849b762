"""The gradient penalty of a chain of linear layers and (leaky) ReLUs in four passes, without a graph of a graph.

With g = grad_x sum D(x) and v = dP/dg held fixed, dP/dtheta = d<g(theta), v>/dtheta, and <g, v> is the derivative of
sum D along v. A (leaky) ReLU has no second derivative almost everywhere, so with s_l the slopes, d_l the backward
signal at layer l's output and t_l = s_l (W_l t_{l-1}), t_0 = v, the gradient of W_l is the ordinary weight gradient
for input t_{l-1} and output gradient d_l; biases get zero. (WGAN-GP: arXiv 1704.00028; paper eq. 1.)
"""

from typing import Any

import torch
from torch import Tensor

from lssl.ops.penalty_forward import refuse_second_derivative
from lssl.ops.penalty_kernels import dense, penalty_cotangent, penalty_rectify_, penalty_slope_
from lssl.ops.penalty_layers import (
    Chain,
    Convolution,
    Dense,
    Layer,
    Rectifier,
    autocast_dtype,
    with_strides,
)


def analytic_penalty(chain: Chain, x: Tensor, target: float) -> Tensor:
    """The penalty at `x` (N, ...), which is overwritten; a scalar whose backward reaches the chain's parameters."""
    parameters = (*chain.weights, *chain.biases)
    dtype = autocast_dtype(x)
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parameters):
        return _Penalty.apply(x, target, chain.layers, dtype, *parameters)
    weights, biases = _cast(chain.weights, dtype), _cast(chain.biases, dtype)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return _penalty(x, target, chain.layers, weights, biases)[0]


def _cast(tensors: tuple[Any, ...], dtype: torch.dtype | None) -> tuple[Any, ...]:
    return tuple(t if t is None or dtype is None else t.to(dtype) for t in tensors)


class _Penalty(torch.autograd.Function):
    """Forward: images -> g -> (P, v). Backward: the tangent pass along v, with each layer's weight gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: float, layers: tuple[Layer, ...], dtype: torch.dtype | None, *parameters: Any
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weights = _cast(parameters[: len(layers)], dtype)
            biases = _cast(parameters[len(layers) :], dtype)
            penalty, cotangent, signals, slopes, strides = _penalty(x, target, layers, weights, biases)
        ctx.layers, ctx.strides = layers, strides
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
                weight = weights[i]
                if isinstance(layer, Convolution | Dense):
                    tangent = tangent.to(weight.dtype)
                    if wanted[i]:
                        gradient = layer.weight_gradient(signals[i], weight, tangent)
                        gradients[i] = gradient.to(ctx.dtypes[i])
                    if i < last:
                        tangent = layer(tangent, weight, None)
                elif isinstance(layer, Rectifier):
                    tangent = with_strides(tangent, ctx.strides[i])
                    penalty_slope_(tangent, slopes[i], layer.negative_slope)
                else:
                    tangent = layer(tangent)
        for i in range(count, 2 * count):
            if wanted[i]:
                width = _bias_width(layers[i - count], weights[i - count])
                gradients[i] = scale.new_zeros(width, dtype=ctx.dtypes[i])
        return None, None, None, None, *gradients


def _bias_width(layer: Layer, weight: Tensor) -> int:
    if isinstance(layer, Convolution) and layer.transposed:
        return weight.shape[1] * layer.groups
    return weight.shape[0]


def _penalty(
    x: Tensor,
    target: float,
    layers: tuple[Layer, ...],
    weights: tuple[Any, ...],
    biases: tuple[Any, ...],
) -> tuple[Tensor, Tensor, list[Any], list[Any], list[tuple[int, ...]]]:
    """(P, v, d_l at each weighted layer's output, packed slopes of each rectifier, strides of each layer's input)."""
    image_dtype = x.dtype
    slopes: list[Any] = []
    shapes, strides, dtypes = [], [], []
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        packed = None
        if isinstance(layer, Rectifier):
            x = dense(x)
        shapes.append(x.shape)
        strides.append(x.stride())
        dtypes.append(x.dtype)
        if isinstance(layer, Convolution | Dense):
            x = layer(_like_weight(x, weight), weight, bias)
        elif isinstance(layer, Rectifier):
            packed = penalty_rectify_(x, layer.negative_slope)
        else:
            x = layer(x)
        slopes.append(packed)
    gradient = torch.ones_like(x)
    del x
    signals: list[Any] = [None] * len(layers)
    for i in range(len(layers) - 1, -1, -1):
        layer, weight = layers[i], weights[i]
        if isinstance(layer, Rectifier):
            gradient = with_strides(gradient, strides[i])
            penalty_slope_(gradient, slopes[i], layer.negative_slope)
            continue
        # Only the shape and the strides of a layer's input are read here, never its values.
        unread = torch.empty_strided(shapes[i], strides[i], dtype=gradient.dtype, device=gradient.device)
        if isinstance(layer, Convolution | Dense):
            signals[i] = gradient
            gradient = layer.input_gradient(gradient, weight, unread)
        else:
            gradient = layer.input_gradient(gradient, unread)
        gradient = gradient.to(dtypes[i])
    penalty, cotangent = penalty_cotangent(gradient.to(image_dtype), target)
    return penalty, cotangent, signals, slopes, strides


def _like_weight(x: Tensor, weight: Tensor) -> Tensor:
    return x if x.dtype == weight.dtype else x.to(weight.dtype)

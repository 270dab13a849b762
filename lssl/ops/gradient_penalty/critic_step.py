"""A critic's features and its gradient penalty in one step: one forward pass, one set of weight gradients.

Computed separately, the samples pass through the trunk with autograd, and the penalty's mixtures by themselves; both
read every weight in each pass, and both write every weight's gradient. Here samples and mixtures go forward together.
In the backward pass a layer's weight gradient is computed once, for the samples' activations with their signals and the
mixtures' tangents with theirs (analytic.py): the tangents overwrite the mixtures' activations, which are no longer
needed, in the same batch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lssl.ops.gradient_penalty.analytic import Layout, back, bias_width, cast, onward
from lssl.ops.gradient_penalty.forward_over_reverse import refuse_second_derivative
from lssl.ops.gradient_penalty.kernels import dense, penalty_cotangent, penalty_rectify_
from lssl.ops.gradient_penalty.layers import (
    Convolution,
    Dense,
    Layer,
    NotAnalytic,
    Rectifier,
    autocast_dtype,
    realism_chain,
)
from lssl.ops.gradient_penalty.penalty import gradient_penalty, mixture


def features_and_penalty(
    trunk: nn.Module,
    head: nn.Module,
    samples: Tensor,
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    alpha: Tensor | float | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """(trunk(samples), gradient_penalty of head(trunk(.)) between real and fake), faster than one after the other.

    A WGAN-GP critic's step needs the features of real and fake images for its heads, and the penalty (paper eq. 1-3).
    The features take part in autograd as usual, except that `samples` gets no gradient: it is a constant here, as real
    and fake are. It is faster if `trunk` and `head` consist of layers for which the penalty is analytic (see
    `gradient_penalty`); otherwise the two are computed one after the other. Deterministic where `gradient_penalty` is.

    Args:
        trunk, head: modules; what is penalised is head(trunk(images)), which may have several outputs per image.
        samples: images (M, ...), of real's dtype, device and image shape; usually real and fake are among them.
        real, fake, target, alpha, generator: as for `gradient_penalty`.

    Returns:
        trunk(samples), (M, ...), and the penalty, a scalar.

    Raises:
        ValueError: shapes, dtypes or devices do not match.
    """
    if samples.shape[1:] != real.shape[1:] or samples.dtype != real.dtype or samples.device != real.device:
        raise ValueError(
            f"samples must be images like real's, {real.dtype} {tuple(real.shape[1:])} on {real.device}; "
            f"got {samples.dtype} {tuple(samples.shape[1:])} on {samples.device}"
        )
    dtype = autocast_dtype(real)
    try:
        chain = realism_chain(nn.Sequential(trunk, head), real, dtype)
        count = len(realism_chain(nn.Sequential(trunk), real, dtype).layers)
    except NotAnalytic:
        chain, count = None, 0
    parameters = () if chain is None else (*chain.weights, *chain.biases)
    trained = torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parameters)
    usable = trained and len(samples) and len(real) and not torch.compiler.is_compiling()
    if chain is None or not usable:
        features = trunk(samples.detach())
        options = {"target": target, "alpha": alpha, "generator": generator}
        return features, gradient_penalty(nn.Sequential(trunk, head), real, fake, **options)  # type: ignore[arg-type]
    x = mixture(real, fake, alpha, generator)
    return _Step.apply(
        torch.cat([samples.detach(), x]), len(samples), count, float(target), chain.layers, dtype, *parameters
    )


class _Step(torch.autograd.Function):
    """(x: samples and mixtures in one batch) -> (features of the samples, penalty of the mixtures)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        samples: int,
        trunk: int,
        target: float,
        layers: tuple[Layer, ...],
        dtype: torch.dtype | None,
        *parameters: Any,
    ) -> tuple[Tensor, Tensor]:
        count, image_dtype = len(layers), x.dtype
        layouts: list[Layout] = []
        inputs: list[Any] = [None] * count
        slopes: list[Any] = [None] * (2 * count)  # of the samples, then of the mixtures
        signals: list[Any] = [None] * count
        with torch.autocast(x.device.type, enabled=False):
            weights, biases = cast(parameters[:count], dtype), cast(parameters[count:], dtype)
            for i, (layer, weight) in enumerate(zip(layers, weights, strict=True)):
                if i == trunk:
                    features, x = x[:samples].clone(), x[samples:]
                x = dense(x) if isinstance(layer, Rectifier) else x
                layouts.append(Layout(tuple(x.shape[1:]), x.stride(), x.dtype))
                if isinstance(layer, Rectifier):
                    if i < trunk:
                        slopes[i] = penalty_rectify_(x[:samples], layer.negative_slope)
                    mixtures = x[samples:] if i < trunk else x
                    slopes[count + i] = penalty_rectify_(mixtures, layer.negative_slope)
                elif isinstance(layer, Convolution | Dense):
                    x = x.to(weight.dtype)
                    inputs[i] = x if i < trunk else None
                    x = layer(x, weight, biases[i])
                else:
                    x = layer(x)
            if trunk == count:
                features, x = x[:samples].clone(), x[samples:]
            signal = torch.ones_like(x)
            del x
            for i in reversed(range(count)):
                signals[i] = signal
                signal = back(layers[i], signal, weights[i], slopes[count + i], layouts[i])
            penalty, cotangent = penalty_cotangent(signal.to(image_dtype), target)
        ctx.layers, ctx.layouts, ctx.samples, ctx.trunk = layers, layouts, samples, trunk
        ctx.dtypes = [None if p is None else p.dtype for p in parameters]
        ctx.set_materialize_grads(False)
        kept = [s if isinstance(layer, Convolution | Dense) else None for layer, s in zip(layers, signals, strict=True)]
        ctx.save_for_backward(cotangent, *weights, *inputs, *slopes, *kept)
        return features, penalty

    @staticmethod
    def backward(ctx: Any, signal: Tensor | None, scale: Tensor | None) -> tuple:
        refuse_second_derivative()
        layers, samples, trunk, count = ctx.layers, ctx.samples, ctx.trunk, len(ctx.layers)
        cotangent, *saved = ctx.saved_tensors
        weights, inputs, slopes, more_slopes, of_mixtures = (saved[i * count : (i + 1) * count] for i in range(5))
        wanted = ctx.needs_input_grad[6:]
        gradients: list[Any] = [None] * (2 * count)
        of_samples: list[Any] = [None] * count
        with torch.autocast(cotangent.device.type, enabled=False):
            if signal is not None:
                signal = signal.clone()  # rectifiers work in place
                first = min([i for i in range(trunk) if wanted[i] or wanted[count + i]] or [trunk])
                for i in reversed(range(first, trunk)):
                    of_samples[i] = signal
                    if i > first:
                        signal = back(layers[i], signal, weights[i], slopes[i], ctx.layouts[i])
            last = max([i for i in range(count) if wanted[i]] or [-1])
            tangent = None if scale is None else cotangent * scale
            for i, layer in enumerate(layers[: last + 1]):
                if tangent is not None and wanted[i]:
                    tangent = tangent.to(weights[i].dtype)
                if wanted[i]:
                    x, of_x = _joined(inputs[i], of_samples[i], tangent, of_mixtures[i], samples)
                    if of_x is not None:
                        gradients[i] = layer.weight_gradient(of_x, weights[i], x).to(ctx.dtypes[i])
                if tangent is not None and i < last:
                    tangent = onward(layer, tangent, weights[i], more_slopes[i], ctx.layouts[i])
            for i in range(count, 2 * count):
                if wanted[i]:
                    gradients[i] = _bias_gradient(layers[i - count], weights[i - count], of_samples[i - count])
                    gradients[i] = gradients[i].to(ctx.dtypes[i])
        return None, None, None, None, None, None, *gradients


def _joined(
    inputs: Tensor | None, of_samples: Tensor | None, tangent: Tensor | None, of_mixtures: Tensor, samples: int
) -> tuple[Tensor | None, Tensor | None]:
    """(a weighted layer's input, its output's signal) for the samples and the mixtures' tangents, where wanted."""
    if of_samples is None or inputs is None:
        return tangent, None if tangent is None else of_mixtures
    if tangent is None:
        return inputs[:samples], of_samples
    # The mixtures' activations are not read again. Through `data`, autograd does not count this as a change, and a
    # second backward pass is not refused.
    inputs.data[samples:].copy_(tangent)
    return inputs, torch.cat([of_samples, of_mixtures])


def _bias_gradient(layer: Layer, weight: Tensor, of_samples: Tensor | None) -> Tensor:
    if of_samples is None:
        return weight.new_zeros(bias_width(layer, weight))
    channel = of_samples.ndim - 1 if isinstance(layer, Dense) else 1
    return of_samples.sum([d for d in range(of_samples.ndim) if d != channel])

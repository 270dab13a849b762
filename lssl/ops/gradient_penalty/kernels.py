"""The small kernels of the gradient penalty, each next to its reference; none is differentiable by itself.

A rectifier's slopes are packed, one bit per element (element 8 k + j in memory order is bit j of byte k); they are all
that the analytic penalty keeps of the forward pass.
"""

import torch
from torch import Tensor

from lssl.ops._library import native_available, use_native


def penalty_interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """alpha_i real_i + (1 - alpha_i) fake_i; real, fake (N, ...), alpha (N,) float32 (float64 for float64 images)."""
    if use_native(real):
        return torch.ops.lssl.penalty_interpolate(real, fake, alpha)
    return penalty_interpolate_reference(real, fake, alpha)


def penalty_interpolate_reference(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    weights = alpha.reshape(-1, *[1] * (real.ndim - 1))
    # lssl computes in float32 or better whatever the images' dtype.
    return (weights * real + (1 - weights) * fake).to(real.dtype)


def penalty_cotangent(gradient: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """(P, v): P = mean_i (||g_i|| - target)^2 and v = dP/dg, for gradient (N, ...); v_i = 0 where g_i = 0.

    P is a scalar of the gradient's dtype, summed in float32 or better; 0 for an empty batch.
    """
    if use_native(gradient):
        return torch.ops.lssl.penalty_cotangent(gradient, target)
    return penalty_cotangent_reference(gradient, target)


def penalty_cotangent_reference(gradient: Tensor, target: float) -> tuple[Tensor, Tensor]:
    g = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    count = max(g.shape[0], 1)
    norms = torch.linalg.vector_norm(g.flatten(1), dim=1)
    penalty = (norms - target).square().sum() / count
    scale = torch.where(norms == 0, 0.0, 2 * (norms - target) / (count * norms))
    cotangent = scale.reshape(-1, *[1] * (g.ndim - 1)) * g
    return penalty.to(gradient.dtype), cotangent.to(gradient.dtype)


def penalty_rectify_(input: Tensor, negative_slope: float) -> Tensor:
    """(Leaky) ReLU in place; returns the slopes, packed. `input` must be dense (no gaps, no overlap)."""
    if use_native(input):
        return torch.ops.lssl.penalty_rectify_(input, negative_slope)
    return penalty_rectify_reference_(input, negative_slope)


def penalty_rectify_reference_(input: Tensor, negative_slope: float) -> Tensor:
    # As in autograd: relu'(NaN) = 1, leaky_relu'(NaN) = slope; both take the slope at 0.
    positive = ~(input <= 0) if negative_slope == 0 else input > 0
    torch.nn.functional.leaky_relu_(input, negative_slope) if negative_slope else input.relu_()
    return positive


def penalty_slope_(tangent: Tensor, slopes: Tensor, negative_slope: float) -> None:
    """Multiplies `tangent` in place by the slopes that `penalty_rectify_` packed for a tensor of the same strides."""
    if use_native(tangent):
        torch.ops.lssl.penalty_slope_(tangent, slopes, negative_slope)
    else:
        penalty_slope_reference_(tangent, slopes, negative_slope)


def penalty_slope_reference_(tangent: Tensor, slopes: Tensor, negative_slope: float) -> None:
    tangent.copy_(torch.where(slopes, tangent, tangent * negative_slope if negative_slope else 0.0))


def dense(x: Tensor) -> Tensor:
    """`x` itself where it is contiguous or channels-last, else a contiguous copy."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    keep = x.is_contiguous() or (x.ndim in formats and x.is_contiguous(memory_format=formats[x.ndim]))
    return x if keep else x.contiguous()


if native_available():

    @torch.library.register_fake("lssl::penalty_interpolate")
    def _(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        return torch.empty_like(dense(real))

    @torch.library.register_fake("lssl::penalty_cotangent")
    def _(gradient: Tensor, target: float) -> tuple[Tensor, Tensor]:
        return gradient.new_empty(()), torch.empty_like(dense(gradient))

    @torch.library.register_fake("lssl::penalty_rectify_")
    def _(input: Tensor, negative_slope: float) -> Tensor:
        return input.new_empty(((input.numel() + 7) // 8,), dtype=torch.uint8)

    @torch.library.register_fake("lssl::penalty_slope_")
    def _(tangent: Tensor, slopes: Tensor, negative_slope: float) -> None:
        return None

"""Pixel shuffle + instance norm + affine + activation (paper 4.1, the decoder's sub-pixel step)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.ops._library import (
    below_autograd,
    check_devices,
    in_dtype,
    native_available,
    recorded,
    transformed,
    use_native,
)

ACTIVATIONS = ("none", "relu", "leaky_relu")
_SLOPES = {"none": 1.0, "relu": 0.0}


def pixel_shuffle_instance_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    upscale_factor: int = 2,
    eps: float = 1e-5,
    activation: str = "none",
    negative_slope: float = 0.01,
) -> Tensor:
    """Pixel shuffle, instance normalisation, affine map and activation in one pass over memory.

    Args:
        input: (N, C r^2, H, W), float32, float64, bfloat16 or float16, contiguous or channels-last (any other strides
            are made contiguous first); at least one pixel.
        weight, bias: (C,) scale and offset of each output channel, or both (N, C): each sample's own, as in conditional
            instance norm (Dumoulin et al. 2017) and AdaIN (Huang & Belongie 2017); any floating dtype; default: 1 and 0.
        upscale_factor: r >= 1; 1 gives a fused instance norm and activation.
        eps: added to the variance, positive.
        activation: "none", "relu" or "leaky_relu".
        negative_slope: of "leaky_relu".

    Returns:
        (N, C, H r, W r) in input's dtype (under autocast too) and memory format. Mean and biased variance are those of
        each sample's channel, accumulated in float64 (on CUDA in float32). Differentiable to any order; backward keeps
        the input and two numbers per plane. The same input gives the same bits, whatever the number of threads.

    Raises:
        ValueError: wrong shape, dtype, device, upscale_factor, eps or activation; TypeError: input, weight or bias is
            not a tensor. The message names the argument.
    """
    compiling = torch.compiler.is_compiling()
    if compiling:
        _check(input, weight, bias, upscale_factor, eps, activation)
    try:  # torch.jit.script ends here: use torch.export.export (see `lssl export`)
        if (torch.onnx.is_in_onnx_export() if compiling else transformed()) or not use_native(input):
            _check(input, weight, bias, upscale_factor, eps, activation)
            return pixel_shuffle_instance_norm_reference(
                input, weight, bias, upscale_factor, eps, activation, negative_slope
            )
        dtype = torch.float64 if input.dtype is torch.float64 else torch.float32
        weight = None if weight is None else in_dtype(weight, dtype)
        bias = None if bias is None else in_dtype(bias, dtype)
        slope = negative_slope if activation == "leaky_relu" else _SLOPES[activation]
        if compiling:
            return torch.ops.lssl.pixel_shuffle_instance_norm(input, weight, bias, upscale_factor, eps, slope)[0]
        if recorded(input, weight, bias):
            return _Recorded.apply(input, weight, bias, upscale_factor, eps, slope)
        return below_autograd(_operator, input, weight, bias, upscale_factor, eps, slope)[0]
    except (RuntimeError, TypeError, AttributeError, KeyError):
        _check(input, weight, bias, upscale_factor, eps, activation)  # the operator checks too; this names the argument
        raise


class PixelShuffleInstanceNorm(nn.Module):
    """`pixel_shuffle_instance_norm` with its affine parameters: (N, C r^2, H, W) -> (N, C, H r, W r).

    Args:
        num_features: C, the channels of the output.
        upscale_factor: r; 1 gives a fused instance norm and activation.
        eps, activation, negative_slope: as in `pixel_shuffle_instance_norm`.
        affine: learn a scale (from 1) and an offset (from 0) for each channel.
    """

    def __init__(
        self,
        num_features: int,
        upscale_factor: int = 2,
        eps: float = 1e-5,
        activation: str = "none",
        negative_slope: float = 0.01,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.num_features = num_features
        self.upscale_factor = upscale_factor
        self.eps = eps
        self.activation = activation
        self.negative_slope = negative_slope
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype)) if affine else None

    def reset_parameters(self) -> None:
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(
            input, self.weight, self.bias, self.upscale_factor, self.eps, self.activation, self.negative_slope
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, upscale_factor={self.upscale_factor}, eps={self.eps}, "
            f"activation={self.activation!r}, affine={self.weight is not None}"
        )


def pixel_shuffle_instance_norm_reference(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    upscale_factor: int = 2,
    eps: float = 1e-5,
    activation: str = "none",
    negative_slope: float = 0.01,
) -> Tensor:
    """The op's specification in eager PyTorch."""
    shuffled = _shuffle(input, upscale_factor)
    statistics = shuffled.to(torch.promote_types(shuffled.dtype, torch.float32))
    variance, mean = torch.var_mean(statistics, dim=(2, 3), correction=0, keepdim=True)
    output = (statistics - mean) * torch.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight[..., None, None]
    if bias is not None:
        output = output + bias[..., None, None]
    if activation == "relu":
        output = output.relu()
    elif activation == "leaky_relu":
        output = F.leaky_relu(output, negative_slope)
    return output.to(input.dtype)


def _shuffle(image: Tensor, r: int) -> Tensor:
    if image.numel() == 0:  # PyTorch's own gives empty batches a gradient of the wrong shape
        n, depth, height, width = image.shape
        return image.reshape(n, depth // r**2, height * r, width * r)
    return F.pixel_shuffle(image, r)


def _unshuffle(image: Tensor, r: int) -> Tensor:
    if image.numel() == 0:
        n, channels, height, width = image.shape
        return image.reshape(n, channels * r**2, height // r, width // r)
    return F.pixel_unshuffle(image, r)


def _check(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, upscale_factor: int, eps: float, activation: str
) -> None:
    op = "pixel_shuffle_instance_norm"
    for name, value in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(value, Tensor) and (value is not None or name == "input"):
            hint = f"; if you meant the factor: upscale_factor={value}" if isinstance(value, int) else ""
            raise TypeError(f"{op}: {name} must be a tensor, got {type(value).__name__}{hint}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if upscale_factor < 1:
        raise ValueError(f"{op}: upscale_factor must be at least 1, got {upscale_factor}")
    if not eps > 0:
        raise ValueError(f"{op}: eps must be positive, got {eps}")
    if input.ndim != 4:
        raise ValueError(f"{op}: input must be (N, C r^2, H, W), got {tuple(input.shape)}")
    if input.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        raise ValueError(f"{op}: input must be float32, float64, bfloat16 or float16, got {input.dtype}")
    if input.shape[1] % upscale_factor**2 != 0:
        raise ValueError(
            f"{op}: input has {input.shape[1]} channels, not a multiple of upscale_factor^2 = {upscale_factor**2}"
        )
    if input.shape[2] == 0 or input.shape[3] == 0:
        raise ValueError(f"{op}: input must have at least one pixel, got {tuple(input.shape)}")
    channels = input.shape[1] // upscale_factor**2
    # Neither len() nor a comparison with another size: both would fix the number of samples of an exported program.
    count = input.shape[0]
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        expected = (channels,) if value.ndim == 1 else (count, channels)
        if value.ndim != len(expected) or value.shape != expected or not value.is_floating_point():
            raise ValueError(
                f"{op}: {name} must be floating point of shape {(channels,)} or {(count, channels)}, "
                f"got {tuple(value.shape)} {value.dtype}"
            )
        if weight is not None and weight.ndim != value.ndim:
            raise ValueError(
                f"{op}: weight and bias must be both {(channels,)} or both {(count, channels)}, "
                f"got {tuple(weight.shape)} and {tuple(value.shape)}"
            )
        if value.device != input.device:
            raise ValueError(f"{op}: {name} must be on {input.device}, got {value.device}")


def _accumulation_dtype(input: Tensor) -> torch.dtype:
    return torch.promote_types(input.dtype, torch.float32)


def _output_format(input: Tensor) -> torch.memory_format:
    if not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _empty_image(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=_output_format(input))


def _fake(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, upscale_factor: int, eps: float, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    check_devices("pixel_shuffle_instance_norm", input, weight=weight, bias=bias)
    n, depth, height, width = input.shape
    channels = depth // upscale_factor**2
    output = _empty_image(input, (n, channels, height * upscale_factor, width * upscale_factor))
    statistics = input.new_empty((n, channels), dtype=_accumulation_dtype(input))
    return output, statistics, torch.empty_like(statistics)


def _backward_fake(
    grad_output: Tensor,
    input: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    upscale_factor: int,
    eps: float,
    negative_slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    sums = mean.new_empty(mean.shape)
    return _empty_image(input, tuple(input.shape)), sums, torch.empty_like(sums)


def _setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    input, weight, bias, *ctx.options = inputs
    _, mean, rstd = output
    ctx.mark_non_differentiable(mean, rstd)
    ctx.save_for_backward(input, mean, rstd, weight, bias)


def _backward(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    input, mean, rstd, weight, bias = ctx.saved_tensors
    inputs = (grad_output, input, mean, rstd, weight, bias, *ctx.options)
    if torch.compiler.is_compiling() or recorded(*inputs[:6]):
        outputs = torch.ops.lssl.pixel_shuffle_instance_norm_backward(*inputs)
    else:
        outputs = below_autograd(_backward_operator, *inputs)
    grad_input, sum_grad, sum_grad_normalized = outputs
    grad_weight = _like_affine(sum_grad_normalized, weight) if ctx.needs_input_grad[1] else None
    grad_bias = _like_affine(sum_grad, bias) if ctx.needs_input_grad[2] else None
    return grad_input, grad_weight, grad_bias, None, None, None


def _like_affine(sums: Tensor, affine: Tensor) -> Tensor:
    """Sums (N, C) over the planes as the gradient of weight or bias, (C,) or (N, C)."""
    return sums.sum(0) if affine.ndim == 1 else sums


def _backward_setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    grad_output, input, _, _, weight, bias, *ctx.options = inputs
    ctx.save_for_backward(grad_output, input, weight, bias)


def _double_backward(ctx: Any, to_grad_input: Tensor, to_sum: Tensor, to_sum_normalized: Tensor) -> tuple:
    """The backward op's own derivative, in differentiable PyTorch operations, for the mean and rstd that input gives.

    Per plane of K values, with x = (input - mean) rstd, u = grad activation', G, a, b the gradients of the outputs,
    and P(v) = v - mean(v) - x mean(v x), the backward is rstd w P(u), sum u, sum u x. P is its own adjoint, so u's
    derivative is rstd w P(G) + a + b x, weight's is rstd sum G P(u), and input's goes through x, of which
    rstd P(.) is the derivative, and through rstd = (variance + eps)^(-1/2).
    """
    grad_output, input, weight, bias = ctx.saved_tensors
    r, eps, slope = ctx.options
    dtype = _accumulation_dtype(input)

    def planes(image: Tensor) -> Tensor:
        return image.to(dtype).reshape(image.shape[0], -1, r * r * input.shape[2] * input.shape[3])

    def average(values: Tensor) -> Tensor:
        return values.mean(2, keepdim=True)

    variance, mean = torch.var_mean(planes(input), 2, correction=0, keepdim=True)
    rstd = torch.rsqrt(variance + eps)
    x = (planes(input) - mean) * rstd
    scale = rstd if weight is None else rstd * weight[..., None]
    z = x if weight is None else x * weight[..., None]
    z = z if bias is None else z + bias[..., None]
    derivative = torch.where(z > 0, 1.0, slope).to(dtype) if slope != 1 else torch.ones_like(z)
    u = planes(_unshuffle(grad_output, r)) * derivative
    G = planes(to_grad_input)
    a, b = to_sum[..., None], to_sum_normalized[..., None]

    def project(values: Tensor) -> Tensor:
        return values - average(values) - x * average(values * x)

    to_u = (scale * project(G) + a + b * x) * derivative
    to_grad = _shuffle(to_u.reshape(input.shape).to(grad_output.dtype), r)
    products = average(G * project(u))
    to_x = b * u - scale * (average(u * x) * G + average(G * x) * u)
    to_input = rstd * (project(to_x) - x * scale * products)
    to_weight = None if weight is None else _like_affine((rstd * products)[..., 0], weight) * x.shape[2]
    to_bias = None if bias is None else torch.zeros_like(bias)
    return to_grad, to_input.reshape(input.shape).to(input.dtype), None, None, to_weight, to_bias, None, None, None


class _Recorded(torch.autograd.Function):
    """What `register_autograd` below gives the operator, called directly, in a fraction of its dispatch's time."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, *options: Any) -> Tensor:
        output, mean, rstd = below_autograd(_operator, input, weight, bias, *options)
        ctx.options = options
        ctx.save_for_backward(input, mean, rstd, weight, bias)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(ctx, grad_output)


if native_available():
    _operator = torch.ops.lssl.pixel_shuffle_instance_norm.default
    _backward_operator = torch.ops.lssl.pixel_shuffle_instance_norm_backward.default
    torch.library.register_fake("lssl::pixel_shuffle_instance_norm", _fake)
    torch.library.register_fake("lssl::pixel_shuffle_instance_norm_backward", _backward_fake)
    torch.library.register_autograd("lssl::pixel_shuffle_instance_norm", _backward, setup_context=_setup)
    torch.library.register_autograd(
        "lssl::pixel_shuffle_instance_norm_backward", _double_backward, setup_context=_backward_setup
    )

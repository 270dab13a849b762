"""The gradient penalty of any critic: forward over reverse, and double backward (the reference).

With g = grad_x sum D(x) and v = dP/dg, dP/dtheta = d<g(theta), v>/dtheta, and <g, v> is the derivative of sum D along
v. The tangent along v travels forward through the same layers that g came back through; with the signals that it meets
there it gives the parameters' gradients. Here autograd carries it: the critic is called once; its convolutions and
rectifiers, intercepted as they are called, tell autograd what the tangent does in them (a convolution; a multiplication
by the slopes) and that a rectifier has no second derivative. PyTorch itself would send zeros back through the whole
critic for the latter, and its double backward of a convolution is slower than the convolutions that it amounts to. Any
other operation is differentiated by autograd as usual.

`torch.autograd.forward_ad` is not used: it needs the critic twice and two more convolution passes (1.5 to 1.8 times
the time of double backward), and the derivative of its tangent is wrong for batch, instance and layer normalisation
(pytorch issues 196699 and 196700).
"""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lssl.ops.gradient_penalty.kernels import dense, penalty_cotangent, penalty_rectify_, penalty_slope_
from lssl.ops.gradient_penalty.layers import Convolution, autocast_dtype, with_strides

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class NotForward(Exception):
    """A critic's layers cannot be intercepted as they are called; the message says why."""


def realism(output: Any) -> Tensor:
    """The penalised part of what a critic returns: itself, its `realism` field or key, or the first of several."""
    if isinstance(output, Mapping) and "realism" in output:
        output = output["realism"]
    elif hasattr(output, "realism"):
        output = output.realism
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(
            "critic must return a tensor, a tuple whose first element is one, or something with a `realism` tensor; "
            f"got {type(output).__name__}"
        )
    return output


def double_backward_penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float) -> Tensor:
    """The penalty at `x` by differentiating the backward pass: the specification of all the others."""
    with torch.enable_grad(), uncompiled():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(realism(critic(x)).sum(), x, create_graph=True)
        norms = gradient.flatten(1).norm(dim=1)
        return (norms - target).square().sum() / max(len(x), 1)


def forward_over_reverse_penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float) -> Tensor:
    """The penalty at `x`; cannot be differentiated twice."""
    with torch.enable_grad(), uncompiled():
        x = x.detach().requires_grad_()
        stage = Stage()
        with _Layers(stage):
            output = realism(critic(x))
        (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        stage.tangents = True
        return _Norms.apply(gradient, target)


def refuse_unseen(critic: object) -> None:
    """Raises NotForward if the critic's layers are not called from Python, or hold tensors of an unusual type."""
    modules = list(critic.named_modules()) if isinstance(critic, nn.Module) else [("", critic)]
    for name, module in modules:
        named = f"{name or 'the critic'} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            raise NotForward(f"{named} is TorchScript, whose layers cannot be seen")
        if isinstance(module, nn.Module):
            tensors = [*module._parameters.values(), *module._buffers.values()]
            if any(type(tensor) not in (nn.Parameter, Tensor, type(None)) for tensor in tensors):
                raise NotForward(f"{named} has a tensor of an unusual type")


def uncompiled() -> contextlib.AbstractContextManager:
    """Runs compiled parts of a critic eagerly: compiled graphs have no second derivatives."""
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


class Stage:
    """What a backward pass is for: first g alone (so no weight gradients), then the tangents' gradients."""

    def __init__(self) -> None:
        self.tangents = False


def refuse_second_derivative() -> None:
    """Called in a backward pass: raises RuntimeError if that pass is itself to be differentiated."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        raise RuntimeError(
            "gradient_penalty cannot be differentiated twice (create_graph=True); use implementation='double_backward'"
        )


class _Norms(torch.autograd.Function):
    """g -> P, with the gradient v."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, target: float) -> Tensor:
        penalty, cotangent = penalty_cotangent(gradient, target)
        ctx.save_for_backward(cotangent)
        return penalty

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple:
        refuse_second_derivative()
        return ctx.saved_tensors[0] * scale, None


class _Convolve(torch.autograd.Function):
    """A convolution whose backward pass is a `_ConvolveBack`."""

    @staticmethod
    def forward(ctx: Any, stage: Stage, layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.stage, ctx.layer = stage, layer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return layer(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, signal: Tensor | None) -> tuple:
        if signal is None:  # no second derivative above this layer
            return None, None, None, None, None
        x, weight = ctx.saved_tensors
        if not ctx.stage.tangents:
            gradient = _ConvolveBack.apply(ctx.layer, signal, weight, x.detach()) if ctx.needs_input_grad[2] else None
            return None, None, gradient, None, None
        refuse_second_derivative()
        gradient = ctx.layer.input_gradient(signal, weight, x) if ctx.needs_input_grad[2] else None
        of_weight = ctx.layer.weight_gradient(signal, weight, x) if ctx.needs_input_grad[3] else None
        of_bias = signal.sum((0, *range(2, signal.ndim))) if ctx.needs_input_grad[4] else None
        return None, None, gradient, of_weight, of_bias


class _ConvolveBack(torch.autograd.Function):
    """The backward signal through a convolution; its own backward takes the tangent forward through it."""

    @staticmethod
    def forward(ctx: Any, layer: Convolution, signal: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        ctx.layer = layer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(signal, weight)
        return layer.input_gradient(signal, weight, x)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor | None) -> tuple:
        if tangent is None:
            return None, None, None, None
        refuse_second_derivative()
        signal, weight = ctx.saved_tensors
        onward = ctx.layer(tangent, weight, None) if ctx.needs_input_grad[1] else None
        of_weight = ctx.layer.weight_gradient(signal, weight, tangent) if ctx.needs_input_grad[2] else None
        return None, onward, of_weight, None


class _Rectify(torch.autograd.Function):
    """(Leaky) ReLU, which keeps one bit per element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, negative_slope: float, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        output = x if inplace else dense(x).clone()
        ctx.slopes = penalty_rectify_(output, negative_slope)
        ctx.negative_slope, ctx.strides = negative_slope, output.stride()
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, signal: Tensor | None) -> tuple:
        if signal is None:
            return None, None, None
        return _RectifyBack.apply(signal, ctx.slopes, ctx.negative_slope, ctx.strides), None, None


class _RectifyBack(torch.autograd.Function):
    """Multiplication by the slopes, forward and backward: it does not depend on the rectifier's input."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, slopes: Tensor, negative_slope: float, strides: tuple[int, ...]) -> Tensor:
        ctx.slopes, ctx.negative_slope, ctx.strides = slopes, negative_slope, strides
        ctx.set_materialize_grads(False)
        output = with_strides(signal, strides)
        output = output.clone() if output is signal else output
        penalty_slope_(output, slopes, negative_slope)
        return output

    @staticmethod
    def backward(ctx: Any, tangent: Tensor | None) -> tuple:
        if tangent is None:
            return None, None, None, None
        refuse_second_derivative()
        return _RectifyBack.apply(tangent, ctx.slopes, ctx.negative_slope, ctx.strides), None, None, None


class _Layers(TorchFunctionMode):
    """Takes over the convolutions and rectifiers that are called while it is active."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_grad_enabled() and not _saved_tensors_are_hooked():
            if func in _CONVOLUTIONS:
                transposed, spatial = _CONVOLUTIONS[func]
                call = _convolution_arguments(transposed, spatial, *args, **kwargs)
                if call is not None:
                    return self._convolve(*call)
            elif func in _RECTIFIERS:
                x, negative_slope, inplace = _RECTIFIERS[func](*args, **kwargs)
                if _ordinary(x) and (not inplace or dense(x) is x):
                    return _Rectify.apply(x, negative_slope, inplace)
        return func(*args, **kwargs)

    def _convolve(self, layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        dtype = autocast_dtype(x)
        if dtype is not None:
            x, weight, bias = (t if t is None else t.to(dtype) for t in (x, weight, bias))  # type: ignore[assignment]
        with torch.autocast(x.device.type, enabled=False):
            return _Convolve.apply(self.stage, layer, x, weight, bias)


def _ordinary(*tensors: Any) -> bool:
    return all(type(t) in (Tensor, nn.Parameter) and t.dtype in _DTYPES for t in tensors)


def _saved_tensors_are_hooked() -> bool:
    """True within activation checkpointing, which calls layers a second time when they can no longer be taken over."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(False) is not None


def _convolution_arguments(
    transposed: bool, spatial: int, input: Any, weight: Any, bias: Any = None, *rest: Any, **named: Any
) -> tuple[Convolution, Tensor, Tensor, Tensor | None] | None:
    """The layer and tensors of a call of F.conv*; None for a call that is left to PyTorch (unusual or invalid)."""
    order: tuple[str, ...] = ("stride", "padding", "dilation", "groups")
    if transposed:
        order = ("stride", "padding", "output_padding", "groups", "dilation")
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
    given = {**defaults, **dict(zip(order, rest, strict=False)), **named}
    tensors = (input, weight) if bias is None else (input, weight, bias)
    if not _ordinary(*tensors) or input.ndim != spatial + 2 or isinstance(given["padding"], str):
        return None
    if autocast_dtype(input) is None and any(t.dtype != input.dtype for t in tensors):
        return None
    if len(rest) > len(order) or given.keys() != defaults.keys():
        return None
    numbers = {name: _each(given[name], spatial) for name in order if name != "groups"}
    layer = Convolution(
        numbers["stride"],
        numbers["padding"],
        numbers["dilation"],
        transposed,
        numbers.get("output_padding", (0,) * spatial),
        given["groups"],
    )
    return layer, input, weight, bias


def _each(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


def _relu(input: Tensor, inplace: bool = False) -> tuple[Tensor, float, bool]:
    return input, 0.0, inplace


def _relu_inplace(input: Tensor) -> tuple[Tensor, float, bool]:
    return input, 0.0, True


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> tuple[Tensor, float, bool]:
    return input, float(negative_slope), inplace


_CONVOLUTIONS: dict[Any, tuple[bool, int]] = {
    torch.conv1d: (False, 1),
    torch.conv2d: (False, 2),
    torch.conv3d: (False, 3),
    torch.conv_transpose1d: (True, 1),
    torch.conv_transpose2d: (True, 2),
    torch.conv_transpose3d: (True, 3),
}
_RECTIFIERS: dict[Any, Callable[..., tuple[Tensor, float, bool]]] = {
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
    torch.relu_: _relu_inplace,
    Tensor.relu_: _relu_inplace,
    F.leaky_relu: _leaky_relu,
}

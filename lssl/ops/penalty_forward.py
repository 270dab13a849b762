"""The gradient penalty of any critic through autograd: forward over reverse, and double backward (the reference).

Forward over reverse: with g = grad_x sum D(x) and v = dP/dg held fixed, dP/dtheta = d<g(theta), v>/dtheta, and
<g, v> is the derivative of sum D along v, which forward-mode AD gives in one pass beside the values. So the second
derivative is one ordinary backward of a tangent: no graph of a graph.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from lssl.ops.penalty_kernels import penalty_cotangent

_RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class NotForward(Exception):
    """Why a critic is not proved to give the right gradient in forward over reverse."""


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
    """The penalty at `x` by differentiating the backward pass: the specification of all others."""
    with torch.enable_grad(), uncompiled():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(realism(critic(x)).sum(), x, create_graph=True)
        norms = gradient.flatten(1).norm(dim=1)
        return (norms - target).square().sum() / max(len(x), 1)


def forward_over_reverse_penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float) -> Tensor:
    """The penalty at `x`; raises what PyTorch raises where an operation has no forward-mode derivative."""
    with torch.enable_grad(), uncompiled():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(realism(critic(leaf)).sum(), leaf)
        penalty, cotangent = penalty_cotangent(gradient, target)
        del gradient, leaf
        with forward_ad.dual_level():
            output = realism(critic(forward_ad.make_dual(x, cotangent)))
            tangent = forward_ad.unpack_dual(output).tangent
    if tangent is None:
        raise NotForward("the critic's output carries no forward-mode derivative")
    derivative = tangent.sum()
    # The value of P with the gradient of <g, v>: the bracket is exactly zero.
    return penalty + (derivative - derivative.detach()).to(penalty.dtype)


def uncompiled() -> contextlib.AbstractContextManager:
    """Runs compiled parts of a critic eagerly: compiled graphs have neither second nor forward-mode derivatives."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


_trials: "weakref.WeakKeyDictionary[nn.Module, dict[Any, str | None]]" = weakref.WeakKeyDictionary()


def prove_forward(critic: object, x: Tensor, target: float) -> None:
    """Raises NotForward unless forward over reverse is known to be right for `critic` on images like `x`.

    Known means: nothing in the critic is random or changes from call to call, and on two images its parameter
    gradients were those of double backward. The trial runs once for each state of a critic (layers, modes, hooks,
    image shape and dtype), and is remembered as long as the critic lives.
    """
    refuse_impure(critic)
    assert isinstance(critic, nn.Module)
    key = _state(critic, x)
    results = _trials.setdefault(critic, {})
    if key not in results:
        if x.is_cuda and torch.cuda.is_current_stream_capturing():
            raise NotForward("the critic was not called before the CUDA graph's capture, so it could not be tried")
        results[key] = _trial(critic, x[:2], target)
    refusal = results[key]
    if refusal is not None:
        raise NotForward(refusal)


def refuse_impure(critic: object) -> None:
    """Raises NotForward where two calls of the critic may differ, as far as its modules tell."""
    if not isinstance(critic, nn.Module):
        raise NotForward(f"the critic is a {type(critic).__name__}, not an nn.Module that can be inspected")
    for name, module in critic.named_modules():
        named = f"{name or 'the critic'} ({type(module).__name__})"
        if module.training and isinstance(module, _RANDOM):
            raise NotForward(f"{named} is random in training mode")
        if module.training and any(buffer is not None for buffer in module._buffers.values()):
            raise NotForward(f"{named} has buffers that may change in training mode")
        if any(type(parameter) is not nn.Parameter for parameter in module.parameters(recurse=False)):
            raise NotForward(f"{named} has a parameter of an unusual type")


def _state(critic: nn.Module, x: Tensor) -> tuple:
    modules = tuple(
        (type(module), module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in critic.modules()
    )
    trainable = tuple(parameter.requires_grad for parameter in critic.parameters())
    device = x.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return modules, trainable, x.shape[1:], x.dtype, device, autocast


def _trial(critic: nn.Module, x: Tensor, target: float) -> str | None:
    """Compares forward over reverse with double backward on `x`; returns why it is refused, or None."""
    parameters = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    generators = [torch.default_generator]
    if x.is_cuda:
        generators.append(torch.cuda.default_generators[x.device.index])
    before = [generator.get_state() for generator in generators]
    try:
        gradients = []
        for implementation in (forward_over_reverse_penalty, double_backward_penalty):
            penalty = implementation(critic, x, target)
            gradients.append(_gradients(penalty, parameters))
            if any(not torch.equal(g.get_state(), b) for g, b in zip(generators, before, strict=True)):
                return "the critic draws random numbers"
    except NotForward as error:
        return str(error)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        return f"the critic does not support it ({str(error).splitlines()[0]})"
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
    found, expected = gradients
    precision = torch.finfo(_compute_dtype(x)).eps
    tolerance = min(10 * precision**0.5, 0.25)
    if not torch.linalg.vector_norm(found - expected) <= tolerance * torch.linalg.vector_norm(expected):
        return "its gradients differ from double backward's"
    return None


def _gradients(penalty: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The penalty and its gradient for `parameters` in one vector."""
    found: tuple[Tensor | None, ...] = (None,) * len(parameters)
    if penalty.requires_grad and parameters:
        found = torch.autograd.grad(penalty, parameters, allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return torch.cat([t.detach().double().cpu().flatten() for t in (*filled, penalty)])


def _compute_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype

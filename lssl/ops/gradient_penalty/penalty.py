"""The WGAN-GP gradient penalty (paper eq. 1; Gulrajani et al., arXiv 1704.00028)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lssl.ops.gradient_penalty.analytic import analytic_penalty
from lssl.ops.gradient_penalty.distributed import redirectable, through_distributed
from lssl.ops.gradient_penalty.forward_over_reverse import (
    NotForward,
    double_backward_penalty,
    forward_over_reverse_penalty,
    refuse_unseen,
)
from lssl.ops.gradient_penalty.kernels import penalty_interpolate, penalty_interpolate_reference
from lssl.ops.gradient_penalty.layers import Chain, NotAnalytic, autocast_dtype, is_compiled, realism_chain

IMPLEMENTATIONS = ("auto", "analytic", "forward_over_reverse", "double_backward")


def gradient_penalty_reference(
    critic: Callable[[Tensor], Any],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    alpha: Tensor | float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The op's specification: double backward through autograd."""
    alpha = _mixing_weights(real, alpha, generator)
    x = penalty_interpolate_reference(real, fake, alpha)
    return double_backward_penalty(critic, x, target)


def gradient_penalty(
    critic: Callable[[Tensor], Any],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    alpha: Tensor | float | None = None,
    generator: torch.Generator | None = None,
    implementation: str = "auto",
) -> Tensor:
    """WGAN-GP's penalty mean_i (||grad_x sum critic(x_i)||_2 - target)^2 between real and fake (paper eq. 1).

    x_i = a_i real_i + (1 - a_i) fake_i. The result is a scalar of the images' dtype; its backward gives the critic's
    parameters (and nothing else: `real` and `fake` are constants here) the gradient that double backward gives. It
    cannot be differentiated twice, except with implementation="double_backward". An empty batch gives 0. The same input
    gives the same bits where PyTorch's convolutions do: always on the CPU, on CUDA with
    `torch.backends.cudnn.deterministic = True`.

    Args:
        critic: an `nn.Module` (or any callable) that maps images to realism. Where it returns several things, its
            `realism` field or key is penalised, else the first. `torch.compile`d critics and critics inside
            `DistributedDataParallel` are taken as they are.
        real, fake: images (N, ...), one shape, floating dtype and device; any range.
        target: the desired gradient norm.
        alpha: the weights a_i, (N,), or one number for all; None draws them from U(0, 1) with `generator` (a generator
            of the images' device, or a CPU generator).
        implementation: "auto" takes the first of these that is known to be right for this critic:
            "analytic": four passes, no graph of a graph. For an `nn.Sequential` (nested to any depth) of Conv,
            ConvTranspose, Linear, Flatten, AvgPool2d, AdaptiveAvgPool2d, (Leaky)ReLU, Identity and Dropout in eval
            mode, or a module with a method `realism_layers()` that returns the modules whose chain is its realism
            output. No hooks, no parametrisations, zero padding.
            "forward_over_reverse": any critic whose layers are called from Python (smooth activations,
            normalisation, residual blocks, hooks, several heads): convolutions and rectifiers are taken over, the
            rest is left to autograd.
            "double_backward": any critic (TorchScript, tensor subclasses); the reference.

    Raises:
        ValueError: shapes, dtypes, devices or `alpha` do not match, `implementation` is unknown, or the one asked for
            is not known to be right for this critic (the message says why).
        TypeError: the critic returns no tensor, or `alpha` is neither a tensor nor a number.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"implementation must be one of {', '.join(IMPLEMENTATIONS)}; got {implementation!r}")
    x = mixture(real, fake, alpha, generator)
    if torch.compiler.is_compiling():
        return _traced_penalty(critic, x, float(target), implementation)
    return _penalty(critic, x, float(target), implementation)


def r1_penalty(critic: Callable[[Tensor], Any], real: Tensor) -> Tensor:
    """R1 without its factor 1/2: mean_i ||grad_x sum critic(real_i)||^2 (Mescheder et al. 2018, arXiv 1801.04406).

    A scalar, for images `real` (N, ...). Critics, gradients and errors are as for `gradient_penalty`; nothing is mixed,
    and the target norm is 0.
    """
    _check(real, real)
    return _penalty(critic, real.detach().clone(), 0.0, "auto")


def penalty_implementation(critic: Callable[[Tensor], Any], images: Tensor) -> tuple[str, str]:
    """(the implementation that "auto" takes for this critic on images like these, why not an earlier one)."""
    if isinstance(critic, DistributedDataParallel) and redirectable(critic):
        critic = critic.module
    name, _, reason = _choose(critic, images, "auto")
    return name, reason


def mixture(real: Tensor, fake: Tensor, alpha: Tensor | float | None, generator: torch.Generator | None) -> Tensor:
    """The images at which the penalty is taken, as constants; raises ValueError if the arguments do not match."""
    _check(real, fake)
    with torch.no_grad():
        return penalty_interpolate(real.detach(), fake.detach(), _mixing_weights(real, alpha, generator))


def _check(real: Tensor, fake: Tensor) -> None:
    if real.ndim < 2 or not real.is_floating_point():
        raise ValueError(f"real must be floating-point images (N, ...); got {real.dtype} {tuple(real.shape)}")
    for what, of_real, of_fake in (
        ("shape", tuple(real.shape), tuple(fake.shape)),
        ("dtype", real.dtype, fake.dtype),
        ("device", real.device, fake.device),
    ):
        if of_real != of_fake:
            raise ValueError(f"fake must have real's {what} {of_real}; got {of_fake}")


def _mixing_weights(real: Tensor, alpha: Tensor | float | None, generator: torch.Generator | None) -> Tensor:
    """a_i as (N,), in float32 or, for float64 images, float64."""
    count = real.shape[0]
    if alpha is None:
        device = real.device if generator is None else generator.device
        alpha = torch.rand(count, device=device, generator=generator)
    elif isinstance(alpha, int | float):
        alpha = torch.full((count,), float(alpha), device=real.device)
    elif not isinstance(alpha, Tensor):
        raise TypeError(f"alpha must be a tensor ({count},) or a number; got {type(alpha).__name__}")
    elif alpha.numel() != count or not alpha.is_floating_point():
        raise ValueError(f"alpha must hold one floating-point weight per image ({count},); got {tuple(alpha.shape)}")
    dtype = torch.float64 if real.dtype == torch.float64 else torch.float32
    return alpha.detach().reshape(count).to(device=real.device, dtype=dtype)


def _penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float, implementation: str) -> Tensor:
    while is_compiled(critic) and not _has_hooks(critic):
        critic = critic._orig_mod  # type: ignore[attr-defined]
    if isinstance(critic, DistributedDataParallel) and redirectable(critic):
        return through_distributed(critic, x, lambda module, images: _penalty(module, images, target, implementation))
    name, chain, _ = _choose(critic, x, implementation)
    if chain is not None:
        return analytic_penalty(chain, x, target)
    compute = forward_over_reverse_penalty if name == "forward_over_reverse" else double_backward_penalty
    penalty = compute(critic, x, target)
    return penalty if torch.is_grad_enabled() else penalty.detach()


def _choose(critic: Callable[[Tensor], Any], x: Tensor, implementation: str) -> tuple[str, Chain | None, str]:
    """The implementation to run, its chain of layers if it is the analytic one, and why earlier ones were rejected."""
    reasons = []
    if implementation in ("auto", "analytic"):
        try:
            return "analytic", realism_chain(critic, x, autocast_dtype(x)), ""
        except NotAnalytic as error:
            if implementation == "analytic":
                raise ValueError(_refusal(implementation, error)) from None
            reasons.append(f"analytic: {error}")
    if implementation in ("auto", "forward_over_reverse"):
        try:
            refuse_unseen(critic)
            return "forward_over_reverse", None, "; ".join(reasons)
        except NotForward as error:
            if implementation != "auto":
                raise ValueError(_refusal(implementation, error)) from None
            reasons.append(f"forward_over_reverse: {error}")
    return "double_backward", None, "; ".join(reasons)


def _refusal(implementation: str, error: Exception) -> str:
    return f"implementation={implementation!r} does not support this critic: {error}; use implementation='auto'"


def _has_hooks(module: Any) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in names)


def _traced_penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float, implementation: str) -> Tensor:
    """Inside `torch.compile`: the analytic penalty is traced; the others break the graph and run eagerly."""
    if implementation in ("auto", "analytic"):
        try:
            chain = realism_chain(critic, x, autocast_dtype(x))
        except NotAnalytic:
            pass
        else:
            return analytic_penalty(chain, x, target)
    return _untraced_penalty(critic, x, target, implementation)


def _untraced_penalty(critic: Callable[[Tensor], Any], x: Tensor, target: float, implementation: str) -> Tensor:
    # The attribute below keeps this frame from being traced; `disable` keeps the frames under it from being traced.
    return torch.compiler.disable(_penalty)(critic, x, target, implementation)


# What torch.compiler.disable sets; as a decorator it would import torch._dynamo along with lssl, which takes seconds.
_untraced_penalty._torchdynamo_disable = True  # type: ignore[attr-defined]

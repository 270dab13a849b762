"""WGAN-GP gradient penalty (paper eq. 1)."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty_reference(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    alpha: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The op's specification: double backward through autograd."""
    if alpha is None:
        alpha = torch.rand(real.shape[0], dtype=torch.float32, device=real.device, generator=generator)
    weights = alpha.to(real.dtype).reshape(-1, *[1] * (real.ndim - 1))
    x = (weights * real + (1 - weights) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    norms = gradient.flatten(1).norm(dim=1)
    return (norms - target).square().mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    alpha: Tensor | None = None,
    generator: torch.Generator | None = None,
    implementation: str = "auto",
) -> Tensor:
    return gradient_penalty_reference(critic, real, fake, target=target, alpha=alpha, generator=generator)

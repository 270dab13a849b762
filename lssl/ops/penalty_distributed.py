"""The gradient penalty of a critic inside `DistributedDataParallel`.

DDP averages gradients from hooks on the parameters, which it arms in the wrapper's forward and expects once for every
parameter. So the penalty is computed within a call of the wrapper, with the module's forward replaced for that call,
and every parameter is made part of its graph, whether the penalty depends on it or not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class _Join(torch.autograd.Function):
    """The identity on a scalar, in whose graph other parameters take part without a gradient."""

    @staticmethod
    def forward(ctx: Any, penalty: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return penalty.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return gradient, *[None] * ctx.count


def redirectable(wrapper: DistributedDataParallel) -> bool:
    """False where hooks or mixed precision must see the critic's own forward, and only that."""
    hooks = (
        getattr(module, name)
        for module in (wrapper, wrapper.module)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    )
    return not any(hooks) and wrapper.mixed_precision is None


def through_distributed(
    wrapper: DistributedDataParallel, x: Tensor, penalty: Callable[[nn.Module, Tensor], Tensor]
) -> Tensor:
    """penalty(wrapper.module, x), computed within a call of `wrapper`."""
    module = wrapper.module
    original = vars(module).get("forward")

    def restore() -> None:
        if original is None:
            vars(module).pop("forward", None)
        else:
            vars(module)["forward"] = original

    def redirected(images: Tensor) -> Tensor:
        restore()
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        value = penalty(module, images)
        return _Join.apply(value, *parameters) if torch.is_grad_enabled() else value

    vars(module)["forward"] = redirected
    try:
        return wrapper(x)
    finally:
        restore()

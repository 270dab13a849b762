"""The gradient penalty of a critic inside `DistributedDataParallel`.

DDP averages gradients in hooks on the parameters; the wrapper's forward arms the hooks, and each is expected to fire
once. So the penalty is computed within a call of the wrapper, whose module is replaced for that call, and every
parameter is made part of its graph, whether the penalty depends on it or not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class _Join(torch.autograd.Function):
    """The identity on a scalar; puts further parameters into its graph without giving them a gradient."""

    @staticmethod
    def forward(ctx: Any, penalty: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return penalty.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return gradient, *[None] * ctx.count


class _Penalty(nn.Module):
    """Stands in for the wrapped module while the wrapper is called for a penalty."""

    def __init__(self, penalty: Callable[[nn.Module, Tensor], Tensor], module: nn.Module) -> None:
        super().__init__()
        self.penalty = penalty
        self.wrapped = (module,)  # not a submodule: this module is gone after the call

    def forward(self, x: Tensor) -> Tensor:
        (module,) = self.wrapped
        value = self.penalty(module, x)
        if not torch.is_grad_enabled():
            return value
        return _Join.apply(value, *(parameter for parameter in module.parameters() if parameter.requires_grad))


def redirectable(wrapper: DistributedDataParallel) -> bool:
    """False if the wrapper changes what the critic is given or returns: by hooks on it, or mixed precision."""
    hooks = (wrapper._forward_hooks, wrapper._forward_pre_hooks, wrapper._backward_hooks, wrapper._backward_pre_hooks)
    return not any(hooks) and wrapper.mixed_precision is None


def through_distributed(
    wrapper: DistributedDataParallel, x: Tensor, penalty: Callable[[nn.Module, Tensor], Tensor]
) -> Tensor:
    """penalty(wrapper.module, x), computed within a call of `wrapper`."""
    module = wrapper.module
    wrapper._modules["module"] = _Penalty(penalty, module)
    try:
        return wrapper(x)
    finally:
        wrapper._modules["module"] = module

"""The learning rate over the iterations, and the running average of networks."""

import torch
from torch import Tensor, nn

from lssl.training.config import ScheduleConfig


def decayed(config: ScheduleConfig, iteration: int) -> float:
    """The factor of the learning rate at an iteration: 1 until `decay_start`, then linearly down to 0 (paper 4)."""
    start = config.decay_start * config.iterations
    if iteration < start or start >= config.iterations:
        return 1.0
    return (config.iterations - iteration) / (config.iterations - start)


def average_weight(decay: float, iteration: int) -> float:
    """The newest weights' share of the average, 1 - decay; larger in the first iterations, so that the average follows."""
    return 1 - min(decay, (1 + iteration) / (10 + iteration))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, weight: Tensor) -> None:
    """average <- average + weight (network - average); weight is a scalar on their device."""
    kept: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(network.parameters())
    steps = torch._foreach_sub(new, kept)
    torch._foreach_mul_(steps, weight)
    torch._foreach_add_(kept, steps)

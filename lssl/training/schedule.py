"""Learning rate over the iterations, and the averaged networks."""

import torch
from torch import Tensor, nn

from lssl.training.config import ScheduleConfig


def decayed(config: ScheduleConfig, iteration: int) -> float:
    """The share of the learning rate at an iteration: 1, then linear to 0 from `decay_start` on (paper 4)."""
    start = config.decay_start * config.iterations
    if iteration < start or start >= config.iterations:
        return 1.0
    return (config.iterations - iteration) / (config.iterations - start)


def average_weight(decay: float, iteration: int) -> float:
    """What the newest weights count for in the average; more in the first iterations, whose memory is shorter."""
    return 1 - min(decay, (1 + iteration) / (10 + iteration))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, weight: Tensor) -> None:
    """average <- average + weight (network - average); weight is a scalar on their device."""
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, weight)

"""Learning rate over the iterations, and the averaged generator."""

import torch
from torch import nn

from lssl.training.config import ScheduleConfig


def learning_rate(config: ScheduleConfig, iteration: int, faces: int) -> float:
    """Constant, then linear to zero (paper 4): after `constant_epochs` of `faces` training faces, or `decay_start`.

    An epoch is as many critic updates as show the critic every face once.
    """
    if config.constant_epochs:
        start = config.constant_epochs * faces / (config.batch_size * config.critic_updates)
    else:
        start = config.decay_start * config.iterations
    if iteration < start or start >= config.iterations:
        return config.learning_rate
    return config.learning_rate * (config.iterations - iteration) / (config.iterations - start)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, iteration: int) -> None:
    """average <- decay average + (1 - decay) network; with a shorter memory in the first iterations."""
    decay = min(decay, (1 + iteration) / (10 + iteration))
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)

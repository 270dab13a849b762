"""Training: settings, loss terms, random numbers, the loop, checkpoints, logging, several processes."""

from lssl.training.config import TrainConfig
from lssl.training.loop import Loop

__all__ = ["Loop", "TrainConfig"]

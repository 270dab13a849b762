"""Training: settings, loss terms, chance, the loop, checkpoints, logging, several processes."""

from lssl.training.checkpoint import CheckpointError
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.loop import Loop, TrainingError

__all__ = ["CheckpointError", "ConfigError", "Loop", "TrainConfig", "TrainingError"]

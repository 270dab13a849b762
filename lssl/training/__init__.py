"""Training: settings, losses, steps, the loop, checkpoints, logging, several processes."""

from lssl.training.checkpoint import CheckpointError
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.trainer import Trainer, TrainingError

__all__ = ["CheckpointError", "ConfigError", "TrainConfig", "Trainer", "TrainingError"]

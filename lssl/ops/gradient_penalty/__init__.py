"""WGAN-GP's gradient penalty without double backward: alone, or in one step with a critic's features; and R1."""

from lssl.ops.gradient_penalty.critic_step import features_and_penalty
from lssl.ops.gradient_penalty.penalty import (
    gradient_penalty,
    gradient_penalty_reference,
    penalty_implementation,
    r1_penalty,
)

__all__ = [
    "features_and_penalty",
    "gradient_penalty",
    "gradient_penalty_reference",
    "penalty_implementation",
    "r1_penalty",
]

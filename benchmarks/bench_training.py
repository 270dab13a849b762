"""One training iteration (5 critic updates, 1 generator update) against the same networks in plain PyTorch.

Plain: nn.InstanceNorm2d, nn.PixelShuffle, and the gradient penalty by double backward; the same weights, losses and
Adam. The parts are timed as well, so that the table says where the time goes. Paper size (128x128, width 64, batch 2)
with --benchmark-full, which takes minutes on a CPU; else a quarter of the width at 64x64. Neither side keeps freed memory,
as `lssl train` does (README, Training).
"""

import resource
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lssl.data import AttributeSchema
from lssl.models import Discriminator, Generator
from lssl.models.blocks import ConvNorm
from lssl.ops import reference
from lssl.training import losses, steps
from lssl.training.config import LossConfig
from lssl.training.steps import Networks, StepBatch

SCHEMA = AttributeSchema.from_columns({"expression": [str(k) for k in range(8)]})
CONFIG = LossConfig(parsing=0.0)


class PlainConvNorm(nn.Module):
    def __init__(self, block: ConvNorm) -> None:
        super().__init__()
        self.conv = block.conv
        self.shuffle = nn.PixelShuffle(block.upscale_factor) if block.upscale_factor > 1 else nn.Identity()
        self.norm = nn.InstanceNorm2d(len(block.weight), affine=True)
        self.norm.weight, self.norm.bias = block.weight, block.bias
        self.activation = nn.ReLU() if block.activation == "relu" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.shuffle(self.conv(x))))


def plain(module: nn.Module) -> nn.Module:
    """Replaces each fused block by PyTorch's layers with the same weights."""
    for name, child in module.named_children():
        setattr(module, name, PlainConvNorm(child) if isinstance(child, ConvNorm) else plain(child))
    return module


def networks(size: int, width: int, layers: int, device: str, channels_last: bool = False) -> Networks:
    torch.manual_seed(0)
    generator = Generator(8, side_channels=3, width=width)
    critic = Discriminator(8, 6, size, width, layers)
    pair = Networks(generator.to(device), critic.to(device))
    if channels_last:
        generator.to(memory_format=torch.channels_last)
        critic.to(memory_format=torch.channels_last)
    return pair


def draw(count: int, size: int, device: str) -> StepBatch:
    images = torch.rand(2, count, 3, size, size, device=device) * 2 - 1
    y = torch.eye(8, device=device)[torch.randint(8, (2, count), device=device)]
    return StepBatch(images[0], images[1], y[0], y[1], torch.rand(count, device=device))


class Iteration:
    """Critic and generator updates with Adam; `double_backward` takes the penalty's reference."""

    def __init__(self, pair: Networks, double_backward: bool) -> None:
        self.pair = pair
        self.double_backward = double_backward
        self.critic_adam = torch.optim.Adam(pair.critic.parameters(), 1e-4, (0.5, 0.999))
        self.generator_adam = torch.optim.Adam(pair.generator.parameters(), 1e-4, (0.5, 0.999))

    def forward(self, batch: StepBatch) -> None:
        with torch.no_grad():
            self.pair.generator(batch.image, batch.side, batch.y)

    def critic(self, batch: StepBatch) -> None:
        fast = losses.critic_and_penalty
        if self.double_backward:
            losses.critic_and_penalty = lambda critic, samples, real, fake, alpha, _: (
                critic(samples),
                reference.gradient_penalty(critic.realism, real, fake, alpha=alpha),
            )
        try:
            loss, _ = steps.critic_loss(self.pair, batch, CONFIG, SCHEMA)
        finally:
            losses.critic_and_penalty = fast
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()

    def generator(self, batch: StepBatch) -> None:
        self.pair.critic.requires_grad_(False)
        loss, _ = steps.generator_loss(self.pair, batch, CONFIG, SCHEMA)
        self.pair.critic.requires_grad_(True)
        self.generator_adam.zero_grad()
        loss.backward()
        self.generator_adam.step()

    def whole(self, batch: StepBatch) -> None:
        for _ in range(5):
            self.critic(batch)
        self.generator(batch)


@pytest.mark.parametrize("part", ["forward", "critic", "generator", "whole"])
def test_training(compare: Callable, device: str, full: bool, part: str) -> None:
    size, width, layers, count = (128, 64, 6, 2) if full else (64, 16, 5, 2)
    if device == "cuda":
        count = 8
    fused = Iteration(networks(size, width, layers, device), double_backward=False)
    slow = networks(size, width, layers, device)
    plain(slow.generator)
    eager = Iteration(slow, double_backward=True)
    names = {"forward": "generator forward", "critic": "critic update", "generator": "generator update"}
    compare(
        names.get(part, "iteration: 5 critic + 1 generator"),
        shape=f"{count}x{size}x{size}, width {width}",
        dtype=torch.float32,
        device=device,
        inputs=lambda: (draw(count, size, device),),
        native=getattr(fused, part),
        eager=getattr(eager, part),
        compiled=False,
        seconds=1.0,
        note=f"peak memory of the process so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB",
    )

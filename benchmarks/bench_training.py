"""One training iteration (5 critic updates, 1 generator update) against the same networks in plain PyTorch.

Plain: nn.InstanceNorm2d, nn.PixelShuffle, and the gradient penalty by double backward; the same weights, losses and
Adam. The parts are timed as well, so that the table shows where the time goes. Paper size (128x128, width 64, batch 2)
with --benchmark-full, which takes minutes on a CPU; else a quarter of the width at 64x64. Unlike `lssl train`, neither side
keeps freed memory (docs/operators.md).
"""

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lssl.data import FaceFolderWriter, FaceRow
from lssl.methods.run import prepare_run
from lssl.models.blocks import ConvNorm
from lssl.ops import reference
from lssl.training import TrainConfig, losses
from lssl.training.distributed import Processes
from lssl.training.faces import Plan


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
    """Replaces each fused block with PyTorch's layers, with the same weights."""
    for name, child in module.named_children():
        setattr(module, name, PlainConvNorm(child) if isinstance(child, ConvNorm) else plain(child))
    return module


def write_faces(root: Path, size: int) -> Path:
    """Noise with landmarks, in eight classes."""
    chance = np.random.default_rng(0)
    writer = FaceFolderWriter(root, attributes=("expression",), settings={})
    for k in range(32):
        pixels = chance.integers(0, 255, (size, size, 3), dtype=np.uint8)
        landmarks = chance.uniform(0, size, (68, 2)).astype(np.float32)
        split = "train" if k < 24 else "test"
        writer.add(FaceRow(f"{k:02d}", pixels, f"s{k:02d}", split, {"expression": str(k % 8)}, landmarks=landmarks))
    writer.finish()
    return root


class Iteration:
    """The updates of the preset `paper`, without a parser; plain networks use the penalty's reference, too."""

    def __init__(self, config: TrainConfig, out: Path, device: str, plain_networks: bool) -> None:
        self.loop = prepare_run(config, out, processes=Processes(device=torch.device(device)), quiet=True)
        self.double_backward = plain_networks
        if plain_networks:
            plain(self.loop.method.networks["generator"])
        self.critic_update, self.generator_update = self.loop.updates

    def forward(self, plan: Plan) -> None:
        batch = self.loop.method.batch(plan)
        with torch.no_grad():
            self.loop.method.networks["generator"](batch.image, batch.side, batch.y)

    def critic(self, plan: Plan) -> None:
        fast = losses.critic_and_penalty
        if self.double_backward:
            losses.critic_and_penalty = lambda critic, samples, real, fake, alpha: (
                critic(samples),
                reference.gradient_penalty(critic.realism, real, fake, alpha=alpha),
            )
        try:
            self.loop.steps.run(self.critic_update, plan)
        finally:
            losses.critic_and_penalty = fast

    def generator(self, plan: Plan) -> None:
        self.loop.steps.run(self.generator_update, plan)

    def whole(self, plan: Plan) -> None:
        for _ in range(self.critic_update.times):
            self.critic(plan)
        self.generator(plan)


@pytest.mark.parametrize("part", ["forward", "critic", "generator", "whole"])
def test_training(compare: Callable, device: str, full: bool, part: str, tmp_path: Path) -> None:
    size, width, layers, count = (128, 64, 6, 2) if full else (64, 16, 5, 2)
    if device == "cuda":
        count = 8
    config = TrainConfig.preset("paper").with_overrides(
        {
            "data.folder": str(write_faces(tmp_path / "faces", size)),
            "network.width": width,
            "network.critic_width": width,
            "network.critic_layers": layers,
            "losses.parsing": 0.0,
            "schedule.batch_size": count,
        }
    )
    fused = Iteration(config, tmp_path / "fused", device, plain_networks=False)
    eager = Iteration(config, tmp_path / "eager", device, plain_networks=True)
    plan = {name: values.to(device) for name, values in fused.loop.method.draw(0).items()}
    names = {"forward": "generator forward", "critic": "critic update", "generator": "generator update"}
    compare(
        names.get(part, "iteration: 5 critic + 1 generator"),
        shape=f"{count}x{size}x{size}, width {width}",
        dtype=torch.float32,
        device=device,
        inputs=lambda: (plan,),
        native=getattr(fused, part),
        eager=getattr(eager, part),
        compiled=False,
        seconds=1.0,
        note=f"peak memory of the process so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB",
    )

"""gradient_penalty inside torch.compile, and in critics within DistributedDataParallel."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lssl.models import Discriminator
from lssl.ops import gradient_penalty, reference


def described() -> nn.Module:
    torch.manual_seed(0)
    return Discriminator(5, in_channels=3, image_size=16, width=4, num_layers=2)


def smooth() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 1, 3))


def gradients(critic: nn.Module, penalty: Tensor) -> list[Tensor]:
    critic.zero_grad()
    (10 * penalty).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in critic.parameters()]


def assert_same(critic: nn.Module, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-9, atol=1e-10)
    for mine, theirs in zip(gradients(critic, found), gradients(critic, expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


def images() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, 3, 3, 16, 16, dtype=torch.float64, generator=generator)
    return real, fake, torch.rand(3, generator=generator)


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_the_analytic_penalty_is_one_graph(backend: str):
    critic = described().double()
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend=backend)
    def penalty(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        return 2 * gradient_penalty(critic, real, fake, alpha=alpha)

    real, fake, alpha = images()
    assert_same(critic, penalty(real, fake, alpha), 2 * reference.gradient_penalty(critic, real, fake, alpha=alpha))


def test_a_whole_critic_loss_is_one_graph():
    critic = described().double()
    torch.compiler.reset()

    def loss(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        realism, attributes = critic(real)
        penalty = gradient_penalty(critic, real, fake, alpha=alpha)
        return critic(fake).realism.mean() - realism.mean() + attributes.square().mean() + 10 * penalty

    real, fake, alpha = images()
    assert_same(
        critic, torch.compile(loss, fullgraph=True, backend="aot_eager")(real, fake, alpha), loss(real, fake, alpha)
    )


def test_other_critics_break_the_graph_and_are_right():
    critic = smooth().double()
    torch.compiler.reset()

    @torch.compile(backend="aot_eager")
    def penalty(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        return 2 * gradient_penalty(critic, real, fake, alpha=alpha)

    real, fake, alpha = images()
    assert_same(critic, penalty(real, fake, alpha), 2 * reference.gradient_penalty(critic, real, fake, alpha=alpha))


@pytest.mark.parametrize("kind", ["described", "smooth"])
def test_a_compiled_critic_keeps_its_compiled_calls(kind: str):
    critic = {"described": described, "smooth": smooth}[kind]().double()
    torch.compiler.reset()
    compiled = torch.compile(critic, backend="aot_eager")
    real, fake, alpha = images()
    compiled(real)
    expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
    assert_same(critic, gradient_penalty(compiled, real, fake, alpha=alpha), expected)
    critic.compile(backend="aot_eager")
    assert_same(
        critic,
        gradient_penalty(critic, real, fake, alpha=alpha),
        reference.gradient_penalty(critic, real, fake, alpha=alpha),
    )
    compiled(real)


@pytest.mark.slow
def test_two_processes(tmp_path: Path):
    if not torch.distributed.is_available():
        pytest.skip("torch.distributed is not built")
    script = Path(__file__).with_name("distributed_penalty.py")
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
        assert "all cases hold" in output

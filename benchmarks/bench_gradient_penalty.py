"""gradient_penalty and its parameter gradients against eager double backward and the critic's convolution passes.

The floor is the sum of the four convolution passes that the penalty needs at least: for every layer forward, backward to
its input, forward again for the tangent, and its weight gradient, each by the library. The CPU can be below it, since the
last layers run as matrix products (lssl/ops/gradient_penalty/matrix_convolution.py).
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lssl.models import Discriminator
from lssl.ops import features_and_penalty, gradient_penalty, reference
from lssl.ops.gradient_penalty import kernels as penalty_kernels


def paper_critic(width: int, image_size: int, device: str) -> Discriminator:
    """The paper's critic (4.1, Fig. 5) for pairs: six 4x4 stride-2 convolutions, fewer if the image is too small."""
    layers = min(6, image_size.bit_length() - 2)
    return Discriminator(8, in_channels=6, image_size=image_size, width=width, num_layers=layers).to(device)


def smooth_critic(width: int, device: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 6
    for level in range(4):
        layers += [
            nn.Conv2d(channels, width << level, 4, 2, 1),
            nn.InstanceNorm2d(width << level, affine=True),
            nn.Tanh(),
        ]
        channels = width << level
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, 1, 1)).to(device)


def step(critic: nn.Module, penalty: Callable[..., Tensor], **options: str) -> Callable[..., None]:
    def run(real: Tensor, fake: Tensor, alpha: Tensor) -> None:
        critic.zero_grad()
        penalty(critic, real, fake, alpha=alpha, **options).backward()

    return run


def convolution_passes(critic: Discriminator, images: Tensor) -> Callable[..., None]:
    layers = [layer for layer in critic.realism_layers() if isinstance(layer, nn.Conv2d)]
    inputs = [images]
    with torch.no_grad():
        for layer in layers:
            inputs.append(layer(inputs[-1]))

    @torch.no_grad()
    def run(*_: Tensor) -> None:
        for layer, x, y in zip(layers, inputs[:-1], inputs[1:], strict=True):
            geometry = (layer.stride, layer.padding, layer.dilation, False, (0, 0), 1)
            torch.convolution(x, layer.weight, layer.bias, *geometry)
            torch.convolution(x, layer.weight, None, *geometry)
            for mask in ([True, False, False], [False, True, False]):
                torch.ops.aten.convolution_backward(y, x, layer.weight, None, *geometry, mask)

    return run


def image_pair(batch: int, size: int, device: str) -> Callable[[], tuple[Tensor, Tensor, Tensor]]:
    def make() -> tuple[Tensor, Tensor, Tensor]:
        real, fake = torch.randn(2, batch, 6, size, size, device=device)
        return real, fake, torch.rand(batch, device=device)

    return make


CRITICS = [(8, 16, 64), (8, 16, 128), (8, 64, 128)]  # batch, width, image size


@pytest.mark.parametrize(("batch", "width", "size"), CRITICS)
def test_critic(compare, device: str, full: bool, batch: int, width: int, size: int):
    if width == 64 and not full and device == "cpu":
        pytest.skip("the paper's critic takes minutes on the CPU: --benchmark-full")
    critic = paper_critic(width, size, device)
    make = image_pair(batch, size, device)
    compare(
        "gradient_penalty + parameter gradients",
        shape=f"{batch}x6x{size}x{size} width {width}",
        dtype=torch.float32,
        device=device,
        inputs=make,
        native=step(critic, gradient_penalty),
        eager=step(critic, reference.gradient_penalty),
        floor=convolution_passes(critic, make()[0]),
        compiled=width < 64,
        forward_over_reverse=step(critic, gradient_penalty, implementation="forward_over_reverse"),
    )


@pytest.mark.parametrize(("batch", "width", "size"), CRITICS)
def test_critic_step(compare, device: str, full: bool, batch: int, width: int, size: int):
    """The whole step: adversarial, attribute and penalty losses, and all gradients."""
    if width == 64 and not full and device == "cpu":
        pytest.skip("the paper's critic takes minutes on the CPU: --benchmark-full")
    critic = paper_critic(width, size, device)

    def finish(features: Tensor, penalty: Tensor) -> None:
        realism = critic.realism_head(features)
        attributes = critic.attribute_head(features[:batch].flatten(1))
        loss = realism[batch:].mean() - realism[:batch].mean() + attributes.square().mean() + 10 * penalty
        critic.zero_grad()
        loss.backward()

    def together(real: Tensor, fake: Tensor, alpha: Tensor) -> None:
        samples = torch.cat([real, fake])
        finish(*features_and_penalty(critic.trunk, critic.realism_head, samples, real, fake, alpha=alpha))

    def apart(penalty: Callable[..., Tensor]) -> Callable[..., None]:
        return lambda real, fake, alpha: finish(
            critic.trunk(torch.cat([real, fake])), penalty(critic, real, fake, alpha=alpha)
        )

    compare(
        "critic step: features_and_penalty",
        shape=f"{batch}x6x{size}x{size} width {width}",
        dtype=torch.float32,
        device=device,
        inputs=image_pair(batch, size, device),
        native=together,
        eager=apart(reference.gradient_penalty),
        compiled=False,
        apart=apart(gradient_penalty),
    )


def test_smooth_critic(compare, device: str, full: bool):
    critic = smooth_critic(32 if full else 16, device)
    compare(
        "gradient_penalty, instance norm and tanh",
        shape=f"8x6x64x64 width {32 if full else 16}",
        dtype=torch.float32,
        device=device,
        inputs=image_pair(8, 64, device),
        native=step(critic, gradient_penalty),
        eager=step(critic, reference.gradient_penalty),
        compiled=False,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_interpolate(compare, device: str, dtype: torch.dtype):
    def make() -> tuple[Tensor, Tensor, Tensor]:
        real, fake, alpha = image_pair(8, 128, device)()
        return real.to(dtype), fake.to(dtype), alpha

    output = torch.empty_like(make()[0])
    compare(
        "penalty_interpolate",
        shape=(8, 6, 128, 128),
        dtype=dtype,
        device=device,
        inputs=make,
        native=penalty_kernels.penalty_interpolate,
        eager=penalty_kernels.penalty_interpolate_reference,
        floor=lambda real, fake, alpha: output.copy_(real),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cotangent(compare, device: str, dtype: torch.dtype):
    output = torch.empty(8, 6, 128, 128, dtype=dtype, device=device)
    compare(
        "penalty_cotangent",
        shape=(8, 6, 128, 128),
        dtype=dtype,
        device=device,
        inputs=lambda: (torch.randn(8, 6, 128, 128, device=device).to(dtype),),
        native=lambda gradient: penalty_kernels.penalty_cotangent(gradient, 1.0),
        eager=lambda gradient: penalty_kernels.penalty_cotangent_reference(gradient, 1.0),
        floor=lambda gradient: output.copy_(gradient),
    )


@pytest.mark.parametrize("op", ["rectify", "slope"])
def test_slopes(compare, device: str, op: str):
    shape = (8, 64, 64, 64)
    packed = penalty_kernels.penalty_rectify_(torch.randn(shape, device=device), 0.01)
    activation, output = torch.randn(shape, device=device), torch.empty(shape, device=device)
    variants = {
        "rectify": (
            lambda x: penalty_kernels.penalty_rectify_(x, 0.01),
            lambda x: penalty_kernels.penalty_rectify_reference_(x, 0.01),
        ),
        "slope": (
            lambda x: penalty_kernels.penalty_slope_(x, packed, 1.0),
            lambda x: torch.ops.aten.leaky_relu_backward(x, activation, 0.01, True),
        ),
    }
    native, eager = variants[op]
    compare(
        f"penalty_{op}_",
        shape=shape,
        dtype=torch.float32,
        device=device,
        inputs=lambda: (torch.randn(shape, device=device),),
        native=native,
        eager=eager,
        floor=lambda x: output.copy_(x),
        compiled=False,
    )


PEAK = """
import sys, torch
from lssl.models import Discriminator
from lssl.ops import gradient_penalty
device, implementation, width = sys.argv[1], sys.argv[2], int(sys.argv[3])
def peak(restart):
    if device == "cuda":
        if restart:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if restart:
        open("/proc/self/clear_refs", "w").write("5")
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
def run(width, batch):
    critic = Discriminator(8, in_channels=6, width=width).to(device)
    real, fake = torch.randn(2, batch, 6, 128, 128, device=device)
    before = peak(True)
    gradient_penalty(critic, real, fake, implementation=implementation).backward()
    return peak(False) - before
run(1, 1)
print(run(width, 8))
"""


def test_peak_memory(device: str, full: bool, capsys: pytest.CaptureFixture[str], benchmark):
    """Memory in addition to images and parameters, including parameter gradients, each in a process of its own."""
    width = 64 if full or device == "cuda" else 32
    if device == "cpu" and not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of resident memory can be read and reset on Linux only")
    benchmark.pedantic(lambda: None)  # pytest-benchmark skips tests that do not use it
    peaks = {}
    for implementation in ("analytic", "forward_over_reverse", "double_backward"):
        command = [sys.executable, "-W", "ignore", "-c", PEAK, device, implementation, str(width)]
        peaks[implementation] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    with capsys.disabled():
        print(f"\npeak memory of the penalty and its gradients, 8x6x128x128, width {width}, {device}:")
        for implementation, peak in peaks.items():
            share = peak / peaks["double_backward"]
            print(f"  {implementation:22} {peak / 2**20:7.0f} MiB  {share:.0%} of double backward")

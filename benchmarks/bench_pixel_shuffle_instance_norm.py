"""pixel_shuffle_instance_norm at the decoder's shapes: forward with ReLU, and forward + backward. Floor: a copy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lssl.ops import pixel_shuffle_instance_norm, reference

# The convolutions' outputs in the decoder of the paper's generator at 128x128, batch 8.
DECODER = [(8, 2048, 8, 8), (8, 1024, 16, 16), (8, 512, 32, 32), (8, 256, 64, 64)]
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def images(shape: tuple[int, ...], dtype: torch.dtype, device: str, layout: str) -> Tensor:
    return torch.randn(shape, dtype=dtype, device=device).contiguous(memory_format=FORMATS[layout])


def affine(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    return torch.rand(shape[1] // 4, device=device) + 0.5, torch.randn(shape[1] // 4, device=device)


def relu(op: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda x, weight, bias: op(x, weight, bias, activation="relu")


def forward_backward(op: Callable[..., Tensor]) -> Callable[..., Any]:
    def step(x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> Any:
        return torch.autograd.grad(op(x, weight, bias, activation="relu"), (x, weight, bias), grad)

    return step


@pytest.mark.parametrize("shape", DECODER, ids=str)
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(torch.float32, "contiguous"), (torch.float32, "channels-last"), (torch.bfloat16, "channels-last")],
    ids=["float32", "float32-channels-last", "bfloat16-channels-last"],
)
def test_forward(compare, device, full, shape, dtype, layout):
    if device == "cpu" and layout != "contiguous" and not full and shape != DECODER[-1]:
        pytest.skip("on the CPU every format only with --benchmark-full")
    weight, bias = affine(shape, device)
    compare(
        f"pixel_shuffle_instance_norm relu, {layout}",
        shape=shape,
        dtype=dtype,
        device=device,
        inputs=lambda: (images(shape, dtype, device, layout), weight, bias),
        native=relu(pixel_shuffle_instance_norm),
        eager=relu(reference.pixel_shuffle_instance_norm),
        floor=lambda x, weight, bias: x.clone(),
    )


@pytest.mark.parametrize("shape", DECODER, ids=str)
@pytest.mark.parametrize("layout", list(FORMATS))
def test_forward_backward(compare, device, full, shape, layout):
    if device == "cpu" and shape != DECODER[-1] and not full:
        pytest.skip("on the CPU the smaller shapes only with --benchmark-full")
    weight, bias = (t.requires_grad_() for t in affine(shape, device))
    n, depth, height, width = shape

    def inputs() -> tuple[Tensor, ...]:
        x = images(shape, torch.float32, device, layout).requires_grad_()
        return x, weight, bias, images((n, depth // 4, 2 * height, 2 * width), torch.float32, device, layout)

    compare(
        f"pixel_shuffle_instance_norm relu + backward, {layout}",
        shape=shape,
        dtype=torch.float32,
        device=device,
        inputs=inputs,
        native=forward_backward(pixel_shuffle_instance_norm),
        eager=forward_backward(reference.pixel_shuffle_instance_norm),
        floor=lambda x, weight, bias, grad: (x.clone(), grad.clone()),
    )


@pytest.mark.parametrize("shape", [(8, 256, 32, 32), (8, 64, 128, 128)], ids=str)
def test_instance_norm(compare, device, full, shape):
    if device == "cpu" and not full:
        pytest.skip("on the CPU upscale_factor=1 only with --benchmark-full")
    weight, bias = torch.rand(shape[1], device=device), torch.randn(shape[1], device=device)
    compare(
        "pixel_shuffle_instance_norm r=1 relu",
        shape=shape,
        dtype=torch.float32,
        device=device,
        inputs=lambda: (images(shape, torch.float32, device, "contiguous"),),
        native=lambda x: pixel_shuffle_instance_norm(x, weight, bias, 1, activation="relu"),
        eager=lambda x: torch.nn.functional.instance_norm(x, weight=weight, bias=bias).relu(),
        floor=lambda x: x.clone(),
        note="eager is torch.nn.functional.instance_norm",
    )

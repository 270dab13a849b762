"""landmark_heatmap of a batch of 68-point faces, 128 x 128, sigma 3."""

import pytest
import torch

from lssl import ops
from lssl.ops import reference

SIZE, SIGMA = 128, 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reduction", ["none", "max", "sum"])
def test_forward(compare, device, reduction, dtype):
    """The floor fills a newly allocated tensor of the output's size."""
    shape = (8, 68 if reduction == "none" else 1, SIZE, SIZE)
    compare(
        f"landmark_heatmap {reduction}",
        shape=shape,
        dtype=dtype,
        device=device,
        inputs=lambda: ((torch.rand(8, 68, 2, device=device) * SIZE).to(dtype),),
        native=lambda x: ops.landmark_heatmap(x, SIZE, SIZE, SIGMA, reduction=reduction),
        eager=lambda x: reference.landmark_heatmap(x, SIZE, SIZE, SIGMA, reduction=reduction),
        floor=lambda x: x.new_full(shape, 1.0),
    )


@pytest.mark.parametrize("reduction", ["none", "max", "sum"])
def test_backward(compare, device, reduction):
    """Forward and backward, to landmarks and one sigma per landmark; the floor fills the output and sums the gradient."""
    shape = (8, 68 if reduction == "none" else 1, SIZE, SIZE)
    weight = torch.randn(shape, device=device)

    def inputs() -> tuple[torch.Tensor, torch.Tensor]:
        landmarks = torch.rand(8, 68, 2, device=device) * SIZE
        return landmarks.requires_grad_(), torch.full((68,), SIGMA, device=device).requires_grad_()

    def step(op):
        def run(landmarks: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = op(landmarks, SIZE, SIZE, sigma, reduction=reduction)
            return torch.autograd.grad(output, (landmarks, sigma), weight)

        return run

    maps = torch.compile(reference.landmark_heatmap, dynamic=False)
    compare(
        f"landmark_heatmap {reduction} forward + backward",
        shape=shape,
        dtype=torch.float32,
        device=device,
        inputs=inputs,
        native=step(ops.landmark_heatmap),
        eager=step(reference.landmark_heatmap),
        compiled=step(maps),
        floor=lambda landmarks, sigma: (weight.new_full(shape, 1.0), weight.sum()),
    )

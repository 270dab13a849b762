"""What a call costs besides its kernel, with tensors so small that dispatch, checks and autograd take all the time.

The goal is 25 us per call, and less than the same composed of eager PyTorch's operators.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lssl import ops
from lssl.ops import reference
from lssl.ops.gradient_penalty import kernels as penalty_kernels


def calls(device: str, name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[], tuple]]:
    """(native, eager, inputs)"""
    x, affine = torch.randn(1, 16, 2, 2, device=device), torch.rand(2, 4, device=device)
    points = torch.rand(1, 2, 2, device=device) * 4
    vertices = torch.rand(1, 3, 3, device=device) * 4
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=device)
    triangle, barycentric, _ = ops.rasterize(vertices, faces, 4, 4)
    pair, alpha = torch.randn(2, 2, 3, 4, 4, device=device), torch.rand(2, device=device)
    chosen: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple]] = {
        "pixel_shuffle_instance_norm": (
            lambda x, w, b: ops.pixel_shuffle_instance_norm(x, w, b, activation="relu"),
            lambda x, w, b: reference.pixel_shuffle_instance_norm(x, w, b, activation="relu"),
            (x, affine[0], affine[1]),
        ),
        "landmark_heatmap": (
            lambda p: ops.landmark_heatmap(p, 4, 4, 1.0),
            lambda p: reference.landmark_heatmap(p, 4, 4, 1.0),
            (points,),
        ),
        "rasterize": (
            lambda v: ops.rasterize(v, faces, 4, 4),
            lambda v: reference.rasterize(v, faces, 4, 4),
            (vertices,),
        ),
        "interpolate": (
            lambda a: ops.interpolate(triangle, barycentric, faces, a),
            lambda a: reference.interpolate(triangle, barycentric, faces, a),
            (vertices,),
        ),
        "penalty_interpolate": (
            penalty_kernels.penalty_interpolate,
            penalty_kernels.penalty_interpolate_reference,
            (pair[0], pair[1], alpha),
        ),
        "penalty_cotangent": (
            lambda g: penalty_kernels.penalty_cotangent(g, 1.0),
            lambda g: penalty_kernels.penalty_cotangent_reference(g, 1.0),
            (pair[0],),
        ),
    }
    native, eager, inputs = chosen[name]
    return native, eager, lambda: inputs


OPERATORS = [
    "pixel_shuffle_instance_norm",
    "landmark_heatmap",
    "rasterize",
    "interpolate",
    "penalty_interpolate",
    "penalty_cotangent",
]


@pytest.mark.parametrize("op", OPERATORS)
def test_forward(compare, device: str, op: str) -> None:
    native, eager, inputs = calls(device, op)
    compare(
        op, shape="tiny", dtype=torch.float32, device=device, inputs=inputs, native=native, eager=eager,
        compiled=False, graphs=False, note="call",
    )  # fmt: skip


@pytest.mark.parametrize("op", ["pixel_shuffle_instance_norm", "landmark_heatmap", "interpolate"])
def test_recorded(compare, device: str, op: str) -> None:
    """A call that autograd records, without its backward pass."""
    native, eager, make = calls(device, op)

    def inputs() -> tuple:
        return tuple(t.clone().requires_grad_() for t in make())

    compare(
        op, shape="tiny", dtype=torch.float32, device=device, inputs=inputs, native=native, eager=eager,
        compiled=False, graphs=False, note="call that is recorded for backward",
    )  # fmt: skip


def test_gradient_penalty(compare, device: str) -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.01), nn.Flatten(), nn.Linear(16, 1)).to(device)
    real, fake = torch.randn(2, 2, 3, 4, 4, device=device)
    alpha = torch.rand(2, device=device)

    def step(op: Callable[..., torch.Tensor]) -> Callable[..., None]:
        def run(real: torch.Tensor, fake: torch.Tensor) -> None:
            critic.zero_grad()
            op(critic, real, fake, alpha=alpha).backward()

        return run

    compare(
        "gradient_penalty",
        shape="tiny",
        dtype=torch.float32,
        device=device,
        inputs=lambda: (real, fake),
        native=step(ops.gradient_penalty),
        eager=step(reference.gradient_penalty),
        compiled=False,
        graphs=False,
        note="penalty and parameter gradients of a critic of two layers",
    )

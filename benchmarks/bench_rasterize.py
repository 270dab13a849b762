"""rasterize and interpolate on a face-like mesh of 10,082 triangles, about half of them seen from behind.

The floor of rasterize fills its three outputs; that of interpolate fills the image.
"""

import pytest
import torch
from torch import Tensor

from lssl import ops
from lssl.ops import reference

SIZE = 128


def head(batch: int, device: str, rows: int = 72) -> tuple[Tensor, Tensor]:
    """A bumpy ellipsoid that fills most of the window, its vertices jittered differently in each image."""
    latitude = torch.linspace(0.02, 3.12, rows)[:, None]
    longitude = torch.linspace(0, 2 * torch.pi, rows)[None]
    x = latitude.sin() * longitude.cos() * 46 + 63.5
    y = latitude.cos().expand(rows, rows) * 60 + 63.5
    z = latitude.sin() * longitude.sin() * 50
    vertices = torch.stack([x, y, z], -1).reshape(1, -1, 3) + torch.randn(batch, rows * rows, 3) * 0.15
    index = torch.arange(rows * rows, dtype=torch.int32).reshape(rows, rows)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([b, d, c], -1).reshape(-1, 3)])
    return vertices.to(device), faces.to(device)


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_rasterize(compare, device, batch, full):
    if batch == 64 and device == "cpu" and not full:
        pytest.skip("large: --benchmark-full")
    row = compare(
        "rasterize",
        shape=f"{batch} x 10082 triangles, {SIZE}x{SIZE}",
        dtype=torch.float32,
        device=device,
        inputs=lambda: head(batch, device),
        native=lambda vertices, faces: ops.rasterize(vertices, faces, SIZE, SIZE),
        eager=lambda vertices, faces: reference.rasterize(vertices, faces, SIZE, SIZE),
        compiled=False,
        floor=lambda vertices, faces: (
            vertices.new_full((batch, SIZE, SIZE), -1, dtype=torch.int32),
            vertices.new_full((batch, SIZE, SIZE, 3), 0.0),
            vertices.new_full((batch, SIZE, SIZE), torch.inf),
        ),
        note="the reference's work depends on its data: torch.compile breaks its graph",
        uncaptured=("eager",),
    )
    seconds = sorted(row.samples["native"])[len(row.samples["native"]) // 2]
    row.note = f"{batch / seconds:,.0f} faces per second; {row.note}"


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward + backward"])
def test_interpolate(compare, device, backward):
    vertices, faces = head(8, device)
    triangle, barycentric, _ = ops.rasterize(vertices, faces, SIZE, SIZE)
    weight = torch.randn(8, SIZE, SIZE, 3, device=device)

    def step(op):
        def run(attributes: Tensor) -> Tensor:
            if not backward:
                return op(triangle, barycentric, faces, attributes)
            image = op(triangle, barycentric, faces, attributes)
            return torch.autograd.grad(image, attributes, weight)[0]

        return run

    compare(
        "interpolate" + (" forward + backward" if backward else ""),
        shape=(8, SIZE, SIZE, 3),
        dtype=torch.float32,
        device=device,
        inputs=lambda: (torch.randn(8, vertices.shape[1], 3, device=device, requires_grad=backward),),
        native=step(ops.interpolate),
        eager=step(reference.interpolate),
        compiled=step(torch.compile(reference.interpolate, dynamic=False)),
        floor=lambda attributes: weight.new_full(weight.shape, 1.0),
    )

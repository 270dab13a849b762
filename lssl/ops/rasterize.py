"""Triangle rasterisation.

The arithmetic is fixed so that the C++, CUDA and PyTorch versions draw the same image, bit for bit: vertices snap to
a grid of 1/4096 pixel, coverage is decided by integer edge functions with the top-left rule, and
depth = z0 + (w1 (z1 - z0) + w2 (z2 - z0)) is rounded operation by operation.
"""

from typing import Any

import torch
from torch import Tensor

from lssl.ops._library import below_autograd, native_available, use_native

MAX_SIZE = 1 << 15
"""Largest height and width, in pixels."""
GUARD = 1 << 17
"""Coordinates beyond this many pixels make a vertex invalid; its triangles are skipped."""
_SUBPIXEL_BITS = 12
_CANDIDATES = 1 << 20  # pixels that the reference tests at a time


def rasterize(vertices: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the nearest triangle at each pixel centre (pixel centres are at integer coordinates).

    Args:
        vertices: (N, V, 3) x (right), y (down) in pixels, and depth (smaller is nearer), affine in the image; float32
            or float64 (bfloat16 and float16 are computed, and returned, in float32).
        faces: (F, 3) int32 vertex indices, shared by the batch. Both windings are drawn: culling is left to the caller.
        height, width: size of the window, 1 to 32768 pixels.

    Returns:
        triangle (N, H, W) int32, index of the face or -1; barycentric (N, H, W, 3), the weights of that face's three
        corners, 0 where there is none; depth (N, H, W), infinity where there is none.

    A pixel centre on an edge belongs to the triangle for which it is a top or a left edge, so a mesh has neither cracks
    nor double hits. Equal depths go to the lowest triangle index. Triangles that are degenerate, or that have a vertex
    that is not finite or further than 131072 pixels from the origin, are skipped. Deterministic; not differentiable.

    Raises:
        ValueError: wrong shape, dtype, device or size. RuntimeError: a face index outside [0, V) (on CUDA, where
            checking would mean waiting for the device, such a triangle is skipped).
    """
    compiling = torch.compiler.is_compiling()
    if compiling:
        _check(vertices, faces, height, width)
    try:  # torch.jit.script ends here: use torch.export.export (see `lssl export`)
        if not use_native(vertices):
            _check(vertices, faces, height, width)
            return rasterize_reference(vertices.detach(), faces, height, width)
        drawn = vertices.float() if vertices.dtype in (torch.bfloat16, torch.float16) else vertices
        if compiling:
            return torch.ops.lssl.rasterize(drawn.detach(), faces, height, width)
        return below_autograd(_operator, drawn, faces, height, width)
    except (RuntimeError, TypeError, AttributeError):
        _check(vertices, faces, height, width)  # the operator checks too; this names the argument
        raise


def _check(vertices: Tensor, faces: Tensor, height: int, width: int) -> None:
    check_mesh("rasterize", "vertices", vertices, faces, 3)
    for name, size in (("height", height), ("width", width)):
        if not 1 <= size <= MAX_SIZE:
            raise ValueError(f"rasterize: {name} must be 1 to {MAX_SIZE}, got {size}")


def check_mesh(op: str, name: str, values: Tensor, faces: Tensor, channels: int | None = None) -> None:
    """Raises TypeError or ValueError, naming the argument, unless values are (N, V, channels), faces (F, 3) int32."""
    for argument, value in ((name, values), ("faces", faces)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}: {argument} must be a tensor, got {type(value).__name__}")
    if values.ndim != 3 or (channels is not None and values.shape[2] != channels):
        raise ValueError(f"{op}: {name} must be (N, V, {channels or 'C'}), got {tuple(values.shape)}")
    if not values.is_floating_point():
        raise ValueError(f"{op}: {name} must be floating point, got {values.dtype}")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"{op}: faces must be (F, 3), got {tuple(faces.shape)}")
    if faces.dtype != torch.int32:
        raise ValueError(f"{op}: faces must be int32, got {faces.dtype}; use faces.to(torch.int32)")
    if faces.device != values.device:
        raise ValueError(f"{op}: faces must be on {values.device} like {name}, got {faces.device}")


if native_available():

    @torch.library.register_fake("lssl::rasterize")
    def _(vertices: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        check_mesh("rasterize", "vertices", vertices, faces, 3)
        n = vertices.shape[0]
        triangle = vertices.new_empty((n, height, width), dtype=torch.int32)
        return triangle, vertices.new_empty((n, height, width, 3)), vertices.new_empty((n, height, width))

    _operator = torch.ops.lssl.rasterize.default

    def _setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)

    def _backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        return None, None, None, None

    torch.library.register_autograd("lssl::rasterize", _backward, setup_context=_setup)


def rasterize_reference(vertices: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The op's specification in eager PyTorch: every pixel of every bounding box is tested, in chunks."""
    if vertices.dtype in (torch.bfloat16, torch.float16):
        vertices = vertices.float()
    n, f = vertices.shape[0], faces.shape[0]
    depth = vertices.new_full((n * height * width,), torch.inf)
    winner = torch.full((n * height * width,), -1, dtype=torch.int64, device=vertices.device)
    if n * f > 0:
        if not bool(((faces >= 0) & (faces < vertices.shape[1])).all()):
            raise RuntimeError(
                f"rasterize: faces has an index outside [0, {vertices.shape[1]}), the number of vertices"
            )
        corners_M33 = vertices[:, faces.long()].flatten(0, 1)  # M = N F triangles
        points_M32, box, drawn = _set_up(corners_M33, height, width)
        image = torch.arange(n, device=vertices.device).repeat_interleave(f)
        (order,) = drawn.nonzero(as_tuple=True)
        columns = box[:, 1] - box[:, 0]
        counts = (columns * (box[:, 3] - box[:, 2]))[order]
        for part in _chunks(order, counts):
            t = part.repeat_interleave((columns * (box[:, 3] - box[:, 2]))[part])
            first = (t[1:] != t[:-1]).nonzero(as_tuple=True)[0] + 1
            starts = torch.zeros_like(t).index_fill_(0, first, 1).cumsum(0)
            offset = torch.arange(len(t), device=t.device) - torch.cat([first.new_zeros(1), first])[starts]
            x = box[t, 0] + offset % columns[t]
            y = box[t, 2] + offset // columns[t]
            weights, inside = _weights(points_M32[t], x, y, vertices.dtype)
            z = _depth(weights, corners_M33[t, :, 2])
            hit = inside & (z < torch.inf)
            t, z, pixel = t[hit], z[hit], ((image[t] * height + y) * width + x)[hit]
            nearest = depth.scatter_reduce(0, pixel, z, "amin")
            lowest = torch.full_like(winner, n * f).scatter_reduce(
                0, pixel, torch.where(z == nearest[pixel], t, n * f), "amin"
            )
            winner = torch.where(nearest < depth, lowest, winner)
            depth = nearest
    hit = winner >= 0
    barycentric = vertices.new_zeros((n * height * width, 3))
    if hit.any():
        t, pixel = winner[hit], hit.nonzero(as_tuple=True)[0]
        weights, _ = _weights(points_M32[t], pixel % width, pixel // width % height, vertices.dtype)
        barycentric[hit] = weights
        depth[hit] = _depth(weights, corners_M33[t, :, 2])
    triangle = torch.where(hit, winner % max(f, 1), -1).to(torch.int32)
    shape = (n, height, width)
    return triangle.reshape(shape), barycentric.reshape(*shape, 3), depth.reshape(shape)


def check_indices(op: str, faces: Tensor, vertices: int) -> None:
    """Raises RuntimeError if `faces` has an index outside [0, vertices)."""
    if not bool(((faces >= 0) & (faces < vertices)).all()):
        raise RuntimeError(f"{op}: faces has an index outside [0, {vertices}), the number of vertices")


def _set_up(corners_M33: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Snapped corners (M, 3, 2) int64; box (M, 4) x begin, x end, y begin, y end in the window; drawn (M,) bool."""
    valid = (corners_M33[..., :2].abs() <= GUARD).all((1, 2)) & corners_M33[..., 2].isfinite().all(1)
    xy = torch.where(valid[:, None, None], corners_M33[..., :2], 0.0)
    points = (xy * (1 << _SUBPIXEL_BITS)).round().long()
    low = -(-points.amin(1) >> _SUBPIXEL_BITS)
    high = (points.amax(1) >> _SUBPIXEL_BITS) + 1
    size = torch.tensor([width, height], device=points.device)
    low, high = low.clamp(min=0), torch.minimum(high, size)
    a, b, c = points.unbind(1)
    drawn = valid & (low < high).all(1) & (_edge(a, b, c) != 0)
    return points, torch.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1), drawn


def _edge(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """Twice the signed area of (a, b, p), exactly; all (..., 2) int64."""
    return (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (p[..., 0] - a[..., 0])


def _weights(points: Tensor, x: Tensor, y: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Barycentric coordinates (P, 3) of pixels (x, y) in triangles (P, 3, 2), and whether each lies inside (P,)."""
    p = torch.stack([x, y], -1) << _SUBPIXEL_BITS
    a, b, c = points.unbind(1)
    area = _edge(a, b, c)
    sign = area.sign()
    inside = torch.ones_like(sign, dtype=torch.bool)
    weights = []
    for u, v in ((b, c), (c, a), (a, b)):
        value = _edge(u, v, p) * sign
        dx, dy = ((v - u) * sign[:, None]).unbind(-1)
        owns = (dy < 0) | ((dy == 0) & (dx > 0))  # a left or a top edge
        inside &= (value > 0) | ((value == 0) & owns)
        weights.append(value.to(dtype) / area.abs().to(dtype))
    return torch.stack(weights, -1), inside


def _depth(weights: Tensor, z: Tensor) -> Tensor:
    """z0 + (w1 (z1 - z0) + w2 (z2 - z0)): exact where a triangle's depth is constant, so that ties are ties."""
    z0, z1, z2 = z.unbind(-1)
    return z0 + (weights[..., 1] * (z1 - z0) + weights[..., 2] * (z2 - z0))


def _chunks(order: Tensor, counts: Tensor) -> list[Tensor]:
    """Splits triangles, in order, into runs of about `_CANDIDATES` candidate pixels."""
    total = counts.cumsum(0)
    sizes = torch.bincount(total.sub(1).clamp(min=0) // _CANDIDATES) if len(order) else counts
    return list(order.split(sizes.tolist())) if len(order) else []

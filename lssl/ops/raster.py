"""Triangle rasterisation and attribute interpolation.

The arithmetic is fixed so that the C++, CUDA and PyTorch versions draw the same picture, bit for bit: vertices snap to
a grid of 1/4096 pixel, coverage is decided by integer edge functions with the top-left rule, and
depth = z0 + (w1 (z1 - z0) + w2 (z2 - z0)) is rounded operation by operation.
"""

from typing import Any

import torch
from torch import Tensor

from lssl.ops._library import native_available, use_native

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
        faces: (F, 3) int32 vertex indices, shared by the batch. Both windings are drawn: culling is the caller's.
        height, width: size of the window, 1 to 32768 pixels.

    Returns:
        triangle (N, H, W) int32, index of the face or -1; barycentric (N, H, W, 3), the weights of that face's three
        corners, 0 where there is none; depth (N, H, W), infinity where there is none.

    A pixel centre on an edge belongs to the triangle for which it is a top or a left edge, so a mesh has neither cracks
    nor double hits. Equal depths go to the lowest triangle index. Triangles that are degenerate, or that have a vertex
    that is not finite or further than 131072 pixels from the origin, are skipped. Deterministic; not differentiable.

    Raises:
        ValueError: wrong shape, dtype, device or size. RuntimeError: a face index outside [0, V) (on CUDA, where
            looking would wait for the device, such a triangle is skipped).
    """
    _check_mesh("rasterize", "vertices", vertices, faces, 3)
    for name, size in (("height", height), ("width", width)):
        if not 1 <= size <= MAX_SIZE:
            raise ValueError(f"rasterize: {name} must be 1 to {MAX_SIZE}, got {size}")
    vertices = vertices.detach()
    if vertices.dtype in (torch.bfloat16, torch.float16):
        vertices = vertices.float()
    if use_native(vertices):
        return torch.ops.lssl.rasterize(vertices, faces, height, width)
    return rasterize_reference(vertices, faces, height, width)


def _check_mesh(op: str, name: str, values: Tensor, faces: Tensor, channels: int | None = None) -> None:
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
        _check_mesh("rasterize", "vertices", vertices, faces, 3)
        n = vertices.shape[0]
        triangle = vertices.new_empty((n, height, width), dtype=torch.int32)
        return triangle, vertices.new_empty((n, height, width, 3)), vertices.new_empty((n, height, width))

    def _rasterize_setup(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output)

    def _rasterize_backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        return None, None, None, None

    torch.library.register_autograd("lssl::rasterize", _rasterize_backward, setup_context=_rasterize_setup)


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


def _check_indices(op: str, faces: Tensor, vertices: int) -> None:
    if not bool(((faces >= 0) & (faces < vertices)).all()):
        raise RuntimeError(f"{op}: faces has an index outside [0, {vertices}), the vertices")


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


def interpolate(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """Interpolates vertex attributes at the pixels that `rasterize` found.

    Args:
        triangle: (N, H, W) int32 face index; a pixel whose index is outside [0, F) is empty.
        barycentric: (N, H, W, 3) weights of the face's three corners.
        faces: (F, 3) int32 vertex indices.
        attributes: (N, V, C) floating point.

    Returns:
        (N, H, W, C) in the dtype of attributes, 0 where empty. float64 attributes are computed in float64, others in
        float32. Differentiable, to any order, in attributes and barycentric; sums run in pixel order: deterministic.

    Raises:
        ValueError: wrong shape, dtype or device. RuntimeError: a face index outside [0, V) (on CUDA, where looking
            would wait for the device, such a corner counts as 0).
    """
    _check_mesh("interpolate", "attributes", attributes, faces)
    if triangle.ndim != 3 or triangle.dtype != torch.int32:
        raise ValueError(f"interpolate: triangle must be (N, H, W) int32, got {tuple(triangle.shape)} {triangle.dtype}")
    if barycentric.shape != (*triangle.shape, 3) or not barycentric.is_floating_point():
        raise ValueError(
            f"interpolate: barycentric must be floating point {(*triangle.shape, 3)}, "
            f"got {tuple(barycentric.shape)} {barycentric.dtype}"
        )
    if attributes.shape[0] != triangle.shape[0]:
        raise ValueError(
            f"interpolate: attributes must have the batch of triangle, {triangle.shape[0]}, got {attributes.shape[0]}"
        )
    for name, tensor in (("triangle", triangle), ("barycentric", barycentric)):
        if tensor.device != attributes.device:
            raise ValueError(f"interpolate: {name} must be on {attributes.device}, got {tensor.device}")
    dtype = torch.promote_types(attributes.dtype, torch.float32)
    weights, values = barycentric.to(dtype), attributes.to(dtype)
    if use_native(attributes):
        return torch.ops.lssl.interpolate(triangle, weights, faces, values).to(attributes.dtype)
    return interpolate_reference(triangle, weights, faces, values).to(attributes.dtype)


if native_available():
    # I(w, a), its gradient A(g, w) in a and B(g, a) in w are multilinear: the gradients of each are the other two.

    @torch.library.register_fake("lssl::interpolate")
    def _(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
        return attributes.new_empty((*triangle.shape, attributes.shape[2]))

    @torch.library.register_fake("lssl::interpolate_attributes_backward")
    def _(grad: Tensor, triangle: Tensor, barycentric: Tensor, faces: Tensor, vertices: int) -> Tensor:
        return grad.new_empty((triangle.shape[0], vertices, grad.shape[3]))

    @torch.library.register_fake("lssl::interpolate_barycentric_backward")
    def _(grad: Tensor, triangle: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
        return grad.new_empty((*triangle.shape, 3))

    _forward = torch.ops.lssl.interpolate
    _attributes_backward = torch.ops.lssl.interpolate_attributes_backward
    _barycentric_backward = torch.ops.lssl.interpolate_barycentric_backward

    def _interpolate_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def _interpolate_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        triangle, barycentric, faces, attributes = ctx.saved_tensors
        _, need_barycentric, _, need_attributes = ctx.needs_input_grad
        return (
            None,
            _barycentric_backward(grad, triangle, faces, attributes) if need_barycentric else None,
            None,
            _attributes_backward(grad, triangle, barycentric, faces, attributes.shape[1]) if need_attributes else None,
        )

    def _attributes_backward_setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])

    def _attributes_backward_backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        grad, triangle, barycentric, faces = ctx.saved_tensors
        need_grad, _, need_barycentric = ctx.needs_input_grad[:3]
        return (
            _forward(triangle, barycentric, faces, cotangent) if need_grad else None,
            None,
            _barycentric_backward(grad, triangle, faces, cotangent) if need_barycentric else None,
            None,
            None,
        )

    def _barycentric_backward_backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        grad, triangle, faces, attributes = ctx.saved_tensors
        need_grad, _, _, need_attributes = ctx.needs_input_grad
        vertices = attributes.shape[1]
        return (
            _forward(triangle, cotangent, faces, attributes) if need_grad else None,
            None,
            None,
            _attributes_backward(grad, triangle, cotangent, faces, vertices) if need_attributes else None,
        )

    torch.library.register_autograd("lssl::interpolate", _interpolate_backward, setup_context=_interpolate_setup)
    torch.library.register_autograd(
        "lssl::interpolate_attributes_backward",
        _attributes_backward_backward,
        setup_context=_attributes_backward_setup,
    )
    torch.library.register_autograd(
        "lssl::interpolate_barycentric_backward",
        _barycentric_backward_backward,
        setup_context=_interpolate_setup,
    )


def interpolate_reference(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """The op's specification in eager PyTorch."""
    n, height, width = triangle.shape
    if not triangle.is_cuda and not torch.compiler.is_compiling():
        _check_indices("interpolate", faces, attributes.shape[1])
    if faces.shape[0] == 0:
        connected = attributes.flatten()[:0].sum() + barycentric.flatten()[:0].sum()  # to the inputs' graphs
        return attributes.new_zeros((n, height, width, attributes.shape[2])) + connected
    covered = (triangle >= 0) & (triangle < faces.shape[0])
    corners = faces.long()[torch.where(covered, triangle, 0).long()].reshape(n, height * width * 3, 1)
    # Not indexing, whose gradient on the CPU depends on the number of threads.
    values = attributes.gather(1, corners.expand(-1, -1, attributes.shape[2])).reshape(
        n, height, width, 3, attributes.shape[2]
    )
    output = (values * barycentric[..., None].to(attributes.dtype)).sum(-2)
    return torch.where(covered[..., None], output, 0.0)

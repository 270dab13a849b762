"""Triangle rasterisation and attribute interpolation."""

import torch
from torch import Tensor


def rasterize_reference(vertices: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Placeholder oracle: one triangle at a time over its bounding box, nearest depth wins."""
    n = vertices.shape[0]
    triangle = torch.full((n, height, width), -1, dtype=torch.int32)
    barycentric = torch.zeros(n, height, width, 3, dtype=vertices.dtype)
    depth = torch.full((n, height, width), float("inf"), dtype=vertices.dtype)
    for i in range(n):
        for f, (a, b, c) in enumerate(faces.tolist()):
            p = vertices[i, [a, b, c]]
            x0, y0 = p[:, :2].amin(0).ceil().clamp(min=0).long().tolist()
            x1 = min(int(p[:, 0].max().floor()), width - 1)
            y1 = min(int(p[:, 1].max().floor()), height - 1)
            if x1 < x0 or y1 < y0:
                continue
            area = (p[1, 0] - p[0, 0]) * (p[2, 1] - p[0, 1]) - (p[1, 1] - p[0, 1]) * (p[2, 0] - p[0, 0])
            if area == 0:
                continue
            x = torch.arange(x0, x1 + 1, dtype=p.dtype)
            y = torch.arange(y0, y1 + 1, dtype=p.dtype)[:, None]
            edge = lambda u, v: (v[0] - u[0]) * (y - u[1]) - (v[1] - u[1]) * (x - u[0])  # noqa: E731
            w = torch.stack([edge(p[1], p[2]), edge(p[2], p[0]), edge(p[0], p[1])], -1) / area
            z = w @ p[:, 2]
            window = (i, slice(y0, y1 + 1), slice(x0, x1 + 1))
            hit = (w >= 0).all(-1) & (z < depth[window])
            triangle[window] = torch.where(hit, f, triangle[window])
            barycentric[window] = torch.where(hit[..., None], w, barycentric[window])
            depth[window] = torch.where(hit, z, depth[window])
    return triangle, barycentric, depth


def interpolate_reference(triangle: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """The op's specification in eager PyTorch: (N, H, W, C) from attributes (N, V, C); zero where no triangle."""
    corners = faces.long()[triangle.long().clamp(min=0)]
    batch = torch.arange(triangle.shape[0], device=triangle.device)[:, None, None, None]
    values = attributes[batch, corners]
    output = (values * barycentric[..., None].to(attributes.dtype)).sum(-2)
    return torch.where((triangle >= 0)[..., None], output, 0.0)


rasterize = rasterize_reference
interpolate = interpolate_reference

"""Rendering: smooth normals, per-pixel Blinn-Phong shading, anti-aliasing, part masks, through `lssl.ops.rasterize`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.camera import Camera
from lssl.face3d.lighting import Lighting, harmonic_basis
from lssl.face3d.topology import FaceTopology, Part
from lssl.ops import interpolate, rasterize

GAMMA = 2.2  # of the encoded colours (albedo, images); shading is linear

# Part -> (strength, shininess) of the Blinn-Phong highlight; wet surfaces shine, hair a little.
_SKIN_SHINE = (0.07, 14.0)
_SHINE: dict[Part, tuple[float, float]] = {
    Part.LIPS: (0.10, 22.0),
    Part.SCLERA: (0.30, 90.0),
    Part.IRIS: (0.55, 120.0),
    Part.PUPIL: (0.55, 120.0),
    Part.TEETH: (0.15, 50.0),
    Part.INNER_MOUTH: (0.0, 1.0),
    Part.HAIR: (0.05, 12.0),
    Part.BROWS: (0.02, 8.0),
    Part.LASHES: (0.0, 1.0),
    Part.CLOTHES: (0.0, 1.0),
}
# Light that skin scatters past the terminator: n.l becomes (n.l + w) / (1 + w), most for red.
_WRAP = (0.30, 0.16, 0.12)


@dataclass(frozen=True)
class Rendering:
    """images (N, 3, H, W) float in [-1, 1]; coverage (N, H, W) in [0, 1]; classes (N, H, W) uint8, parser classes;
    depth (N, H, W), centimetres, smaller is nearer, infinite where nothing is (first of each pixel's samples)."""

    images: Tensor
    coverage: Tensor
    classes: Tensor
    depth: Tensor


def vertex_normals(vertices: Tensor, faces: Tensor, weld: Tensor | None = None) -> Tensor:
    """Unit normals (N, V, 3): area-weighted mean of the triangles' normals; welded vertices (V,) share theirs."""
    corners = faces.long()
    a, b, c = (vertices[:, corners[:, i]] for i in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    targets = corners if weld is None else weld.long()[corners]
    normals = torch.zeros_like(vertices)
    for i in range(3):
        normals.index_add_(1, targets[:, i], face_normals)
    if weld is not None:
        normals = normals[:, weld.long()]
    return F.normalize(normals, dim=-1)


def shade(albedo: Tensor, normals: Tensor, lighting: Lighting, shine: Tensor) -> Tensor:
    """Linear radiance (N, P, 3) of points with encoded albedo (N, P, 3) and camera-space unit normals (N, P, 3).

    shine (N, P, 2): strength and shininess of the highlight (Blinn-Phong, viewer at +z). Scattering as `_WRAP`.
    """
    wrap = torch.tensor(_WRAP, dtype=normals.dtype, device=normals.device)
    # The sky is above: ambient light falls off a little on what faces down.
    diffuse = lighting.ambient[:, None] * (0.85 + 0.15 * normals[..., 1:2])
    specular = torch.zeros_like(normals[..., :1])
    highlights = torch.zeros_like(diffuse)
    for light in range(lighting.directions.shape[1]):
        direction, colour = lighting.directions[:, light], lighting.colours[:, light]
        cosine = torch.einsum("npc,nc->np", normals, direction)[..., None]
        diffuse = diffuse + colour[:, None] * ((cosine + wrap) / (1 + wrap)).clamp(min=0)
        half = F.normalize(direction + torch.tensor([0.0, 0.0, 1.0], device=direction.device), dim=-1)
        specular = torch.einsum("npc,nc->np", normals, half)[..., None].clamp(min=1e-4) ** shine[..., 1:]
        highlights = highlights + colour[:, None] * (specular * shine[..., :1])
    if lighting.harmonics.any():
        diffuse = diffuse + torch.einsum("npk,nkc->npc", harmonic_basis(normals), lighting.harmonics).clamp(min=0)
    return albedo.clamp(0, 1) ** GAMMA * diffuse + highlights


def render(
    vertices: Tensor,
    albedo: Tensor,
    topology: FaceTopology,
    camera: Camera,
    lighting: Lighting,
    size: int | tuple[int, int] = 128,
    *,
    background: Tensor | float = 0.0,
    supersample: int = 2,
) -> Rendering:
    """Pictures of N faces: vertices (N, V, 3) centimetres, albedo (N, V, 3) encoded in [0, 1], N cameras and lights.

    size: pixels, or (height, width). background: encoded grey or colours (N, 3, H, W) in [-1, 1]. supersample: samples
    a pixel along each axis, averaged in linear light. Conventions: lssl/face3d/camera.py. A length of 1 in albedo,
    camera or lighting is repeated for all N.
    """
    height, width = (size, size) if isinstance(size, int) else size
    count, device = len(vertices), vertices.device
    faces = _on(topology.faces, device)
    shine_of_face = _on(_shine_table()[topology.face_parts], device)

    fine = camera.zoom(supersample)
    projected = fine.project(vertices)
    triangle, barycentric, depth = rasterize(
        projected.detach().contiguous(), faces, height * supersample, width * supersample
    )
    normals = fine.rotate(vertex_normals(vertices, faces, _on(topology.weld, device)))
    attributes = torch.cat([normals.expand(count, -1, -1), albedo.expand(count, -1, -1)], -1).contiguous()
    values = interpolate(triangle, barycentric, faces, attributes).reshape(count, -1, 6)
    shine = shine_of_face[triangle.clamp(min=0).reshape(count, -1).long()]
    radiance = shade(values[..., 3:], F.normalize(values[..., :3], dim=-1), lighting, shine)

    hit = (triangle >= 0).reshape(count, -1, 1)
    radiance = (radiance.clamp(0, 1) * hit).transpose(1, 2).reshape(count, 3, *triangle.shape[1:])
    coverage = F.avg_pool2d(hit.reshape(count, 1, *triangle.shape[1:]).float(), supersample)
    ground = torch.as_tensor(background, dtype=radiance.dtype, device=device).expand(count, 3, height, width)
    linear_ground = ((ground + 1) / 2).clamp(0, 1) ** GAMMA
    linear = F.avg_pool2d(radiance, supersample) + (1 - coverage) * linear_ground
    images = linear.clamp(min=0) ** (1 / GAMMA) * 2 - 1
    return Rendering(
        images=images,
        coverage=coverage[:, 0],
        classes=_majority_class(triangle, _on(topology.parser_class_of_face, device), supersample),
        depth=depth[:, ::supersample, ::supersample],
    )


def visible_points(points: Tensor, depth: Tensor, tolerance: float = 0.6) -> Tensor:
    """(N, K) bool: projected points (N, K, 3) not behind the depth map (N, H, W) by more than `tolerance` (cm).

    The farthest of the 3x3 depths round a point counts, so that points on the silhouette stay visible; points outside
    the picture are not.
    """
    height, width = depth.shape[1:]
    far = F.max_pool2d(depth[:, None].nan_to_num(posinf=1e4), 3, stride=1, padding=1)[:, 0]
    x, y = points[..., 0].round().long(), points[..., 1].round().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    batch = torch.arange(len(points), device=points.device)[:, None]
    return inside & (points[..., 2] <= far[batch, y.clamp(0, height - 1), x.clamp(0, width - 1)] + tolerance)


def _majority_class(triangle: Tensor, class_of_face: Tensor, supersample: int) -> Tensor:
    """Parser class (N, H, W) that most of a pixel's samples have; ties go to the higher class (the smaller part)."""
    classes = torch.where(triangle >= 0, class_of_face[triangle.clamp(min=0).long()].int(), 0)
    if supersample == 1:
        return classes.to(torch.uint8)
    votes = [F.avg_pool2d((classes == c).float()[:, None], supersample) * (1 + 1e-3 * c) for c in range(4)]
    return torch.cat(votes, 1).argmax(1).to(torch.uint8)


def _shine_table() -> np.ndarray:
    return np.array([_SHINE.get(part, _SKIN_SHINE) for part in Part], np.float32)


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)

"""Rendering: smooth normals, per-pixel Blinn-Phong shading, anti-aliasing, part masks, through `lssl.ops.rasterize`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.model.topology import FaceTopology, Part
from lssl.face3d.scene.camera import Camera
from lssl.face3d.scene.lighting import Lighting, harmonic_basis
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
_SHOULDER = 0.62


@dataclass(frozen=True)
class Rendering:
    """images (N, 3, H, W) float in [-1, 1]; coverage (N, H, W) in [0, 1]; classes (N, H, W) uint8, parser classes;
    depth (N, H, W), centimetres, smaller is nearer, infinite where there is nothing (of each pixel's first sample)."""

    images: Tensor
    coverage: Tensor
    classes: Tensor
    depth: Tensor


def shade(albedo: Tensor, normals: Tensor, shine: Tensor, lighting: Lighting) -> Tensor:
    """Linear radiance (P, 3) of points with linear albedo (P, 3) and camera-space unit normals (P, 3), under one
    picture's light.

    shine (P, 2): strength and shininess of the highlight (Blinn-Phong, viewer at +z). Scattering: see `_WRAP`.
    Raises ValueError if the lighting is for several pictures.
    """
    if len(lighting) != 1:
        raise ValueError(f"lighting: expected one picture's, got {len(lighting)}")
    ambient, directions, colours, harmonics = (
        t[0].to(normals.dtype) for t in (lighting.ambient, lighting.directions, lighting.colours, lighting.harmonics)
    )
    wrap = torch.tensor(_WRAP, dtype=normals.dtype, device=normals.device)
    halves = F.normalize(directions + torch.tensor([0.0, 0.0, 1.0], device=directions.device), dim=-1)
    cosines = normals @ torch.cat([directions, halves]).T
    count = len(directions)
    # The sky is above: ambient light is a little weaker on surfaces that face down.
    diffuse = ambient * (0.85 + 0.15 * normals[:, 1:2])
    for light in range(count):
        # (n.l + wrap) / (1 + wrap), all channels in one fused step
        scattered = torch.addcmul(wrap / (1 + wrap), cosines[:, light, None], 1 / (1 + wrap)).clamp_(min=0)
        diffuse = torch.addcmul(diffuse, scattered, colours[light])
    if harmonics.any():
        diffuse = diffuse + (harmonic_basis(normals) @ harmonics).clamp(min=0)
    powers = cosines[:, count:].clamp(min=1e-4) ** shine[:, 1:]
    return torch.addcmul(albedo * diffuse, powers @ colours, shine[:, :1])


def expose(radiance: Tensor) -> Tensor:
    """Maps linear radiance to [0, 1): unchanged up to `_SHOULDER`, then flattening smoothly, as film does."""
    over = (radiance - _SHOULDER).clamp(min=0) / (1 - _SHOULDER)
    return radiance.clamp(0, _SHOULDER) + (1 - _SHOULDER) * (1 - torch.exp(-over))


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
    """Renders N faces: vertices (N, V, 3) centimetres, albedo (N, V, 3) encoded in [0, 1], N cameras and lights.

    size: pixels, or (height, width). background: encoded grey or colours (N, 3, H, W) in [-1, 1]. supersample: samples
    per pixel along each axis, averaged in linear light. Conventions: lssl/face3d/scene/camera.py. A length of 1 in
    albedo, camera or lighting is repeated for all N. Raises ValueError for a supersample outside 1 to 5.
    """
    if not 1 <= supersample <= 5:
        raise ValueError(f"supersample: expected 1 to 5, got {supersample}")
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
    linear_albedo = albedo.clamp(0, 1) ** GAMMA
    attributes = torch.cat([normals.expand(count, -1, -1), linear_albedo.expand(count, -1, -1)], -1).contiguous()
    values = interpolate(triangle, barycentric, faces, attributes)
    hit = triangle >= 0
    radiance = torch.stack(
        [
            _shade_picture(values[n], hit[n], triangle[n], shine_of_face, lighting[min(n, len(lighting) - 1)])
            for n in range(count)
        ]
    )
    coverage = F.avg_pool2d(hit[:, None].float(), supersample)
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
    """(N, K) bool: whether projected points (N, K, 3) lie at most `tolerance` (cm) behind the depth map (N, H, W).

    The farthest of the 3x3 depths around a point counts, so that points on the silhouette stay visible; points outside
    the picture are not visible.
    """
    height, width = depth.shape[1:]
    far = F.max_pool2d(depth[:, None].nan_to_num(posinf=1e4), 3, stride=1, padding=1)[:, 0]
    x, y = points[..., 0].round().long(), points[..., 1].round().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    batch = torch.arange(len(points), device=points.device)[:, None]
    return inside & (points[..., 2] <= far[batch, y.clamp(0, height - 1), x.clamp(0, width - 1)] + tolerance)


def _shade_picture(values: Tensor, hit: Tensor, triangle: Tensor, shine_of_face: Tensor, lighting: Lighting) -> Tensor:
    """Exposed radiance (3, H, W), zero where there is nothing, from interpolated normals and albedo (H, W, 6)."""
    where = hit.reshape(-1).nonzero()[:, 0]
    seen = values.reshape(-1, 6)[where]
    shine = shine_of_face[triangle.reshape(-1)[where].long()]
    colours = expose(shade(seen[:, 3:], F.normalize(seen[:, :3], dim=-1), shine, lighting))
    picture = colours.new_zeros(hit.numel(), 3).index_copy(0, where, colours)
    return picture.T.reshape(3, *hit.shape)


def _majority_class(triangle: Tensor, class_of_face: Tensor, supersample: int) -> Tensor:
    """Parser class (N, H, W) that most of a pixel's samples have; ties go to the higher class (the smaller part)."""
    # Index -1 (nothing) is the background's row. Each class has five bits of one number, enough for 31 votes.
    table = torch.cat([class_of_face, class_of_face.new_zeros(1)]).long()
    ballots = (1 << (5 * torch.arange(4, device=table.device)))[table].float()[triangle.long()]
    votes = F.avg_pool2d(ballots[:, None], supersample, divisor_override=1)[:, 0].int()
    best = torch.zeros_like(votes)
    for label in range(4):
        best = torch.maximum(best, ((votes >> (5 * label)) & 31) * 4 + label)
    return (best & 3).to(torch.uint8)


def _shine_table() -> np.ndarray:
    return np.array([_SHINE.get(part, _SKIN_SHINE) for part in Part], np.float32)


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)

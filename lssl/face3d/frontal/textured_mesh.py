"""The fitted face as a textured mesh for other programs: OBJ with its material and texture files, or GLB."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.data.writer import write_atomic
from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.frontal.texture import Target, beside_jumps
from lssl.face3d.model.normals import vertex_normals
from lssl.ops import interpolate, rasterize

_FACE_SHARE = 0.3  # share of the texture's width that a face takes
FORMATS = ("obj", "glb")


@dataclass(frozen=True)
class TexturedMesh:
    """vertices (V, 3) centimetres, y up; faces (F, 3); uv (V, 2), origin at the texture's lower left, u beyond 1 wraps
    around; texture (H, W, 3) uint8."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    texture: NDArray[np.uint8]


def textured_mesh(painter: FacePainter, width: int = 1024, expression: Tensor | None = None) -> TexturedMesh:
    """The subject's face, unrolled like a map of the globe: each column is an azimuth, each row a height.

    width: the texture's, in pixels, twice its height. expression: (E,) weights, the first view's own if not given.
    """
    model, mesh, faces = painter.model, painter.mesh(expression), painter.faces
    azimuth = torch.atan2(mesh[:, 0], mesh[:, 2]) / (2 * torch.pi) + 0.5
    used = faces.long().unique()
    low, high = mesh[used, 1].min(), mesh[used, 1].max()
    height = (mesh[:, 1] - low) / (high - low)
    split = _split_at_back(faces.numpy(), azimuth.numpy())
    u = azimuth[split.source] + torch.from_numpy(split.round)
    uv = torch.stack([u, height[split.source]], -1)
    target = _map(painter, mesh, uv, split, width)
    normals = vertex_normals(mesh, faces, model.topology.weld)
    colour, _ = painter.paint(target, painter.vertex_colours(painter.irradiance(normals)))
    # Texels that no triangle covers take the nearest colour, so that no border shows in a viewer that blends texels.
    index = ndimage.distance_transform_edt(
        (target.triangle[0] < 0).numpy(), return_distances=False, return_indices=True
    )
    texture = (colour.numpy()[index[0], index[1]] * 255).round().clip(0, 255).astype(np.uint8)
    return TexturedMesh(mesh[split.source].numpy(), split.faces, uv.numpy().astype(np.float32), texture)


@dataclass(frozen=True)
class _Split:
    """Triangles (F, 3), none of which crosses the seam at the back; source (V,): the mesh's vertex of each; round (V,):
    1 for the copies on the far side of the seam."""

    faces: NDArray[np.int32]
    source: Tensor
    round: NDArray[np.float32]


def _split_at_back(faces: NDArray[np.int32], azimuth: NDArray[np.float32]) -> _Split:
    corners = azimuth[faces]
    across = np.ptp(corners, axis=1) > 0.5
    moved = across[:, None] & (corners < 0.5)
    copied = np.unique(faces[moved])
    number = np.zeros(len(azimuth), np.int32)
    number[copied] = len(azimuth) + np.arange(len(copied))
    return _Split(
        np.where(moved, number[faces], faces).astype(np.int32),
        torch.from_numpy(np.concatenate([np.arange(len(azimuth)), copied])),
        np.concatenate([np.zeros(len(azimuth)), np.ones(len(copied))]).astype(np.float32),
    )


def _map(painter: FacePainter, mesh: Tensor, uv: Tensor, split: _Split, width: int) -> Target:
    """The map's pixels as a target to paint: the outermost surface of each azimuth and height."""
    side = width // 2
    outward = F.normalize(mesh * mesh.new_tensor([1.0, 0.0, 1.0]), dim=-1)
    radius = (mesh * outward).sum(-1)[split.source]
    place = torch.stack([uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * side - 0.5, -radius], -1)
    # Triangles over the seam are drawn at both ends of the map.
    both = torch.cat([place, place - place.new_tensor([width, 0.0, 0.0])])
    triangles = torch.from_numpy(np.concatenate([split.faces, split.faces + len(place)]))
    triangle, barycentric, depth = rasterize(both[None].contiguous(), triangles, side, width)
    triangle = torch.where(triangle >= 0, triangle % len(split.faces), triangle)
    normals = vertex_normals(mesh, painter.faces, painter.model.topology.weld)
    facing = (normals * outward).sum(-1, keepdim=True)
    values = interpolate(triangle, barycentric, painter.faces, torch.cat([normals, facing], -1)[None])[0]
    sight = values[..., 3].clamp(min=0) * beside_jumps(depth[0], face_width=_FACE_SHARE * width)
    holes = painter.holes(triangle, (values[..., 3] < 0).numpy())
    light = painter.irradiance(F.normalize(values[..., :3], dim=-1))
    return Target(triangle, barycentric, painter.faces, light, sight, holes)


def write_mesh(path: Path, mesh: TexturedMesh) -> None:
    """Writes a .glb, or an .obj with its .mtl and .png next to it. Raises ValueError for another suffix."""
    import trimesh
    from trimesh.exchange.obj import export_obj
    from trimesh.visual.material import PBRMaterial, SimpleMaterial

    kind, picture = path.suffix[1:].lower(), Image.fromarray(mesh.texture)
    if kind not in FORMATS:
        raise ValueError(f"{path}: a mesh is written as {' or '.join(FORMATS)}")
    material: Any = SimpleMaterial(image=picture)
    if kind == "glb":
        material = PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0)
    material.name = path.stem
    visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, visual=visual, process=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "glb":
        binary: Any = solid.export(file_type="glb")
        write_atomic(path, binary)
        return
    text, others = export_obj(solid, mtl_name=f"{path.stem}.mtl", return_texture=True, header=None)
    for name, data in others.items():
        write_atomic(path.with_name(name), data)
    write_atomic(path, text.encode())

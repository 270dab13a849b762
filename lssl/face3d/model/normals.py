"""Normals of a mesh's vertices."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def vertex_normals(vertices: Tensor, faces: Tensor, weld: Tensor | NDArray[np.int32] | None = None) -> Tensor:
    """Unit normals of vertices (V, 3) or (N, V, 3): the area-weighted mean of the normals of their triangles (F, 3).

    weld (V,): vertices with the same number are at one position (seams) and share a normal.
    """
    corners = faces.long()
    a, b, c = (vertices[..., corners[:, i], :] for i in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    group = None if weld is None else torch.as_tensor(weld, device=vertices.device).long()
    targets = corners if group is None else group[corners]
    normals = torch.zeros_like(vertices)
    for i in range(3):
        normals.index_add_(-2, targets[:, i], face_normals)
    return F.normalize(normals if group is None else normals[..., group, :], dim=-1)

"""Turns the eyeballs of a model whose eyeballs are components of their own."""

import numpy as np
import torch
from torch import Tensor

from lssl.face3d.model.topology import EYEBALL_PARTS, FaceTopology
from lssl.face3d.scene.camera import rotation_matrix


def turn_eyes(vertices: Tensor, topology: FaceTopology, yaw: Tensor, pitch: Tensor) -> Tensor:
    """Vertices (N, V, 3) with both eyeballs turned by yaw and pitch (N,), degrees, about their centres.

    Signs are as for a head (lssl/face3d/scene/camera.py): positive yaw looks to the image's right, positive pitch down.
    Returns the vertices unchanged if the model has no separate eyeballs.
    """
    if not topology.has_eyeballs:
        return vertices
    eyeballs = np.flatnonzero(np.isin(topology.vertex_parts, EYEBALL_PARTS))
    turned = vertices.clone()
    rotation = rotation_matrix(yaw, pitch, torch.zeros_like(yaw))
    left = vertices[0, eyeballs, 0].cpu().numpy() < 0
    for eye in (eyeballs[left], eyeballs[~left]):
        points = vertices[:, eye]
        centre = sphere_centres(points)[:, None]
        turned[:, eye] = (points - centre) @ rotation.transpose(1, 2) + centre
    return turned


def sphere_centres(points: Tensor) -> Tensor:
    """Centres (N, 3) of the spheres nearest to points (N, P, 3), by linear least squares."""
    middle = points.mean(1, keepdim=True)
    offset = points - middle
    design = torch.cat([2 * offset, torch.ones_like(offset[..., :1])], -1)
    target = (offset**2).sum(-1, keepdim=True)
    solution = torch.linalg.solve(design.transpose(1, 2) @ design, design.transpose(1, 2) @ target)
    return solution[:, :3, 0] + middle[:, 0]

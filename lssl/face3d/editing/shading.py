"""How the light on a face changes as its surface turns towards the light or away from it, and folds."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.face3d.editing.movement import Movement, PlacedFace

#: Of each vertex (V,): the light that falls on it, and how deep in a fold it lies, in centimetres.
Lit = tuple[NDArray[np.float32], NDArray[np.float32]]

_LIGHT = (0.0, 0.5, 0.87)  # from above the camera, as faces usually are lit; a photograph's own light is not known
_AMBIENT = 0.45
_DIRECTED = 0.5  # exponent on the change by direction: soft light, and skin that scatters, show half of it
_FOLD = 2.3  # per centimetre of depth: folds let in less light
_FOLD_RANGE = (-0.03, 0.35)
_GAIN = (0.6, 1.05)  # folds darken, nothing glows
_SMOOTHINGS = 8  # of some 2.5 mm each: what is deeper than its surroundings at that scale is a fold


def shading_gain(movement: Movement, before: Lit | None = None) -> Tensor:
    """(V, 1): the factor for each vertex's colour; 1 where the surface does not change. before: see `resting`."""
    face = movement.placed.face
    light_before, depth_before = _lit(movement.placed, movement.vertices_before) if before is None else before
    light, depth = _lit(movement.placed, movement.vertices_after)
    ratio = (light / np.maximum(light_before, 0.05)).clip(0.6, 1.5) ** _DIRECTED
    gain = (ratio * np.exp(-_FOLD * (depth - depth_before).clip(*_FOLD_RANGE))).clip(*_GAIN)
    return torch.from_numpy((1 + (gain - 1) * face.shaded.numpy())[:, None].astype(np.float32))


def resting(placed: PlacedFace) -> Lit:
    """What `shading_gain` needs of the face before any movement, the same for all of them."""
    return _lit(placed, placed.vertices(placed.expression))


def _lit(placed: PlacedFace, vertices: Tensor) -> Lit:
    face, own = placed.face, vertices.numpy()
    normals = face.normals(vertices)
    smooth: NDArray[np.float32] = own
    for _ in range(_SMOOTHINGS):
        smooth = face.neighbours @ smooth
    # Only hollows count: a bulge that flattens loses no light.
    depth: NDArray[Any] = ((smooth - own) * normals.numpy()).sum(1).clip(min=0)
    broad = torch.from_numpy(face.neighbours @ (face.neighbours @ normals.numpy()))
    towards = torch.nn.functional.normalize(broad, dim=1) @ placed.camera.rotation[0].T @ torch.tensor(_LIGHT)
    light: NDArray[Any] = _AMBIENT + (1 - _AMBIENT) * towards.clamp(min=-0.3).numpy()
    return light, depth

"""How far a head reaches in its photograph, hair and hat included: no landmark fixes the skull, so a fitted one is the
wrong size, and what it wears is not modelled at all."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.face3d.frontal.photograph import framed, look_up
from lssl.face3d.frontal.texture import smooth_step
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.topology import Part
from lssl.face3d.scene.camera import Camera

Array = NDArray[np.float64]

_OUTLINE = (Part.SKIN, Part.NOSE, Part.BROWS, Part.HAIR)
_DIRECTIONS = np.radians(np.arange(-98, 99, 7))  # from the head's up, in the photograph
_BIN = np.radians(6)
_REACH = np.linspace(0.7, 1.75, 64)  # of the fitted head's radius: where the outline is looked for
_INNER, _OUTER = (0.72, 0.9), 1.12  # where the head is certainly seen; beyond this the wall may be
_WALL = 8  # samples
_CONTRAST, _WRONG = 0.06, 0.2  # least distance of head and wall, units of white; most of the samples on the wrong side
_HELD = 0.1  # share of face (see `face_region`) from which on an outline is the face's, not the skull's
_KNOTS = np.array([0.0, 30.0, 60.0, 90.0])  # degrees above the brows
_SMOOTH, _PRIOR, _DEEPER = 1.0, 0.02, 0.1
_FEWEST = 6
_LOW, _HIGH = 0.8, 1.4
_FROM, _TO = -5.0, 10.0  # degrees above the brows over which a head begins to be scaled


@dataclass(frozen=True)
class Skull:
    """What makes a fitted head as large as its photograph shows it: factors (V,) by which the vertices of its skull move
    away from its middle, and how much each vertex is skull (V,). sure: whether head and background could be told apart;
    else all factors are 1."""

    model: BilinearFaceModel
    factors: Tensor
    share: Tensor
    sure: bool

    def head(self, mesh: Tensor, less: float = 0.0) -> Tensor:
        """The vertices (V, 3) of a fitted head as large as that; less: the share by which its skull is made smaller."""
        return mesh + (mesh - _middle(self.model, mesh)) * ((self.factors - 1 - less) * self.share)[:, None]


def find_skull(model: BilinearFaceModel, mesh: Tensor, camera: Camera, image: NDArray[np.uint8], hair: Tensor) -> Skull:
    """Looks for the outline of a fitted head (V, 3), seen by `camera` (a single one), in its photograph (H, W, 3), where
    hair (3,) is the usual colour of its hair, encoded."""
    away = mesh - _middle(model, mesh)
    direction = away / away.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    rise, back = torch.rad2deg(torch.asin(direction[:, 1].clamp(-1, 1))), -direction[:, 2]
    held = face_region(model)
    share = (1 - held) * smooth_step((rise - _FROM) / (_TO - _FROM))
    basis = _basis(rise.double().numpy(), back.double().numpy())
    found = _outline_scale(
        model, mesh, camera, image, hair.double().numpy(), rise.double().numpy(), basis, held.numpy()
    )
    if found is None:
        return Skull(model, torch.ones(len(mesh)), share, False)
    return Skull(model, torch.from_numpy((basis @ found).clip(_LOW, _HIGH)).float(), share, True)


def _basis(rise: Array, back: Array) -> Array:
    """(V, K + 1): what the factors of vertices are made of, a value for each of `_KNOTS` and how much deeper than wide
    the skull is; rise (V,): degrees above the brows; back (V,): 1 behind the middle, -1 in front of it."""
    return np.stack([*(np.interp(rise, _KNOTS, unit) for unit in np.eye(len(_KNOTS))), back], -1)


def _middle(model: BilinearFaceModel, mesh: Tensor) -> Tensor:
    """(3,): the middle of a head (V, 3), level with its brows and as deep as its ears."""
    marks = mesh[torch.from_numpy(model.topology.landmarks).long()]
    ears = marks[[0, 16]].mean(0)
    return torch.stack([ears[0], marks[17:27, 1].mean(), ears[2] - 1.0])


def _outline_scale(
    model: BilinearFaceModel,
    mesh: Tensor,
    camera: Camera,
    image: NDArray[np.uint8],
    hair: Array,
    rise: Array,
    basis: Array,
    held: NDArray[np.float32],
) -> Array | None:
    """The weights (K + 1,) of a basis (V, K + 1), see `_basis`, that make up the outline's distance from the head's
    middle over the fitted head's; None if it is not found."""
    centre = _middle(model, mesh)
    start = camera.project(centre[None])[0, 0, :2].double().numpy()
    up = camera.rotate(torch.tensor([[0.0, 1.0, 0.0]]))[0, 0, :2].double().numpy() * (1, -1)
    up /= max(float(np.hypot(*up)), 1e-6)
    right = np.array([-up[1], up[0]])
    offset = camera.project(mesh)[0, :, :2].double().numpy() - start
    angle, radius = np.arctan2(offset @ right, offset @ up), np.hypot(*offset.T)
    usable = np.isin(model.topology.vertex_parts, _OUTLINE)
    rows, targets = [], []
    for direction in _DIRECTIONS:
        near = np.flatnonzero(usable & (np.abs(angle - direction) < _BIN))
        if not len(near):
            continue
        edge = outer = near[radius[near].argmax()]
        skull = near[(held[near] <= _HELD) & (rise[near] >= _FROM)]
        if not len(skull):
            continue
        if held[outer] > _HELD:  # a far temple: what is seen beyond it is hair on the skull behind it
            edge = skull[radius[skull].argmax()]
        elif rise[outer] < _FROM:
            continue
        ray = np.sin(direction) * right + np.cos(direction) * up
        places = start + (radius[outer] * _REACH)[:, None] * ray
        step = radius[outer] * (_REACH[1] - _REACH[0])
        reach = _edge_along(image, places, step, hair, beyond=edge != outer)
        if reach is not None:
            rows.append(basis[edge])
            targets.append(reach * radius[outer] / radius[edge])
    if len(targets) < _FEWEST:
        return None
    return _smooth_fit(np.array(rows), np.array(targets))


def _edge_along(image: NDArray[np.uint8], places: Array, step: float, hair: Array, beyond: bool) -> float | None:
    """Where, of `_REACH`, a ray with positions (K, 2) leaves the head; None if the photograph does not show that.

    hair (3,): its usual colour, which is the head's as much as what the ray crosses before. beyond: whether only hair
    outside the fitted head counts.
    """
    inside = framed(places[None], image)[0]
    seen = int(inside.argmin()) if not inside.all() else len(inside)
    count = int((_REACH[:seen] > _OUTER).sum())
    if count < _WALL:
        return None
    colours = look_up(image, places[None, :seen], step)[0].double().numpy()
    reach = _REACH[:seen]
    head = hair if beyond else np.median(colours[(reach > _INNER[0]) & (reach < _INNER[1])], axis=0)
    wall = np.median(colours[-_WALL:], axis=0)
    if np.linalg.norm(head - wall) < _CONTRAST:
        return None
    if beyond:
        colours, reach, seen = colours[reach >= 1], reach[reach >= 1], int((reach >= 1).sum())
    from_wall, from_head = (np.linalg.norm(colours - usual, axis=1) for usual in (wall, head))
    if np.linalg.norm(hair - wall) > _CONTRAST:
        from_head = np.minimum(from_head, np.linalg.norm(colours - hair, axis=1))
    like_head = from_wall / (from_wall + from_head + 1e-6)
    wrong = np.concatenate([[0], np.cumsum(1 - like_head)]) + np.concatenate([np.cumsum(like_head[::-1])[::-1], [0]])
    best = int(wrong.argmin())
    if wrong[best] > _WRONG * seen or not 0 < best < seen:
        return None
    return float(reach[best])


def _smooth_fit(rows: Array, targets: Array) -> Array:
    """The weights (K + 1,) whose sums of rows (N, K + 1) are nearest to targets (N,), outliers aside."""
    count = len(_KNOTS)
    slope = np.diff(np.eye(count, count + 1), axis=0)
    prior = np.diag([_PRIOR] * count + [_DEEPER])
    usual = np.array([1.0] * count + [0.0])
    weights = np.ones(len(targets))
    found = usual
    for _ in range(4):
        left = (rows * weights[:, None]).T @ rows + _SMOOTH * slope.T @ slope + prior
        found = np.linalg.solve(left, (rows * weights[:, None]).T @ targets + prior @ usual).astype(np.float64)
        away = np.abs(rows @ found - targets)
        weights = 1 / (1 + (away / 0.05) ** 2)
    return found

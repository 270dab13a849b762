"""The step of the expression weights that makes a photograph's face show an expression."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lssl.face3d.editing.movement import PlacedFace
from lssl.face3d.model.bilinear import BilinearFaceModel

# What the mouth in a photograph may already show. A fit cannot tell a wide mouth from a slight smile, so a little of
# either counts as none: of 82 people of the London set 95% show less than the first amount when neutral, and three in
# four of those who smile show more than the second.
_OWN = ("happy", "surprised")
_NONE, _SURE = 0.3, 0.5
_MOST = 1.5


def expression_step(placed: PlacedFace, name: str, intensity: float, source: str | None = None) -> Tensor:
    """(E,) to add to the fitted weights: from what the face shows, `intensity` of the way to a named expression.

    source: the expression that the face shows; without it, how far it smiles and opens its mouth is estimated. Raises
    KeyError naming the model's expressions.
    """
    model = placed.face.model
    neutral = model.expressions["neutral"]
    shown = own_expression(placed) if source is None else _declared(placed, source)
    direction = model.expression(name) - neutral
    along = float(shown @ direction) / max(float(direction.square().sum()), 1e-9)
    if name != "neutral" and along > 1:  # shown in excess: asking for it takes nothing away
        shown = shown / along
    return intensity * (model.expression(name) - neutral - shown)


def blended_step(placed: PlacedFace, shares: Mapping[str, float], leaving: float, source: str | None = None) -> Tensor:
    """(E,) to add to the fitted weights, towards several named expressions at once, by each one's share.

    leaving: how much of what the face shows is given up; the sum of the shares, if each is asked for by itself. Raises
    KeyError naming the model's expressions.
    """
    model = placed.face.model
    neutral = model.expressions["neutral"]
    steps = {name: expression_step(placed, name, 1.0, source) for name in shares}
    total = sum(shares.values())
    step = torch.zeros_like(neutral)
    for name, share in shares.items():
        step = step + share * steps[name]
    if total > leaving:  # each of them took away what is shown
        for name, share in shares.items():
            shown = model.expression(name) - neutral - steps[name]
            step = step + (total - leaving) * share / total * shown
    return step


def own_expression(placed: PlacedFace) -> Tensor:
    """(E,) the smile and the opening of the mouth that the fitted face shows, as a step from neutral."""
    model = placed.face.model
    step = torch.zeros_like(model.expressions["neutral"])
    for name, amount in zip(_OWN, _amounts(placed), strict=True):
        t = min(max((amount - _NONE) / (_SURE - _NONE), 0.0), 1.0)
        step = step + min(amount, _MOST) * t * t * (3 - 2 * t) * (model.expression(name) - model.expressions["neutral"])
    return step


def named_opening(model: BilinearFaceModel, name: str) -> float:
    """How much further a named expression parts the inner lips, in distances between the eyes' centres."""
    return _openings(model)[name]


def _declared(placed: PlacedFace, source: str) -> Tensor:
    model = placed.face.model
    step = model.expression(source) - model.expressions["neutral"]
    if source in _OWN:
        amount = _amounts(placed)[_OWN.index(source)]
        return min(max(amount, 0.4), _MOST) * step
    return step


def _amounts(placed: PlacedFace) -> list[float]:
    """How much of each expression in `_OWN` explains the mouth's movement from the fitted face's neutral state."""
    model = placed.face.model
    mouth = placed.face.vertex[placed.face.landmarks[48:]]
    neutral, identity = model.expressions["neutral"][None], placed.identity
    moved = model.vertices(identity, placed.expression[None], mouth) - model.vertices(identity, neutral, mouth)
    named = torch.cat([model.expression(name)[None] for name in _OWN])
    mean = model.identity_mean[None]
    steps = model.vertices(mean, named, mouth) - model.vertices(mean, neutral, mouth)
    solution = torch.linalg.lstsq(steps[..., :2].flatten(1).T, moved[..., :2].flatten()[:, None]).solution
    return [float(value) for value in solution[:, 0]]


@lru_cache(maxsize=4)
def _openings(model: BilinearFaceModel) -> dict[str, float]:
    rows = torch.from_numpy(model.topology.landmarks).long()
    eyes = model.mean_face()[rows, 0]
    unit = float(eyes[42:48].mean() - eyes[36:42].mean())

    def gap(name: str) -> float:
        marks = model.mean_face(name)[rows, 1]
        return float(np.mean((marks[61:64] - marks[65:68]).numpy())) / unit

    resting = gap("neutral")
    return {name: gap(name) - resting for name in model.expressions}

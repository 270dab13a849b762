"""Flows of whole pictures, of any size and in any number, to train a generator that moves pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.face3d.editing.expression import blended_step, expression_step, named_opening
from lssl.face3d.editing.flow import draw, face_window, spread_flow
from lssl.face3d.editing.lips import keep_to_own_lip, mouth_frame
from lssl.face3d.editing.movement import CLOSED, Movement, PlacedFace, move, place_faces
from lssl.face3d.model.bilinear import BilinearFaceModel


@dataclass(frozen=True)
class FlowField:
    """flow (H, W, 2) float32, pixels: the result's pixel p shows what the photograph has at p + flow[p] (x, y).
    shown (H, W) bool: False where the photograph does not have it at all, inside a mouth that opens."""

    flow: Tensor
    shown: Tensor


def named_movement(placed: PlacedFace, name: str, intensity: float = 1.0, source: str | None = None) -> Movement:
    """The movement from what a face shows to a named expression; see `expression_step`. The lips meet if the expression
    has them closed."""
    step = expression_step(placed, name, intensity, source)
    closed = named_opening(placed.face.model, name) < CLOSED
    return move(placed, step, closing=min(intensity, 1.0) if closed else 0.0)


def blended_movement(
    placed: PlacedFace, shares: Mapping[str, float], leaving: float, source: str | None = None
) -> Movement:
    """The movement to several named expressions at once; see `blended_step`. The lips meet by the share of expressions
    that have them closed, less so by the share of those that part them."""
    closed = {name for name in shares if named_opening(placed.face.model, name) < CLOSED}
    closing = min(sum(share for name, share in shares.items() if name in closed), 1.0)
    parting = min(sum(share for name, share in shares.items() if name not in closed), 1.0)
    return move(placed, blended_step(placed, shares, leaving, source), closing=closing * (1 - parting))


def flow_field(movement: Movement, height: int, width: int) -> FlowField:
    """The flow of a picture (height, width), whose pixels are the unit of the movement's landmarks; 0 off the face."""
    window = face_window(movement, height, width)
    drawn = draw(movement, window)
    own, _ = spread_flow(drawn, movement.placed.unit)
    places = window.places()
    own = keep_to_own_lip(drawn, places + own, mouth_frame(movement.placed), movement.placed.unit) - places
    flow, shown = torch.zeros(height, width, 2), torch.ones(height, width, dtype=torch.bool)
    flow[window.slices] = torch.from_numpy(own)
    shown[window.slices] = torch.from_numpy(~drawn.mouth)
    return FlowField(flow, shown)


def expression_flows(
    model: BilinearFaceModel,
    landmarks: Tensor,
    name: str,
    height: int,
    width: int,
    *,
    intensity: float = 1.0,
    source: str | None = None,
) -> list[FlowField]:
    """The flow of each of N faces with landmarks (N, 68, 2), in pixels of (height, width) pictures, to an expression.

    Some 45 milliseconds per face at 128 x 128 on one core, half of them for the fit. For rendered faces, whose weights
    are known, `flow_field(named_movement(known_face(...), ...), ...)` is exact and needs no fit.
    """
    return [
        flow_field(named_movement(placed, name, intensity, source), height, width)
        for placed in place_faces(model, landmarks)
    ]

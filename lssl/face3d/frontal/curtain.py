"""Hair that hangs down: in front of a turned head's neck and back in its photograph, beside them from the front."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lssl.face3d.frontal.paint import blurred
from lssl.face3d.frontal.texture import smooth_step
from lssl.face3d.frontal.walls import Wall

_BEGINS = 0.05  # of the picture's side: the height below the ears over which it sets in, and near which it must begin
_LIKELY = 0.4  # share of hair
_BESIDE, _BELOW = 0.1, 0.25  # of the picture's side: how far beside a head, and below its earlobes, hair is looked for
_GAP, _NEARBY = 0.07, 0.02  # of the picture's side: the widest gap that is closed; standard deviation of "near" it
_STRAND, _SOFT = 0.03, 0.008  # of the picture's side: the least width of hair; standard deviation of its edge


def hanging_places(
    head: NDArray[np.bool_],
    places: NDArray[np.float64],
    facing: NDArray[np.float64],
    base: NDArray[np.float64],
    row: int,
) -> NDArray[np.float64] | None:
    """Positions (side, side, 2) in the photograph of what hangs beside a drawn head. All are moved alike, so that what
    is straight stays so: as far as the head's near edge at about `row`. None if the photograph does not show that edge.

    head (side, side): the drawn head's pixels; places (side, side, 2) and facing (side, side): where the photograph
    shows them, and at what cosine; base (side, side, 2): where it would if the head had not turned.
    """
    side = len(head)
    moves = []
    for at in range(max(row - round(_BEGINS * side), 0), min(row + 1, side)):
        columns = np.flatnonzero(head[at] & (facing[at] > 0))
        if len(columns):
            edge = columns[np.argmax(facing[at, columns] * np.abs(columns - np.flatnonzero(head[at]).mean()))]
            moves.append((places - base)[at, edge])
    return base + np.median(moves, axis=0) if moves else None


def hanging_hair(
    colours: Tensor,
    shown: NDArray[np.bool_],
    wall: Wall,
    row: NDArray[np.int_],
    column: NDArray[np.int_],
    rows: tuple[int, int],
) -> Tensor:
    """(side, side, 1): how surely colours (side, side, 3) are hair that hangs, from the first of two rows on, to below
    the second; its edge is soft.

    shown (side, side): whether the photograph has them; row, column (side, side): where `wall` is looked up for them.
    """
    side, (top, lobes) = len(colours), rows
    below = smooth_step(torch.from_numpy((np.arange(side) - top) / (_BEGINS * side)).float())[:, None]
    size = max(3, round(_STRAND * side))
    hair = ndimage.grey_opening((wall.hair_before(colours, row, column) * below).numpy() * shown, size=(size, size))
    parts, _ = ndimage.label(hair > _LIKELY)
    reach = parts[max(lobes, 0) : lobes + max(1, round(_BEGINS * side))]
    begun = np.isin(parts, np.setdiff1d(np.unique(reach), [0]))
    surely = smooth_step(torch.from_numpy((hair * begun).astype(np.float32)) / _LIKELY - 0.5)  # no translucent hair
    return blurred(surely, _SOFT * side)[..., None]


def closed_up(strands: Tensor, hair: Tensor, head: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Colours (side, side, 3) and how surely they are hair (side, side, 1), with the narrow gaps in its rows, and between
    it and the drawn head (side, side), closed: behind what hangs beside a neck there is more of it."""
    side = len(head)
    width = max(3, round(_GAP * side))
    row = np.ones((1, width), bool)
    sure = hair[..., 0].numpy() > _LIKELY
    gap = ndimage.binary_closing(np.pad(sure | head, width), row)[width:-width, width:-width]
    gap &= ~head & ~sure & ndimage.binary_dilation(sure, np.ones((1, 2 * width + 1), bool))
    if not gap.any():
        return strands, hair
    under = ndimage.binary_dilation(gap, iterations=max(1, round(2 * _SOFT * side))) & (gap | head | sure)
    weight = blurred(hair, _NEARBY * side)
    usual = blurred(strands * hair, _NEARBY * side) / weight.clamp(min=1e-4)
    strands = torch.where(torch.from_numpy(under & ~sure)[..., None], usual, strands)
    closed = blurred(torch.from_numpy((under | sure).astype(np.float32))[..., None], _SOFT * side)
    return strands, torch.where(torch.from_numpy(under)[..., None], torch.maximum(hair, closed), hair)


def hanging_share(hair: Tensor, head: NDArray[np.bool_], lobes: int) -> float:
    """The share of what is next to a head below its earlobes that is hair, on the side with more of it.

    hair (H, W): how surely a photograph shows hair; head (H, W): the fitted head's pixels in it; lobes: the row of its
    earlobes.
    """
    side = len(head)
    rows = slice(max(lobes, 0), max(lobes, 0) + max(1, round(_BELOW * side)))
    if not head[rows].any():
        return 0.0
    distance = ndimage.distance_transform_edt(~head[rows])
    beside = (distance > 0) & (distance < _BESIDE * side)
    left = np.arange(head.shape[1]) < np.flatnonzero(head.any(0)).mean()
    shares = [hair[rows].numpy()[beside & half] for half in (left, ~left)]
    return max(float(share.mean()) if len(share) else 0.0 for share in shares)

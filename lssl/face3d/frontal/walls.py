"""The background behind a head in its photograph, told from the head and its hair where the fitted skull is wrong."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.paint import blurred
from lssl.face3d.frontal.texture import belongs, smooth_step

_CLEAR = 0.03  # of the picture's side: distance kept from the head's outline
_NEAR, _WIDE = 0.06, 0.2  # of the picture's side: standard deviations of "near", and of "near" where that shows no wall
_ENOUGH = 0.02  # least weight at which the wall nearby is known
_MOSTLY = 0.6  # share of what is beside the head
_SURE = 0.5  # share (see `belongs`) under which a colour is the wall's
_EVEN, _RANGE = (
    0.7,
    0.6,
)  # distance from the wall over that from hair at which a colour begins to be hair, and their span
_SHADED = 3.0  # how much further from its usual colours hair may be in its own shade, before a wall that is
_FAR = 0.25  # this far from its colour
_SAME, _OTHER = 0.04, 0.1  # distances between hair and skin at which hair beside the head begins to be, and is, told


@dataclass(frozen=True)
class Wall:
    """The photograph's background near each pixel of a frame: colour (H, W, 3); known (H, W) bool: whether it is seen
    nearby; guessed (H, W) bool: or at least further away; usual: the skin and hair in front of it; told: whether hair
    can be told from it."""

    colour: Tensor
    known: NDArray[np.bool_]
    guessed: NDArray[np.bool_]
    usual: HeadColours
    told: bool

    def shows(self, colours: Tensor, row: NDArray[np.int_], column: NDArray[np.int_]) -> NDArray[np.bool_]:
        """(N, M): whether colours (N, M, 3) in a photograph are the wall's, at pixels row, column (N, M) of the frame,
        rather than those of skin or hair."""
        from_wall = (colours - self.colour[row, column]).norm(dim=-1)
        from_head = torch.stack([(colours - c).norm(dim=-1) for c in (self.usual.skin, self.usual.hair)]).amin(0)
        alike: NDArray[np.bool_] = (belongs(from_wall, from_head) < _SURE).numpy()
        return alike & self.known[row, column]

    def hair_before(self, colours: Tensor, row: NDArray[np.int_], column: NDArray[np.int_]) -> Tensor:
        """(N, M): how surely colours (N, M, 3), as in `shows`, are those of hair and not the wall's or skin's."""
        from_hair = self.usual.from_hair(colours)
        from_wall = (self.usual.adapted(colours) - self.usual.adapted(self.colour[row, column])).norm(dim=-1)
        apart = smooth_step((from_wall / (from_hair + 0.02) - _EVEN) / _RANGE)
        shaded = self.usual.near_hair(colours, _SHADED) * smooth_step((from_wall - _FAR) / _FAR)
        hair = torch.maximum(self.usual.near_hair(colours), shaded) * torch.where(
            torch.from_numpy(self.guessed[row, column]), apart, 1.0
        )
        from_skin = (self.usual.adapted(colours) - self.usual.adapted(self.usual.skin)).norm(dim=-1)
        rather = smooth_step((from_skin / (from_hair + 0.02) - _EVEN) / _RANGE)
        rather = rather * smooth_step(torch.tensor((self.usual.contrast - _SAME) / (_OTHER - _SAME)))
        return hair * rather

    def skin_before(self, colours: Tensor) -> NDArray[np.bool_]:
        """(H, W): whether colours (H, W, 3) are those of skin, and neither of hair nor of the wall."""
        from_skin = (colours - self.usual.skin).norm(dim=-1)
        of_skin = belongs((colours - self.colour).norm(dim=-1), from_skin) * (1 - self.usual.hairlike(colours))
        found: NDArray[np.bool_] = (of_skin > _SURE).numpy()
        return found


def wall(picture: Tensor, head: NDArray[np.bool_], usual: HeadColours) -> Wall:
    """The background of picture (H, W, 3), a photograph; head (H, W): the pixels of the fitted head in it."""
    side = len(head)
    clear = ~ndimage.binary_dilation(head, iterations=max(1, round(_CLEAR * side)))
    # Hair that hangs beside the head is not wall, unless most of what is there looks like hair.
    hair = usual.near_hair(picture).numpy()
    told = bool(clear.any()) and float(hair[clear].mean()) < _MOSTLY
    weight = torch.from_numpy((clear * (1 - hair) if told else clear).astype(np.float32))
    colour, totals = torch.zeros_like(picture), []
    for sigma in (_WIDE, _NEAR):
        total = blurred(weight, sigma * side)
        near = blurred(picture * weight[..., None], sigma * side) / total[..., None].clamp(min=1e-6)
        colour = torch.where((total > _ENOUGH)[..., None], near, colour)
        totals.append((total > _ENOUGH).numpy())
    return Wall(colour, totals[1], totals[0] | totals[1], usual, told)

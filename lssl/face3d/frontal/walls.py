"""The background behind a head in its photograph, told from the head where the fitted skull is too large."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.paint import blurred
from lssl.face3d.frontal.texture import belongs

_CLEAR, _NEAR = 0.03, 0.06  # of the picture's side: distance kept from the head's outline; standard deviation of "near"
_ENOUGH = 0.02  # least weight at which the wall nearby is known
_MOSTLY = 0.6  # share of what is beside the head
_SURE = 0.5  # share (see `belongs`) under which a colour is the wall's


@dataclass(frozen=True)
class Wall:
    """The photograph's background near each pixel of a frame: colour (H, W, 3); known (H, W) bool; usual: the skin and
    hair in front of it; told: whether hair can be told from it."""

    colour: Tensor
    known: NDArray[np.bool_]
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
        """(N, M): how surely colours (N, M, 3), as in `shows`, are those of hair and not the wall's."""
        apart = belongs((colours - self.colour[row, column]).norm(dim=-1), (colours - self.usual.hair).norm(dim=-1))
        return self.usual.hairlike(colours) * torch.where(torch.from_numpy(self.known[row, column]), apart, 1.0)

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
    hair = usual.hairlike(picture).numpy()
    told = bool(clear.any()) and float(hair[clear].mean()) < _MOSTLY
    weight = (clear * (1 - hair) if told else clear).astype(np.float32)
    known = torch.from_numpy(weight)[..., None]
    total = blurred(known, _NEAR * side)
    near = blurred(picture * known, _NEAR * side) / total.clamp(min=1e-6)
    return Wall(near, (total[..., 0] > _ENOUGH).numpy(), usual, told)

"""The edges of a photograph's head that stand out beside the drawn one, because no landmark fixes neck, jaw and ears."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Of the picture's side: the least width of what stands out beside a drawn head, and beside its neck; the distance up to
# which something touches the head; how far colours are mixed.
_SLIVER, _FLAP = 0.045, 0.1
_TOUCHING, _MIXED = 0.016, 0.005


def slivers(parts: NDArray[np.bool_], head: NDArray[np.bool_], lobes: int) -> NDArray[np.bool_]:
    """What of parts (side, side) beside the drawn head (side, side) is narrow, such as the edge of a neck wider than the
    fitted one, and what is mixed with it. Above row `lobes` a part, such as an ear, counts as a whole, and must touch the
    head."""
    side = len(parts)
    above = np.broadcast_to((np.arange(side) < lobes)[:, None], parts.shape)
    labels, _ = ndimage.label(parts & above)
    near = ndimage.binary_dilation(head, iterations=max(1, round(_TOUCHING * side)))
    ears = np.intersect1d(labels[_opened(parts, _SLIVER) & above], labels[near])
    whole = np.where(above, np.isin(labels, ears), _opened(parts, _FLAP))
    narrow: NDArray[np.bool_] = ndimage.binary_dilation(parts & ~whole, iterations=max(1, round(_MIXED * side)))
    return narrow


def _opened(parts: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """The parts (side, side) at least `width` wide, a share of the side; beyond the border they go on."""
    reach = max(1, round(width / 2 * len(parts)))
    wide = ndimage.distance_transform_edt(np.pad(parts, reach, mode="edge")) > reach
    opened: NDArray[np.bool_] = (ndimage.distance_transform_edt(~wide) <= reach + 1)[reach:-reach, reach:-reach]
    return opened & parts

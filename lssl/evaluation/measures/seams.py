"""Whether a change of part of a picture shows where it ends."""

import numpy as np
from numpy.typing import NDArray


def steps_along_border(made: NDArray[np.uint8], before: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean step between neighbouring pixels across the border of what was changed: in the made picture, and before.

    made, before: (H, W, 3), 0 to 255. The border lies between a pixel that was changed and a neighbour that was not;
    the step is the mean absolute difference of their colours. A seam is a step that was not there before. Both are NaN
    where nothing was changed. Raises ValueError for two shapes.
    """
    if made.shape != before.shape:
        raise ValueError(f"the pictures must have one shape; got {made.shape} and {before.shape}")
    changed = (made != before).any(-1)
    steps: list[list[NDArray[np.float64]]] = [[], []]
    for axis in (0, 1):
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        border = changed[tuple(first)] != changed[tuple(second)]
        for found, picture in zip(steps, (made, before), strict=True):
            pair = [picture[tuple(part)][border].astype(np.float64) for part in (first, second)]
            found.append(np.abs(pair[0] - pair[1]).mean(-1))
    together = [np.concatenate(found) for found in steps]
    if not len(together[0]):
        return float("nan"), float("nan")
    return float(together[0].mean()), float(together[1].mean())

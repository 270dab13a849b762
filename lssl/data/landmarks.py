"""The 68 landmarks: their order, groups, mirror. The project's one 2D pixel convention is written here.

Pixel convention: pixel centres lie at integer coordinates, x to the right, y down, so that (0, 0) is the centre of
the top left pixel and a picture of width W reaches from -0.5 to W - 0.5. Landmarks are (..., 68, 2) arrays of (x, y).
Order: iBUG 300-W (Sagonas et al. 2013), counted from 0. "Left" and "right" are the picture's sides, as a viewer
sees them: points 36 to 41 are the eye on the picture's left.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # PyTorch is imported where it is needed: photographs are read without it
    from torch import Tensor

COUNT = 68
JAW = tuple(range(0, 17))
LEFT_BROW = tuple(range(17, 22))
RIGHT_BROW = tuple(range(22, 27))
NOSE_BRIDGE = tuple(range(27, 31))
NOSE_BASE = tuple(range(31, 36))
LEFT_EYE = tuple(range(36, 42))
RIGHT_EYE = tuple(range(42, 48))
OUTER_LIPS = tuple(range(48, 60))
INNER_LIPS = tuple(range(60, 68))
MOUTH_CORNERS = (48, 54)

_MIRRORED_PAIRS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31 + i, 35 - i) for i in range(2)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
    *((60, 64), (61, 63), (65, 67)),
)


def _mirror_permutation() -> tuple[int, ...]:
    permutation = list(range(COUNT))
    for a, b in _MIRRORED_PAIRS:
        permutation[a], permutation[b] = b, a
    return tuple(permutation)


#: FLIP_68[k] is the landmark that takes k's place when the picture is mirrored; an involution.
FLIP_68: tuple[int, ...] = _mirror_permutation()

Points = TypeVar("Points", "Tensor", NDArray[np.float32])


def flip_landmarks(landmarks: Points, width: int) -> Points:
    """The landmarks (..., 68, 2), in the usual order, after a picture `width` pixels wide is mirrored left to right."""
    order = list(FLIP_68)
    flipped = landmarks[..., order, :]
    flipped = flipped.copy() if isinstance(flipped, np.ndarray) else flipped.clone()
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def half_sides(landmarks: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Converts points (..., 2) from pixels of (height, width) pictures to half-sides: -1 to 1 from edge to edge."""
    import torch

    return torch.stack([(landmarks[..., k] + 0.5) / size[1 - k] * 2 - 1 for k in range(2)], -1)


def pixels_of(points: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Converts points (..., 2) from half-sides to pixels of (height, width) pictures."""
    import torch

    return torch.stack([(points[..., k] + 1) / 2 * size[1 - k] - 0.5 for k in range(2)], -1)


def eye_centres(landmarks: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres of the left and the right eye (picture's sides) of (..., 68, 2) landmarks, each (..., 2)."""
    return landmarks[..., LEFT_EYE, :].mean(-2), landmarks[..., RIGHT_EYE, :].mean(-2)

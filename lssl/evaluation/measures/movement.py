"""How far mouth, brows and eyes moved, by landmarks found in the result itself, compared with how far they really move.

Lengths are in distances between the eyes' centres, in a frame aligned with the eyes, so that neither the picture's size nor
the head's tilt matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lssl.data.landmarks import LEFT_BROW, MOUTH_CORNERS, RIGHT_BROW, eye_centres

PARTS = ("lift", "width", "opening", "brows", "eyes")
_INNER_LIPS = ((61, 67), (62, 66), (63, 65))
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
# dlib's landmarks of one face, found twice a few pixels apart, differ by 0.005 to 0.016 in these measures, so people who
# really move less are left out of the ratio.
LEAST = 0.02


@dataclass(frozen=True)
class Movement:
    """One part's movement, as medians over people, in distances between the eyes.

    made, real: from the photograph to the result, and to the real picture of the class.
    ratio: median of made / real over the `people` whose own real movement is LEAST or more; if nobody has a real picture
        of the class, the ratio of the medians. NaN if the class does not move the part.
    """

    part: str
    made: float
    real: float
    ratio: float
    people: int


def face_shape(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., 5) for landmarks (..., 68, 2): the height of the mouth's corners above the line of the eyes (negative), the
    mouth's width, its inner opening, the brows' height, and the opening of the eyes; in distances between the eyes."""
    points = np.asarray(landmarks, np.float64)
    left, right = eye_centres(points)  # type: ignore[arg-type]
    across = right - left
    unit = np.linalg.norm(across, axis=-1)[..., None, None]
    cosine, sine = (across[..., k, None] / unit[..., 0] for k in (0, 1))
    moved = (points - (left + right)[..., None, :] / 2) / unit
    x, y = moved[..., 0], moved[..., 1]
    upright = np.stack([cosine * x + sine * y, cosine * y - sine * x], -1)

    def height(rows: Sequence[int]) -> NDArray[np.float64]:
        return -upright[..., list(rows), 1].mean(-1)

    def apart(pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        return np.mean([np.linalg.norm(upright[..., a, :] - upright[..., b, :], axis=-1) for a, b in pairs], axis=0)

    return np.stack(
        [
            height(MOUTH_CORNERS),
            apart([MOUTH_CORNERS]),
            apart(_INNER_LIPS),
            height([*LEFT_BROW, *RIGHT_BROW]),
            apart(_LIDS),
        ],
        -1,
    )


def movements(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    real: NDArray[np.floating] | None,
    others: NDArray[np.floating],
) -> list[Movement]:
    """The movement of each of PARTS.

    Args:
        before, after: landmarks (N, 68, 2) of photographs and of what was made from them.
        real: landmarks (N, 68, 2) of the same people's real pictures of the class, NaN for people without one; None:
            nobody has one.
        others: landmarks (M, 68, 2) of anybody's real pictures of the class, used if nobody has one.
    """
    start, made = face_shape(before), face_shape(after)
    known = np.zeros(len(start), bool) if real is None else np.isfinite(real).all((1, 2))
    result = []
    for k, part in enumerate(PARTS):
        moved = made[:, k] - start[:, k]
        if real is None or not known.any():
            there = float(np.median(face_shape(others)[:, k]) - np.median(start[:, k]))
            ratio = float(np.median(moved)) / there if abs(there) >= LEAST else float("nan")
            result.append(Movement(part, float(np.median(moved)), there, ratio, 0))
            continue
        own = face_shape(real[known])[:, k] - start[known, k]
        # A part that some people raise and others lower (the brows in a smile) has no typical movement to compare with.
        sure = np.abs(own) >= LEAST
        typical = abs(float(np.median(own))) >= LEAST / 2
        ratio = float(np.median(moved[known][sure] / own[sure])) if typical and sure.any() else float("nan")
        result.append(Movement(part, float(np.median(moved[known])), float(np.median(own)), ratio, int(sure.sum())))
    return result

"""How much made pictures differ: those of one input over targets, and those of one target over inputs."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def different_pairs(
    same: Sequence[Hashable], differ: Sequence[Hashable], most: int = 500, seed: int = 0
) -> NDArray[np.int64]:
    """At most `most` random pairs of rows (P, 2) that agree in `same` and differ in `differ`; none twice.

    Diversity is the distance over such pairs: between the outputs of one input over targets (near zero if the target
    is ignored), and between the outputs of one target over inputs (near zero if all faces are the same: mode collapse).
    """
    rng = np.random.default_rng(seed)
    groups: dict[Hashable, list[int]] = {}
    for row in rng.permutation(len(same)).tolist():
        groups.setdefault(same[row], []).append(row)
    pairs: list[tuple[int, int]] = []
    for offset in range(1, max(map(len, groups.values()), default=0)):
        for rows in groups.values():
            pairs += [(a, b) for a, b in zip(rows, rows[offset:], strict=False) if differ[a] != differ[b]]
        if len(pairs) >= most:
            break
    chosen = rng.permutation(len(pairs))[:most]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)[chosen]


def pixel_distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean absolute difference, 0 to 255, over pairs of uint8 images (N, H, W, 3)."""
    if first.shape != second.shape or first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ValueError(f"pairs must be uint8 of the same shape; got {first.shape} and {second.shape}")
    return float(np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(first, second, strict=True)]))

"""What share of made pictures looks real, and what share of real ones the made pictures cover."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lssl.evaluation.measures.feature_sets import Array, feature_set

_PART = 1000  # rows whose distances to all others are held at once


@dataclass(frozen=True)
class PrecisionRecall:
    """Share of fakes inside the real manifold (precision) and of real ones inside the fake manifold (recall), 0 to 1."""

    precision: float
    recall: float


def precision_recall(real: Array, fake: Array, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall of feature sets (N, D) and (M, D), by balls that reach to the k-th nearest neighbour
    (Kynkaanniemi et al. 2019). Raises ValueError for sets with too few rows or not finite ones."""
    real = feature_set("real", real, neighbours + 1)
    fake = feature_set("fake", fake, neighbours + 1)
    return PrecisionRecall(_coverage(real, fake, neighbours), _coverage(fake, real, neighbours))


def _coverage(centres: NDArray[np.float64], points: NDArray[np.float64], k: int) -> float:
    """Share of points that lie in the ball of some centre, which reaches to its k-th neighbour; in parts, to save memory."""
    radii = np.concatenate(
        [np.partition(_distances(part, centres), k, axis=1)[:, k] for part in _parts(centres)]  # 0: the point itself
    )
    covered = [(_distances(part, centres) <= radii * (1 + 1e-9) + 1e-12).any(1) for part in _parts(points)]
    return float(np.concatenate(covered).mean())


def _parts(rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [rows[start : start + _PART] for start in range(0, len(rows), _PART)]


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.sqrt(np.clip(squared, 0, None))

"""KID and similar measures: the maximum mean discrepancy between two feature sets."""

import numpy as np
from numpy.typing import NDArray

from lssl.evaluation.measures.feature_sets import Array, feature_set


def kernel_distance(
    real: Array, fake: Array, *, subsets: int = 50, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / D + 1)^3; KID (Binkowski et al. 2018).

    real, fake: (N, D) and (M, D). Returns (mean, standard deviation) over `subsets` random subsets of `subset_size` rows
    (or of as many as there are). Raises ValueError for sets that are too small or not finite.
    """
    real, fake = feature_set("real", real), feature_set("fake", fake)
    size = min(subset_size, len(real), len(fake))
    if size == len(real) == len(fake):
        subsets = 1
    rng = np.random.default_rng(seed)
    estimates = []
    for _ in range(subsets):
        x = real[rng.choice(len(real), size, replace=False)]
        y = fake[rng.choice(len(fake), size, replace=False)]
        kxx, kyy, kxy = (_cubic(a, b) for a, b in ((x, x), (y, y), (x, y)))
        within = (kxx.sum() - np.trace(kxx) + kyy.sum() - np.trace(kyy)) / (size * (size - 1))
        estimates.append(within - 2 * kxy.mean())
    return float(np.mean(estimates)), float(np.std(estimates))


def _cubic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x @ y.T / x.shape[1] + 1) ** 3

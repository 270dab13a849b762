"""Measures of synthesized images: distances between sets of features, pairs of images, and identities.

A feature set is (N, D), a row an image, from whatever network the caller states; a measure never fetches one.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.floating]
_PART = 1000  # rows whose distances to all others are held at once


def _features(name: str, features: Array, least: int = 2) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) < least:
        raise ValueError(f"{name} must be (N, D) with N at least {least}; it is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def frechet_distance(real: Array, fake: Array) -> float:
    """Frechet distance between Gaussians fitted to two feature sets; FID when the features are Inception's.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))  (Heusel et al. 2017, eq. 6). Never negative.
    It is biased upwards for few samples: compare only sets of equal sizes, and prefer `kernel_distance` below 2,000.
    """
    real, fake = _features("real", real), _features("fake", fake)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real has {real.shape[1]} features an image, fake has {fake.shape[1]}")
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    c1, c2 = np.atleast_2d(c1), np.atleast_2d(c2)
    # tr((C1 C2)^(1/2)) through the symmetric C1^(1/2) C2 C1^(1/2): its eigenvalues are real and not negative.
    values, vectors = linalg.eigh(c1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    trace = np.sqrt(np.clip(linalg.eigvalsh(root @ c2 @ root), 0, None)).sum()
    mean = real.mean(0) - fake.mean(0)
    return max(float(mean @ mean + np.trace(c1) + np.trace(c2) - 2 * trace), 0.0)


def kernel_distance(
    real: Array, fake: Array, *, subsets: int = 50, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / D + 1)^3; KID (Binkowski et al. 2018).

    Returns (mean, standard deviation) over `subsets` random subsets of `subset_size` (or as many as there are).
    """
    real, fake = _features("real", real), _features("fake", fake)
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


@dataclass(frozen=True)
class PrecisionRecall:
    """Share of fakes inside the real manifold (precision) and of reals inside the fake one (recall), 0 to 1."""

    precision: float
    recall: float


def precision_recall(real: Array, fake: Array, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall by k-nearest-neighbour balls (Kynkaanniemi et al. 2019)."""
    real = _features("real", real, neighbours + 1)
    fake = _features("fake", fake, neighbours + 1)
    return PrecisionRecall(_coverage(real, fake, neighbours), _coverage(fake, real, neighbours))


def _coverage(centres: NDArray[np.float64], points: NDArray[np.float64], k: int) -> float:
    """Share of points that lie in the ball of some centre, which reaches to its k-th neighbour; in parts, for memory."""
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


def identity_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Euclidean distance between face embeddings row by row, (N,); with dlib's, below 0.6 is the same person.

    Rows that are NaN (no face was found) give NaN; the caller counts them.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"embeddings must be two (N, D) arrays of one shape; got {first.shape} and {second.shape}")
    return np.linalg.norm(first - second, axis=1)


def different_pairs(
    same: Sequence[Hashable], differ: Sequence[Hashable], most: int = 500, seed: int = 0
) -> NDArray[np.int64]:
    """Random pairs of rows (P, 2) that agree in `same` and differ in `differ`; `most` at most, none twice.

    Diversity is the distance over such pairs: between the outputs of one input over targets (near zero where the target
    is ignored), and between the outputs of one target over inputs (near zero where all faces became one: mode collapse).
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
        raise ValueError(f"pairs must be uint8 of one shape; got {first.shape} and {second.shape}")
    return float(np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(first, second, strict=True)]))


def confusion_matrix(true: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): row the true class, column the predicted one."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(true), np.asarray(predicted)), 1)
    return matrix

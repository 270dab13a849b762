"""Measures of synthesized images: distances between sets of features, pairs of images, and identities.

A feature set is (N, D), a row an image, from whatever network the caller states; a measure never fetches one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Array = NDArray[np.floating]


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
    radii = np.sort(_distances(centres, centres), axis=1)[:, k]  # column 0 is the point itself
    return float((_distances(points, centres) <= radii * (1 + 1e-9) + 1e-12).any(1).mean())


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.sqrt(np.clip(squared, 0, None))


def image_similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean SSIM (-1 to 1) and PSNR (dB) over pairs of uint8 images (N, H, W, 3), by scikit-image.

    Identical pairs have infinite PSNR; they count as 100 dB so that the mean stays a number.
    """
    if first.shape != second.shape or first.ndim != 4 or first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ValueError(f"pairs must be uint8 (N, H, W, 3) of one shape; got {first.shape} and {second.shape}")
    ssim, psnr = [], []
    for a, b in zip(first, second, strict=True):
        ssim.append(structural_similarity(a, b, channel_axis=2, data_range=255))
        psnr.append(100.0 if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=255))
    return float(np.mean(ssim)), float(np.mean(psnr))


def identity_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Euclidean distance between face embeddings row by row, (N,); with dlib's, below 0.6 is the same person.

    Rows that are NaN (no face was found) give NaN; the caller counts them.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"embeddings must be two (N, D) arrays of one shape; got {first.shape} and {second.shape}")
    return np.linalg.norm(first - second, axis=1)


@dataclass(frozen=True)
class Diversity:
    """Mean L1 distance (0 to 255) between outputs: of one input over targets, and of one target over inputs.

    `over_inputs` near zero with varied inputs is mode collapse (the mean face); `over_targets` near zero means that
    the attribute is ignored. `input_spread` is the same figure for the inputs themselves, to compare with.
    """

    over_targets: float
    over_inputs: float
    input_spread: float


def diversity(inputs: NDArray[np.uint8], outputs: NDArray[np.uint8]) -> Diversity:
    """Diversity of outputs (N, T, H, W, 3): input n translated to target t; inputs (N, H, W, 3), all uint8."""
    if outputs.ndim != 5 or inputs.shape != outputs[:, 0].shape:
        raise ValueError(f"inputs {inputs.shape} and outputs {outputs.shape} must be (N, H, W, 3) and (N, T, H, W, 3)")
    flat = outputs.reshape(*outputs.shape[:2], -1).astype(np.float32)
    return Diversity(
        over_targets=float(np.mean([_spread(row) for row in flat])),
        over_inputs=float(np.mean([_spread(flat[:, t]) for t in range(flat.shape[1])])),
        input_spread=_spread(inputs.reshape(len(inputs), -1).astype(np.float32)),
    )


def _spread(rows: NDArray[np.float32]) -> float:
    """Mean absolute difference over all pairs of different rows; 0 for one row."""
    if len(rows) < 2:
        return 0.0
    pairs = [np.abs(rows[i] - rows[i + 1 :]).mean(1) for i in range(len(rows) - 1)]
    return float(np.concatenate(pairs).mean())


def confusion_matrix(true: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): row the true class, column the predicted one."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (np.asarray(true), np.asarray(predicted)), 1)
    return matrix

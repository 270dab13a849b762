"""FID and similar measures: the Frechet distance between two feature sets."""

import numpy as np
from scipy import linalg

from lssl.evaluation.measures.feature_sets import Array, feature_set


def frechet_distance(real: Array, fake: Array) -> float:
    """Frechet distance between Gaussians fitted to two feature sets; FID when the features are Inception's.

    real, fake: (N, D) and (M, D). d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))  (Heusel et al. 2017, eq. 6), which is
    returned, and is never negative. It is biased upwards for few samples: compare only sets of equal sizes, and prefer
    `kernel.kernel_distance` below 2,000. Raises ValueError for sets of different D.
    """
    real, fake = feature_set("real", real), feature_set("fake", fake)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real has {real.shape[1]} features per image, fake has {fake.shape[1]}")
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    c1, c2 = np.atleast_2d(c1), np.atleast_2d(c2)
    # tr((C1 C2)^(1/2)) through the symmetric C1^(1/2) C2 C1^(1/2): its eigenvalues are real and not negative.
    values, vectors = linalg.eigh(c1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    trace = np.sqrt(np.clip(linalg.eigvalsh(root @ c2 @ root), 0, None)).sum()
    mean = real.mean(0) - fake.mean(0)
    return max(float(mean @ mean + np.trace(c1) + np.trace(c2) - 2 * trace), 0.0)

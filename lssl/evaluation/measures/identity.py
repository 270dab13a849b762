"""Whether two pictures show the same person, by face embeddings."""

import numpy as np
from numpy.typing import NDArray

from lssl.evaluation.measures.feature_sets import Array


def identity_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Euclidean distance between face embeddings (N, D), row by row, (N,); with dlib's, below 0.6 is the same person.

    Rows of NaN (no face was found) give NaN, which the caller must count. Raises ValueError for different shapes.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"embeddings must be (N, D) arrays of the same shape; got {first.shape} and {second.shape}")
    return np.linalg.norm(first - second, axis=1)

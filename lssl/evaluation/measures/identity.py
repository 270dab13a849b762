"""Whether two pictures show one person, by face embeddings."""

import numpy as np
from numpy.typing import NDArray

from lssl.evaluation.measures.feature_sets import Array


def identity_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Euclidean distance between face embeddings row by row, (N,); with dlib's, below 0.6 is the same person.

    Rows that are NaN (no face was found) give NaN; the caller counts them.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"embeddings must be two (N, D) arrays of one shape; got {first.shape} and {second.shape}")
    return np.linalg.norm(first - second, axis=1)

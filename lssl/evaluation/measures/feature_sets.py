"""Sets of features, which the measures of whole sets compare.

A feature set is (N, D), one row per image, from a network of the caller's choice; a measure never fetches a network.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def feature_set(name: str, features: Array, least: int = 2) -> NDArray[np.float64]:
    """The features in float64. Raises ValueError unless they are (N, D) with at least `least` rows, all finite."""
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or len(array) < least:
        raise ValueError(f"{name} must be (N, D) with N at least {least}; it is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array

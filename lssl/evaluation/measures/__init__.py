"""One file per measure of synthesized images.

A module of this package can define `PAIR_MEASURES`, a dictionary from names to functions of two arrays of pictures, uint8
(N, H, W, 3), that return a number. Each becomes a row in the table of pairs of `lssl evaluate images`, with no further change.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from numpy.typing import NDArray

PairMeasure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]


def find_pair_measures() -> dict[str, PairMeasure]:
    """The pair measures of all modules of this package, by name."""
    found: dict[str, PairMeasure] = {}
    for module in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "PAIR_MEASURES", {})
    return found

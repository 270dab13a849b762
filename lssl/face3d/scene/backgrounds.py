"""Backgrounds of rendered faces: plain grey, or a random wall of soft colour, light and grain."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lssl.errors import LsslError

BACKGROUNDS = ("plain", "random")
PLAIN_GREY = 0.72  # encoded, 0 to 1


def background(
    kind: str,
    size: int,
    generator: np.random.Generator,
    light: float = 1.0,
    tint: tuple[float, float, float] = (1, 1, 1),
) -> NDArray[np.float32]:
    """A background (3, size, size) in [-1, 1], encoded, of a kind in `BACKGROUNDS`.

    light: how much of the normal light falls on it, linear; tint: that light's colour, linear. Raises LsslError for an
    unknown kind.
    """
    if kind == "plain":
        wall = np.full((3, size, size), PLAIN_GREY)
    elif kind == "random":
        wall = _random_wall(size, generator)
    else:
        raise LsslError(f"unknown background {kind!r}; known: {', '.join(BACKGROUNDS)}")
    seen = wall.clip(0, 1) * light ** (1 / 2.2) * np.reshape(tint, (3, 1, 1)) ** (1 / 2.2)
    return (seen.clip(0, 1) * 2 - 1).astype(np.float32)


def _random_wall(size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[0:size, 0:size] / max(size - 1, 1) - 0.5
    first = generator.uniform(0.15, 0.9) + generator.normal(0, 0.035, 3)
    second = first + generator.normal(0, 0.12) + generator.normal(0, 0.025, 3)
    angle = generator.uniform(0, 2 * np.pi)
    mix = (0.5 + np.cos(angle) * x + np.sin(angle) * y).clip(0, 1)
    wall = first[:, None, None] * (1 - mix) + second[:, None, None] * mix
    # Blobs at two scales, as in a room out of focus.
    for cells, strength in ((3, 0.08), (8, 0.035)):
        grid = generator.normal(0, strength * generator.uniform(0, 1), (3, cells, cells)) * 0.35
        grid += generator.normal(0, strength * generator.uniform(0, 1), (1, cells, cells))
        stretch = _stretch(cells, size)
        wall += stretch @ grid @ stretch.T
    return wall


@cache
def _stretch(cells: int, size: int) -> NDArray[np.float64]:
    """(size, cells): natural cubic splines through `cells` values, at `size` positions."""
    spline = CubicSpline(np.linspace(0, 1, cells), np.eye(cells), bc_type="natural")
    matrix: NDArray[np.float64] = spline(np.linspace(0, 1, size))
    return matrix

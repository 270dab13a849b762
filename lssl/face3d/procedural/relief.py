"""The relief of an average head: spot depths of human anatomy, joined by a thin-plate spline.

Coordinates in this file: centimetres, x to the viewer's right, y up from the pupil line, z towards the viewer from
about the ear canals. The head is unrolled onto a plane (u, v): u = 8 * azimuth about the axis (0, y, 2) (so that u is
close to x at the front), v = y, except under the jaw, where v runs on backwards along the skin down to the neck.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AXIS_Z = 2.0
RADIUS = 8.0
U_BACK = RADIUS * np.pi
CROWN = 11.0
NECK_BASE = -23.4

# y: [(x, z), ...] of the right half (x >= 0), front to side.
_ROWS: dict[float, list[tuple[float, float]]] = {
    4.8: [(0, 10.45), (1.6, 10.35), (3.2, 9.7), (4.8, 8.4), (6.2, 6.1), (7.2, 3.4)],
    3.6: [(0, 10.85), (1.5, 10.75), (3.0, 10.25), (4.6, 9.0), (6.0, 7.0), (7.05, 4.2)],
    2.7: [(0, 10.98), (1.2, 10.88), (2.4, 10.62), (3.8, 9.95), (4.9, 9.05), (5.95, 7.35), (6.9, 4.9), (7.4, 2.5)],
    2.0: [(0, 10.86), (1.0, 10.68), (2.2, 10.42), (3.6, 9.98), (4.8, 9.15), (5.75, 7.75)],
    1.3: [(0, 10.62), (0.7, 10.4), (1.4, 9.88), (2.3, 9.72), (3.4, 9.72), (4.5, 9.25), (5.4, 8.15), (6.6, 5.5)],
    0.2: [(0, 10.66), (0.5, 10.35), (0.95, 9.72), (1.4, 9.35)],
    -0.1: [(5.1, 8.25), (6.0, 6.95), (6.8, 5.2), (7.3, 3.7), (7.5, 1.5)],
    -0.9: [(0, 11.45), (0.5, 11.1), (0.95, 10.25), (1.45, 9.65), (2.1, 9.45), (3.1, 9.45), (4.1, 9.2), (5.1, 8.45),
           (6.1, 7.05), (6.85, 5.4), (7.3, 3.7)],
    -1.9: [(0, 12.25), (0.45, 11.95), (0.95, 10.95), (1.45, 10.1), (2.2, 9.75), (3.2, 9.65), (4.2, 9.3), (5.2, 8.5),
           (6.1, 7.15), (6.85, 5.4), (7.25, 3.7), (7.4, 1.5)],
    -2.7: [(0, 12.85), (0.45, 12.6), (0.9, 11.85), (1.35, 10.98), (1.9, 10.1), (2.6, 9.9), (3.4, 9.75), (4.4, 9.25),
           (5.4, 8.2), (6.2, 6.85)],
    -3.25: [(0, 13.1), (0.5, 12.88), (0.92, 12.25), (1.4, 11.55), (1.72, 10.95), (1.95, 10.2), (2.5, 10.1), (3.4, 9.8),
            (4.4, 9.15), (5.4, 8.0), (6.2, 6.7), (7.0, 4.3)],
    -3.75: [(0, 12.95), (0.45, 12.75), (0.9, 12.25), (1.35, 11.7), (1.72, 11.05), (1.98, 10.25), (2.6, 10.2)],
    -4.15: [(0, 12.5), (0.42, 12.2), (1.0, 11.95), (1.4, 11.45), (1.72, 10.95), (1.95, 10.35), (2.6, 10.25),
            (3.5, 9.75), (4.5, 8.95), (5.5, 7.65), (6.4, 6.05)],
    -4.65: [(0, 11.65), (0.5, 11.5), (1.1, 11.1), (1.6, 10.7), (2.2, 10.4), (3.0, 10.05), (4.0, 9.4), (5.0, 8.35),
            (6.0, 6.7)],
    -5.3: [(0, 11.5), (0.42, 11.56), (1.0, 11.3), (1.7, 10.9), (2.4, 10.5), (3.2, 9.95), (4.2, 9.1), (5.2, 7.85),
           (6.0, 6.45)],
    -6.9: [(2.8, 10.1), (3.2, 9.85), (3.9, 9.2), (4.8, 8.15), (5.6, 6.85)],
    -8.0: [(2.3, 10.35), (3.1, 9.75), (4.0, 8.85), (4.9, 7.6)],
    -8.6: [(0, 10.75), (0.9, 10.65), (1.8, 10.3)],
    -9.3: [(0, 10.9), (1.0, 10.75), (2.0, 10.2), (3.0, 9.35), (4.0, 8.0)],
    -10.1: [(0, 11.0), (1.0, 10.8), (2.0, 10.05), (3.1, 8.85)],
    -10.8: [(0, 10.75), (1.4, 10.4)],
}  # fmt: skip

# (x, y, z, v) where v is not y: under the jaw, the neck, the shoulders' beginning.
_UNDER: list[tuple[float, float, float, float]] = [
    (0, -11.3, 9.9, -11.6), (1.5, -11.1, 9.5, -11.5), (2.9, -10.5, 8.4, -11.1), (4.2, -9.7, 7.0, -10.1),
    (5.6, -8.05, 5.7, -8.4),
    (0, -11.55, 8.3, -13.2), (1.6, -11.4, 8.0, -13.1), (2.8, -10.95, 7.0, -12.5), (3.9, -10.3, 5.9, -11.6),
    (4.9, -9.3, 4.4, -9.9), (5.5, -8.4, 2.9, -8.8),
    (0, -11.75, 6.7, -14.9), (1.7, -11.7, 6.3, -14.6), (3.1, -11.4, 5.2, -13.6),
    (0, -12.2, 5.5, -16.2), (1.8, -12.1, 5.2, -15.9), (3.4, -11.8, 4.1, -14.6), (4.6, -11.0, 2.6, -12.6),
    (5.3, -10.0, 0.8, -11.2), (5.6, -9.2, -1.5, -10.2), (5.1, -8.8, -4.0, -9.6), (3.2, -8.6, -5.6, -9.4),
    (0, -8.5, -6.1, -9.3),
    (0, -14.2, 4.8, -18.4), (2.16, -14.1, 4.3, -18.1), (3.95, -13.9, 2.7, -17.4), (4.98, -13.4, 0.4, -16.4),
    (5.26, -13.1, -2.2, -15.9), (4.61, -12.8, -5, -15.5), (2.73, -12.6, -6.6, -15.2), (0, -12.5, -7, -15.1),
    (0, -16.6, 4.1, -20.9), (2.44, -16.6, 3.7, -20.9), (4.42, -16.6, 2.3, -20.6), (5.64, -16.4, -0.1, -20.4),
    (6.11, -16.2, -2.7, -20.2), (5.36, -16, -5.7, -20), (3.1, -16, -7.5, -20), (0, -15.9, -8, -19.9),
    (0, -19, 4, -23.4), (3.1, -19, 3.7, -23.4), (5.82, -19, 2.6, -23.4), (8.15, -19, 0, -23.4),
    (9.31, -19, -2.9, -23.4), (7.76, -19, -6.6, -23.4), (4.27, -19, -8.6, -23.4), (0, -19, -9.1, -23.4),
]  # fmt: skip

# The jaw contour (iBUG 8 to 16), chin to ear.
JAW: Array = np.array([
    (0, -11.1, 10.45), (1.8, -10.78, 10.0), (3.35, -10.25, 8.5), (4.8, -9.2, 6.9), (5.95, -7.5, 5.85),
    (6.58, -5.6, 5.1), (7.0, -3.6, 4.55), (7.32, -1.65, 3.97), (7.41, 0.4, 3.68),
])  # fmt: skip

# The eyelids' margins: inner corner, over the top, outer corner, along the bottom (a loop of 16 points).
EYE_CENTRE: Array = np.array([3.15, -0.03, 8.22])
EYE_RADIUS = 1.25
EYE_LOOP: Array = np.array([
    (1.82, -0.24, 9.25), (2.0, 0.03, 9.3), (2.3, 0.29, 9.42), (2.72, 0.48, 9.53), (3.2, 0.55, 9.54),
    (3.68, 0.48, 9.43), (4.05, 0.29, 9.2), (4.3, 0.06, 8.9), (4.45, -0.1, 8.6), (4.25, -0.25, 8.87),
    (3.98, -0.37, 9.1), (3.62, -0.46, 9.3), (3.2, -0.5, 9.4), (2.75, -0.46, 9.42), (2.35, -0.38, 9.36),
    (2.03, -0.3, 9.28),
])  # fmt: skip

# The lips' outer border, right half: middle of the upper lip to the corner to the middle of the lower.
UPPER_BORDER: Array = np.array([
    (0, -6.0, 11.84), (0.38, -5.9, 11.84), (0.72, -5.93, 11.72), (1.15, -6.08, 11.5), (1.6, -6.32, 11.18),
    (2.05, -6.6, 10.78), (2.38, -6.85, 10.42), (2.55, -7.0, 10.22),
])  # fmt: skip
LOWER_BORDER: Array = np.array([
    (0, -7.9, 11.52), (0.45, -7.89, 11.47), (0.9, -7.82, 11.36), (1.35, -7.67, 11.15), (1.75, -7.48, 10.9),
    (2.1, -7.3, 10.62), (2.38, -7.13, 10.37),
])  # fmt: skip


def unroll(points: Array) -> Array:
    """(u, v) of points (..., 3) of the face above the jaw's edge."""
    u = RADIUS * np.arctan2(points[..., 0], points[..., 2] - AXIS_Z)
    return np.stack([u, points[..., 1]], -1)


def _skull_ring(azimuth: Array, level: Array) -> Array:
    """Brain case, a superellipsoid: points at azimuths (radians) and heights y."""
    s, c = np.sin(azimuth), np.cos(azimuth)
    height = np.maximum(0.0, 1 - (np.abs(level - 2.2) / (CROWN - 2.2)) ** 2.15) ** (1 / 2.15)
    depth = np.where(c > 0, 9.3, 10.2)
    radius = (np.abs(s / 7.75) ** 2.2 + np.abs(c / depth) ** 2.2) ** (-1 / 2.2) * height
    return np.stack([radius * s, level + 0 * s, 1.2 + radius * c], -1)


def _skull() -> Array:
    """Points of the brain case beyond the face's rows, and of the nape."""
    points = []
    for y in (4.2, 5.6, 7.0, 8.4, 9.5):
        azimuth = np.radians(np.arange(80 if y < 5 else 0, 181, 20))
        points.append(_skull_ring(azimuth, np.full(len(azimuth), y)))
    for y, width, back in (
        (2.6, 7.75, -8.9),
        (0.5, 7.6, -8.7),
        (-1.8, 7.3, -8.0),
        (-4.2, 6.7, -7.0),
        (-6.4, 6.1, -6.3),
    ):
        azimuth = np.radians([100, 120, 140, 160, 180])
        s, c = np.sin(azimuth), np.cos(azimuth)
        radius = (np.abs(s / width) ** 2.2 + np.abs(c / (back - 1.0)) ** 2.2) ** (-1 / 2.2)
        points.append(np.stack([radius * s, np.full(5, y), 1.0 + radius * c], -1))
    return np.concatenate(points)


def _slack(centres: Array) -> Array:
    """How far the spline may miss a given depth: little at eyes, nose and mouth, more on cheeks, skull and neck."""
    u, v = np.abs(centres[:, 0]), centres[:, 1]
    features = np.minimum(
        np.hypot(u - 2.8, v) - 2.2, np.minimum(np.hypot(u, (v + 3) / 2) - 2.2, np.hypot(u, v + 7) - 3.0)
    )
    return 0.02 + 2.0 * np.clip(features / 2.5, 0, 1)


@cache
def _spline() -> tuple[Array, Array, Array]:
    """Centres (n, 2), weights (n, 3) and affine part (3, 3) of the spline from (u, v) to (x, y, z)."""
    face = np.array([(x, y, z) for y, row in _ROWS.items() for x, z in row])
    above = np.concatenate([face, JAW, EYE_LOOP, UPPER_BORDER, LOWER_BORDER, _skull()])
    under = np.array(_UNDER)
    target = np.concatenate([above, under[:, :3]])
    plane = np.concatenate([unroll(above), np.stack([unroll(under[:, :3])[:, 0], under[:, 3]], -1)])
    # mirrored copies across the face's and the back's midline make the spline symmetric and smooth there
    copies = [(plane, target)]
    flip = np.array([-1.0, 1.0, 1.0])
    inside = (plane[:, 0] > 1e-6) & (plane[:, 0] < 9)
    copies.append((plane[inside] * [-1, 1], target[inside] * flip))
    behind = (plane[:, 0] < U_BACK - 1e-6) & (plane[:, 0] > U_BACK - 9)
    copies.append((plane[behind] * [-1, 1] + [2 * U_BACK, 0], target[behind] * flip))
    centres = np.concatenate([c for c, _ in copies])
    values = np.concatenate([t for _, t in copies])
    centres, kept = np.unique(np.round(centres, 6), axis=0, return_index=True)
    values = values[kept]
    n = len(centres)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    affine = np.concatenate([np.ones((n, 1)), centres], 1)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = distance**3 + np.diag(_slack(centres))
    system[:n, n:], system[n:, :n] = affine, affine.T
    solution = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 3))]))
    return centres, solution[:n], solution[n:]


def surface(plane: Array) -> Array:
    """Skin points (..., 3) at unrolled positions (..., 2), 0 <= u <= U_BACK."""
    centres, weights, affine = _spline()
    flat = plane.reshape(-1, 2)
    distance = np.linalg.norm(flat[:, None] - centres[None], axis=-1)
    points = distance**3 @ weights + np.concatenate([np.ones((len(flat), 1)), flat], 1) @ affine
    top = np.clip((flat[:, 1:] - 6.0) / 3.5, 0, 1)
    top = top * top * (3 - 2 * top)
    # towards the crown, where the plane is a poor map, only the brain case counts
    azimuth = np.arctan2(points[:, 0], points[:, 2] - 1.2)
    azimuth = np.where(flat[:, 1] > 9.5, flat[:, 0] / RADIUS, azimuth)
    points = points + top * (_skull_ring(azimuth, np.minimum(flat[:, 1], CROWN)) - points)
    points[(flat[:, 0] < 1e-9) | (flat[:, 0] > U_BACK - 1e-9), 0] = 0.0
    return points.reshape(*plane.shape[:-1], 3)

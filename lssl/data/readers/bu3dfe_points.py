"""68 landmarks in 3D from BU-3DFE's 83 points, by each part's geometry.

The 83 points come in groups whose members are known and whose order within a group is not relied upon: eyes 0-7 and
8-15, brows 16-25 and 26-35 (closed outlines), sides of the nose 36-41, nostrils 42-47, outer lips 48-59, inner lips
60-67, jaw 68-82 (from ear to ear). Everything here is seen from the front: x to the viewer's right, y up, z nearer.
"""

import numpy as np
from numpy.typing import NDArray

POINTS = 83
Points = NDArray[np.float64]


def landmarks_68(points: Points, vertices: Points) -> Points:
    """The 68 landmarks (68, 3), iBUG order, from the 83 points (83, 3) and the mesh (V, 3) they lie on.

    The bridge of the nose, which the 83 points leave out, is the mesh's ridge between the nose's sides.
    """
    left_eye, right_eye = _left_first(points[0:8], points[8:16])
    left_brow, right_brow = _left_first(points[16:26], points[26:36])
    jaw = points[68:83]
    if jaw[0, 0] > jaw[-1, 0]:
        jaw = jaw[::-1]
    nostrils = points[42:48][np.argsort(points[42:48, 0])]
    return np.concatenate(
        [
            _resample(jaw, 17),
            _brow(left_brow),
            _brow(right_brow),
            _bridge(points[36:42], nostrils, left_eye, right_eye, vertices),
            _resample(nostrils, 5),
            _outline(left_eye, 4, 4),
            _outline(right_eye, 4, 4),
            _outline(points[48:60], 7, 7),
            _outline(points[60:68], 5, 5),
        ]
    )


def _left_first(a: Points, b: Points) -> tuple[Points, Points]:
    return (a, b) if a[:, 0].mean() < b[:, 0].mean() else (b, a)


def _resample(line: Points, count: int) -> Points:
    """`count` points at equal steps along a polyline (K, 3), its ends included."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, line[:, axis]) for axis in range(3)], axis=1)


def _arcs(outline: Points) -> tuple[Points, Points]:
    """The upper and the lower half of a closed outline, each from its leftmost to its rightmost point."""
    left, right = outline[outline[:, 0].argmin()], outline[outline[:, 0].argmax()]
    chord = right - left
    others = outline[(outline != left).any(1) & (outline != right).any(1)]
    share = (others[:, 0] - left[0]) / max(float(chord[0]), 1e-9)
    above = others[:, 1] >= left[1] + share * chord[1]
    halves = []
    for half in (others[above], others[~above]):
        halves.append(np.concatenate([[left], half[np.argsort(half[:, 0])], [right]]))
    return halves[0], halves[1]


def _outline(outline: Points, upper: int, lower: int) -> Points:
    """`upper` points along the upper half from left to right, then the lower half's back, without its corners."""
    above, below = _arcs(outline)
    return np.concatenate([_resample(above, upper), _resample(below, lower)[-2:0:-1]])


def _brow(outline: Points) -> Points:
    above, below = _arcs(outline)
    return (_resample(above, 5) + _resample(below, 5)) / 2


def _bridge(sides: Points, nostrils: Points, left_eye: Points, right_eye: Points, vertices: Points) -> Points:
    """Four points down the ridge of the nose, from between the eyes to its tip: the nearest vertices to the viewer."""
    middle = float(sides[:, 0].mean())
    half = max(float(np.ptp(sides[:, 0])) / 4, 1e-6)
    top = float((left_eye[:, 1].mean() + right_eye[:, 1].mean()) / 2)
    bottom = float(nostrils[:, 1].max())
    near = vertices[np.abs(vertices[:, 0] - middle) < half]
    nose = near[(near[:, 1] > bottom) & (near[:, 1] < top)]
    fallback = np.array([middle, 0.0, float(sides[:, 2].max())])
    tip = nose[nose[:, 2].argmax()] if len(nose) else np.array([middle, bottom, fallback[2]])
    ridge = []
    for y in np.linspace(top, tip[1], 4)[:-1]:
        band = near[np.abs(near[:, 1] - y) < max(top - bottom, 1e-6) / 12]
        depth = band[:, 2].max() if len(band) else fallback[2]
        ridge.append([middle, y, depth])
    return np.array([*ridge, tip])

"""The procedural head's skin: triangulated in the unrolled plane of the relief, finest around eyes, nose and mouth."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from lssl.face3d.model.topology import Part
from lssl.face3d.procedural import relief
from lssl.face3d.procedural.half import Array, Half, Ints, lip_border, resample

LID_POINTS = 32  # vertices per lid loop: twice relief.EYE_LOOP's
LID_OFFSETS = (0.0, 0.12, 0.26, 0.42, 0.66, 1.0)  # cm outward from the lid margin
LIP_OFFSETS = (0.14, 0.32, 0.56)
BROW = np.array([(0.95, 2.2), (1.25, 2.42), (2.4, 2.75), (3.8, 2.8), (4.9, 2.5), (5.75, 1.85), (6.2, 1.4)])


def add_skin(half: Half) -> None:
    """Adds the skin of face, neck and skull: fixed lines around the eyes and the mouth, and what fills the rest."""
    loops = _loops()
    lines = _lines()
    fixed = np.concatenate([points.reshape(-1, 2) for points in (*loops.values(), *lines.values())])
    border = loops["lips_outside"][0]
    mouth = np.concatenate([border, [[-1, border[-1, 1]], [-1, border[0, 1]]]])
    holes = (loops["lids"][0], mouth, loops["nostril"])
    free = _fill(fixed)
    plane = np.concatenate([fixed, free[~_inside_any(free, holes)]])
    first_line = sum(points[..., 0].size for points in loops.values())
    mid_front = lines["mid_front"][:, 1]
    movable = np.zeros(len(plane), bool)
    movable[len(fixed) :] = True
    along = np.zeros(len(plane), bool)
    front = slice(first_line + 1, first_line + len(mid_front) - 1)
    movable[front], along[front] = True, True
    plane = _relax(plane, movable, along)

    skin = half.add(_with_lid_folds(relief.surface(plane)), Part.SKIN, "skin", plane)
    half.join(_triangles(plane, holes), Part.SKIN)
    start = 0
    for name, points in loops.items():
        count = points[..., 0].size
        half.groups[name] = skin[start : start + count].reshape(points.shape[:-1])
        start += count
    half.groups["mid_front"] = skin[first_line : first_line + len(mid_front)]
    half.groups["jaw"] = skin[len(fixed) - len(lines["jaw"]) : len(fixed)]
    chin = mid_front[np.abs(mid_front - relief.JAW[0, 1] + 0.12).argmin()]
    half.groups["chin"] = half.groups["mid_front"][mid_front == chin]
    _add_crown(half, plane, skin)


def _loops() -> dict[str, Array]:
    """Named rows of fixed points (..., 2) of the plane, on which vertices lie: lids, lips, nostril, brow."""
    eye = relief.unroll(resample(relief.EYE_LOOP, closed=True))
    eye_out = _outward(eye, closed=True)
    lids = np.stack([eye + d * eye_out for d in LID_OFFSETS])  # (6, 32, 2)
    # the corners of the eye lie close to the nose: keep the outer rings off it
    lids[..., 0] = np.where(lids[..., 0] < 1.9, 1.9 - 0.62 * (1.9 - lids[..., 0]), lids[..., 0])
    border = relief.unroll(lip_border())
    lip_out = _outward(border, closed=False)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    spine = resample(resample(relief.unroll(_with_depth(BROW)), closed=False), closed=False)
    return {
        "lids": lids,
        "lips_outside": np.stack([border + d * lip_out for d in (0.0, *LIP_OFFSETS)]),
        "nostril": np.stack([0.64 + 0.29 * np.cos(angles), -4.34 + 0.16 * np.sin(angles) - 0.1 * np.cos(angles)], 1),
        "nostril_rim": np.stack([0.64 + 0.4 * np.cos(angles), -4.33 + 0.26 * np.sin(angles) - 0.1 * np.cos(angles)], 1),
        "brow": np.stack([spine + [0, d] for d in (0.30, 0.02, -0.26)]),
    }


def _lines() -> dict[str, Array]:
    """Points (n, 2) of the plane on the head's midlines, its rims and the jaw, the jaw last."""
    mid_front = np.concatenate(
        [np.arange(relief.NECK_BASE, -16, 1.2), np.arange(-15.6, -11.5, 0.8), np.arange(-11.2, -8.6, 0.42),
         np.arange(-5.45, 1.2, 0.32), np.arange(1.4, 4.5, 0.45), np.arange(5.1, 10.4, 0.9), [10.6]]
    )  # fmt: skip
    mid_back = np.append(np.arange(relief.NECK_BASE, 10.2, 1.3), 10.6)
    edge = np.linspace(0, relief.U_BACK, 17)[1:-1]
    return {
        "mid_front": _midline(0.0, mid_front),
        "mid_back": _midline(relief.U_BACK, mid_back),
        "neck": np.stack([edge, np.full(15, relief.NECK_BASE)], 1),
        "crown": np.stack([edge[1::2], np.full(7, 10.6)], 1),
        "jaw": relief.unroll(relief.JAW[1:]),
    }


def _inside_any(points: Array, polygons: Iterable[Array]) -> NDArray[np.bool_]:
    return np.any([_inside(points, polygon) for polygon in polygons], 0)


def _triangles(plane: Array, holes: Iterable[Array]) -> Ints:
    """The Delaunay triangles (F, 3) of the plane without those in holes, all with the same orientation."""
    triangles = Delaunay(plane).simplices
    corners = plane[triangles]
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    area = ax * by - ay * bx
    triangles = np.where(area[:, None] < 0, triangles[:, [0, 2, 1]], triangles)[np.abs(area) > 1e-9]
    return triangles[~_inside_any(plane[triangles].mean(1), holes)]


def _with_lid_folds(points: Array) -> Array:
    """Adds the upper lid's crease and the fold that hangs over it; `points` (n, 3) begin with the lids' rings."""
    over = np.sin(np.pi * np.clip((np.arange(LID_POINTS) - 1) / 14, 0, 1)) ** 0.7
    for ring, (dy, dz) in ((1, (0.0, 0.03)), (2, (0.02, -0.06)), (3, (-0.04, 0.06)), (4, (-0.02, 0.04))):
        rows = slice(ring * LID_POINTS, (ring + 1) * LID_POINTS)
        points[rows, 1] += dy * over
        points[rows, 2] += dz * over
    return points


def _add_crown(half: Half, plane: Array, skin: Ints) -> None:
    """Adds a fan from the skin's top row to one vertex."""
    top_row = np.flatnonzero(np.abs(plane[:, 1] - 10.6) < 1e-9)
    top_row = skin[top_row[np.argsort(plane[top_row, 0])]]
    pole = half.add(np.array([[0.0, relief.CROWN, 1.2]]), Part.SKIN, "crown", np.array([[0.0, relief.CROWN]]))
    half.strip(np.stack([np.repeat(pole, len(top_row)), top_row])[::-1], Part.SKIN)


def _midline(u: float, levels: Array) -> Array:
    return np.stack([np.full(len(levels), u), levels], 1)


def _with_depth(points: Array) -> Array:
    """Front points (n, 2) in x, y with the depth of the relief, (n, 3)."""
    plane = points.astype(float)
    for _ in range(8):  # u for the given x
        surface = relief.surface(plane)
        plane = plane + np.stack([points[:, 0] - surface[:, 0], points[:, 1] - surface[:, 1]], 1)
    return relief.surface(plane)


def _outward(loop: Array, closed: bool) -> Array:
    """Unit outward normals in the plane of a clockwise loop (n, 2), blended with the direction from its middle."""
    if closed:
        tangent = np.roll(loop, -1, 0) - np.roll(loop, 1, 0)
        centre = loop.mean(0)
    else:
        tangent = np.gradient(loop, axis=0)
        centre = np.array([0.0, loop[:, 1].mean()])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    radial = (loop - centre) / np.array([1.6, 1.0])
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    blend = normal + 0.4 * radial
    if not closed:
        blend[[0, -1], 0] = 0.0
    return blend / np.linalg.norm(blend, axis=1, keepdims=True)


def _inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, 0).T
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return (crosses & (x < at)).sum(1) % 2 == 1


def _spacing(plane: Array) -> Array:
    """The desired distance of vertices, cm: fine at eyes, nose and mouth, coarse under the hair and on the neck."""
    u, v = plane[:, 0], plane[:, 1]
    nose = np.hypot(u / 1.0, (v + 3.2) / 1.6) - 2.2
    brow = np.hypot((u - 3.2) / 1.3, (v - 1.2) / 0.9) - 2.6
    mouth = np.hypot(u / 1.2, v + 7.2) - 2.6
    near = np.minimum(np.minimum(nose, brow), mouth)
    fine = 0.34 + 0.13 * np.clip(near, 0, 3.2) + 0.05 * np.clip(near - 3.2, 0, 30)
    front = np.hypot(u / 1.3, v + 2.5) < 6.4
    return np.where(front, np.minimum(fine, 0.55), np.clip(fine, 0.3, 1.35))


def _fill(fixed_plane: Array) -> Array:
    """Free positions (n, 2) of the plane, spread by `_spacing` around the fixed ones; `_relax` settles them."""
    columns = np.arange(0.13, relief.U_BACK - 0.1, 0.17)
    levels = np.arange(relief.NECK_BASE + 0.15, 10.6, 0.15)
    candidates = np.stack(np.meshgrid(columns, levels, indexing="ij"), -1)
    candidates[:, 1::2, 0] += 0.085
    candidates = candidates.reshape(-1, 2)
    candidates = candidates[candidates[:, 0] < relief.U_BACK - 0.15]
    # most central first, so that the face's own pattern does not depend on the neck's
    order = np.lexsort((candidates[:, 0], np.round(np.hypot(candidates[:, 0], candidates[:, 1] + 3), 3)))
    candidates = candidates[order]
    points = relief.surface(candidates)
    wanted = _spacing(candidates)
    fixed = relief.surface(fixed_plane)
    free = cKDTree(fixed).query(points)[0] > 0.72 * wanted
    tree = cKDTree(points)
    kept: list[int] = []
    for i in range(len(candidates)):
        if free[i]:
            kept.append(i)
            free[tree.query_ball_point(points[i], wanted[i])] = False
    return candidates[kept]


def _relax(plane: Array, movable: NDArray[np.bool_], along: NDArray[np.bool_], rounds: int = 12) -> Array:
    """Moves free vertices towards the mean of their neighbours; those on a midline (`along`) only up and down."""
    plane = plane.copy()
    for _ in range(rounds):
        triangles = Delaunay(plane).simplices
        edges = np.unique(
            np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1), axis=0
        )
        total, degree = np.zeros_like(plane), np.zeros(len(plane))
        for a, b in ((0, 1), (1, 0)):
            np.add.at(total, edges[:, a], plane[edges[:, b]])
            np.add.at(degree, edges[:, a], 1)
        step = 0.5 * (total / degree[:, None] - plane)
        step[along, 0] = 0.0
        plane[movable] += step[movable]
    return plane

"""The right half of the procedural head while it is built: points, triangles and names, part by part."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import Part
from lssl.face3d.procedural import relief

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Half:
    points: list[Array] = field(default_factory=list)
    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    planes: list[Array] = field(default_factory=list)
    faces: list[Ints] = field(default_factory=list)
    face_parts: list[NDArray[np.uint8]] = field(default_factory=list)
    groups: dict[str, Ints] = field(default_factory=dict)
    count: int = 0

    def add(self, points: Array, part: Part, group: str | None = None, plane: Array | None = None) -> Ints:
        """Adds points; returns their vertex numbers, in the shape of `points` without its last axis."""
        flat = points.reshape(-1, 3)
        index = np.arange(self.count, self.count + len(flat)).reshape(points.shape[:-1])
        self.count += len(flat)
        self.points.append(flat)
        self.parts.append(np.full(len(flat), part, np.uint8))
        self.planes.append(np.full((len(flat), 2), np.nan) if plane is None else plane.reshape(-1, 2))
        if group:
            self.groups[group] = index
        return index

    def join(self, faces: Ints, part: Part) -> None:
        if len(faces):
            self.faces.append(np.asarray(faces))
            self.face_parts.append(np.full(len(faces), part, np.uint8))

    def strip(self, rows: Ints, part: Part, closed: bool = False) -> None:
        """Adds the triangles of a grid (R, C) of vertex numbers; closed joins the last column to the first."""
        if closed:
            rows = np.concatenate([rows, rows[:, :1]], 1)
        a, b, c, d = rows[:-1, :-1], rows[:-1, 1:], rows[1:, 1:], rows[1:, :-1]
        triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], -2).reshape(-1, 3)
        distinct = (triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])
        self.join(triangles[distinct & (triangles[:, 0] != triangles[:, 2])], part)


def resample(loop: Array, closed: bool) -> Array:
    """Twice the points: one more between each two, interpolated cubically."""
    if closed:
        before, after, beyond = np.roll(loop, 1, 0), np.roll(loop, -1, 0), np.roll(loop, -2, 0)
        middle = (9 * (loop + after) - before - beyond) / 16
        return np.stack([loop, middle], 1).reshape(-1, loop.shape[1])
    padded = np.concatenate([2 * loop[:1] - loop[1:2], loop, 2 * loop[-1:] - loop[-2:-1]])
    middle = (9 * (padded[1:-2] + padded[2:-1]) - padded[:-3] - padded[3:]) / 16
    out = np.empty((2 * len(loop) - 1, loop.shape[1]))
    out[::2], out[1::2] = loop, middle
    return out


def lip_border() -> Array:
    """The lips' outer border of the right half, (29, 3): upper middle, corner (index 14), lower middle."""
    return resample(np.concatenate([relief.UPPER_BORDER, relief.LOWER_BORDER[::-1]]), closed=False)

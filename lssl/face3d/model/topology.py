"""The structure of a face mesh: triangles, part labels, landmarks, jaw contours, mirror map."""

from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]


class Part(IntEnum):
    """Part of the head that a vertex or triangle belongs to.

    An eyeball (sclera, iris, pupil) is a component of its own: no triangle joins it to the skin, so that gaze can turn
    it. NOSE and BROWS are named parts of the skin; NECK begins below the jaw; INNER_MOUTH is the dark behind the lips.
    """

    SKIN = 0
    LIPS = 1
    SCLERA = 2
    IRIS = 3
    PUPIL = 4
    BROWS = 5
    NOSE = 6
    INNER_MOUTH = 7
    TEETH = 8
    TONGUE = 9
    HAIR = 10
    NECK = 11
    EARS = 12
    LASHES = 13
    CLOTHES = 14


EYEBALL_PARTS = (Part.SCLERA, Part.IRIS, Part.PUPIL)

# Part -> label of a data set's masks (lssl/data/folder.py), which are the face parser's classes. Lips are only the
# lips: what the open mouth shows is background, as in masks drawn from landmarks (lssl/data/masks.py). Brows and nose
# are skin; hair, ears, neck and clothes are not face.
PARSER_CLASS_OF_PART: dict[Part, int] = {
    Part.SKIN: 1,
    Part.LIPS: 2,
    Part.SCLERA: 3,
    Part.IRIS: 3,
    Part.PUPIL: 3,
    Part.BROWS: 1,
    Part.NOSE: 1,
    Part.INNER_MOUTH: 0,
    Part.TEETH: 0,
    Part.TONGUE: 0,
    Part.HAIR: 0,
    Part.NECK: 0,
    Part.EARS: 0,
    Part.LASHES: 1,
    Part.CLOTHES: 0,
}


@dataclass(frozen=True, eq=False)
class FaceTopology:
    """The part of a face model that does not depend on its weights.

    faces (F, 3) int32: counter-clockwise seen from outside.
    vertex_parts (V,), face_parts (F,) uint8: `Part` labels; masks are drawn from `face_parts`.
    landmarks (68,) int32: the vertex of each iBUG landmark; 0 is the jaw's end on the left of a frontal face's image.
    jaw_contours (17, C) int32: the vertices that each jaw landmark may slide to when the head turns; column 0 is
        `landmarks[:17]`, the rest lead forward over the cheek at about the same height (a row repeats its last vertex
        as padding).
    mirror (V,) int32: the vertex at the mirrored position (x -> -x); an involution.
    weld (V,) int32: the lowest vertex at the same position; welded vertices share one normal, so that a part's colour
        can end sharply on a smooth surface (duplicate the vertices along the line). Default: nothing is welded.
    Raises ValueError naming the field if shapes, ranges or the involution do not hold.
    """

    faces: IntArray
    vertex_parts: NDArray[np.uint8]
    face_parts: NDArray[np.uint8]
    landmarks: IntArray
    jaw_contours: IntArray
    mirror: IntArray
    weld: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        for item in fields(self):
            given = np.asarray(getattr(self, item.name))
            if given.dtype.kind not in "biuf" or (given.dtype.kind == "f" and (given != np.floor(given)).any()):
                raise ValueError(f"{item.name}: expected whole numbers")
            dtype = np.uint8 if item.name.endswith("_parts") else np.int32
            object.__setattr__(self, item.name, np.ascontiguousarray(given, dtype=dtype))
        if self.vertex_parts.ndim != 1:
            raise ValueError(f"vertex_parts: expected (V,), got {self.vertex_parts.shape}")
        count = len(self.vertex_parts)
        if self.weld.size == 0:
            object.__setattr__(self, "weld", np.arange(count, dtype=np.int32))
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise ValueError(f"faces: expected (F, 3), got {self.faces.shape}")
        if self.face_parts.shape != (len(self.faces),):
            raise ValueError(f"face_parts: expected ({len(self.faces)},), got {self.face_parts.shape}")
        if self.landmarks.shape != (68,):
            raise ValueError(f"landmarks: expected (68,), got {self.landmarks.shape}")
        if self.jaw_contours.ndim != 2 or self.jaw_contours.shape[0] != 17:
            raise ValueError(f"jaw_contours: expected (17, C), got {self.jaw_contours.shape}")
        if not np.array_equal(self.jaw_contours[:, 0], self.landmarks[:17]):
            raise ValueError("jaw_contours: the first column must be landmarks[:17]")
        for name in ("mirror", "weld"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name}: expected ({count},), got {getattr(self, name).shape}")
        self._check_values()

    def _check_values(self) -> None:
        count = len(self.vertex_parts)
        for name in ("faces", "landmarks", "jaw_contours", "mirror", "weld"):
            values = getattr(self, name)
            if values.size and (values.min() < 0 or values.max() >= count):
                raise ValueError(f"{name}: vertex numbers must be in 0..{count - 1}")
        for name in ("vertex_parts", "face_parts"):
            values = getattr(self, name)
            if values.size and values.max() > max(Part):
                raise ValueError(f"{name}: labels must be in 0..{max(Part).value} (see Part)")
        if not np.array_equal(self.mirror[self.mirror], np.arange(count)):
            raise ValueError("mirror: not an involution")

    @property
    def num_vertices(self) -> int:
        return len(self.vertex_parts)

    @property
    def parser_class_of_face(self) -> NDArray[np.uint8]:
        """(F,) uint8: the parser class (`MASK_LABELS`) of each triangle."""
        table = np.array([PARSER_CLASS_OF_PART[part] for part in Part], np.uint8)
        return table[self.face_parts]

    @property
    def has_eyeballs(self) -> bool:
        """True if eyeballs are components of their own, so that gaze can turn them."""
        eye = np.isin(self.vertex_parts, EYEBALL_PARTS)
        corners = eye[self.faces]
        return bool(eye.any() and (corners.all(1) | ~corners.any(1)).all())

    def select_faces(self, keep: NDArray[np.bool_]) -> "FaceTopology":
        """The same vertices with only the triangles where keep (F,) is true."""
        return FaceTopology(
            self.faces[keep],
            self.vertex_parts,
            self.face_parts[keep],
            self.landmarks,
            self.jaw_contours,
            self.mirror,
            self.weld,
        )


def vertex_parts_to_faces(faces: IntArray, vertex_parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of each triangle (F,): the one that two of its corners share, else that of its first corner."""
    a, b, c = (vertex_parts[faces[:, i]] for i in range(3))
    return np.where(b == c, b, a).astype(np.uint8)


def mirror_by_position(vertices: NDArray[np.floating], tolerance: float) -> IntArray:
    """(V,) mirror map of a nearly symmetric mesh (V, 3): mutual nearest neighbours under x -> -x.

    A vertex without a mutual neighbour within `tolerance` (the mesh's unit) is its own mirror.
    """
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(vertices).query(vertices * np.array([-1.0, 1.0, 1.0]))
    index = np.arange(len(vertices))
    mutual = (nearest[nearest] == index) & (distance <= tolerance) & (distance[nearest] <= tolerance)
    return np.where(mutual, nearest, index).astype(np.int32)


def jaw_paths(
    vertices: NDArray[np.floating], faces: IntArray, start: NDArray[np.integer], end: NDArray[np.integer]
) -> IntArray:
    """Jaw contours (17, C): vertices along the surface from each jaw landmark `start` (17,) to its position `end` (17,)
    on a turned head, by shortest paths over the mesh's edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    # Leaving the level costs more: contours run level, as silhouettes slide.
    step = vertices[edges[:, 0]] - vertices[edges[:, 1]]
    length = np.linalg.norm(step * [1.0, 2.0, 1.0], axis=1)
    graph = coo_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    paths = []
    for row, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        path = [last]
        while path[-1] != first and before[row, path[-1]] >= 0:
            path.append(int(before[row, path[-1]]))
        paths.append(path[::-1] if path[-1] == first else [first])
    longest = max(map(len, paths))
    return np.array([path + path[-1:] * (longest - len(path)) for path in paths], np.int32)

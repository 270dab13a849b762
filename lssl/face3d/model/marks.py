"""What a mesh without names needs to become a model: landmark vertices and part labels, read from text files, and a
topology made from them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.tables import read_text
from lssl.errors import LsslError
from lssl.face3d.model.topology import FaceTopology, Part, jaw_paths, mirror_by_position, vertex_parts_to_faces

Ints = NDArray[np.int64]
# Jaw landmarks that slide when the head turns; those near the chin do not.
_SLIDING = (0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16)
_INWARD = 0.52  # where the cheek's silhouette is on a turned head, as a share of the distance from the middle


def read_landmark_vertices(path: str | Path) -> Ints:
    """(68,) vertex numbers from 0, in iBUG order, or (85,) with the 17 of the turned head's jaw line after them.

    The file holds whole numbers separated by spaces, commas or line breaks; `#` begins a comment. Raises LsslError
    naming the file.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except LsslError as error:
        raise LsslError(f"{error}; expected a text file of 68 vertex numbers") from None
    words = " ".join(line.split("#")[0] for line in text.splitlines()).replace(",", " ").replace(";", " ").split()
    try:
        numbers = np.array([int(word) for word in words], np.int64)
    except ValueError as error:
        raise LsslError(f"{path}: {error}; expected whole numbers") from None
    if len(numbers) not in (68, 85):
        raise LsslError(f"{path}: {len(numbers)} numbers; expected 68, or 68 and the 17 of the turned jaw line")
    if (numbers < 0).any():
        raise LsslError(f"{path}: vertex numbers count from 0; {int(numbers.min())} is not one")
    return numbers


def size_doubt(neutral: NDArray[np.floating], landmarks: Ints, unit: str) -> str:
    """What is odd about the size of a mean neutral face (V, 3), in centimetres after scaling from `unit`; empty if the
    outer corners of the eyes are 5 to 15 cm apart (about 9 in people)."""
    apart = float(np.linalg.norm(neutral[landmarks[45]] - neutral[landmarks[36]]))
    if 5 <= apart <= 15:
        return ""
    scales = {"cm": 1.0, "mm": 0.1, "m": 100.0}
    fits = [name for name, scale in scales.items() if 5 <= apart / scales[unit] * scale <= 15]
    fix = f"; --unit {fits[0]} would fit" if fits else ""
    return f"the eyes' outer corners are {apart:.3g} cm apart (9 in people){fix}"


def pose_doubt(neutral: NDArray[np.floating], landmarks: Ints) -> str:
    """What is odd about how a mean neutral face (V, 3) stands; empty if y points up, z out of the face, and the eye that
    comes first in iBUG's order lies at the smaller x, as seen from the front."""
    at = neutral[landmarks[:68]].astype(np.float64)
    height = abs(float(at[27, 1] - at[8, 1]))
    axes = (
        (
            "the chin lies above the eyes: y must point up (turn the scans, or change the sign of y and z)",
            at[27] - at[8],
            1,
        ),
        ("the nose points backwards: z must point out of the face", at[30] - at[[0, 16]].mean(0), 2),
        ("the right eye lies where the left should: landmarks 36 to 41 are those at the smaller x", at[45] - at[36], 0),
    )
    return next((why for why, way, axis in axes if way[axis] < -0.1 * height), "")


def read_parts(path: str | Path) -> NDArray[np.uint8]:
    """(V,) part labels from a text file with one part's name per line. Raises LsslError naming file and line."""
    path = Path(path)
    try:
        names = read_text(path).split()
    except LsslError as error:
        raise LsslError(f"{error}; expected one part's name per line") from None
    known = {part.name.lower(): part.value for part in Part}
    for number, name in enumerate(names, start=1):
        if name.lower() not in known:
            raise LsslError(f"{path}, line {number}: unknown part {name!r}; known: {', '.join(known)}")
    return np.array([known[name.lower()] for name in names], np.uint8)


def scan_topology(
    neutral: NDArray[np.floating],
    faces: NDArray[np.int32],
    landmarks: Ints,
    parts: NDArray[np.uint8] | None = None,
) -> FaceTopology:
    """The topology of a neutral mesh (V, 3), centimetres, with landmark vertices as from `read_landmark_vertices`.

    Without parts, everything is skin except the lips, which are found from the landmarks. Raises LsslError if a
    landmark is not a vertex, or if there are too few or too many part labels.
    """
    if landmarks.max() >= len(neutral):
        raise LsslError(f"landmark vertex {int(landmarks.max())}, but the mesh has {len(neutral)} vertices")
    if parts is None:
        parts = np.full(len(neutral), Part.SKIN, np.uint8)
        parts[_lips(neutral, landmarks)] = Part.LIPS
    if len(parts) != len(neutral):
        raise LsslError(f"{len(parts)} part labels, but the mesh has {len(neutral)} vertices")
    turned = landmarks[68:] if len(landmarks) == 85 else turned_jaw(neutral, landmarks[:17])
    size = float(np.linalg.norm(neutral[landmarks[45]] - neutral[landmarks[36]]))
    return FaceTopology(
        faces=faces,
        vertex_parts=parts,
        face_parts=vertex_parts_to_faces(faces, parts),
        landmarks=landmarks[:68].astype(np.int32),
        jaw_contours=jaw_paths(neutral, faces, landmarks[:17], turned),
        mirror=mirror_by_position(neutral, tolerance=0.02 * size),
    )


def turned_jaw(neutral: NDArray[np.floating], jaw: Ints) -> Ints:
    """(17,) vertices on the cheeks, level with the jaw landmarks: where the outline is when the head is turned."""
    turned = jaw.copy()
    reach = 0.04 * float(np.ptp(neutral[jaw, 0]))
    for k in _SLIDING:
        x, y, z = neutral[jaw[k]]
        middle = float(neutral[jaw[8], 0])
        away = np.hypot(neutral[:, 0] - (middle + _INWARD * (x - middle)), neutral[:, 1] - y)
        near = np.flatnonzero((away < max(reach, float(away.min()) * 1.001)) & (neutral[:, 2] > z))
        if len(near):
            turned[k] = near[neutral[near, 2].argmax()]
    return turned


def head_pivot(neutral: NDArray[np.floating], landmarks: NDArray[np.integer]) -> NDArray[np.float64]:
    """The point (3,) for a model's origin: in the middle, level with the bridge of the nose, as deep as the ears."""
    ears = neutral[landmarks[[0, 16]]].mean(0)
    return np.array([ears[0], neutral[landmarks[28], 1], ears[2]], np.float64)


def _lips(neutral: NDArray[np.floating], landmarks: Ints) -> NDArray[np.bool_]:
    from matplotlib.path import Path as Outline

    outer = neutral[landmarks[48:60]]
    inside = Outline(outer[:, :2]).contains_points(neutral[:, :2])
    lips: NDArray[np.bool_] = inside & (neutral[:, 2] > outer[:, 2].min() - 1.0)
    return lips

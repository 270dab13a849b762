"""Names for the procedural mesh's vertices: parts, the 68 landmarks, the jaw's contours."""

import numpy as np
from numpy.typing import NDArray

from lssl.data.landmarks import FLIP_68
from lssl.face3d.model.topology import FaceTopology, Part, vertex_parts_to_faces
from lssl.face3d.procedural import relief
from lssl.face3d.procedural.mesh import Template, build_template

Ints = NDArray[np.int64]

_BROWS = np.array([1.17, 2.4, 3.8, 4.95, 5.8])  # |x| of landmarks 22 to 26
_NOSE_BRIDGE = np.array([0.22, -0.88, -1.95, -3.2])  # y of landmarks 27 to 30
_NOSE_BASE = np.array([(0.0, -4.68, 11.6), (0.6, -4.62, 11.4), (1.25, -4.6, 11.0)])  # landmarks 33 to 35
_UPPER_LIP, _LOWER_LIP = (0.73, 1.72), (1.03, 1.8)  # |x| of landmarks 52, 53 and 56, 55
_INNER_LIP = 1.03  # |x| of landmarks 63 and 65
_CONTOUR_STEPS = 12


def build_topology() -> FaceTopology:
    """The topology of the procedural head."""
    template = build_template()
    parts = _vertex_parts(template)
    face_parts = np.where(
        template.face_parts == Part.SKIN,
        vertex_parts_to_faces(template.faces.astype(np.int32), parts),
        template.face_parts,
    )
    landmarks = _landmarks(template)
    return FaceTopology(
        faces=template.faces.astype(np.int32),
        vertex_parts=parts,
        face_parts=face_parts.astype(np.uint8),
        landmarks=landmarks.astype(np.int32),
        jaw_contours=_jaw_contours(template, landmarks).astype(np.int32),
        mirror=template.mirror.astype(np.int32),
    )


def _vertex_parts(template: Template) -> NDArray[np.uint8]:
    parts = template.vertex_parts.copy()
    x, y, z = np.abs(template.vertices[:, 0]), template.vertices[:, 1], template.vertices[:, 2]
    skin = (parts == Part.SKIN) & ~np.isnan(template.plane[:, 0])
    u, v = template.plane[:, 0], template.plane[:, 1]
    jaw = relief.unroll(relief.JAW)
    below = np.interp(u, jaw[:, 0], jaw[:, 1]) - 0.5
    parts[skin & ((v < below) | ((u > 11.5) & (v < 0)))] = Part.NECK
    parts[
        skin & (x < np.interp(y, [-4.6, -3.9, -2.8, 0.5], [1.3, 1.95, 1.7, 0.8])) & (y < 0.5) & (y > -4.65) & (z > 9)
    ] = Part.NOSE
    brow = template.groups["brow"]
    parts[brow] = parts[template.mirror[brow]] = Part.BROWS
    lashes = template.groups["lids_inside"][0, :17]
    parts[lashes] = parts[template.mirror[lashes]] = Part.LASHES
    return parts


def _nearest(template: Template, candidates: Ints, axis: int, value: float) -> int:
    return int(candidates[np.abs(np.abs(template.vertices[candidates, axis]) - abs(value)).argmin()])


def _landmarks(template: Template) -> Ints:
    groups, vertices = template.groups, template.vertices
    right = np.full(68, -1)
    right[8] = groups["chin"][0]
    right[9:17] = groups["jaw"]
    for k, x in enumerate(_BROWS):
        right[22 + k] = _nearest(template, groups["brow"][1], 0, x)
    middle = groups["mid_front"]
    for k, y in enumerate(_NOSE_BRIDGE):
        right[27 + k] = middle[np.abs(vertices[middle, 1] - y).argmin()]
    skin = groups["skin"].ravel()
    right[33] = middle[np.linalg.norm(vertices[middle] - _NOSE_BASE[0], axis=1).argmin()]
    for k in (1, 2):
        right[33 + k] = skin[np.linalg.norm(vertices[skin] - _NOSE_BASE[k], axis=1).argmin()]
    lid = groups["lids"][0]
    right[42:48] = lid[[0, 6, 11, 16, 21, 27]]
    border, meet = groups["lips_outside"][0], groups["lips"][-1]
    right[51], right[54], right[57] = border[0], border[14], border[-1]
    right[52], right[53] = (_nearest(template, border[:14], 0, x) for x in _UPPER_LIP)
    right[56], right[55] = (_nearest(template, border[15:], 0, x) for x in _LOWER_LIP)
    right[62], right[64], right[66] = meet[0], meet[12], meet[-1]
    right[63] = _nearest(template, meet[:14], 0, _INNER_LIP)
    right[65] = _nearest(template, meet[15:], 0, _INNER_LIP)
    missing = right < 0
    right[missing] = template.mirror[right[np.array(FLIP_68)[missing]]]
    return right


def _jaw_contours(template: Template, landmarks: Ints) -> Ints:
    """For each jaw landmark (17, C) the skin vertices in front of it over the cheek, at about its height."""
    contours = np.repeat(landmarks[:17, None], _CONTOUR_STEPS + 1, 1)
    skin = template.groups["skin"].ravel()
    for k in range(9, 17):
        start = template.vertices[landmarks[k]]
        plane = template.plane[landmarks[k]]
        end = max(1.2, 0.42 * plane[0])
        for step in range(1, _CONTOUR_STEPS + 1):
            u = plane[0] + (end - plane[0]) * step / _CONTOUR_STEPS
            lift = 0.35 * step / _CONTOUR_STEPS * (k < 14)
            wanted = np.array([u, start[1] + lift])
            contours[k, step] = skin[np.linalg.norm(template.plane[skin] - wanted, axis=1).argmin()]
        contours[16 - k] = template.mirror[contours[k]]
    return contours

"""ICT-FaceKit's landmarks (from its documentation) and the parts of its mesh, found from materials and landmarks."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lssl.face3d.model.colours import soften
from lssl.face3d.model.topology import Part

Array = NDArray[np.float64]

# Multi-PIE 68 landmarks and the jaw line of a turned head (landmarks 0 to 7, then 9 to 16).
LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
JAW_TURNED = (
    1278, 1272, 12, 1834, 243, 781, 2199, 1447, 3661, 4390, 3022, 2484, 4036, 2253, 3490, 3496,
)  # fmt: skip

_OUTSIDE = 11248  # vertices of face, head and neck come first; then the linings of mouth and eye sockets
_FACE = 9409
# The generic mesh's centimetres.
_BROW_THICKNESS = 0.42
_IRIS_RADIUS, _PUPIL_RADIUS = 0.62, 0.26
_COLLAR = -9.6
_FACE_END = 2.6  # depth at which cheeks end and ears begin

_BY_MATERIAL = {
    "M_GumsTongue": Part.INNER_MOUTH,
    "M_Teeth": Part.TEETH,
    "M_ScleraLeft": Part.SCLERA,
    "M_ScleraRight": Part.SCLERA,
}


def label_parts(
    vertices: Array, faces: NDArray[np.int32], materials: NDArray[np.str_]
) -> tuple[NDArray[np.uint8], Array]:
    """Part of each vertex (V,) and the shares (V, parts) to paint it with, on the generic mesh (V, 3)."""
    points = vertices[list(LANDMARKS)]
    _x, y, z = vertices.T
    parts = np.full(len(vertices), Part.SKIN, np.uint8)
    head = np.arange(len(vertices)) < _OUTSIDE
    lining = (np.arange(len(vertices)) >= _OUTSIDE) & (y < points[33, 1])
    parts[lining] = Part.INNER_MOUTH

    in_front = head & (z > points[[48, 54], 2].min() - 1.5)
    nose = np.array([points[27] + [-0.5, 0, 0], points[31] + [-0.75, 0.35, 0], points[31] + [-0.3, -0.2, 0],
                     points[35] + [0.3, -0.2, 0], points[35] + [0.75, 0.35, 0], points[27] + [0.5, 0, 0]])  # fmt: skip
    parts[in_front & _inside(nose[:, :2], vertices)] = Part.NOSE
    parts[in_front & _inside(_smooth_loop(points[48:60, :2]), vertices)] = Part.LIPS
    parts[_ears(vertices) & (np.arange(len(vertices)) < _FACE)] = Part.EARS
    parts[head & _below_jaw(vertices, points)] = Part.NECK
    parts[head & (y < _COLLAR) & ((np.arange(len(vertices)) >= _FACE) | (y < _COLLAR - 1.6))] = Part.CLOTHES
    parts[head & (parts == Part.SKIN) & (_above_hairline(vertices) > 0)] = Part.HAIR
    parts[head & (parts == Part.NECK) & (_above_hairline(vertices) > 0)] = Part.HAIR
    behind = head & (parts == Part.SKIN) & (z < _FACE_END)
    parts[behind] = np.where(y[behind] > points[3, 1], Part.EARS, Part.NECK)
    for material, part in _BY_MATERIAL.items():
        parts[np.unique(faces[materials == material])] = part

    paint = parts.copy()
    for brow in (points[17:22], points[22:27]):
        parts[in_front & (_brow_distance(vertices, brow) < 1.0)] = Part.BROWS
    paint[parts == Part.BROWS] = Part.BROWS
    paint[_tongue(vertices, parts)] = Part.TONGUE
    among = (Part.SKIN, Part.NOSE, Part.EARS, Part.NECK, Part.LIPS, Part.BROWS, Part.HAIR, Part.CLOTHES)
    shares = soften(paint, faces, among, 2)
    _add_eyes(vertices, faces, materials, parts, shares)
    return parts, shares


def _smooth_loop(points: Array, samples: int = 96) -> Array:
    closed = np.concatenate([points, points[:1]])
    t = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    loop: Array = CubicSpline(t, closed, bc_type="periodic")(np.linspace(0, t[-1], samples, endpoint=False))
    return loop


def _inside(polygon: Array, points: Array) -> NDArray[np.bool_]:
    """Whether points (V, 2 or more) lie in a polygon (K, 2) of the frontal plane (even-odd rule)."""
    x, y = points[:, :1], points[:, 1:2]
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, 0).T
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    inside: NDArray[np.bool_] = (np.where(crosses, x < at, False).sum(1) % 2).astype(bool)
    return inside


def _brow_distance(vertices: Array, brow: Array) -> Array:
    """Distance (V,) from a brow's line in the frontal plane, in half thicknesses; thin at the outer end."""
    spline = CubicSpline(np.arange(5), brow[:, :2])
    t = np.linspace(-0.1, 4.1, 120)
    line = spline(t) - [0.0, 0.22]
    outer = np.abs(brow[-1, 0]) > np.abs(brow[0, 0])
    along = (t / 4 if outer else 1 - t / 4).clip(0, 1)
    width = _BROW_THICKNESS * (1 - 0.72 * along**1.5)
    distance: Array = (np.linalg.norm(vertices[:, None, :2] - line, axis=-1) / width).min(1)
    return distance


def _ears(vertices: Array) -> NDArray[np.bool_]:
    x, y, z = vertices.T
    ears: NDArray[np.bool_] = (np.abs(x) > 7.95) & (y > -3.0) & (y < 4.6) & (z < 2.6)
    return ears


def _below_jaw(vertices: Array, points: Array) -> NDArray[np.bool_]:
    """Whether vertices lie under the jaw line, which is continued straight back at the ear lobes' height."""
    x, y, _ = vertices.T
    half = points[8:17]
    line = np.interp(np.abs(x), half[:, 0], half[:, 1], right=half[-3, 1])
    below: NDArray[np.bool_] = y < np.minimum(line, points[2, 1]) - 0.25
    return below


def _above_hairline(vertices: Array) -> Array:
    """Height (V,) above the generic head's hairline, which is high in front, lower before the ears, low at the nape."""
    _x, y, z = vertices.T
    depth = [-12.0, -6.0, -3.0, -1.9, -0.5, 1.8, 2.9, 3.6, 5.5, 7.5, 9.2, 13.0]
    height = [-5.5, -5.0, -3.5, 2.0, 4.3, 3.0, 2.6, 5.6, 7.0, 9.0, 10.3, 10.9]
    above: Array = y - np.interp(z, depth, height)
    return above


def _tongue(vertices: Array, parts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    index = np.arange(len(vertices))
    return (index >= 14062) & (parts == Part.INNER_MOUTH) & (np.abs(vertices[:, 0]) < 1.5)


def _add_eyes(
    vertices: Array,
    faces: NDArray[np.int32],
    materials: NDArray[np.str_],
    parts: NDArray[np.uint8],
    shares: Array,
) -> None:
    """Draws iris and pupil around each eyeball's axis; shares blend over the spacing of vertices, for smooth rings."""
    for side in ("M_ScleraLeft", "M_ScleraRight"):
        eye = np.unique(faces[materials == side])
        apex = vertices[eye][vertices[eye, 2].argmax()]
        radius = np.hypot(*(vertices[eye, :2] - apex[:2]).T)
        radius[vertices[eye, 2] < apex[2] - 1.0] = 9.0
        iris = np.clip((_IRIS_RADIUS - radius) / 0.06 + 0.5, 0, 1)
        pupil = np.clip((_PUPIL_RADIUS - radius) / 0.06 + 0.5, 0, 1)
        shares[eye] = 0.0
        shares[eye, Part.SCLERA] = 1 - iris
        shares[eye, Part.IRIS] = iris - pupil
        shares[eye, Part.PUPIL] = pupil
        parts[eye] = np.where(pupil > 0.5, Part.PUPIL, np.where(iris > 0.5, Part.IRIS, Part.SCLERA))

"""Who the procedural person is: shape dimensions of the neutral face, as smooth displacements of the mean head.

Each dimension has unit spread; its displacement is for one standard deviation. Sizes follow the spread of adult
anthropometry (Farkas 1994, Anthropometry of the Head and Face): breadths and lengths vary by 4 to 8 %.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import EYEBALL_PARTS, Part
from lssl.face3d.procedural import relief
from lssl.face3d.procedural.mesh import Template, build_template
from lssl.face3d.procedural.relief import EYE_CENTRE

Array = NDArray[np.float64]
# displacement (V, 3) of points given as |x|, y, z; x positive is away from the midline
Displacement = Callable[[Array, Array, Array], "tuple[Array | float, Array | float, Array | float]"]


def bump(a: Array, b: Array, centre: tuple[float, float], spread: tuple[float, float]) -> Array:
    """A Gaussian of two coordinates, 1 at the centre."""
    return np.exp(-(((a - centre[0]) / spread[0]) ** 2) - ((b - centre[1]) / spread[1]) ** 2)


def ramp(a: Array, start: float | Array, end: float | Array) -> Array:
    """A smooth step from 0 at start to 1 at end (start may be the larger)."""
    t = np.clip((a - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def front(z: Array, start: float = 3.0, end: float = 7.0) -> Array:
    return ramp(z, start, end)


def _nose(x: Array, y: Array, z: Array) -> Array:
    """1 on the nose, falling to 0 on the cheeks."""
    return ramp(x, 2.9, 1.3) * ramp(y, 1.4, 0.0) * ramp(y, -6.3, -4.7) * front(z, 8, 9.5)


_MODES: dict[str, Displacement] = {
    "head size": lambda x, y, z: (0.03 * x, 0.03 * y, 0.03 * (z - 2)),
    "head width": lambda x, y, z: (0.045 * x, 0, 0),
    "head depth": lambda x, y, z: (0, 0, 0.05 * (z - 6) * ramp(z, 8, 4)),
    "face length": lambda x, y, z: (0, 0.05 * np.clip(y, -30, 2), 0),
    "skull height": lambda x, y, z: (0, 0.06 * np.clip(y - 3, 0, None), 0),
    "forehead slope": lambda x, y, z: (0, 0, -0.11 * np.clip(y - 2.5, 0, 5) * front(z, 1, 8)),
    "forehead width": lambda x, y, z: (0.05 * x * ramp(y, 0.5, 3.5), 0, 0),
    "temples": lambda x, y, z: (-0.25 * bump(y, z, (1.5, 5.5), (2.2, 3.0)), 0, 0),
    "brow ridge": lambda x, y, z: (
        0,
        -0.05 * bump(x, y, (2.5, 2.0), (3.0, 1.0)) * front(z, 5, 8),
        0.26 * bump(x, y, (2.2, 2.2), (2.8, 0.95)) * front(z, 5, 8),
    ),
    "brow height": lambda x, y, z: (0, 0.21 * bump(x, y, (3.2, 2.6), (3.5, 1.1)) * front(z), 0),
    "brow tilt": lambda x, y, z: (0, 0.09 * (x - 3.2) * bump(x, y, (3.4, 2.5), (3.4, 1.0)) * front(z), 0),
    "brow arch": lambda x, y, z: (0, (0.22 * bump(x, y, (4.0, 2.8), (1.1, 0.8)) - 0.06 * bump(x, y, (1.6, 2.5), (1.0, 0.8))) * front(z), 0),
    "brow spacing": lambda x, y, z: (0.15 * bump(x, y, (2.0, 2.5), (1.6, 0.8)) * front(z) * ramp(x, 0, 1), 0, 0),
    "eye spacing": lambda x, y, z: (0.17 * bump(x, y, (3.4, 0.3), (2.2, 2.2)) * front(z) * ramp(x, 0.2, 1.4), 0, 0),
    "eye depth": lambda x, y, z: (0, 0, -0.2 * bump(x, y, (3.1, 0.1), (1.7, 1.3)) * front(z)),
    "eye tilt": lambda x, y, z: (0, 0.085 * (x - 3.0) * bump(x, y, (3.2, 0.0), (1.7, 1.0)) * front(z), 0),
    "lid hood": lambda x, y, z: (
        0,
        -0.13 * bump(x, y, (3.6, 0.95), (1.4, 0.36)) * front(z),
        0.13 * bump(x, y, (3.5, 0.95), (1.5, 0.38)) * front(z),
    ),
    "eye bags": lambda x, y, z: (
        0,
        0,
        (0.11 * bump(x, y, (3.0, -1.0), (0.95, 0.26)) - 0.09 * bump(x, y, (2.7, -1.6), (1.1, 0.28))) * front(z),
    ),
    "cheekbones": lambda x, y, z: (0.2 * bump(y, z, (-1.3, 6.3), (1.7, 2.6)), 0, 0.2 * bump(x, y, (4.5, -1.4), (1.5, 1.3)) * front(z)),
    "cheek hollow": lambda x, y, z: (-0.24 * bump(y, z, (-5.0, 6.5), (1.9, 2.6)), 0, -0.22 * bump(x, y, (4.5, -5.0), (1.4, 1.7)) * front(z)),
    "face fat": lambda x, y, z: (
        0.32 * bump(y, z, (-5.6, 5.3), (4.6, 4.4)) * ramp(x, 2.5, 5),
        -0.3 * bump(y, z, (-12.0, 7.0), (1.6, 2.6)) * ramp(x, 6, 2),
        0.26 * bump(x, y, (4.2, -5.0), (1.8, 2.8)) * front(z) + 0.15 * bump(y, z, (-12.0, 6.0), (1.8, 2.2)),
    ),
    "nose length": lambda x, y, z: (0, -0.24 * ramp(y, 0.8, -3.2) * _nose(x, y, z), 0),
    "nose width": lambda x, y, z: (0.19 * bump(x, y, (1.7, -3.8), (0.8, 1.1)) * ramp(x, 0.1, 1.4) * front(z, 8, 9.5), 0, 0),
    "nose bridge height": lambda x, y, z: (0, 0, 0.24 * bump(x, y, (0, -0.7), (0.85, 1.5)) * front(z, 8, 9.5)),
    "nose bridge width": lambda x, y, z: (0.11 * bump(x, y, (0.95, -1.0), (0.55, 1.6)) * ramp(x, 0, 0.8) * front(z, 8, 9.5), 0, 0),
    "nose tip height": lambda x, y, z: (0, 0, 0.28 * bump(x, y, (0, -3.4), (1.1, 1.6)) * front(z, 8, 9.5)),
    "nose tip tilt": lambda x, y, z: (0, 0.24 * bump(x, y, (0, -3.6), (0.9, 0.95)) * front(z, 8, 9.5), 0),
    "nose tip width": lambda x, y, z: (0.12 * bump(x, y, (0.75, -3.3), (0.6, 0.8)) * ramp(x, 0, 0.6) * front(z, 8, 9.5), 0, 0),
    "nose hump": lambda x, y, z: (0, 0, 0.13 * bump(x, y, (0, -1.5), (0.6, 0.75)) * front(z, 8, 9.5)),
    "nostril arch": lambda x, y, z: (0, 0.13 * bump(x, y, (1.45, -4.1), (0.5, 0.5)) * front(z, 8, 9.5), 0),
    "mouth height": lambda x, y, z: (0, 0.2 * bump(x, y, (0, -7.0), (3.0, 1.5)) * front(z, 4, 8), 0),
    "mouth width": lambda x, y, z: (0.085 * x * bump(x, y, (0, -6.95), (3.1, 1.6)) * front(z, 4, 8), 0, 0),
    "upper lip": lambda x, y, z: (0, 0.13 * bump(x, y, (0.4, -5.95), (1.7, 0.42)) * front(z, 8, 9.5), 0.07 * bump(x, y, (0, -6.25), (1.7, 0.45)) * front(z, 8, 9.5)),
    "lower lip": lambda x, y, z: (0, -0.15 * bump(x, y, (0.3, -7.85), (1.7, 0.45)) * front(z, 8, 9.5), 0.08 * bump(x, y, (0, -7.55), (1.7, 0.5)) * front(z, 8, 9.5)),
    "cupid's bow": lambda x, y, z: (0, (0.05 * bump(x, y, (0.6, -5.9), (0.4, 0.3)) - 0.06 * bump(x, y, (0, -5.98), (0.3, 0.3))) * front(z, 8, 9.5), 0),
    "lips forward": lambda x, y, z: (0, 0, 0.2 * bump(x, y, (0, -7.0), (2.3, 1.4)) * front(z, 6, 9)),
    "mouth corners": lambda x, y, z: (0, 0.12 * bump(x, y, (2.5, -7.0), (0.9, 0.7)) * front(z, 7, 9), 0),
    "jaw width": lambda x, y, z: (0.33 * bump(y, z, (-7.0, 5.0), (3.8, 4.0)) * ramp(x, 2, 5), 0, 0),
    "jaw angle": lambda x, y, z: (0.08 * bump(y, z, (-7.5, 4.0), (2.0, 2.5)), -0.5 * bump(y, z, (-7.6, 4.0), (2.4, 2.8)) * ramp(x, 2, 5), 0),
    "chin length": lambda x, y, z: (0, -0.36 * ramp(y, -8.0, -11.0) * ramp(z, 3, 7.5), 0),
    "chin width": lambda x, y, z: (0.3 * bump(y, z, (-10.3, 9.5), (1.7, 2.6)) * ramp(x, 0.2, 2.2), 0, 0),
    "chin forward": lambda x, y, z: (0, 0, 0.38 * bump(x, y, (0, -10.2), (2.7, 1.9)) * front(z, 4, 8)),
    "chin cleft": lambda x, y, z: (0, 0, (0.10 * bump(x, y, (0.65, -9.9), (0.55, 0.8)) - 0.1 * bump(x, y, (0, -10.0), (0.3, 0.8))) * front(z, 6, 9)),
    "nasolabial fold": lambda x, y, z: (0, 0, _fold(x, y) * front(z, 6, 9)),
    "jowls": lambda x, y, z: (0, -0.2 * bump(x, y, (4.1, -9.4), (1.3, 1.3)), 0.12 * bump(x, y, (3.8, -9.0), (0.9, 0.9)) - 0.1 * bump(x, y, (2.9, -9.6), (0.6, 0.8))),
    "neck width": lambda x, y, z: (0.09 * x * ramp(y, -9, -13) * ramp(z, 6, 3.5), 0, 0),
    "ear size": lambda x, y, z: (0, 0, 0),
    "ear angle": lambda x, y, z: (0, 0, 0),
    "ear height": lambda x, y, z: (0, 0, 0),
    "eye size": lambda x, y, z: (0, 0, 0),
    "eye opening": lambda x, y, z: (0, 0, 0),
    "brow thickness": lambda x, y, z: (0, 0, 0),
    "hair volume": lambda x, y, z: (0, 0, 0),
    "hair length": lambda x, y, z: (0, 0, 0),
    "hair sides": lambda x, y, z: (0, 0, 0),
    "hairline": lambda x, y, z: (0, 0, 0),
    "hair fringe": lambda x, y, z: (0, 0, 0),
    "hair top": lambda x, y, z: (0, 0, 0),
    "temple hair": lambda x, y, z: (0, 0, 0),
    "sideburns": lambda x, y, z: (0, 0, 0),
    "parting": lambda x, y, z: (0, 0, 0),
    "crooked nose": lambda x, y, z: (0, 0, 0),
    "crooked mouth": lambda x, y, z: (0, 0, 0),
    "uneven eyes": lambda x, y, z: (0, 0, 0),
    "uneven jaw": lambda x, y, z: (0, 0, 0),
}  # fmt: skip

DIMENSIONS: tuple[str, ...] = tuple(_MODES)

# Hidden causes that tie dimensions together: adulthood's sexual dimorphism, age, weight.
_CAUSES: dict[str, dict[str, float]] = {
    "masculine": {
        "head size": 0.45, "jaw width": 0.5, "brow ridge": 0.65, "chin length": 0.45, "chin width": 0.5,
        "nose length": 0.3, "nose width": 0.35, "upper lip": -0.4, "lower lip": -0.35, "neck width": 0.7,
        "brow thickness": 0.5, "brow height": -0.45, "brow arch": -0.45, "eye opening": -0.35, "eye size": -0.35,
        "hair length": -0.75, "face length": 0.3, "cheek hollow": 0.3, "hair volume": -0.2, "jaw angle": 0.4,
        "hairline": 0.3,
    },
    "age": {
        "eye bags": 0.65, "nasolabial fold": 0.75, "jowls": 0.7, "lid hood": 0.5, "upper lip": -0.35,
        "mouth corners": -0.4, "nose length": 0.25, "hairline": 0.45, "ear size": 0.35, "hair volume": -0.25,
    },
    "weight": {"face fat": 0.85, "cheek hollow": -0.5, "neck width": 0.45, "jaw width": 0.3, "lips forward": 0.15},
}  # fmt: skip


def _fold(x: Array, y: Array) -> Array:
    """The groove from the wing of the nose past the corner of the mouth, with the cheek's bulge beside it."""
    t = np.clip((-3.6 - y) / 3.9, 0, 1)
    line = 2.15 + 1.15 * t + 0.2 * np.sin(np.pi * t)
    along = ramp(y, -3.0, -4.0) * ramp(y, -8.2, -6.6)
    return along * (0.10 * np.exp(-(((x - line - 0.5) / 0.5) ** 2)) - 0.12 * np.exp(-(((x - line) / 0.3) ** 2)))


@cache
def dimension_fields() -> Array:
    """(K, V, 3): each dimension's displacement of every vertex of the template."""
    template = build_template()
    side = np.where(template.vertices[:, 0] < 0, -1.0, 1.0)
    where = template.vertices.copy()
    eyeball = np.isin(template.vertex_parts, EYEBALL_PARTS)
    where[eyeball] = EYE_CENTRE + [0, 0, 1.2]  # an eyeball moves as one
    where[eyeball, 0] *= side[eyeball]
    ear = template.vertex_parts == Part.EARS
    where[ear] = [7.4, -2.0, 0.8]  # and so does an ear
    where[ear, 0] *= side[ear]
    hair = template.vertex_parts == Part.HAIR
    hair &= ~np.isnan(template.plane[:, 0])
    where[hair] = relief.surface(template.plane[hair])  # hair goes with the skin under it
    where[hair, 0] *= side[hair]
    x, y, z = np.abs(where[:, 0]), where[:, 1], where[:, 2]
    fields = np.zeros((len(DIMENSIONS), len(where), 3))
    for k, mode in enumerate(_MODES.values()):
        for axis, value in enumerate(mode(x, y, z)):
            fields[k, :, axis] = value
    _add_special(fields, template, eyeball, ear)
    fields[:, :, 0] *= side
    fields[:, (where[:, 0] == 0), 0] = 0.0
    _add_uneven(fields, where)
    return fields


def _add_special(fields: Array, template: Template, eyeball: NDArray[np.bool_], ear: NDArray[np.bool_]) -> None:
    """Adds dimensions that do not depend on position alone: of ears, lids, brows and hair."""
    index = {name: k for k, name in enumerate(DIMENSIONS)}
    points = template.vertices * [1, 1, 1]
    points[:, 0] = np.abs(points[:, 0])
    from_ear = points[ear] - [7.0, -2.2, 1.6]
    fields[index["ear size"], ear] = 0.07 * from_ear
    fields[index["ear angle"], ear, 0] = 0.13 * np.clip(1.6 - points[ear, 2], 0, None)
    fields[index["ear height"], ear, 1] = 0.25

    from_eye = points - EYE_CENTRE
    near = bump(points[:, 0], points[:, 1], (3.15, 0.0), (1.8, 1.2)) * front(points[:, 2], 6, 8)
    near[eyeball] = 1.0
    fields[index["eye size"]] = 0.055 * near[:, None] * from_eye
    lids = near * np.exp(-((from_eye[:, 1] / 1.1) ** 4)) * ~eyeball
    fields[index["eye opening"], :, 1] = 0.13 * lids * from_eye[:, 1]

    brow = template.groups["brow"]
    thick = np.array([0.11, 0.0, -0.11])[:, None] * np.ones(brow.shape[1])
    for rows in (brow, template.mirror[brow]):
        fields[index["brow thickness"], rows, 1] = thick
    _add_hair(fields, template, index)


def _add_hair(fields: Array, template: Template, index: dict[str, int]) -> None:
    hair, crown = template.groups["hair"], template.groups["hair_crown"]
    rows = len(hair)
    plane = template.plane[hair]
    u = plane[..., 0]
    share = np.linspace(0.1, 1, rows)[:, None] * np.ones_like(u)  # 0 at the crown, 1 at the edge
    points = template.vertices[hair]
    outward = points - np.array([0.0, 2.5, 0.5])
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    soft = 1 - ramp(share, 0.75, 1.0)
    backward = ramp(u, 9.0, 12.0)
    sides = ramp(u, 6.5, 9.5)
    shapes: dict[str, Array] = {}
    shapes["hair volume"] = 0.3 * soft[..., None] * outward
    down = np.zeros_like(points)
    down[..., 1] = -3.3 * ramp(share, 0.45, 1.0) * (0.2 * sides + 0.8 * backward)
    down[..., 0] = 0.35 * ramp(share, 0.4, 0.8) * sides
    shapes["hair length"] = down
    puff = np.zeros_like(points)
    puff[..., 0] = 0.5 * sides * bump(share, share, (0.7, 0.7), (0.3, 9.0)) * ramp(u, 20, 14)
    shapes["hair sides"] = puff
    line = np.zeros_like(points)
    slide = relief.surface(plane + [0.0, 0.5]) - relief.surface(plane - [0.0, 0.5])  # along the skull
    line[:] = 0.6 * slide * (ramp(share, 0.45, 1.0) * ramp(u, 8, 3))[..., None]
    shapes["hairline"] = line
    fringe = -0.8 * slide * (ramp(share, 0.6, 1.0) * ramp(u, 6.5, 3.0))[..., None]
    fringe[..., 2] += 0.14 * ramp(share, 0.7, 1.0) * ramp(u, 6.5, 3.0)
    shapes["hair fringe"] = fringe
    shapes["temple hair"] = 0.8 * slide * (ramp(share, 0.55, 1.0) * bump(u, u, (5.0, 5.0), (2.0, 99.0)))[..., None]
    shapes["sideburns"] = -0.9 * slide * (ramp(share, 0.8, 1.0) * bump(u, u, (9.9, 9.9), (1.0, 99.0)))[..., None]
    top = np.zeros_like(points)
    top[..., 1] = 0.28 * ramp(share, 0.85, 0.3) * ramp(u, 16, 4)
    top[..., 2] = 0.3 * ramp(share, 0.9, 0.5) * ramp(u, 8, 3)
    shapes["hair top"] = top
    for name, shape in shapes.items():
        for numbers in (hair, template.mirror[hair]):
            fields[index[name], numbers] = shape
    fields[index["hair volume"], crown, 1] = 0.3
    fields[index["hair top"], crown, 1] = 0.28
    sweep = 0.55 * slide * (ramp(share, 0.6, 1.0) * ramp(u, 7.5, 4.0) * np.sin(np.clip(u / 5, 0, np.pi / 2)))[..., None]
    sweep[..., 1] += 0.3 * soft * ramp(u, 14, 6) * np.sin(np.clip(u / 8, 0, np.pi / 2))
    for numbers, sign in ((hair, 1.0), (template.mirror[hair], -1.0)):  # one side higher
        fields[index["parting"], numbers] += sign * sweep
        fields[index["parting"], numbers, 0] = sign * sweep[..., 0]


def _add_uneven(fields: Array, where: Array) -> None:
    """Adds the differences between left and right, with signed x."""
    index = {name: k for k, name in enumerate(DIMENSIONS)}
    x, y, z = where.T
    a = np.abs(x)
    fields[index["crooked nose"], :, 0] = 0.12 * _nose(a, y, z) * ramp(y, 0.5, -3.0)
    lower = ramp(y, -4.0, -7.0) * front(z, 3, 7)
    fields[index["crooked mouth"], :, 0] = 0.08 * bump(x, y, (0, -7.0), (3.0, 1.6)) * front(z, 6, 9)
    fields[index["crooked mouth"], :, 1] = 0.035 * x * bump(x, y, (0, -7.0), (3.2, 1.4)) * front(z, 6, 9)
    fields[index["uneven eyes"], :, 1] = 0.017 * x * bump(a, y, (3.2, 1.0), (2.6, 2.4)) * front(z)
    fields[index["uneven jaw"], :, 0] = 0.13 * lower


def sample_dimensions(count: int, generator: np.random.Generator) -> Array:
    """(count, K) unit-variance dimensions, correlated by `_CAUSES`."""
    index = {name: k for k, name in enumerate(DIMENSIONS)}
    loading = np.zeros((len(_CAUSES), len(DIMENSIONS)))
    for row, cause in enumerate(_CAUSES.values()):
        for name, weight in cause.items():
            loading[row, index[name]] = weight
    total = (loading**2).sum(0)
    loading /= np.sqrt(np.maximum(1.0, total / 0.8))
    own = np.sqrt(1 - np.minimum((loading**2).sum(0), 0.8))
    causes = generator.standard_normal((count, len(_CAUSES)))
    noise = generator.standard_normal((count, len(DIMENSIONS)))
    return np.clip(causes @ loading + own * noise, -2.4, 2.4)


def neutral_vertices(dimensions: Array) -> Array:
    """Neutral face (V, 3) of one person from dimensions (K,)."""
    vertices = build_template().vertices + np.tensordot(dimensions, dimension_fields(), 1)
    _keep_lids_on_eyes(build_template(), vertices)
    return vertices


def _keep_lids_on_eyes(template: Template, vertices: Array) -> None:
    """Moves lids that the sum of dimensions pushed into the eyeball out to its surface plus their own thickness."""
    groups = template.groups
    rows = np.concatenate([groups["lids"][:4], groups["lids_inside"][:1]])
    thickness = np.array([0.06, 0.08, 0.10, 0.13, 0.012])[:, None]
    for left, numbers in ((False, rows), (True, template.mirror[rows])):
        centre = eye_centre(template, vertices, left)
        pole = groups["eyeball_pole"][0]
        radius = np.linalg.norm(vertices[template.mirror[pole] if left else pole] - centre)
        offset = vertices[numbers] - centre
        distance = np.linalg.norm(offset, axis=-1)
        vertices[numbers] = centre + offset * (np.maximum(distance, radius + thickness) / distance)[..., None]


def eye_centre(template: Template, vertices: Array, left: bool) -> Array:
    """Centre of an eyeball (3,), from its equator of vertices."""
    ring = template.groups["eyeball"][-2]
    pole = template.groups["eyeball_pole"]
    if left:
        ring, pole = template.mirror[ring], template.mirror[pole]
    middle = vertices[ring].mean(0)
    forward = vertices[pole][0] - middle
    # the ring lies at 80 degrees from the pole
    return middle - forward * (np.cos(np.radians(80.0)) / (1 - np.cos(np.radians(80.0))))

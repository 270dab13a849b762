"""Colours of the procedural person: skin, lips, brows, stubble, hair, eyes; sRGB-encoded, 0 to 1.

Where light hardly reaches (sockets, nostrils, under the chin), colours are darkened, as in a texture.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import Part
from lssl.face3d.procedural.identity import bump, front, ramp
from lssl.face3d.procedural.mesh import build_template
from lssl.face3d.procedural.parts import hairline
from lssl.face3d.procedural.relief import EYE_CENTRE

Array = NDArray[np.float64]

# Mean colours, and how they change from dark to light and from cool to warm for one standard deviation. These are
# straight lines in colour space, so that any mixture of people that a model's modes make has colours that people have.
_SKIN = np.array([0.765, 0.58, 0.48]), np.array([0.115, 0.120, 0.118]), np.array([0.012, -0.006, -0.016])
_HAIR = np.array([0.30, 0.215, 0.160]), np.array([0.160, 0.130, 0.095]), np.array([0.050, -0.004, -0.022])
_IRIS = np.array([0.37, 0.315, 0.245]), np.array([0.075, 0.080, 0.075]), np.array([-0.050, 0.035, 0.105])


@cache
def _shares() -> dict[str, Array]:
    """How much of each colouring every vertex has, (V,) in [0, 1]."""
    template = build_template()
    points, parts, groups = template.vertices, template.vertex_parts, template.groups
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    ahead = front(z, 4, 8)
    both = lambda name: (groups[name], template.mirror[groups[name]])  # noqa: E731
    s: dict[str, Array] = {}
    s["brow"] = np.zeros(len(points))
    columns = groups["brow"].shape[1]
    t = np.linspace(0, 1, columns)
    along = ramp(t, -0.02, 0.10) * ramp(t, 1.0, 0.80)
    soft = 0.85 * ramp(t, 0.0, 0.2) * ramp(t, 0.98, 0.7)
    for numbers in both("brow"):
        s["brow"][numbers] = np.stack([soft, along, soft])
    s["blush"] = ahead * (bump(x, y, (4.2, -2.6), (2.0, 1.7)) + 0.7 * bump(x, y, (0, -3.3), (1.5, 1.1)))
    s["blush"] += 0.8 * (parts == Part.EARS)
    # from the sideburn down the cheek to the mouth's corner and over the lip
    top = np.interp(x, [0, 1.7, 2.8, 4.8, 6.4, 7.5], [-4.95, -4.95, -6.2, -5.9, -3.6, -0.8])
    beard = ramp(y, top + 0.35, top - 0.9) * front(z, 1.0, 4.5)
    beard *= ramp(np.where(np.isnan(template.plane[:, 1]), 0.0, template.plane[:, 1]), -15.0, -11.8)
    s["beard"] = beard * (1 - 0.45 * bump(x, y, (0, -8.5), (0.9, 0.35))) * (parts == Part.SKIN)
    s["tired"] = ahead * (bump(x, y, (2.6, -0.95), (1.0, 0.35)) + 0.5 * bump(x, y, (1.9, 0.0), (0.4, 0.6)))
    s["shadow"] = ahead * bump(x, y, (3.2, 0.75), (1.35, 0.35))
    height = y + 0 * y
    plane = template.plane
    above = np.where(np.isnan(plane[:, 1]), -9.0, plane[:, 1] - hairline(np.nan_to_num(plane[:, 0])))
    s["scalp"] = ramp(above, -0.6, 1.4) * (parts == Part.SKIN)
    s["noise"] = np.sin(7.3 * x + 1.7 * height) * np.sin(6.1 * y - 2.3 * x) * np.sin(5.2 * z + 3.1 * y)
    s["lip_edge"] = np.zeros(len(points))
    s["lip"] = (parts == Part.LIPS).astype(float)
    for numbers in both("lips_outside"):
        s["lip"][numbers[0]] = 0.7
    for numbers in both("lips"):
        s["lip_edge"][numbers[-1]] = 1.0
        s["lip_edge"][numbers[-2]] = 0.35
    return s


@cache
def occlusion() -> Array:
    """(V,) share of ambient light that arrives, about 0.3 in the nostrils, 1 on open skin."""
    template = build_template()
    points, parts, groups = template.vertices, template.vertex_parts, template.groups
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    ahead = front(z, 4, 8)
    dark = ahead * (
        0.16 * bump(x, y, (2.0, 0.75), (0.75, 0.75))
        + 0.10 * bump(x, y, (3.3, 0.72), (1.5, 0.28))
        + 0.14 * bump(x, y, (0.8, -4.5), (0.8, 0.28))
        + 0.18 * bump(x, y, (1.98, -3.9), (0.22, 0.6))
        + 0.12 * bump(x, y, (0, -8.45), (1.3, 0.3))
        + 0.28 * bump(x, y, (2.58, -7.0), (0.22, 0.16))
    )
    under = np.where(np.isnan(template.plane[:, 1]), 0.0, template.plane[:, 1])
    dark += 0.30 * ramp(under, -11.4, -14.0) * ramp(under, -20.5, -16.0) * ramp(z, 1.0, 4.5)
    light = 1 - dark
    light[parts == Part.INNER_MOUTH] *= 0.8
    for name, value in (
        ("nostril", 0.5),
        ("nostril_inside", 0.2),
        ("nostril_end", 0.1),
        ("throat", 0.4),
        ("lips_inside", 0.55),
    ):
        if name in groups:
            for numbers in (groups[name], template.mirror[groups[name]]):
                light[numbers] *= value
    crease = 0.20 * np.sin(np.pi * np.clip((np.arange(groups["lids"].shape[1]) - 1) / 15, 0, 1))
    for numbers in (groups["lids"][2], template.mirror[groups["lids"][2]]):
        light[numbers] *= 1 - crease
    for numbers in (groups["pocket"], template.mirror[groups["pocket"]]):
        light[numbers] *= np.array([0.85, 0.65, 0.45])[:, None]
    for numbers in (groups["ear"], template.mirror[groups["ear"]]):
        light[numbers] *= np.array([0.55, 0.72, 0.92, 0.88, 0.8, 1, 1, 1, 0.9, 0.7, 0.6])[:, None]
    light[groups["ear_middle"]] = light[template.mirror[groups["ear_middle"]]] = 0.5
    for name in ("teeth_upper", "teeth_lower"):
        for numbers in (groups[name], template.mirror[groups[name]]):
            shade = np.linspace(1, 0.55, numbers.shape[1]) ** 1.3
            shade = shade * np.where(np.arange(numbers.shape[1]) % 2 == 0, 0.86, 1.0)
            shade[0] = 0.86
            light[numbers] *= shade
            light[numbers[-1]] *= 0.6
    return light


def sample_albedos(count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(count, V, 3) colours of `count` people."""
    return np.stack([_person(generator) for _ in range(count)])


def _person(generator: np.random.Generator) -> NDArray[np.float32]:
    n = np.clip(generator.standard_normal(11), -2.2, 2.2)
    fair, hair, iris = n[0], 0.55 * n[0] + 0.835 * n[1], 0.45 * n[0] + 0.89 * n[2]
    return colour_person(
        _SKIN[0] + fair * _SKIN[1] + n[3] * _SKIN[2],
        _HAIR[0] + hair * _HAIR[1] + n[4] * _HAIR[2],
        _IRIS[0] + 0.6 * (n[5] + iris) * _IRIS[1] + iris * _IRIS[2],
        beard=0.12 + 0.13 * n[6],
        redness=0.5 + 0.25 * n[7],
        lip_red=0.5 + 0.3 * n[8],
        tired=0.4 + 0.3 * n[9],
        brow_density=0.78 + 0.1 * n[10],
    )


def colour_person(
    skin: Array,
    hair: Array,
    iris: Array,
    *,
    beard: float = 0.0,
    redness: float = 0.5,
    lip_red: float = 0.5,
    tired: float = 0.3,
    brow_density: float = 0.8,
) -> NDArray[np.float32]:
    """Colours (V, 3) of one person from encoded colours (3,) and strengths, about 0 to 1."""
    skin, hair, iris = (np.clip(colour, 0.03, 0.97) for colour in (skin, hair, iris))
    out = _skin_colours(skin, hair, beard, redness, lip_red, tired, brow_density)
    _colour_hair(out, hair)
    _colour_eyes(out, iris)
    _colour_lids(out, skin, hair)
    _colour_mouth(out)
    out *= occlusion()[:, None]
    return np.clip(out, 0.0, 1.0).astype(np.float32)


def _skin_colours(
    skin: Array, hair: Array, beard: float, redness: float, lip_red: float, tired: float, brow_density: float
) -> Array:
    """(V, 3): skin with its blush, shadows, stubble, scalp, brows and lips, at every vertex."""
    s = _shares()
    out = np.tile(skin, (len(s["brow"]), 1))

    def blend(share: Array, colour: Array) -> None:
        out[:] += share[:, None] * (colour - out)

    out *= 1 + 0.012 * s["noise"][:, None]
    out += redness * s["blush"][:, None] * np.array([0.035, -0.035, -0.03]) * (0.4 + skin.mean())
    blend(0.30 * tired * s["tired"], skin * np.array([0.62, 0.52, 0.58]))
    blend(0.22 * s["shadow"], skin * np.array([0.72, 0.58, 0.55]))
    blend(beard * s["beard"], 0.25 * skin + 0.75 * (0.8 * hair + 0.03))
    blend(0.6 * s["scalp"], 0.3 * skin + 0.7 * hair)
    dark_hair = np.minimum(hair, 0.55) * 0.85
    blend(brow_density * s["brow"], dark_hair)
    lip = skin * np.array([0.92, 0.70, 0.70]) + lip_red * np.array([0.02, -0.05, -0.03])
    blend(0.9 * s["lip"], lip)
    blend(0.55 * s["lip_edge"], 0.45 * lip)
    return out


def _colour_hair(out: Array, hair: Array) -> None:
    template = build_template()
    parts, groups = template.vertex_parts, template.groups
    streak = np.ones(len(parts))
    for side, phase in ((groups["hair"], 1.0), (template.mirror[groups["hair"]], -1.0)):
        column = np.arange(side.shape[1])
        wave = np.cos(np.pi * column) * 0.10 + 0.12 * np.sin(2.4 * column + phase)
        streak[side] = 1 + wave[None] * np.linspace(0.3, 1, len(side))[:, None]
        streak[side[-1]] *= 0.8
    hairs = parts == Part.HAIR
    out[hairs] = hair * streak[hairs, None] + 0.05 * (streak[hairs, None] - 1)


def _colour_eyes(out: Array, iris: Array) -> None:
    """Pupils, irises with their fibres, and whites, darker under the lid and redder in the corner."""
    template = build_template()
    parts, groups, points = template.vertex_parts, template.groups, template.vertices
    out[parts == Part.PUPIL] = 0.02
    for rings in (groups["eyeball"], template.mirror[groups["eyeball"]]):
        turn = np.arange(rings.shape[1])
        fibre = 1 + 0.10 * np.sin(5 * turn) + 0.06 * np.cos(9 * turn)
        out[rings[2]] = iris * 0.8
        out[rings[3]] = iris * 1.25 * fibre[:, None]
        out[rings[4]] = iris * 0.85
        out[rings[5]] = 0.35 * iris + 0.12
        white = np.array([0.90, 0.885, 0.87])
        for ring in rings[6:]:
            lid = ramp(points[ring, 1], 0.05, 0.7)
            out[ring] = white * (1 - 0.28 * lid[:, None])
            corner = ramp(np.abs(points[ring, 0]), 2.5, 1.9)[:, None]
            out[ring] += corner * 0.5 * (np.array([0.82, 0.60, 0.56]) - out[ring])
        lid = ramp(points[rings[3], 1], EYE_CENTRE[1] + 0.1, 0.6)
        out[rings[3]] *= 1 - 0.25 * lid[:, None]


def _colour_lids(out: Array, skin: Array, hair: Array) -> None:
    template = build_template()
    groups = template.groups
    lash = 0.55 * np.minimum(hair, 0.3) + 0.03
    inside = groups["lids_inside"]
    upper = np.arange(inside.shape[1]) <= 16
    for margin, rows in ((groups["lids"][0], inside), (template.mirror[groups["lids"][0]], template.mirror[inside])):
        out[rows[:, upper]] = lash
        out[margin[upper]] = 0.35 * out[margin[upper]] + 0.65 * lash
        out[rows[:, ~upper]] = skin * np.array([0.88, 0.68, 0.64])
        out[margin[~upper]] *= 0.82


def _colour_mouth(out: Array) -> None:
    template = build_template()
    parts, groups = template.vertex_parts, template.groups
    out[parts == Part.TEETH] = (0.90, 0.87, 0.80)
    out[parts == Part.TONGUE] = (0.62, 0.30, 0.30)
    out[parts == Part.INNER_MOUTH] = (0.36, 0.12, 0.12)
    for name in ("teeth_upper_gum", "teeth_lower_gum"):
        for numbers in (groups[name], template.mirror[groups[name]]):
            out[numbers] = (0.66, 0.36, 0.36)

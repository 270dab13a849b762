"""Colours of the procedural person: skin, lips, brows, stubble, hair, eyes; sRGB-encoded, 0 to 1.

What light hardly reaches (sockets, nostrils, under the chin) is darkened here, as a texture would have it.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.procedural_identity import bump, front, ramp
from lssl.face3d.procedural_mesh import build_template
from lssl.face3d.procedural_parts import hairline
from lssl.face3d.procedural_relief import EYE_CENTRE
from lssl.face3d.topology import Part

Array = NDArray[np.float64]

# Steps from fair to dark skin.
_SKIN_TONES = np.array(
    [(0.95, 0.81, 0.74), (0.90, 0.73, 0.63), (0.80, 0.61, 0.49), (0.63, 0.44, 0.33), (0.42, 0.28, 0.21)]
)
_HAIR = np.array([(0.10, 0.09, 0.09), (0.17, 0.12, 0.09), (0.30, 0.20, 0.13), (0.46, 0.33, 0.21), (0.76, 0.61, 0.40),
                  (0.52, 0.23, 0.11), (0.60, 0.59, 0.58)])  # fmt: skip
_IRIS = np.array([(0.20, 0.12, 0.08), (0.36, 0.22, 0.12), (0.46, 0.37, 0.20), (0.40, 0.47, 0.32), (0.38, 0.53, 0.66),
                  (0.50, 0.56, 0.60)])  # fmt: skip
# Likelihood of hair and iris colours on fair and on dark skin.
_HAIR_ODDS = np.array([(0.08, 0.24, 0.24, 0.15, 0.14, 0.08, 0.07), (0.72, 0.18, 0.02, 0.0, 0.01, 0.0, 0.07)])
_IRIS_ODDS = np.array([(0.15, 0.25, 0.14, 0.12, 0.24, 0.10), (0.68, 0.28, 0.03, 0.01, 0.0, 0.0)])


@cache
def _shares() -> dict[str, Array]:
    """How much of each colouring every vertex (V,) takes, 0 to 1."""
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
    jaw_side = ramp(x, 4.0, 6.2) * ramp(y, -1.0, -5.0)
    beard = ahead * (ramp(y, -4.9, -5.6) * ramp(x, 2.6, 1.9) + ramp(y, -7.0, -8.2) + 0.0 * y)
    beard = np.maximum(beard, jaw_side * front(z, 1, 4)) * ramp(y, -12.4, -11.2)
    s["beard"] = np.clip(beard * (1 - 0.4 * bump(x, y, (0, -8.5), (0.8, 0.3))), 0, 1)
    s["tired"] = ahead * (bump(x, y, (2.6, -0.95), (1.0, 0.35)) + 0.5 * bump(x, y, (1.9, 0.0), (0.4, 0.6)))
    s["shadow"] = ahead * bump(x, y, (3.2, 0.75), (1.35, 0.35))
    height = y + 0 * y
    plane = template.plane
    above = np.where(np.isnan(plane[:, 1]), -9.0, plane[:, 1] - hairline(np.nan_to_num(plane[:, 0])))
    s["scalp"] = ramp(above, -0.3, 0.9) * (parts == Part.SKIN)
    s["noise"] = np.sin(7.3 * x + 1.7 * height) * np.sin(6.1 * y - 2.3 * x) * np.sin(5.2 * z + 3.1 * y)
    s["lip_edge"] = np.zeros(len(points))
    s["lip"] = (parts == Part.LIPS).astype(float)
    for numbers in both("lips_outside"):
        s["lip"][numbers[0]] = 0.55
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
        + 0.10 * bump(x, y, (2.75, -7.0), (0.35, 0.3))
    )
    under = np.where(np.isnan(template.plane[:, 1]), 0.0, template.plane[:, 1])
    dark += 0.30 * ramp(under, -11.4, -14.0) * ramp(under, -20.5, -16.0) * ramp(z, 1.0, 4.5)
    light = 1 - dark
    light[parts == Part.INNER_MOUTH] *= 0.8
    for name, value in (("nostril", 0.30), ("nostril_inside", 0.12), ("throat", 0.1), ("lips_inside", 0.55)):
        if name in groups:
            for numbers in (groups[name], template.mirror[groups[name]]):
                light[numbers] *= value
    crease = 0.20 * np.sin(np.pi * np.clip((np.arange(groups["lids"].shape[1]) - 1) / 15, 0, 1))
    for numbers in (groups["lids"][2], template.mirror[groups["lids"][2]]):
        light[numbers] *= 1 - crease
    for numbers in (groups["pocket"], template.mirror[groups["pocket"]]):
        light[numbers] *= np.array([0.5, 0.3, 0.15])[:, None]
    for numbers in (groups["ear"], template.mirror[groups["ear"]]):
        light[numbers] *= np.array([0.5, 0.62, 0.85, 0.9, 0.75, 1, 1, 1, 0.9, 0.7, 0.6])[:, None]
    light[groups["ear_middle"]] = light[template.mirror[groups["ear_middle"]]] = 0.45
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
    tone = float(np.clip(generator.beta(1.25, 1.75), 0, 1))
    mix = np.clip(1.3 * tone - 0.1, 0, 1)
    noise = generator.standard_normal(8)
    skin = np.array([np.interp(tone * 4, np.arange(5), _SKIN_TONES[:, c]) for c in range(3)])
    skin = skin + 0.012 * noise[0] * np.array([1, -0.6, -0.8]) + 0.012 * noise[1] * np.array([0.3, 0.2, -1])
    hair = _HAIR[generator.choice(len(_HAIR), p=(1 - mix) * _HAIR_ODDS[0] + mix * _HAIR_ODDS[1])]
    hair = hair * (1 + 0.12 * noise[2])
    iris = _IRIS[generator.choice(len(_IRIS), p=(1 - mix) * _IRIS_ODDS[0] + mix * _IRIS_ODDS[1])]
    beard = float(generator.choice([0.0, 0.15, 0.32, 0.5], p=[0.58, 0.22, 0.13, 0.07]))
    return colour_person(
        skin, hair, iris * (1 + 0.08 * noise[3]), beard=beard,
        redness=float(np.clip(0.5 + 0.3 * noise[4], 0, 1)), lip_red=float(np.clip(0.5 + 0.3 * noise[5], 0, 1.2)),
        tired=float(np.clip(0.35 + 0.3 * noise[6], 0, 1)), brow_density=float(np.clip(0.8 + 0.15 * noise[7], 0.4, 1)),
    )  # fmt: skip


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
    """Colours (V, 3) of one person from encoded colours (3,) and strengths in [0, 1]."""
    template, s = build_template(), _shares()
    parts, groups = template.vertex_parts, template.groups
    points = template.vertices
    out = np.tile(skin, (len(parts), 1))

    def blend(share: Array, colour: Array) -> None:
        out[:] += share[:, None] * (colour - out)

    out *= 1 + 0.012 * s["noise"][:, None]
    out += redness * s["blush"][:, None] * np.array([0.035, -0.035, -0.03]) * (0.4 + skin.mean())
    blend(0.30 * tired * s["tired"], skin * np.array([0.62, 0.52, 0.58]))
    blend(0.22 * s["shadow"], skin * np.array([0.72, 0.58, 0.55]))
    blend(beard * s["beard"], 0.25 * skin + 0.75 * (0.8 * hair + 0.03))
    blend(0.8 * s["scalp"], 0.3 * skin + 0.7 * hair)
    dark_hair = np.minimum(hair, 0.55) * 0.85
    blend(brow_density * s["brow"], dark_hair)
    lip = skin * np.array([0.92, 0.70, 0.70]) + lip_red * np.array([0.02, -0.05, -0.03])
    blend(0.9 * s["lip"], lip)
    blend(0.55 * s["lip_edge"], 0.45 * lip)

    streak = np.ones(len(parts))
    for side, name in ((groups["hair"], 1.0), (template.mirror[groups["hair"]], -1.0)):
        column = np.arange(side.shape[1])
        wave = np.cos(np.pi * column) * 0.10 + 0.12 * np.sin(2.4 * column + name)
        streak[side] = 1 + wave[None] * np.linspace(0.3, 1, len(side))[:, None]
        streak[side[-1]] *= 0.8
    hairs = parts == Part.HAIR
    out[hairs] = hair * streak[hairs, None] + 0.05 * (streak[hairs, None] - 1)

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
    lash = 0.55 * np.minimum(hair, 0.3) + 0.03
    inside = groups["lids_inside"]
    upper = np.arange(inside.shape[1]) <= 16
    for margin, rows in ((groups["lids"][0], inside), (template.mirror[groups["lids"][0]], template.mirror[inside])):
        out[rows[:, upper]] = lash
        out[margin[upper]] = 0.35 * out[margin[upper]] + 0.65 * lash
        out[rows[:, ~upper]] = skin * np.array([0.88, 0.68, 0.64])
        out[margin[~upper]] *= 0.82

    out[parts == Part.TEETH] = (0.90, 0.87, 0.80)
    out[parts == Part.TONGUE] = (0.62, 0.30, 0.30)
    out[parts == Part.INNER_MOUTH] = (0.36, 0.12, 0.12)
    for name in ("teeth_upper_gum", "teeth_lower_gum"):
        for numbers in (groups[name], template.mirror[groups[name]]):
            out[numbers] = (0.66, 0.36, 0.36)
    out *= occlusion()[:, None]
    return np.clip(out, 0.0, 1.0).astype(np.float32)

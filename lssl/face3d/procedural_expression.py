"""What the procedural person's face does: facial actions, and the eight expressions made of them.

Actions are named as in FACS (Ekman and Friesen 1978). Each is worked out on the person's own neutral face: lids turn
round that person's eyeball, the jaw about that person's joint, lips and brows move in proportion to their size. So an
expression is not the same displacement on two people, which is what a bilinear model is there to learn.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.procedural_identity import bump, eye_centre, front, ramp
from lssl.face3d.procedural_mesh import Template, build_template
from lssl.face3d.topology import EYEBALL_PARTS, Part

Array = NDArray[np.float64]

# Strength of each action. A name ending in "_L" acts on the subject's left (the viewer's right) alone.
EXPRESSION_ACTIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "angry": {
        "brow_lower": 1.15, "upper_lid_raise": 0.35, "lid_tighten": 0.55, "lip_press": 0.9, "nose_flare": 0.8,
        "chin_raise": 0.35, "corner_depress": 0.3, "nose_wrinkle": 0.15,
    },
    "contemptuous": {
        "corner_pull_L": 0.7, "dimple_L": 1.0, "brow_outer_raise_L": 0.45, "lid_droop": 0.22, "lid_tighten": 0.2,
        "lip_press": 0.25, "upper_lip_raise_L": 0.22, "chin_raise": 0.2,
    },
    "disgusted": {
        "nose_wrinkle": 1.25, "upper_lip_raise": 1.1, "brow_lower": 0.65, "lid_tighten": 0.6, "lid_droop": 0.1,
        "cheek_raise": 0.5, "chin_raise": 0.4, "corner_depress": 0.45, "lips_part": 0.25,
    },
    "fearful": {
        "brow_inner_raise": 0.95, "brow_outer_raise": 0.5, "brow_lower": 0.35, "upper_lid_raise": 1.0,
        "lip_stretch": 1.0, "lips_part": 0.6, "jaw_drop": 0.28, "lower_lip_depress": 0.5,
    },
    "happy": {
        "cheek_raise": 1.0, "corner_pull": 1.0, "lips_part": 0.75, "upper_lip_raise": 0.25, "lid_tighten": 0.35,
        "jaw_drop": 0.12,
    },
    "sad": {
        "brow_inner_raise": 0.9, "brow_lower": 0.25, "corner_depress": 1.0, "chin_raise": 0.7, "lid_droop": 0.38,
        "lip_pout": 0.4,
    },
    "surprised": {
        "brow_inner_raise": 0.9, "brow_outer_raise": 1.0, "upper_lid_raise": 0.9, "jaw_drop": 1.0, "lips_part": 0.45,
        "lip_funnel": 0.55,
    },
}  # fmt: skip

ACTIONS: tuple[str, ...] = (
    "brow_inner_raise", "brow_outer_raise", "brow_lower", "upper_lid_raise", "lid_tighten", "lid_droop", "lid_close",
    "cheek_raise", "nose_wrinkle", "nose_flare", "upper_lip_raise", "corner_pull", "dimple", "corner_depress",
    "lower_lip_depress", "chin_raise", "lip_stretch", "lip_press", "lip_pout", "lip_funnel", "lips_part", "jaw_drop",
)  # fmt: skip


@dataclass(frozen=True)
class _Regions:
    """Of every vertex, worked out once on the template: position with |x|, masks and weights in [0, 1]."""

    side: Array  # -1, 0, 1: sign of x
    x: Array
    y: Array
    z: Array
    face: Array  # 0 on hair, ears, eyeballs, teeth
    lid_free: Array  # how freely skin near the lids follows the brow and the cheek
    jaw: Array  # share of the jaw's turn
    mouth_lower: Array  # 0 above the line between the lips, 1 below


def _mouth_height(template: Template, x: Array, y: Array) -> Array:
    """Signed height over the line between the lips; on lips by which lip it is, whatever the fold."""
    height = y + 6.9
    lens = np.sqrt(np.clip(1 - (x / 2.55) ** 2, 0, 1)) + 0.015
    groups = template.groups
    lips = np.concatenate([groups["lips_outside"][0][None], groups["lips"], groups["lips_inside"], groups["pocket"]])
    for numbers in (lips, template.mirror[lips]):
        height[numbers[:, :14]] = lens[numbers[:, :14]]
        height[numbers[:, 15:]] = -lens[numbers[:, 15:]]
        height[numbers[:, 14]] = 0.0
    return height


@cache
def _regions() -> _Regions:
    template = build_template()
    points, parts, groups = template.vertices, template.vertex_parts, template.groups
    side = np.sign(points[:, 0])
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    face = (~np.isin(parts, [*EYEBALL_PARTS, Part.HAIR, Part.EARS, Part.TEETH, Part.TONGUE])).astype(float)
    for name in ("teeth_upper_gum", "teeth_lower_gum", "pocket", "throat"):
        for numbers in (groups[name], template.mirror[groups[name]]):
            face[numbers] = 0.0

    lid_free = 1 - bump(x, y, (3.15, 0.0), (1.6, 0.75)) * front(z)
    shares = (0.0, 0.06, 0.2, 0.42, 0.68, 0.9)
    for ring, share in enumerate(shares):
        for numbers in (groups["lids"][ring], template.mirror[groups["lids"][ring]]):
            lid_free[numbers] = share
    for numbers in (groups["lids_inside"], template.mirror[groups["lids_inside"]]):
        lid_free[numbers] = 0.0

    # the line from the mouth's corner up to the joint divides what the jaw carries from what it leaves
    along = np.clip((10.0 - z) / 8.0, 0, 1)
    height = _mouth_height(template, x, y.copy())
    on_lip = height != y + 6.9
    outside = np.clip((x - 2.0) / 2.0, 0, 1)
    line = height - 4.6 * along * ~on_lip
    blend = 0.3 + 1.0 * np.clip((x - 1.0) / 2.0, 0, 1.5) + 2.2 * along
    # on the lips an ellipse: the opening is an oval, whatever the corners do
    jaw = np.where(on_lip, np.clip(0.5 - 0.5 * height, 0, 1), 1 - ramp(line, -blend, blend))
    under = np.where(np.isnan(template.plane[:, 1]), 0.0, template.plane[:, 1])
    jaw *= ramp(under, -17.5, -12.0) * ramp(z, 0.5, 5.0)
    for name, share in (("teeth_lower", 1.0), ("teeth_lower_gum", 1.0), ("tongue", 0.85)):
        for numbers in (groups[name], template.mirror[groups[name]]):
            jaw[numbers] = share
    for name in ("teeth_upper", "teeth_upper_gum", "throat"):
        for numbers in (groups[name], template.mirror[groups[name]]):
            jaw[numbers] = 0.0
    jaw[np.isin(parts, [Part.HAIR, Part.EARS, *EYEBALL_PARTS])] = 0.0
    lower = 1 - ramp(height, -0.12 - 0.5 * outside, 0.12 + 0.5 * outside)
    return _Regions(side, x, y, z, face, lid_free, jaw, lower)


@cache
def _weights() -> dict[str, Array]:
    """Displacement (V, 3) of each sliding action on a face of average size, x away from the midline."""
    r = _regions()
    x, y, z, face = r.x, r.y, r.z, r.face
    upper, lower = face * (1 - r.mouth_lower), face * r.mouth_lower
    skin = face * front(z, 2, 6)
    brow = skin * r.lid_free

    def stack(dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> Array:
        return np.stack(np.broadcast_arrays(dx + 0 * x, dy + 0 * x, dz + 0 * x), -1)

    inner = bump(x, y, (0.9, 2.7), (1.7, 1.5))
    outer = bump(x, y, (4.6, 2.6), (2.1, 1.5))
    corner = bump(x, y, (2.6, -7.0), (1.75, 1.5))
    # a smile is a bow, not a wedge: the corner's pull grows towards the corner
    bow = corner * (0.22 + 0.78 * np.clip(x / 2.6, 0, 1) ** 1.4)
    middle_upper = bump(x, y, (0.0, -6.2), (1.7, 1.0))
    wing = bump(x, y, (1.7, -3.9), (0.75, 0.8))
    fold_t = np.clip((-3.6 - y) / 3.9, 0, 1)
    fold = 2.15 + 1.15 * fold_t + 0.2 * np.sin(np.pi * fold_t)
    fold_along = ramp(y, -2.9, -4.2) * ramp(y, -7.8, -6.3)
    groove = fold_along * (
        0.20 * np.exp(-(((x - fold - 0.65) / 0.6) ** 2)) - 0.17 * np.exp(-(((x - fold) / 0.32) ** 2))
    )
    w: dict[str, Array] = {}
    w["brow_inner_raise"] = stack(
        -0.06 * brow * inner * ramp(x, 0, 1),
        brow * (0.85 * inner + 0.25 * bump(x, y, (1.5, 5.0), (2.5, 1.5)) - 0.08 * outer),
        0.06 * brow * bump(x, y, (0, 4.3), (2.0, 0.4)) - 0.05 * brow * bump(x, y, (0, 3.6), (2.0, 0.3)),
    )
    w["brow_outer_raise"] = stack(0.0, brow * (0.85 * outer + 0.3 * bump(x, y, (3.8, 5.0), (2.5, 1.5))), 0.0)
    pinch = bump(x, y, (1.4, 2.5), (1.6, 1.1))
    w["brow_lower"] = stack(
        -0.34 * brow * pinch * ramp(x, 0.05, 1.2),
        -brow * (0.66 * bump(x, y, (1.2, 2.3), (1.9, 1.35)) + 0.34 * bump(x, y, (4.0, 2.6), (1.8, 1.2))),
        brow
        * (
            0.12 * bump(x, y, (1.2, 2.1), (1.2, 0.8))
            - 0.12 * bump(x, y, (0.28, 2.3), (0.22, 0.9))
            + 0.08 * bump(x, y, (0.7, 2.3), (0.3, 0.9))
        ),
    )
    apple = bump(x, y, (3.7, -2.4), (1.7, 1.5))
    w["cheek_raise"] = stack(
        0.10 * skin * apple,
        skin * r.lid_free * (0.34 * apple + 0.18 * bump(x, y, (3.4, -1.0), (1.8, 0.8))),
        skin
        * (0.24 * apple - 0.06 * bump(x, y, (3.2, -1.25), (1.1, 0.22)) + 0.10 * bump(x, y, (3.2, -0.8), (1.1, 0.25))),
    )
    w["nose_wrinkle"] = stack(
        0.12 * skin * wing,
        skin
        * (0.32 * wing + 0.3 * bump(x, y, (1.5, -2.4), (1.0, 1.2)) - 0.3 * brow * bump(x, y, (0.6, 1.9), (1.4, 0.8))),
        skin
        * (
            0.10 * bump(x, y, (1.3, -1.3), (0.5, 0.6))
            - 0.09 * bump(x, y, (0.5, 0.3), (1.0, 0.16))
            + 0.06 * bump(x, y, (0.5, 0.65), (1.0, 0.2))
            + 0.5 * groove
        ),
    )
    w["nose_flare"] = stack(0.17 * skin * wing, 0.05 * skin * wing, 0.0)
    w["upper_lip_raise"] = stack(
        0.05 * upper * bump(x, y, (1.5, -5.5), (1.2, 1.2)),
        upper * (0.42 * bump(x, y, (0.9, -6.1), (1.5, 0.95)) + 0.22 * bump(x, y, (1.9, -4.6), (1.0, 1.0))),
        upper * 0.12 * middle_upper + skin * 0.7 * groove,
    )
    w["corner_pull"] = stack(
        skin * (0.78 * corner * ramp(x, 0.0, 2.2) + 0.16 * bump(x, y, (4.0, -5.4), (1.5, 1.8))),
        skin * (0.74 * bow + 0.20 * bump(x, y, (3.6, -4.4), (1.6, 1.6)) + 0.06 * middle_upper * upper),
        skin * (-0.42 * corner - 0.2 * middle_upper + 1.15 * groove + 0.16 * bump(x, y, (3.9, -3.6), (1.3, 1.3))),
    )
    w["dimple"] = stack(
        skin * 0.30 * corner * ramp(x, 0.0, 2.2), skin * 0.16 * corner,
        skin * (-0.28 * bump(x, y, (2.85, -6.9), (0.8, 0.8)) + 0.12 * bump(x, y, (3.8, -6.5), (0.8, 1.2)) + 0.35 * groove),
    )  # fmt: skip
    w["corner_depress"] = stack(
        skin * 0.06 * corner,
        skin * (-0.62 * bow + 0.14 * bump(x, y, (0, -6.9), (1.2, 1.0))),
        skin
        * (-0.10 * corner - 0.10 * bump(x, y, (2.9, -8.0), (0.35, 0.8)) + 0.08 * bump(x, y, (3.5, -8.0), (0.5, 0.8))),
    )
    w["lower_lip_depress"] = stack(
        0.0, -0.42 * lower * bump(x, y, (1.0, -7.6), (1.4, 1.0)), -0.06 * lower * bump(x, y, (1.0, -7.6), (1.4, 1.0))
    )
    w["chin_raise"] = stack(
        0.0,
        skin * (0.28 * bump(x, y, (0, -9.5), (1.8, 1.5)) + 0.16 * bump(x, y, (0, -7.5), (1.5, 1.0))),
        skin
        * (
            0.16 * bump(x, y, (0, -9.7), (1.6, 0.9))
            + 0.10 * lower * bump(x, y, (0, -7.5), (1.5, 0.8))
            - 0.12 * bump(x, y, (0, -8.7), (1.3, 0.35))
        ),
    )
    w["lip_stretch"] = stack(
        skin * (0.62 * corner * ramp(x, 0.0, 2.2) + 0.12 * bump(x, y, (4.0, -7.5), (1.5, 1.8))),
        skin * (-0.20 * corner), skin * (-0.38 * corner - 0.15 * middle_upper),
    )  # fmt: skip
    w["lip_press"] = stack(
        -0.06 * skin * corner,
        skin * (-0.16 * upper * bump(x, y, (0, -5.95), (2.2, 0.5)) + 0.22 * lower * bump(x, y, (0, -7.9), (2.1, 0.5))),
        skin
        * (
            -0.16 * bump(x, y, (0, -6.9), (2.2, 0.75))
            + 0.10 * bump(x, y, (0, -5.3), (1.8, 0.5))
            + 0.08 * bump(x, y, (0, -8.5), (1.6, 0.5))
        ),
    )
    w["lip_pout"] = stack(
        -0.10 * skin * corner * ramp(x, 0, 2), -0.08 * lower * bump(x, y, (0, -7.7), (1.5, 0.6)),
        lower * 0.32 * bump(x, y, (0, -7.5), (1.7, 0.7)) + 0.1 * upper * middle_upper,
    )  # fmt: skip
    w["lip_funnel"] = stack(
        -0.75 * skin * bump(x, y, (2.5, -7.0), (1.5, 1.8)) * ramp(x, 0, 2.2), 0.10 * upper * middle_upper,
        skin * 0.35 * bump(x, y, (0, -6.9), (2.3, 1.5)),
    )  # fmt: skip
    lens = np.clip(1 - (x / 2.55) ** 2, 0, 1) ** 0.6
    w["lips_part"] = stack(
        0.0,
        lens * (0.26 * upper * bump(x, y, (0, -6.3), (3.2, 0.9)) - 0.40 * lower * bump(x, y, (0, -7.4), (3.5, 1.0))), 0.0
    )  # fmt: skip
    for field in w.values():
        field[:, 0] *= r.side
    return w


def _lid_turn(template: Template, vertices: Array, strengths: Array) -> Array:
    """Displacement (V, 3) of lids that turn about the eye's horizontal axis.

    strengths (2, 2): [right side of the picture, left] x [upper lid down, lower lid up]; 1 + 1 would overlap: the upper
    lid closes alone at 1, on the lower margin; negative opens wider.
    """
    out = np.zeros_like(vertices)
    groups = template.groups
    rows = np.concatenate([groups["lids"], groups["lids_inside"]])
    shares = np.array([1.0, 0.92, 0.66, 0.36, 0.13, 0.0, 1.0, 0.85])[:, None]
    loop = np.arange(rows.shape[1])
    partner = (-loop) % rows.shape[1]
    is_upper = loop < 16
    for eye, numbers in enumerate((rows, template.mirror[rows])):
        centre = eye_centre(template, vertices, numbers is not rows)
        rel = vertices[numbers] - centre
        margin = np.arctan2(rel[0, :, 1], rel[0, :, 2])
        gap = margin - margin[partner]  # positive on the upper lid
        strength = np.where(is_upper, strengths[eye, 0], strengths[eye, 1])
        turn = -shares * gap * strength
        # the margins stand at slightly different distances from the axis: they meet at the other's
        reach = np.hypot(rel[0, :, 1], rel[0, :, 2])
        grow = 1 + shares * np.clip(strength, 0, 1) * (reach[partner] / reach - 1)
        c, s = np.cos(turn), np.sin(turn)
        y, z = rel[..., 1], rel[..., 2]
        moved = np.stack([rel[..., 0], (y * c + z * s) * grow, (z * c - y * s) * grow], -1)
        out[numbers] = moved - rel
    return out


def pose(vertices: Array, actions: dict[str, float], reach: dict[str, float] | None = None) -> Array:
    """A person's face (V, 3) from the neutral one (V, 3) and actions' strengths; reach: the person's own factors.

    Raises KeyError for an unknown action.
    """
    template, r, weights = build_template(), _regions(), _weights()
    strength = {name: np.zeros(2) for name in ACTIONS}  # viewer's right half (x > 0), left half
    for name, value in actions.items():
        base = name.removesuffix("_L")
        value = value * (reach or {}).get(base, 1.0)
        strength[base] += np.array([value, 0.0 if name.endswith("_L") else value])
    size = _measures(template, vertices)
    right, left = ramp(r.side * r.x, -0.6, 0.6), ramp(r.side * r.x, 0.6, -0.6)
    moved = vertices.copy()
    for name, field in weights.items():
        amount = strength[name]
        if amount.any():
            scale = size.get(name, size["face"])
            moved += (amount[0] * right + amount[1] * left)[:, None] * field * scale
    lids = np.stack(
        [
            strength["lid_close"] + 0.42 * strength["lid_droop"] + 0.14 * strength["lid_tighten"]
            - 0.30 * strength["upper_lid_raise"] + 0.08 * strength["cheek_raise"],
            0.30 * strength["lid_tighten"] - 0.08 * strength["upper_lid_raise"] + 0.16 * strength["cheek_raise"],
        ],
        1,
    )  # fmt: skip
    moved += _lid_turn(template, vertices, lids)
    drop = strength["jaw_drop"].mean()
    if drop:
        moved += _jaw_turn(vertices, moved, r.jaw, np.radians(15.5) * drop * size["jaw_drop"][1])
    return moved


def _jaw_turn(neutral: Array, moved: Array, share: Array, angle: float) -> Array:
    """Displacement of the jaw's turn about the axis through the joints (in front of the ears), with a little slide."""
    template = build_template()
    ears = neutral[template.groups["ear_middle"][0]]
    y0, z0 = ears[1] + 0.9, ears[2] + 1.0
    turn = angle * share
    y, z = moved[:, 1] - y0, moved[:, 2] - z0
    c, s = np.cos(turn), np.sin(turn)
    out = np.zeros_like(moved)
    out[:, 1] = y * c - z * s - y
    out[:, 2] = y * s + z * c - z
    return out


@cache
def _mean_lengths() -> dict[str, float]:
    return _lengths(build_template(), build_template().vertices)


def _lengths(template: Template, vertices: Array) -> dict[str, float]:
    """Lengths of a neutral face, cm, that its movements are in proportion to."""
    g = template.groups
    border, lids, brow = g["lips_outside"][0], g["lids"][0], g["brow"][1]
    height = vertices[:, 1]
    return {
        "mouth_width": float(2 * np.abs(vertices[border[14], 0] - vertices[border[0], 0])),
        "upper_lip": float(height[border[0]] - height[g["lips"][-1][0]]),
        "lower_lip": float(height[g["lips"][-1][-1]] - height[border[-1]]),
        "brow_to_eye": float(height[brow].mean() - height[lids].mean()),
        "eye_to_mouth": float(height[lids].mean() - height[border].mean()),
        "mouth_to_chin": float(height[border].mean() - height[g["chin"]].mean()),
        "cheek_width": float(np.abs(vertices[g["jaw"][-2], 0])),
        "nose_width": float(np.abs(vertices[g["nostril_rim"], 0]).max()),
    }


def _measures(template: Template, vertices: Array) -> dict[str, Array]:
    """Factor (3,) of each action's displacement for this face, 1 on the mean one."""
    mine, mean = _lengths(template, vertices), _mean_lengths()
    ratio = {name: np.clip(mine[name] / mean[name], 0.4, 1.8) for name in mine}
    tall, wide = ratio["eye_to_mouth"], ratio["mouth_width"]
    face = np.array([ratio["cheek_width"], tall, tall])
    low = ratio["brow_to_eye"]
    lips = np.array([wide, 0.5 * (ratio["upper_lip"] + ratio["lower_lip"]), wide])
    upper, lower = ratio["upper_lip"], ratio["lower_lip"]
    brow = np.array([1.0, low, 1.0])
    mouth = np.array([wide, tall, wide])
    return {
        "face": face,
        # high brows have further to fall, low brows further to rise
        "brow_lower": brow**1.3,
        "brow_inner_raise": np.array([1.0, 1.0 / low**0.5, 1.0]),
        "brow_outer_raise": np.array([1.0, 1.0 / low**0.5, 1.0]),
        "corner_pull": mouth, "lip_stretch": mouth, "dimple": mouth, "corner_depress": mouth, "lip_funnel": mouth,
        "lip_press": lips, "lip_pout": lips, "lips_part": np.array([wide, 0.4 + 0.6 * wide, 1.0]),
        "upper_lip_raise": np.array([wide, 0.6 * tall + 0.4 * upper, 1.0]),
        "lower_lip_depress": np.array([wide, 0.6 + 0.4 * lower, 1.0]),
        "chin_raise": np.array([1.0, ratio["mouth_to_chin"], 1.0]),
        "nose_flare": np.array([ratio["nose_width"], 1.0, 1.0]),
        "jaw_drop": np.array([1.0, 0.5 + 0.5 * ratio["mouth_to_chin"], 1.0]),
    }  # fmt: skip


def sample_reach(generator: np.random.Generator) -> dict[str, float]:
    """How far this person takes each action: about 1, spread 15 %."""
    overall = 1 + 0.08 * generator.standard_normal()
    return {name: float(np.clip(overall + 0.13 * generator.standard_normal(), 0.6, 1.4)) for name in ACTIONS}

"""What the procedural person's face does: facial actions, and the eight expressions made of them.

Actions are named as in FACS (Ekman and Friesen 1978). Each is computed on the person's own neutral face: lids turn
around that person's eyeball, the jaw about that person's joint, lips and brows move in proportion to their size. So an
expression is not the same displacement on two people, which is what a bilinear model is meant to learn.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.procedural.action_fields import action_fields, regions
from lssl.face3d.procedural.identity import eye_centre, ramp
from lssl.face3d.procedural.mesh import Template, build_template

Array = NDArray[np.float64]

# Strength of each action. A name ending in "_L" acts only on the subject's left (the viewer's right).
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


def _lid_turn(template: Template, vertices: Array, strengths: Array) -> Array:
    """Displacement (V, 3) of lids that turn about the eye's horizontal axis.

    strengths (2, 2): [right side of the picture, left] x [upper lid down, lower lid up]. At 1 the upper lid alone
    closes the eye, so that 1 and 1 would overlap; negative opens it wider.
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
        # the margins are at slightly different distances from the axis: each lid ends at the other's
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
    template, r, weights = build_template(), regions(), action_fields()
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
    """Lengths of a neutral face, in cm, to which its movements are proportional."""
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
    """How far a person takes each action: about 1, with a spread of 15 %."""
    overall = 1 + 0.08 * generator.standard_normal()
    return {name: float(np.clip(overall + 0.13 * generator.standard_normal(), 0.6, 1.4)) for name in ACTIONS}

"""Where the procedural face's actions take effect: masks, the jaw's share, and each sliding action's displacement."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import EYEBALL_PARTS, Part
from lssl.face3d.procedural.identity import bump, front, ramp
from lssl.face3d.procedural.mesh import Template, build_template

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Regions:
    """For every vertex, computed once on the template: position with |x|, masks and weights in [0, 1]."""

    side: Array  # -1, 0, 1: sign of x
    x: Array
    y: Array
    z: Array
    face: Array  # 0 on hair, ears, eyeballs, teeth
    lid_free: Array  # how freely skin near the lids follows the brow and the cheek
    jaw: Array  # share of the jaw's turn
    mouth_lower: Array  # 0 above the line between the lips, 1 below


def _mouth_height(template: Template, x: Array, y: Array) -> Array:
    """Signed height over the line between the lips; on the lips themselves the sign says which lip it is."""
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
def regions() -> Regions:
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

    # the line from the mouth's corner up to the joint separates what moves with the jaw from what does not
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
    return Regions(side, x, y, z, face, lid_free, jaw, lower)


@dataclass(frozen=True)
class _Ground:
    """What several actions' fields are composed of, one value per vertex."""

    x: Array
    y: Array
    skin: Array  # the face's front
    brow: Array  # skin that follows the brow; the hairline stays
    upper: Array  # above the line between the lips
    lower: Array
    lid_free: Array
    corner: Array  # about the mouth's corner
    bow: Array  # a smile is a bow, not a wedge: the corner's pull grows towards the corner
    middle_upper: Array  # about the middle of the upper lip
    wing: Array  # about the nostril's wing
    groove: Array  # the fold from the nose to the mouth's corner

    def stack(self, dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> Array:
        """A displacement (V, 3)."""
        return np.stack(np.broadcast_arrays(dx + 0 * self.x, dy + 0 * self.x, dz + 0 * self.x), -1)


def _ground(r: Regions) -> _Ground:
    x, y = r.x, r.y
    skin = r.face * front(r.z, 2, 6)
    corner = bump(x, y, (2.6, -7.0), (1.75, 1.5))
    fold_t = np.clip((-3.6 - y) / 3.9, 0, 1)
    fold = 2.15 + 1.15 * fold_t + 0.2 * np.sin(np.pi * fold_t)
    fold_along = ramp(y, -2.9, -4.2) * ramp(y, -7.8, -6.3)
    groove = fold_along * (
        0.20 * np.exp(-(((x - fold - 0.65) / 0.6) ** 2)) - 0.17 * np.exp(-(((x - fold) / 0.32) ** 2))
    )
    return _Ground(
        x=x,
        y=y,
        skin=skin,
        brow=skin * r.lid_free * ramp(y, 6.3, 4.3),
        upper=r.face * (1 - r.mouth_lower),
        lower=r.face * r.mouth_lower,
        lid_free=r.lid_free,
        corner=corner,
        bow=corner * (0.22 + 0.78 * np.clip(x / 2.6, 0, 1) ** 1.4),
        middle_upper=bump(x, y, (0.0, -6.2), (1.7, 1.0)),
        wing=bump(x, y, (1.7, -3.9), (0.75, 0.8)),
        groove=groove,
    )


@cache
def action_fields() -> dict[str, Array]:
    """Displacement (V, 3) of each sliding action on a face of average size, x away from the midline."""
    r = regions()
    g = _ground(r)
    fields = {**_brow_fields(g), **_cheek_and_nose_fields(g), **_corner_fields(g), **_lip_fields(g)}
    for field in fields.values():
        field[:, 0] *= r.side
    return fields


def _brow_fields(g: _Ground) -> dict[str, Array]:
    x, y, brow = g.x, g.y, g.brow
    inner = bump(x, y, (0.9, 2.7), (1.7, 1.5))
    outer = bump(x, y, (4.6, 2.6), (2.1, 1.5))
    w: dict[str, Array] = {}
    w["brow_inner_raise"] = g.stack(
        -0.06 * brow * inner * ramp(x, 0, 1),
        brow * (0.85 * inner + 0.25 * bump(x, y, (1.5, 5.0), (2.5, 1.5)) - 0.08 * outer),
        0.06 * brow * bump(x, y, (0, 4.3), (2.0, 0.4)) - 0.05 * brow * bump(x, y, (0, 3.6), (2.0, 0.3)),
    )
    w["brow_outer_raise"] = g.stack(0.0, brow * (0.85 * outer + 0.3 * bump(x, y, (3.8, 5.0), (2.5, 1.5))), 0.0)
    pinch = bump(x, y, (1.4, 2.5), (1.6, 1.1))
    w["brow_lower"] = g.stack(
        -0.34 * brow * pinch * ramp(x, 0.05, 1.2),
        -brow * (0.66 * bump(x, y, (1.2, 2.3), (1.9, 1.35)) + 0.34 * bump(x, y, (4.0, 2.6), (1.8, 1.2))),
        brow
        * (
            0.12 * bump(x, y, (1.2, 2.1), (1.2, 0.8))
            - 0.12 * bump(x, y, (0.28, 2.3), (0.22, 0.9))
            + 0.08 * bump(x, y, (0.7, 2.3), (0.3, 0.9))
        ),
    )
    return w


def _cheek_and_nose_fields(g: _Ground) -> dict[str, Array]:
    x, y, skin, brow, lid_free, wing, groove = g.x, g.y, g.skin, g.brow, g.lid_free, g.wing, g.groove
    w: dict[str, Array] = {}
    apple = bump(x, y, (3.7, -2.4), (1.7, 1.5))
    w["cheek_raise"] = g.stack(
        0.10 * skin * apple,
        skin * lid_free * (0.34 * apple + 0.18 * bump(x, y, (3.4, -1.0), (1.8, 0.8))),
        skin
        * (0.24 * apple - 0.06 * bump(x, y, (3.2, -1.25), (1.1, 0.22)) + 0.10 * bump(x, y, (3.2, -0.8), (1.1, 0.25))),
    )
    w["nose_wrinkle"] = g.stack(
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
    w["nose_flare"] = g.stack(0.17 * skin * wing, 0.05 * skin * wing, 0.0)
    return w


def _corner_fields(g: _Ground) -> dict[str, Array]:
    x, y, skin, upper, corner, bow, middle_upper, groove = (
        g.x,
        g.y,
        g.skin,
        g.upper,
        g.corner,
        g.bow,
        g.middle_upper,
        g.groove,
    )
    w: dict[str, Array] = {}
    w["upper_lip_raise"] = g.stack(
        0.05 * upper * bump(x, y, (1.5, -5.5), (1.2, 1.2)),
        upper * (0.42 * bump(x, y, (0.9, -6.1), (1.5, 0.95)) + 0.22 * bump(x, y, (1.9, -4.6), (1.0, 1.0))),
        upper * 0.12 * middle_upper + skin * 0.7 * groove,
    )
    w["corner_pull"] = g.stack(
        skin * (0.78 * corner * ramp(x, 0.0, 2.2) + 0.16 * bump(x, y, (4.0, -5.4), (1.5, 1.8))),
        skin * (0.74 * bow + 0.20 * bump(x, y, (3.6, -4.4), (1.6, 1.6)) + 0.06 * middle_upper * upper),
        skin * (-0.42 * corner - 0.2 * middle_upper + 1.15 * groove + 0.16 * bump(x, y, (3.9, -3.6), (1.3, 1.3))),
    )
    w["dimple"] = g.stack(
        skin * 0.30 * corner * ramp(x, 0.0, 2.2), skin * 0.16 * corner,
        skin * (-0.28 * bump(x, y, (2.85, -6.9), (0.8, 0.8)) + 0.12 * bump(x, y, (3.8, -6.5), (0.8, 1.2)) + 0.35 * groove),
    )  # fmt: skip
    w["corner_depress"] = g.stack(
        skin * 0.06 * corner,
        skin * (-0.62 * bow + 0.14 * bump(x, y, (0, -6.9), (1.2, 1.0))),
        skin
        * (-0.10 * corner - 0.10 * bump(x, y, (2.9, -8.0), (0.35, 0.8)) + 0.08 * bump(x, y, (3.5, -8.0), (0.5, 0.8))),
    )
    return w


def _lip_fields(g: _Ground) -> dict[str, Array]:
    x, y, skin, upper, lower, corner, middle_upper = g.x, g.y, g.skin, g.upper, g.lower, g.corner, g.middle_upper
    w: dict[str, Array] = {}
    w["lower_lip_depress"] = g.stack(
        0.0, -0.42 * lower * bump(x, y, (1.0, -7.6), (1.4, 1.0)), -0.06 * lower * bump(x, y, (1.0, -7.6), (1.4, 1.0))
    )
    w["chin_raise"] = g.stack(
        0.0,
        skin * (0.28 * bump(x, y, (0, -9.5), (1.8, 1.5)) + 0.16 * bump(x, y, (0, -7.5), (1.5, 1.0))),
        skin
        * (
            0.16 * bump(x, y, (0, -9.7), (1.6, 0.9))
            + 0.10 * lower * bump(x, y, (0, -7.5), (1.5, 0.8))
            - 0.12 * bump(x, y, (0, -8.7), (1.3, 0.35))
        ),
    )
    w["lip_stretch"] = g.stack(
        skin * (0.62 * corner * ramp(x, 0.0, 2.2) + 0.12 * bump(x, y, (4.0, -7.5), (1.5, 1.8))),
        skin * (-0.20 * corner), skin * (-0.38 * corner - 0.15 * middle_upper),
    )  # fmt: skip
    w["lip_press"] = g.stack(
        -0.06 * skin * corner,
        skin * (-0.16 * upper * bump(x, y, (0, -5.95), (2.2, 0.5)) + 0.22 * lower * bump(x, y, (0, -7.9), (2.1, 0.5))),
        skin
        * (
            -0.16 * bump(x, y, (0, -6.9), (2.2, 0.75))
            + 0.10 * bump(x, y, (0, -5.3), (1.8, 0.5))
            + 0.08 * bump(x, y, (0, -8.5), (1.6, 0.5))
        ),
    )
    w["lip_pout"] = g.stack(
        -0.10 * skin * corner * ramp(x, 0, 2), -0.08 * lower * bump(x, y, (0, -7.7), (1.5, 0.6)),
        lower * 0.32 * bump(x, y, (0, -7.5), (1.7, 0.7)) + 0.1 * upper * middle_upper,
    )  # fmt: skip
    w["lip_funnel"] = g.stack(
        -0.75 * skin * bump(x, y, (2.5, -7.0), (1.5, 1.8)) * ramp(x, 0, 2.2), 0.10 * upper * middle_upper,
        skin * 0.35 * bump(x, y, (0, -6.9), (2.3, 1.5)),
    )  # fmt: skip
    lens = np.clip(1 - (x / 2.55) ** 2, 0, 1) ** 0.6
    w["lips_part"] = g.stack(
        0.0,
        lens * (0.26 * upper * bump(x, y, (0, -6.3), (3.2, 0.9)) - 0.40 * lower * bump(x, y, (0, -7.4), (3.5, 1.0))), 0.0
    )  # fmt: skip
    return w

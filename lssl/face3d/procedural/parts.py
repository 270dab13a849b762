"""What the procedural head has besides skin: the insides of lids and lips, eyeballs, teeth, tongue, ears, hair."""

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import Part
from lssl.face3d.procedural import relief
from lssl.face3d.procedural.half import Half, lip_border

Array = NDArray[np.float64]


def _rows(*rows: Array) -> Array:
    return np.stack(rows)


def add_eyeball(half: Half) -> None:
    """The lid's thick edge and its inside, and the eyeball: rings about its axis, pupil first."""
    centre, radius = relief.EYE_CENTRE, relief.EYE_RADIUS
    margin_index = half.groups["lids"][0]
    margin = np.concatenate(half.points)[margin_index]
    inward = np.array([3.15, -0.05]) - margin[:, :2]
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    edge = margin.copy()
    edge[:, :2] += 0.055 * inward
    edge[:, 2] -= 0.09
    back = margin.copy()
    back[:, :2] -= 0.10 * inward
    back[:, 2] -= 0.42
    inner = half.add(_rows(edge, back), Part.SKIN, "lids_inside")
    half.strip(np.concatenate([margin_index[None], inner])[::-1], Part.SKIN, closed=True)

    angles = np.radians([4.5, 9.6, 10.6, 19.0, 27.0, 28.6, 31.0, 42.0, 58.0, 80.0, 105.0])
    kinds = [Part.PUPIL] * 2 + [Part.IRIS] * 3 + [Part.SCLERA] * 6
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rings = np.stack(
        [np.stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full(20, np.cos(a))], 1) for a in angles]
    )
    rings = centre + radius * rings
    pole = half.add(centre + np.array([[0, 0, radius]]), Part.PUPIL)
    index = np.stack([half.add(ring, kind) for ring, kind in zip(rings, kinds, strict=True)])
    index = np.concatenate([np.repeat(pole[:, None], 20, 1), index])
    for k in range(len(index) - 1):
        half.strip(index[k : k + 2][::-1], [Part.PUPIL, *kinds][k + 1], closed=True)
    half.groups["eyeball"] = index[1:]
    half.groups["eyeball_pole"] = pole


def add_nostril(half: Half) -> None:
    """The nostril's inside: a short passage up into the nose, closed at its end."""
    ring_index = half.groups["nostril"]
    ring = np.concatenate(half.points)[ring_index]
    centre = ring.mean(0)
    rows = []
    for share, up, back in ((0.92, 0.22, 0.05), (0.6, 0.5, 0.15)):
        rows.append(centre + share * (ring - centre) + [0.0, up, -back])
    inside = half.add(_rows(*rows), Part.NOSE, "nostril_inside")
    end = half.add(centre[None] + [[0.0, 0.55, -0.2]], Part.NOSE, "nostril_end")
    grid = np.concatenate([ring_index[None], inside, np.repeat(end[:, None], len(ring), 1)])
    half.strip(grid, Part.SKIN, closed=True)


def contact_line(x: Array) -> Array:
    """Where the closed lips meet, (n, 3), for x from 0 to 2.45."""
    table = np.array([(0, -6.85, 11.32), (0.5, -6.83, 11.3), (1.0, -6.83, 11.12), (1.6, -6.92, 10.72),
                      (2.1, -6.99, 10.32), (2.47, -7.0, 10.13)])  # fmt: skip
    return np.stack([x, *(np.interp(x, table[:, 0], table[:, k]) for k in (1, 2))], 1)


def add_mouth_inside(half: Half) -> None:
    """Vermilion, the lips' inner side, the mouth's pocket, teeth and tongue."""
    border_index = half.groups["lips_outside"][0]
    border = lip_border()
    upper = np.arange(len(border)) < 14
    corner = 14
    side = np.where(upper, 1.0, -1.0)
    side[corner] = 0.0
    meet = contact_line(border[:, 0] * (2.45 / 2.55))
    meet[:, 1] -= 0.02 * side  # a little overlap, so that no one's lips gape at rest
    fullness = np.where(upper, 0.20, 0.27) * np.clip(1 - (border[:, 0] / 2.55) ** 2, 0, 1) ** 0.7
    rings = []
    for t in (0.3, 0.62, 0.86):
        ring = border + t * (meet - border)
        ring[:, 2] += fullness * 4 * t * (1 - t) * 0.9
        ring[:, 1] += np.where(upper, -0.10, 0.12) * fullness * np.sin(np.pi * t)
        rings.append(ring)
    rings.append(meet)
    taper = np.clip(1.15 - border[:, 0] / 2.55, 0.12, 1)
    behind = meet + np.stack([-0.02 * border[:, 0], 0.12 * side * taper, np.full(len(border), -0.3)], 1)
    deeper = meet + np.stack([-0.06 * border[:, 0], 0.5 * side * taper, np.full(len(border), -0.62)], 1)
    lips = half.add(_rows(*rings), Part.LIPS, "lips")
    mouth = half.add(_rows(behind, deeper), Part.LIPS, "lips_inside")
    half.strip(np.concatenate([border_index[None], lips, mouth])[::-1], Part.LIPS)
    pocket = []
    for z, wide, high in ((9.9, 2.75, 1.25), (8.3, 2.9, 1.5), (6.8, 2.2, 1.2)):
        ring = deeper.copy()
        angle = np.linspace(np.pi / 2, -np.pi / 2, len(border))
        ring[:, 0], ring[:, 1] = wide * np.cos(angle), -6.95 + high * np.sin(angle)
        ring[:, 2] = z - 0.22 * ring[:, 0] ** 2
        ring[[0, -1], 0] = 0.0
        pocket.append(ring)
    pocket_index = half.add(_rows(*pocket), Part.INNER_MOUTH, "pocket")
    half.strip(np.concatenate([mouth[-1:], pocket_index])[::-1], Part.INNER_MOUTH)
    end = half.add(np.array([[0, -6.95, 6.4]]), Part.INNER_MOUTH, "throat")
    half.strip(np.concatenate([pocket_index[-1:], np.repeat(end[:, None], len(border), 1)])[::-1], Part.INNER_MOUTH)
    _add_teeth(half)
    _add_tongue(half)


def _arch(along: Array, front: float, curve: float) -> Array:
    """x and z of the dental arch at distances along it from the middle (cm)."""
    x = np.linspace(0, 2.9, 400)
    z = front - curve * x**2
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    return np.stack([np.interp(along, length, x), np.interp(along, length, z)], 1)


def _add_teeth(half: Half) -> None:
    for name, front, widths, gum, top, edge in (
        ("teeth_upper", 10.62, (0.86, 0.66, 0.76, 0.7, 0.7), -5.95, -6.25, -7.08),
        ("teeth_lower", 10.36, (0.55, 0.6, 0.68, 0.7, 0.7), -8.15, -7.85, -7.14),
    ):
        bounds = np.concatenate([[0], np.cumsum(widths)])
        along = np.sort(np.concatenate([bounds, bounds[1:] - np.array(widths) / 2]))
        centre = np.isin(along, bounds, invert=True)
        arch = _arch(along, front, 0.27)
        bulge = np.where(centre, 0.07, 0.0)
        rows = []
        for y, out, gap in ((gum, -0.05, 0.0), (top, 0.0, 0.0), ((top + edge) / 2, 0.06, 0.0), (edge, 0.0, 0.05)):
            notch = np.where(centre, 0.0, gap) * np.sign(top - edge)
            rows.append(np.stack([arch[:, 0], y + notch, arch[:, 1] + out + bulge], 1))
        rows.append(rows[-1] - [0, 0, 0.35])
        for row in rows:
            row[0, 0] = 0.0
        gums = half.add(_rows(rows[0], rows[1]), Part.INNER_MOUTH, name + "_gum")
        teeth = half.add(_rows(*rows[1:]), Part.TEETH, name)
        if name == "teeth_upper":
            half.strip(gums[::-1], Part.INNER_MOUTH)
            half.strip(teeth[::-1], Part.TEETH)
        else:
            half.strip(gums, Part.INNER_MOUTH)
            half.strip(teeth, Part.TEETH)


def _add_tongue(half: Half) -> None:
    rows = []
    across = np.linspace(0, 1, 5)
    for t in np.linspace(0, 1, 6):
        width = 1.65 * np.sqrt(np.clip(1 - (1 - t) ** 3, 0.02, 1))
        x = width * across
        y = -7.45 - 0.5 * across**2 - 0.35 * (1 - t) ** 2 - 0.06 * (across == 0)
        rows.append(np.stack([x, y, np.full(5, 9.75 - 2.9 * t) - 0.15 * across**2], 1))
    index = half.add(_rows(*rows), Part.TONGUE, "tongue")
    half.strip(index[::-1], Part.TONGUE)


def add_ear(half: Half) -> None:
    """The auricle: rings from the concha over antihelix and helix to the back, on an egg-shaped outline."""
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)  # 0 is forward, quarter is up
    c, s = np.cos(turn), np.sin(turn)
    lobe = np.clip(-s, 0, 1) ** 2
    height = np.where(s > 0, 2.9, 2.85)
    width = np.where(c > 0, 1.2, 1.8) * (1 - 0.30 * lobe)
    front = np.clip(c, 0, 1) ** 1.5
    rings = []
    # (radius, out) of each ring; fractions of the outline, cm off the ear's plane
    for radius, out in ((0.0, -0.25), (0.26, -0.2), (0.44, 0.06), (0.56, 0.34), (0.7, 0.18), (0.82, 0.12), (0.92, 0.44),
                        (1.0, 0.48), (1.03, 0.28), (0.93, -0.08), (0.6, -0.6), (0.5, -1.2)):  # fmt: skip
        flat = lobe if 0.4 < radius < 0.9 else 0 * lobe
        lift = out * (1 - 0.8 * flat) + 0.12 * flat
        lift = lift * (1 - 0.75 * front) - 0.3 * front * (radius > 0.5)
        forward = radius * width * c
        up = radius * height * s
        rings.append(np.stack([lift, up + 0.15 * lobe * radius, forward - 0.10 * up], 1))
    points = np.stack(rings[1:])
    angle = np.radians(20)
    x = points[..., 0] * np.cos(angle) - points[..., 2] * np.sin(angle)
    z = points[..., 0] * np.sin(angle) + points[..., 2] * np.cos(angle)
    points = np.stack([7.72 + x, -2.35 + points[..., 1], 0.55 + z], -1)
    middle = points[0].mean(0, keepdims=True)
    index = half.add(points, Part.EARS, "ear")
    pole = half.add(middle, Part.EARS, "ear_middle")
    grid = np.concatenate([np.repeat(pole[:, None], len(turn), 1), index])
    half.strip(grid, Part.EARS, closed=True)


def hairline(u: Array) -> Array:
    """The lower edge (v) of the hair at unrolled u: forehead, temple, sideburn, around the ear, nape."""
    table = np.array([(0, 6.6), (2.0, 6.5), (4.2, 6.0), (6.0, 4.9), (7.4, 3.6), (8.6, 2.0), (9.6, 0.0), (10.6, -0.6),
                      (11.4, 0.9), (12.6, 1.3), (14.0, 0.2), (15.2, -3.5), (17.0, -6.6), (20, -7.8), (25.2, -8.2)])  # fmt: skip
    return np.interp(u, table[:, 0], table[:, 1])


def add_hair(half: Half) -> None:
    """A shell over the brain case from the crown down to the hairline, its edge tucked into the skin."""
    u = np.concatenate([np.linspace(0, 9.6, 17), np.linspace(10.2, relief.U_BACK, 17)])
    lock = np.cos(np.pi * np.arange(len(u)))  # every second column is the ridge of a lock
    lock[[0, -1]] = 0.0
    edge = hairline(u) + 0.07 * lock * (1 + 0.7 * np.sin(1.7 * np.arange(len(u)))) + 0.10 * np.sin(2.3 * u)
    rows = []
    fractions = (0.05, 0.14, 0.26, 0.4, 0.54, 0.67, 0.79, 0.9, 0.97, 1.0)
    for t in fractions:
        v = 10.95 + t**1.15 * (edge - 10.95)
        rows.append(np.stack([u, v], 1))
    plane = np.stack(rows)
    points = relief.surface(plane)
    step = 0.02
    du = relief.surface(np.clip(plane + [step, 0], 0, relief.U_BACK)) - relief.surface(
        np.clip(plane - [step, 0], 0, None)
    )
    dv = relief.surface(plane + [0, step]) - relief.surface(plane - [0, step])
    normal = np.cross(du, dv)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[:, [0, -1], 0] = 0.0
    thickness = np.array([1.3, 1.3, 1.3, 1.25, 1.15, 1.05, 0.95, 0.76, 0.46, -0.15])[:, None]
    ridge = np.array([0, 0.01, 0.03, 0.05, 0.06, 0.07, 0.08, 0.09, 0.06, 0.0])[:, None] * lock
    points = points + (thickness + ridge)[..., None] * normal
    points[:, [0, -1], 0] = 0.0
    index = half.add(points, Part.HAIR, "hair", plane)
    pole = half.add(np.array([[0.0, relief.CROWN + 1.32, 1.2]]), Part.HAIR, "hair_crown")
    half.strip(np.concatenate([np.repeat(pole[:, None], len(u), 1), index])[::-1], Part.HAIR)

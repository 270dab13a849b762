"""The line where the lips meet in a photograph, and more of the lips than it shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from lssl.face3d.editing.flow import Array, Drawn, smooth_step
from lssl.face3d.editing.movement import PlacedFace
from lssl.face3d.model.topology import Part

# Lengths in distances between the eyes' centres.
_SEARCH = 0.06  # how far from the landmarks the line between closed lips is searched for
_INSET = 0.012  # how far from their line the lips begin: in between lies its shadow
_OPEN_INSET = 0.045  # the same for parted lips: teeth are bright, and landmarks inexact
_CORNER, _OPEN_CORNER = 0.14, 0.09  # length of the corners at either end, as a share of the mouth's width
_END = 0.05  # share of the mouth's width over which the shift begins
_SOFT = 0.015
_MOVED = 0.03
_FOLD = 0.8  # share of a lip's hidden part that is shown by the visible part, mirrored at the inset


@dataclass(frozen=True)
class MouthFrame:
    """Coordinates along and across (down) the mouth, in pixels from `origin` (2,), with both lips' inner lines."""

    origin: NDArray[np.float64]
    along: NDArray[np.float64]
    across: NDArray[np.float64]
    upper: PchipInterpolator
    lower: PchipInterpolator
    ends: tuple[float, float]
    closed: bool

    def to_frame(self, points: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        offset = points - self.origin
        return offset @ self.along, offset @ self.across

    def lines(self, along: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The upper and lower inner line, across the mouth, at positions along it (clipped to the corners)."""
        kept = np.clip(along, *self.ends)
        return self.upper(kept), self.lower(kept)


def mouth_frame(placed: PlacedFace, image: NDArray[np.uint8] | None = None) -> MouthFrame:
    """The mouth of a photograph (H, W, 3). For closed lips the two lines are one: the darkest near the landmarks, or,
    without a photograph, the one midway between them."""
    points = placed.landmarks.double().numpy()
    left, right = points[48], points[54]
    along = (right - left) / max(float(np.hypot(*(right - left))), 1e-6)
    across = np.array([-along[1], along[0]])
    origin = (left + right) / 2

    def curve(rows: list[int]) -> NDArray[np.float64]:
        offset = points[rows] - origin
        line = np.stack([offset @ along, offset @ across], -1)
        line = line[np.argsort(line[:, 0])]
        return line[np.concatenate([[True], np.diff(line[:, 0]) > 1e-2])]

    if placed.closed:
        points[[61, 62, 63]] = points[[67, 66, 65]] = (points[[61, 62, 63]] + points[[67, 66, 65]]) / 2
        line = curve([48, 60, 61, 62, 63, 64, 54])
        if image is not None:
            line = _darkest(image, line, origin, along, across, placed.unit)
        upper = lower = line
    else:
        upper, lower = curve([48, 60, 61, 62, 63, 64, 54]), curve([48, 60, 67, 66, 65, 64, 54])
    ends = (max(upper[0, 0], lower[0, 0]), min(upper[-1, 0], lower[-1, 0]))
    return MouthFrame(
        origin, along, across, PchipInterpolator(*upper.T), PchipInterpolator(*lower.T), ends, placed.closed
    )


def _darkest(
    image: NDArray[np.uint8],
    line: NDArray[np.float64],
    origin: NDArray[np.float64],
    along: NDArray[np.float64],
    across: NDArray[np.float64],
    unit: float,
) -> NDArray[np.float64]:
    """(K, 2) along and across: the darkest path near a line (K', 2), by dynamic programming; it ends in the corners."""
    count, reach = 41, _SEARCH * unit
    x = np.linspace(line[0, 0], line[-1, 0], count)
    base = PchipInterpolator(*line.T)(x)
    offsets = np.linspace(-reach, reach, 25)
    places = origin + x[:, None, None] * along + (base[:, None] + offsets)[..., None] * across  # (count, offsets, 2)
    low = np.maximum(np.floor(places.min((0, 1))).astype(int) - 4, 0)
    high = np.ceil(places.max((0, 1))).astype(int) + 5
    piece = image[low[1] : high[1], low[0] : high[0]]
    if min(piece.shape[:2]) < 2:
        return line
    grey = piece.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = ndimage.gaussian_filter(grey, 0.01 * unit)
    seen = ndimage.map_coordinates(grey, (places - low).transpose(2, 0, 1)[::-1], order=1, mode="nearest")
    seen = (seen - seen.mean(1, keepdims=True)) / (seen.std() + 1e-3)
    corner = np.abs(np.linspace(-1, 1, count))[:, None] ** 4
    cost = seen * (1 - corner) + 0.6 * (offsets / reach) ** 2 * (1 + 6 * corner)
    steps = np.arange(len(offsets))
    jump = 0.04 * (steps[:, None] - steps) ** 2
    total, origin_of = cost.copy(), np.zeros(cost.shape, int)
    for i in range(1, count):
        reached = total[i - 1] + jump
        origin_of[i] = reached.argmin(1)
        total[i] += reached.min(1)
    path = [int(total[-1].argmin())]
    for i in range(count - 1, 0, -1):
        path.append(int(origin_of[i, path[-1]]))
    return np.stack([x, base + ndimage.gaussian_filter1d(offsets[path[::-1]], 1.5)], -1)


def opening_share(frame: MouthFrame, places: Array, unit: float) -> Array:
    """How surely positions (h, w, 2) in the photograph lie between its parted lips: (h, w) in [0, 1]."""
    if frame.closed:
        return np.zeros(places.shape[:2], np.float32)
    along, across = frame.to_frame(places)
    upper, lower = frame.lines(along)
    inward = np.minimum(across - upper, lower - across)
    inward = np.minimum(inward, np.minimum(along - frame.ends[0], frame.ends[1] - along))
    return smooth_step(inward / (_OPEN_INSET * unit))


def keep_to_own_lip(drawn: Drawn, source: Array, frame: MouthFrame, unit: float) -> Array:
    """Corrects sources (h, w, 2) so that neither lip shows anything from beyond its own line.

    The part of a lip that the photograph hides is filled from the part that it shows, mirrored near the line.
    """
    lips = drawn.part == Part.LIPS
    if not lips.any():
        return source
    rows, columns = (slice(k.min(), k.max() + 1) for k in np.nonzero(lips))
    skin = drawn.skin[rows, columns]
    samples = unit * drawn.window.shape[1] / drawn.window.width
    # The mesh ends its lips in a jagged line.
    soft = smooth_step(2.5 * ndimage.gaussian_filter(lips[rows, columns].astype(np.float32), _SOFT * samples) - 0.75)
    piece, lower = source[rows, columns], drawn.lower[rows, columns]
    along, across = frame.to_frame(piece)
    upper_line, lower_line = frame.lines(along)
    inside = skin & (along > frame.ends[0]) & (along < frame.ends[1])

    def beyond(inset: float) -> NDArray[np.floating]:
        """How far each source lies on the wrong side of its lip's line, down positive."""
        too_low = np.where(inside & ~lower, across - (upper_line - inset), 0).clip(min=0)
        too_high = np.where(inside & lower, (lower_line + inset) - across, 0).clip(min=0)
        return too_low - too_high

    # Towards the corners no more of the lips comes into view, only the dark line between them.
    length = max(frame.ends[1] - frame.ends[0], 1e-6)
    inward = np.minimum(along - frame.ends[0], frame.ends[1] - along)
    middle = smooth_step(inward / ((_CORNER if frame.closed else _OPEN_CORNER) * length))
    inset = (_INSET if frame.closed else _OPEN_INSET) * unit
    end = smooth_step(inward / (_END * length))
    shift = -(1 + _FOLD) * beyond(inset) * middle - beyond(0.0) * (1 - middle) * end
    shift *= soft
    moved = np.abs(piece - drawn.window.places()[rows, columns])[lips[rows, columns]].max()
    shift *= min(1.0, float(moved) / (_MOVED * unit))  # lips that hardly move neither hide nor reveal anything
    result = source.copy()
    result[rows, columns] = piece + shift[..., None] * frame.across
    return _beside_the_opening(drawn, result)


def _beside_the_opening(drawn: Drawn, source: Array) -> Array:
    """Sources under the mouth's inside continue the lips next to it, so that the edge has the lips' own colour."""
    if not drawn.mouth.any():
        return source
    rows, columns = (slice(max(k.min() - 2, 0), k.max() + 3) for k in np.nonzero(drawn.mouth))
    inside, piece = drawn.mouth[rows, columns], source[rows, columns]
    if inside.all():
        return source
    row, column = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    source[rows, columns] = np.where(inside[..., None], piece[row, column], piece)
    return source

"""The moved surface as a flow: the position in the photograph from which each pixel of the result comes.

Inside the face it is the surface's own movement, drawn by the rasteriser, so that what moves to the front covers what
is behind. Around the face it fades out, slowly enough that nothing folds over.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.editing.movement import Movement
from lssl.face3d.editing.surface import EYE_PARTS, MOUTH_PARTS
from lssl.ops import interpolate, rasterize

Array = NDArray[np.float32]

# Lengths in distances between the eyes' centres.
_FADE = 0.55  # around the face
_STEEPEST = 1.8  # the least length of the fade, in lengths of the movement where it begins: 1.5 would fold
_CELL = 1 / 24  # the pitch of the grid on which the fade is computed
_EDGE = 0.02  # softness of the face's edge
_MARGIN = 0.15
_RIM, _SOFT_RIM = 0.97, 0.05  # where `hold` is less than the first, the flow is smoothed over the second


@dataclass(frozen=True)
class Window:
    """A rectangle of a photograph, with `scale` samples per pixel along each axis; sample (i, j) lies at
    x = left + (i + 0.5) / scale - 0.5 of the photograph, likewise y."""

    left: int
    top: int
    width: int
    height: int
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Samples down and across."""
        return max(1, round(self.height * self.scale)), max(1, round(self.width * self.scale))

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def places(self) -> Array:
        """(h, w, 2): x, y of each sample in the photograph."""
        h, w = self.shape
        x = self.left + (np.arange(w, dtype=np.float32) + 0.5) * (self.width / w) - 0.5
        y = self.top + (np.arange(h, dtype=np.float32) + 0.5) * (self.height / h) - 0.5
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1)

    def samples(self, projected: Tensor) -> Tensor:
        """Converts points (V, 3) from pixels of the photograph to samples of the window."""
        h, w = self.shape
        ratio = projected.new_tensor([w / self.width, h / self.height])
        start = projected.new_tensor([self.left, self.top])
        return torch.cat([(projected[:, :2] - start + 0.5) * ratio - 0.5, projected[:, 2:]], 1)


@dataclass(frozen=True)
class Drawn:
    """The surface after the movement, drawn into a window of h x w samples.

    triangle (1, h, w) int32, barycentric (1, h, w, 3): of `EditableFace.faces`. source (h, w, 2): where the photograph
    has what each sample shows, if `skin`. part (h, w): see `Part`, -1 for none. skin, mouth, eyes (h, w) bool.
    lower (h, w): 1 on the lower lip's side of the face. hold (h, w): as `EditableFace.hold`.
    """

    window: Window
    triangle: Tensor
    barycentric: Tensor
    part: NDArray[np.int16]
    source: Array
    lower: NDArray[np.bool_]
    hold: Array
    skin: NDArray[np.bool_]
    mouth: NDArray[np.bool_]
    eyes: NDArray[np.bool_]


def face_window(movement: Movement, height: int, width: int, scale: float = 1.0) -> Window:
    """The rectangle of a photograph (height, width) outside which nothing moves."""
    placed = movement.placed
    marks = placed.face.landmarks
    points = torch.cat([movement.before[marks, :2], movement.after[marks, :2]])
    held = placed.face.hold > 0
    for state in (movement.before, movement.after):
        points = torch.cat([points, state[held][:, :2]])
    reach = (_FADE + _MARGIN) * placed.unit + _STEEPEST * float((movement.after - movement.before)[:, :2].abs().amax())
    low = (points.amin(0) - reach).floor().long().tolist()
    high = (points.amax(0) + reach).ceil().long().tolist()
    left, top = max(low[0], 0), max(low[1], 0)
    return Window(left, top, max(min(high[0], width) - left, 1), max(min(high[1], height) - top, 1), scale)


def draw(movement: Movement, window: Window) -> Drawn:
    """Draws the surface after the movement into a window."""
    face = movement.placed.face
    height, width = window.shape
    triangle, barycentric, _ = rasterize(window.samples(movement.after)[None], face.faces, height, width)
    values = torch.cat([movement.before[:, :2], face.lower.float()[:, None], face.hold[:, None]], 1)
    seen = interpolate(triangle, barycentric, face.faces, values[None])[0].numpy()
    part = np.append(face.face_parts.astype(np.int16), -1)[triangle[0].numpy()]
    mouth, eyes = np.isin(part, MOUTH_PARTS), np.isin(part, EYE_PARTS)
    return Drawn(
        window=window,
        triangle=triangle,
        barycentric=barycentric,
        part=part,
        source=seen[..., :2],
        lower=seen[..., 2] > 0.5,
        hold=seen[..., 3],
        skin=(part >= 0) & ~mouth & ~eyes,
        mouth=mouth,
        eyes=eyes,
    )


def spread_flow(drawn: Drawn, unit: float) -> tuple[Array, Array]:
    """The flow (h, w, 2) of the whole window, in the photograph's pixels, and the face's share (h, w) of each sample.

    unit: the distance of the eyes' centres in pixels. Eyes do not move.
    """
    places = drawn.window.places()
    own = np.where(drawn.skin[..., None], drawn.source - places, 0)
    samples = unit * drawn.window.shape[1] / drawn.window.width  # between the eyes
    around = _around(own, drawn.skin, max(1, round(samples * _CELL)), unit, samples)
    solid = drawn.skin | drawn.mouth | drawn.eyes
    soft = ndimage.gaussian_filter(solid.astype(np.float32), _EDGE * samples)
    share = smooth_step((soft - 0.5) * 2.2)
    weight = (share * drawn.skin)[..., None]
    flow = own * weight + around * (1 - weight)
    # The cheek slides over the ear and neck behind it; a fit is not exact enough to cut along that edge.
    rim = ndimage.gaussian_filter((solid & (drawn.hold < _RIM)).astype(np.float32), _SOFT_RIM * samples)
    if rim.max() > 0.01:
        flow += smooth_step(3 * rim)[..., None] * (_blurred(flow, _SOFT_RIM * samples) - flow)
    flow[drawn.eyes] = 0
    return flow.astype(np.float32), share


def _blurred(flow: Array, sigma: float) -> Array:
    return np.stack([ndimage.gaussian_filter(flow[..., k], sigma) for k in range(2)], -1)


def _around(own: Array, known: NDArray[np.bool_], cell: int, unit: float, samples: float) -> Array:
    """The flow extended from where it is known, fading out; computed on a coarse grid and enlarged."""
    h, w = known.shape
    rows, columns = -(-h // cell), -(-w // cell)

    def mean(values: Array) -> Array:
        padded = np.pad(values, ((0, rows * cell - h), (0, columns * cell - w)) + ((0, 0),) * (values.ndim - 2))
        small: Array = padded.reshape(rows, cell, columns, cell, *values.shape[2:]).mean((1, 3))
        return small

    share = mean(known.astype(np.float32))
    solid = share > 0.05
    if not solid.any():
        return np.zeros((h, w, 2), np.float32)
    values = mean(own) / np.maximum(share, 0.05)[..., None]
    distance, nearest = ndimage.distance_transform_edt(~solid, return_indices=True)
    carried = values[nearest[0], nearest[1]]
    smooth = np.stack([ndimage.gaussian_filter(carried[..., k], 1.5) for k in range(2)], -1)
    mix = smooth_step(distance / 3)[..., None]
    reach = max(_FADE * unit, _STEEPEST * float(np.abs(own).max())) * samples / unit / cell
    carried = (carried * (1 - mix) + smooth * mix) * smooth_step(1 - distance / reach)[..., None]
    fine = F.interpolate(
        torch.from_numpy(carried).permute(2, 0, 1)[None].float(),
        size=(rows * cell, columns * cell),
        mode="bicubic",
        align_corners=False,
    )
    return fine[0].permute(1, 2, 0).numpy()[:h, :w]


def smooth_step(t: NDArray[np.floating]) -> Array:
    """0 up to t = 0, 1 from t = 1 on, and smooth between."""
    t = np.clip(t, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)

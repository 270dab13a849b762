"""The edit: a photograph with another expression, its own pixels moved (Vlasic et al. 2005, Face Transfer with
Multilinear Models, retarget video in this way; here one photograph is enough)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lssl.data.landmarks import LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from lssl.face3d.editing.eyes import Iris, find_irises, uncovered_eyes
from lssl.face3d.editing.flow import Array, Window, draw, face_window, smooth_step, spread_flow
from lssl.face3d.editing.lips import MouthFrame, keep_to_own_lip, mouth_frame
from lssl.face3d.editing.mouth import mouth_inside, white_of_teeth
from lssl.face3d.editing.movement import Movement
from lssl.face3d.editing.shading import shading_gain
from lssl.ops import interpolate

_COARSE = 90.0  # samples between the eyes at which the skin's movement is reckoned; it is smooth
_STILL = 1e-3  # pixels


@dataclass(frozen=True)
class _Photograph:
    """What is found once a photograph, whatever is made of it."""

    image: NDArray[np.uint8]
    mouth: MouthFrame
    irises: list[Iris]
    white: Array


@dataclass(frozen=True)
class _Layers:
    """For each sample of a window: the source (h, w, 2), the gain (h, w), a paint (h, w, 3) and its share (h, w)."""

    source: Array
    gain: Array
    paint: Array
    share: Array


def edit_photograph(image: NDArray[np.uint8], movements: Sequence[Movement]) -> list[NDArray[np.uint8]]:
    """A photograph (H, W, 3) uint8 with each of some movements of its face, all of one `PlacedFace`.

    Pixels that nothing touches are the photograph's, bit for bit.
    """
    if not movements:
        return []
    placed = movements[0].placed
    marks = placed.landmarks.numpy()
    photograph = _Photograph(
        image, mouth_frame(placed, image), find_irises(image, marks, placed.unit), white_of_teeth(image, marks)
    )
    return [_edit(photograph, movement) for movement in movements]


def _edit(photograph: _Photograph, movement: Movement) -> NDArray[np.uint8]:
    image, unit = photograph.image, movement.placed.unit
    if torch.equal(movement.before, movement.after):
        return image.copy()
    gain = shading_gain(movement)
    scale = min(1.0, _COARSE / unit)
    window = face_window(movement, image.shape[0], image.shape[1], scale)
    layers = _layers(photograph, movement, window, gain)
    if scale < 1:
        layers = _enlarged(layers, window)
        for patch in _detailed(movement, window):
            _put(layers, window, _layers(photograph, movement, patch, gain), patch, unit)
    return _composed(image, layers, window)


def _layers(photograph: _Photograph, movement: Movement, window: Window, gain: torch.Tensor) -> _Layers:
    unit = movement.placed.unit
    drawn = draw(movement, window)
    flow, share = spread_flow(drawn, unit)
    places = window.places()
    source = keep_to_own_lip(drawn, places + flow, photograph.mouth, unit)
    lit = interpolate(drawn.triangle, drawn.barycentric, movement.placed.face.faces, gain[None])[0, ..., 0].numpy()
    lit = np.where(drawn.skin, 1 + (lit - 1) * share, 1)
    samples = unit * window.shape[1] / window.width
    lit = _blurred(lit, 0.02 * samples)
    lit = np.where(drawn.mouth | drawn.eyes, 1, lit).astype(np.float32)
    paint, painted = mouth_inside(movement, drawn, photograph.white)
    eyes, uncovered = uncovered_eyes(photograph.image, movement, drawn, photograph.irises)
    paint = np.where(uncovered[..., None] > painted[..., None], eyes, paint)
    return _Layers(source, lit, paint, np.maximum(painted, uncovered))


def _blurred(values: Array, sigma: float) -> Array:
    from scipy import ndimage

    return ndimage.gaussian_filter(values.astype(np.float32), sigma)


def _enlarged(layers: _Layers, window: Window) -> _Layers:
    """Layers of a coarse window in the photograph's own pixels."""

    def grown(values: Array) -> Array:
        picture = torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)[None]
        size = (window.height, window.width)
        large = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        return large.numpy().reshape(*size, *values.shape[2:])

    full = Window(window.left, window.top, window.width, window.height)
    source = full.places() + grown(layers.source - window.places())
    return _Layers(source, grown(layers.gain), grown(layers.paint), grown(layers.share))


def _detailed(movement: Movement, window: Window) -> list[Window]:
    """Windows round mouth and eyes, where the flow has edges."""
    marks = movement.placed.face.landmarks
    unit = movement.placed.unit
    windows = []
    for rows, margin in ((OUTER_LIPS, 0.22), (LEFT_EYE, 0.24), (RIGHT_EYE, 0.24)):
        points = torch.cat([movement.before[marks[list(rows)], :2], movement.after[marks[list(rows)], :2]])
        low = (points.amin(0) - margin * unit).floor().long().tolist()
        high = (points.amax(0) + margin * unit).ceil().long().tolist()
        left, top = max(low[0], window.left), max(low[1], window.top)
        right, bottom = min(high[0], window.left + window.width), min(high[1], window.top + window.height)
        if right - left > 2 and bottom - top > 2:
            windows.append(Window(left, top, right - left, bottom - top))
    return windows


def _put(layers: _Layers, window: Window, detail: _Layers, patch: Window, unit: float) -> None:
    """Lays a patch's layers into the window's, softly at its border."""
    rows = slice(patch.top - window.top, patch.top - window.top + patch.height)
    columns = slice(patch.left - window.left, patch.left - window.left + patch.width)
    inward = [np.minimum(np.arange(n) + 1, np.arange(n)[::-1] + 1) / (0.1 * unit) for n in (patch.height, patch.width)]
    weight = smooth_step(np.minimum(inward[0][:, None], inward[1][None]))
    for name in ("source", "gain", "paint", "share"):
        target, values = getattr(layers, name)[rows, columns], getattr(detail, name)
        mix = weight if values.ndim == 2 else weight[..., None]
        target += mix * (values - target)


def _composed(image: NDArray[np.uint8], layers: _Layers, window: Window) -> NDArray[np.uint8]:
    still = (
        np.abs(layers.source - Window(window.left, window.top, window.width, window.height).places()).max(-1) < _STILL
    )
    touched = ~(still & (np.abs(layers.gain - 1) < 1e-3) & (layers.share < 1e-3))
    piece = image[window.slices]
    picture = torch.from_numpy(piece.astype(np.float32)).permute(2, 0, 1)[None]
    start = np.array([window.left, window.top], np.float32)
    size = np.array([window.width, window.height], np.float32)
    grid = torch.from_numpy((2 * (layers.source - start + 0.5) / size - 1).astype(np.float32))[None]
    moved = F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    colours = moved[0].permute(1, 2, 0).numpy() * layers.gain[..., None]
    share = layers.share[..., None]
    colours = colours * (1 - share) + layers.paint * share
    result = image.copy()
    result[window.slices] = np.where(touched[..., None], np.rint(colours).clip(0, 255).astype(np.uint8), piece)
    return result

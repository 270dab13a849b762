"""The edit: gives a photograph another expression by moving its own pixels (as Vlasic et al. 2005, Face Transfer with
Multilinear Models, retarget video; here one photograph is enough)."""

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
from lssl.face3d.editing.movement import Movement, PlacedFace
from lssl.face3d.editing.shading import shading_gain
from lssl.ops import interpolate

_COARSE = 90.0  # samples between the eyes at which the skin's movement, which is smooth, is computed
_STILL = 1e-3  # pixels
_BEGUN = 0.02  # of the distance between the eyes: movements below it show their paint in part, so edits start smoothly
# Light that reaches a fold has been scattered by skin: red is lost least.
_SKIN_SHADE = np.array([0.75, 1.05, 1.1], np.float32)
# (pixels between the eyes, samples per pixel along each axis up to that size where the flow has edges)
_SAMPLES = ((100.0, 3), (160.0, 2))
_UNEVEN = 0.35  # pixels by which the samples of a pixel without an edge may differ


@dataclass(frozen=True)
class SeenFace:
    """What is found once per face of a photograph, for all of its edits. image (H, W, 3) uint8."""

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
    """A photograph (H, W, 3) uint8 after each of several movements of its face, all of one `PlacedFace`.

    Pixels that a movement does not touch are the photograph's, bit for bit.
    """
    if not movements:
        return []
    seen = see_face(image, movements[0].placed)
    return [edit_face(seen, movement) for movement in movements]


def see_face(image: NDArray[np.uint8], placed: PlacedFace) -> SeenFace:
    """Finds the mouth, the irises and the white of the teeth of a face placed in a photograph (H, W, 3) uint8."""
    marks = placed.landmarks.numpy()
    frame = mouth_frame(placed, image)
    return SeenFace(image, frame, find_irises(image, marks, placed.unit), white_of_teeth(image, marks, frame))


def edit_face(photograph: SeenFace, movement: Movement) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) after a movement of the face; pixels that nothing touches are its own, bit for bit."""
    image, unit = photograph.image, movement.placed.unit
    if torch.equal(movement.before, movement.after):
        return image.copy()
    gain = shading_gain(movement)
    window = face_window(movement, image.shape[0], image.shape[1], min(1.0, _COARSE / unit))
    layers = _layers(photograph, movement, window, gain, painted=False)  # painting happens in the patches below
    if window.scale < 1:
        layers, window = _enlarged(layers, window)
    colours, touched = _colours(image, layers), _touched(window, layers)
    for patch in _detailed(movement, window):
        detail, changed = _detail(photograph, movement, patch, gain)
        rows = slice(patch.top - window.top, patch.top - window.top + patch.height)
        columns = slice(patch.left - window.left, patch.left - window.left + patch.width)
        weight = _feather(patch, unit)
        colours[rows, columns] += weight[..., None] * (detail - colours[rows, columns])
        touched[rows, columns] = np.where(weight > 0.5, changed, touched[rows, columns] | changed)
    begun = float((movement.after - movement.before)[:, :2].norm(dim=1).max()) / (_BEGUN * unit)
    if begun < 1:
        own = image[window.slices].astype(np.float32)
        colours = own + begun * (colours - own)
    result = image.copy()
    rounded = np.rint(colours).clip(0, 255).astype(np.uint8)
    result[window.slices] = np.where(touched[..., None], rounded, image[window.slices])
    return result


def _detail(
    photograph: SeenFace, movement: Movement, patch: Window, gain: torch.Tensor
) -> tuple[Array, NDArray[np.bool_]]:
    """Colours (h, w, 3) of a patch, and which of them are not the photograph's; edges are averaged over samples."""
    image = photograph.image
    layers = _layers(photograph, movement, patch, gain)
    colours, touched = _colours(image, layers), _touched(patch, layers)
    n = next((n for limit, n in _SAMPLES if movement.placed.unit < limit), 1)
    if n > 1:
        fine = Window(patch.left, patch.top, patch.width, patch.height, n)
        samples = _layers(photograph, movement, fine, gain)
        h, w = patch.shape
        offsets = (samples.source - fine.places()).reshape(h, n, w, n, 2)
        uneven = np.ptp(offsets, axis=(1, 3)).max(-1)
        share = samples.share.reshape(h, n, w, n)
        edge = (uneven > _UNEVEN) | (np.ptp(share, axis=(1, 3)) > 0.02) | ((layers.share > 0) & (layers.share < 1))
        mean = _colours(image, samples).reshape(h, n, w, n, 3).mean((1, 3))
        colours = np.where(edge[..., None], mean, colours)
        touched |= edge & (_touched(fine, samples).reshape(h, n, w, n).any((1, 3)))
    return colours, touched


def _layers(
    photograph: SeenFace, movement: Movement, window: Window, gain: torch.Tensor, *, painted: bool = True
) -> _Layers:
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
    if not painted:
        return _Layers(source, lit, np.zeros((*lit.shape, 3), np.float32), np.zeros_like(lit))
    paint, opening = mouth_inside(photograph.image, movement, drawn, photograph.white, photograph.mouth)
    eyes, uncovered = uncovered_eyes(photograph.image, movement, drawn, photograph.irises)
    paint = np.where(uncovered[..., None] > opening[..., None], eyes, paint)
    return _Layers(source, lit, paint, np.maximum(opening, uncovered))


def _blurred(values: Array, sigma: float) -> Array:
    from scipy import ndimage

    return ndimage.gaussian_filter(values.astype(np.float32), sigma)


def _enlarged(layers: _Layers, window: Window) -> tuple[_Layers, Window]:
    """The layers of a coarse window, enlarged to the photograph's own pixels."""
    full = Window(window.left, window.top, window.width, window.height)

    def grown(values: Array) -> Array:
        picture = torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)[None]
        large = F.interpolate(picture, size=full.shape, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        return large.numpy().reshape(*full.shape, *values.shape[2:])

    source = full.places() + grown(layers.source - window.places())
    return _Layers(source, grown(layers.gain), grown(layers.paint), grown(layers.share)), full


def _detailed(movement: Movement, window: Window) -> list[Window]:
    """Windows around the mouth and the eyes, where the flow has edges."""
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


def _feather(patch: Window, unit: float) -> Array:
    """(h, w): 1 inside a patch, falling softly to 0 at its border."""
    inward = [np.minimum(np.arange(n) + 1, np.arange(n)[::-1] + 1) / (0.1 * unit) for n in (patch.height, patch.width)]
    return smooth_step(np.minimum(inward[0][:, None], inward[1][None]))


def _touched(window: Window, layers: _Layers) -> NDArray[np.bool_]:
    moved = np.abs(layers.source - window.places()).max(-1) >= _STILL
    touched: NDArray[np.bool_] = moved | (np.abs(layers.gain - 1) >= 1e-3) | (layers.share >= 1e-3)
    return touched


def _colours(image: NDArray[np.uint8], layers: _Layers) -> Array:
    """(h, w, 3), 0 to 255: what the layers make of the photograph at each sample."""
    low = np.maximum(np.floor(layers.source.min((0, 1))).astype(int) - 3, 0)
    high = np.minimum(np.ceil(layers.source.max((0, 1))).astype(int) + 4, image.shape[1::-1])
    low = np.minimum(low, high - 1)
    piece = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    picture = torch.from_numpy(piece).permute(2, 0, 1)[None]
    size = (high - low).astype(np.float32)
    grid = torch.from_numpy((2 * (layers.source - low + 0.5) / size - 1).astype(np.float32))[None]
    moved = F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    colours = moved[0].permute(1, 2, 0).numpy() * layers.gain[..., None] ** _SKIN_SHADE
    share = layers.share[..., None]
    mixed: Array = colours * (1 - share) + layers.paint * share
    return mixed

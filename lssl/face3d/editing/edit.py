"""The edit: gives a photograph another expression by moving its own pixels (as Vlasic et al. 2005, Face Transfer with
Multilinear Models, retarget video; here one photograph is enough)."""

import functools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lssl.data.landmarks import LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from lssl.data.tiles import Box, cut, each_tile, floats
from lssl.face3d.editing.eyes import Iris, find_irises, sampled, uncovered_eyes
from lssl.face3d.editing.flow import Array, Window, draw, face_window, smooth_step, spread_flow
from lssl.face3d.editing.lips import MouthFrame, keep_to_own_lip, mouth_frame
from lssl.face3d.editing.mouth import mouth_inside, white_of_teeth
from lssl.face3d.editing.movement import Movement, PlacedFace
from lssl.face3d.editing.own_pixels import Drawn, Enlarged, Layers, coloured, touched
from lssl.face3d.editing.shading import Lit, resting, shading_gain
from lssl.ops import interpolate

_COARSE = 90.0  # samples between the eyes at which the skin's movement, which is smooth, is computed
# Pixels between the eyes that are enough to draw mouth and eyes: larger photographs are made smaller for it, by a whole
# number, and what is drawn is enlarged again.
_ENOUGH = 256.0
_BEGUN = 0.02  # of the distance between the eyes: movements below it show their paint in part, so edits start smoothly
# (pixels between the eyes, samples per pixel along each axis up to that size where the flow has edges)
_SAMPLES = ((100.0, 3), (160.0, 2))
_UNEVEN = 0.35  # pixels by which the samples of a pixel without an edge may differ
_STRIP = 1 << 22  # pixels made smaller at a time


@dataclass(frozen=True)
class SeenFace:
    """What is found once per face of a photograph, for all of its edits. image (H, W, 3) uint8.

    small: the photograph made `fewer` times smaller along each axis, in which mouth and irises are placed; the photograph
    itself if fewer is 1. lit: how the light falls on the face, see `shading_gain`.
    quick: whether edges are drawn with one sample a pixel, for a preview.
    """

    image: NDArray[np.uint8]
    small: NDArray[np.uint8]
    fewer: int
    mouth: MouthFrame
    irises: list[Iris]
    white: Array
    lit: Lit
    quick: bool = False


def edit_photograph(image: NDArray[np.uint8], movements: Sequence[Movement]) -> list[NDArray[np.uint8]]:
    """A photograph (H, W, 3) uint8 after each of several movements of its face, all of one `PlacedFace`.

    Pixels that a movement does not touch are the photograph's, bit for bit.
    """
    if not movements:
        return []
    seen = see_face(image, movements[0].placed)
    return [edit_face(seen, movement) for movement in movements]


def see_face(image: NDArray[np.uint8], placed: PlacedFace, *, quick: bool = False) -> SeenFace:
    """Finds the mouth, the irises and the white of the teeth of a face placed in a photograph (H, W, 3) uint8.

    quick: its edits are previews, see `SeenFace`.
    """
    fewer = max(1, int(placed.unit / _ENOUGH))
    small, placed = _reduced(image, fewer), placed.zoomed(1 / fewer)
    marks = placed.landmarks.numpy()
    frame = mouth_frame(placed, small)
    irises, white = find_irises(small, marks, placed.unit), white_of_teeth(small, marks, frame)
    return SeenFace(image, small, fewer, frame, irises, white, resting(placed), quick)


def edit_face(photograph: SeenFace, movement: Movement) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) after a movement of the face; pixels that nothing touches are its own, bit for bit."""
    image = photograph.image
    result = image.copy()
    if torch.equal(movement.before, movement.after):
        return result
    movement = movement.zoomed(1 / photograph.fewer)
    unit = movement.placed.unit
    begun = float((movement.after - movement.before)[:, :2].norm(dim=1).max()) / (_BEGUN * unit)
    gain = shading_gain(movement, photograph.lit)
    height, width = photograph.small.shape[:2]
    window = face_window(movement, height, width, min(1.0, _COARSE / unit))
    skin = _skin(photograph, movement, window, gain)
    patches = [_patch(photograph, movement, patch, gain) for patch in _detailed(movement, window)]

    def write(box: Box) -> None:
        made = _composed(image, skin, patches, unit * photograph.fewer, box)
        if made is None:
            return
        left, top, right, bottom = box
        colours, changed = made
        own = image[top:bottom, left:right]
        if begun < 1:
            colours = own.astype(np.float32) + begun * (colours - own)
        rounded = np.rint(colours).clip(0, 255).astype(np.uint8)
        result[top:bottom, left:right] = np.where(changed[..., None], rounded, own)

    place = skin.window
    whole = place.left, place.top, place.left + place.width, place.top + place.height
    deque(each_tile(write, cut(whole), whole), maxlen=0)
    return result


def _reduced(image: NDArray[np.uint8], fewer: int) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) with each fewer x fewer pixels averaged; those at its end may be fewer."""
    if fewer == 1:
        return image
    rows = max(1, _STRIP // (image.shape[1] * fewer)) * fewer
    strips = (image[top : top + rows] for top in range(0, len(image), rows))
    return np.concatenate([np.asarray(Image.fromarray(strip).reduce(fewer)) for strip in strips])


def _skin(photograph: SeenFace, movement: Movement, window: Window, gain: torch.Tensor) -> Drawn | Enlarged:
    """What the movement makes of the whole face, without what is painted."""
    layers = _layers(photograph, movement, window, gain, painted=False)
    if window.scale < 1 or photograph.fewer > 1:
        return Enlarged(window, layers, photograph.fewer, photograph.image.shape[:2])
    return Drawn(window, coloured(photograph.image, layers), touched(window, layers))


def _patch(photograph: SeenFace, movement: Movement, patch: Window, gain: torch.Tensor) -> Drawn | Enlarged:
    """What the movement makes of the mouth or an eye, with edges averaged over samples."""
    if photograph.fewer > 1:
        layers = _layers(photograph, movement, patch, gain)
        return Enlarged(patch, layers, photograph.fewer, photograph.image.shape[:2])
    return Drawn(patch, *_detail(photograph, movement, patch, gain))


def _composed(
    image: NDArray[np.uint8], skin: Drawn | Enlarged, patches: Sequence[Drawn | Enlarged], unit: float, box: Box
) -> tuple[Array, NDArray[np.bool_]] | None:
    """Colours (h, w, 3) of a box of the photograph, and which of them are not its own; None if all are.

    unit: distance of the eyes' centres in the photograph's pixels.
    """
    left, top, right, bottom = box
    made = skin.tile(image, box)
    for patch in patches:
        place = patch.window
        inner = (
            max(left, place.left),
            max(top, place.top),
            min(right, place.left + place.width),
            min(bottom, place.top + place.height),
        )
        if inner[0] >= inner[2] or inner[1] >= inner[3]:
            continue
        detail = patch.tile(image, inner)
        if made is None and detail is None:
            continue
        if made is None:
            made = floats(image, box)[0].permute(1, 2, 0).numpy(), np.zeros((bottom - top, right - left), np.bool_)
        if detail is None:
            own = image[inner[1] : inner[3], inner[0] : inner[2]]
            detail = own.astype(np.float32), np.zeros(own.shape[:2], np.bool_)
        rows, columns = slice(inner[1] - top, inner[3] - top), slice(inner[0] - left, inner[2] - left)
        weight = _feather(place, unit, inner)
        colours, changed = made[0][rows, columns], made[1][rows, columns]
        colours += weight[..., None] * (detail[0] - colours)
        changed[:] = np.where(weight > 0.5, detail[1], changed | detail[1])
    return made


def _detail(
    photograph: SeenFace, movement: Movement, patch: Window, gain: torch.Tensor
) -> tuple[Array, NDArray[np.bool_]]:
    """Colours (h, w, 3) of a patch, and which of them are not the photograph's; edges are averaged over samples."""
    image = photograph.image
    layers = _layers(photograph, movement, patch, gain)
    colours, changed = coloured(image, layers), touched(patch, layers)
    few = photograph.quick or movement.placed.unit >= _SAMPLES[-1][0]
    n = 1 if few else next(n for limit, n in _SAMPLES if movement.placed.unit < limit)
    if n > 1:
        fine = Window(patch.left, patch.top, patch.width, patch.height, n)
        samples = _layers(photograph, movement, fine, gain)
        h, w = patch.shape
        offsets = samples.source - fine.places()
        uneven = np.maximum(*(_range_within(offsets[..., k], n) for k in range(2)))
        edge = (uneven > _UNEVEN) | (_range_within(samples.share, n) > 0.02) | ((layers.share > 0) & (layers.share < 1))
        mean = sum(_parts(coloured(image, samples), n), np.zeros((h, w, 3), np.float32)) / (n * n)
        colours = np.where(edge[..., None], mean, colours)
        changed |= edge & np.logical_or.reduce(_parts(touched(fine, samples), n))
    return colours, changed


def _parts(samples: NDArray[Any], n: int) -> list[NDArray[Any]]:
    """The n x n samples of each pixel, one after the other: (h, w, ...) of samples (n h, n w, ...). numpy's own sums along
    such short axes take several times as long."""
    return [samples[i::n, j::n] for i in range(n) for j in range(n)]


def _range_within(samples: Array, n: int) -> Array:
    """(h, w): the largest less the smallest of each pixel's n x n samples, (n h, n w)."""
    parts = _parts(samples, n)
    found: Array = functools.reduce(np.maximum, parts) - functools.reduce(np.minimum, parts)
    return found


def _layers(
    photograph: SeenFace, movement: Movement, window: Window, gain: torch.Tensor, *, painted: bool = True
) -> Layers:
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
    none = np.zeros_like(lit)
    if not painted:
        return Layers(source, lit, np.zeros((*lit.shape, 3), np.float32), none, none)
    paint, opening, kept = mouth_inside(movement, drawn, photograph.white, photograph.mouth)
    if photograph.fewer == 1 and kept.any():  # else they are taken from the photograph itself, later
        paint, kept = paint * (1 - kept[..., None]) + sampled(photograph.image, places) * kept[..., None], none
    eyes, uncovered = uncovered_eyes(photograph.small, movement, drawn, photograph.irises)
    eye = uncovered > opening
    paint, kept = np.where(eye[..., None], eyes, paint), np.where(eye, 0, kept)
    return Layers(source, lit, paint, np.maximum(opening, uncovered), kept)


def _blurred(values: Array, sigma: float) -> Array:
    from scipy import ndimage

    return ndimage.gaussian_filter(values.astype(np.float32), sigma)


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


def _feather(patch: Window, unit: float, box: Box) -> Array:
    """(h, w), of a box within a patch: 1 inside the patch, falling softly to 0 at its border."""
    left, top, right, bottom = box
    inward = []
    for first, last, start, extent in ((top, bottom, patch.top, patch.height), (left, right, patch.left, patch.width)):
        at = np.arange(first, last) - start
        inward.append(np.minimum(at + 1, extent - at) / (0.1 * unit))
    return smooth_step(np.minimum(inward[0][:, None], inward[1][None]))

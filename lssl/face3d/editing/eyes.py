"""The part of an eye that comes into view when its lids open: the rest of the iris, and more of the white beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.draw import polygon

from lssl.data.landmarks import LEFT_EYE, RIGHT_EYE
from lssl.face3d.editing.flow import Array, Drawn, Window, smooth_step
from lssl.face3d.editing.movement import Movement
from lssl.face3d.editing.surface import EYE_PARTS
from lssl.ops import rasterize

# Lengths in distances between the eyes' centres.
_IRIS = 0.093  # radius: 5.9 mm of 63
_LASHES = 0.035  # the greatest width of the lid's dark edge
_LEAST = 0.004  # lids that open less uncover nothing
_LID_SHADOW = 0.72  # of the light, at the lid's edge


@dataclass(frozen=True)
class Iris:
    """The centre (2,) and radius of an iris, in pixels of the photograph."""

    centre: NDArray[np.float64]
    radius: float


def find_irises(image: NDArray[np.uint8], landmarks: NDArray[np.floating], unit: float) -> list[Iris]:
    """Both irises of a photograph (H, W, 3) with landmarks (68, 2): the darkest discs between the lids.

    unit: the distance of the eyes' centres in pixels.
    """
    return [_find_iris(image, landmarks[list(rows)], _IRIS * unit) for rows in (LEFT_EYE, RIGHT_EYE)]


def _find_iris(image: NDArray[np.uint8], lids: NDArray[np.floating], radius: float) -> Iris:
    low = np.maximum(np.floor(lids.min(0) - 1.5 * radius).astype(int), 0)
    high = np.ceil(lids.max(0) + 1.5 * radius).astype(int) + 1
    grey = image[low[1] : high[1], low[0] : high[0]].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    middle = lids.mean(0)
    if min(grey.shape) < 3 or radius < 1.5:
        return Iris(middle, radius)
    opening = np.zeros_like(grey)
    local = lids - low
    opening[polygon(local[:, 1], local[:, 0], grey.shape)] = 1
    reach = int(np.ceil(1.4 * radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far = np.hypot(x, y)
    disc, ring = (far <= radius).astype(np.float32), ((far > 1.1 * radius) & (far <= 1.4 * radius)).astype(np.float32)

    def mean(kernel: Array) -> Array:
        weight = _convolved(opening, kernel)
        total = _convolved(opening * grey, kernel)
        result: Array = (total / np.maximum(weight, 0.08 * kernel.sum())).astype(np.float32)
        return result

    rows, columns = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
    off = np.hypot(columns - (middle - low)[0], 2.0 * (rows - (middle - low)[1])) / radius
    score = mean(ring) - mean(disc) - 6.0 * off**2
    score[off > 1.6] = -np.inf
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    return Iris(np.array([column, row], np.float64) + low, radius)


def _convolved(values: Array, kernel: Array) -> Array:
    """scipy.signal.fftconvolve(values, kernel, "same"), without that import, which takes longer than a face."""
    size = [n + k - 1 for n, k in zip(values.shape, kernel.shape, strict=True)]
    fast = [fft.next_fast_len(n, real=True) for n in size]
    whole: Array = fft.irfft2(fft.rfft2(values, fast) * fft.rfft2(kernel, fast), fast)
    top, left = ((k - 1) // 2 for k in kernel.shape)
    return whole[top : top + values.shape[0], left : left + values.shape[1]]


def uncovered_eyes(
    image: NDArray[np.uint8], movement: Movement, drawn: Drawn, irises: list[Iris]
) -> tuple[Array, Array]:
    """Colours (h, w, 3), 0 to 255, for the part of the eyes that comes into view, and its share (h, w) of each sample.

    The iris is completed by its other half, mirrored; the white continues the white next to it.
    """
    window, unit = drawn.window, movement.placed.unit
    share = np.zeros(drawn.eyes.shape, np.float32)
    paint = np.zeros((*drawn.eyes.shape, 3), np.float32)
    pixels = window.shape[1] / window.width
    opened = _lifted(movement)
    if not drawn.eyes.any() or opened < _LEAST * unit:
        return paint, share
    shown = _below_lid(_eyes_before(movement, window), min(opened, _LASHES * unit) * pixels)
    hidden = drawn.eyes & ~shown
    if not shown.any() or not hidden.any():
        return paint, share
    places = window.places()
    colours = sampled(image, places)
    weight = ndimage.gaussian_filter(shown.astype(np.float32), 0.5)
    weight[~shown] = 0
    for iris in irises:
        offset = places - iris.centre.astype(np.float32)
        inside = hidden & (np.hypot(offset[..., 0], offset[..., 1]) < 1.08 * iris.radius)
        mirrored = places.copy()
        mirrored[..., 1] = 2 * iris.centre[1] - places[..., 1]
        take = inside & _look_up(shown, window, mirrored)
        colours[take] = sampled(image, mirrored)[take]
        weight[take] = 1
    spread = 0.012 * unit * pixels + 0.3
    filled, total = np.zeros_like(colours), np.zeros_like(weight)
    # Finest first: known samples keep their detail, and unknown ones are filled from the nearest known.
    for factor in (1, 3, 9):
        near = ndimage.gaussian_filter(weight, spread * factor)
        blurred = np.stack([ndimage.gaussian_filter(colours[..., k] * weight, spread * factor) for k in range(3)], -1)
        left = (1 - total) * np.clip(near * 4, 0, 1)
        filled += left[..., None] * blurred / np.maximum(near, 1e-4)[..., None]
        total += left
    filled = filled / np.maximum(total, 1e-3)[..., None]
    known = weight[..., None]
    depth = ndimage.distance_transform_edt(drawn.eyes) / pixels
    light = _LID_SHADOW + (1 - _LID_SHADOW) * np.clip(depth / (0.05 * unit), 0, 1)
    paint = (colours * known + filled * (1 - known)) * light[..., None].astype(np.float32)
    soft = ndimage.gaussian_filter(hidden.astype(np.float32), 0.008 * unit * pixels + 0.2)
    share = np.where(drawn.eyes, smooth_step(soft * 1.6), 0)
    return paint.astype(np.float32), share.astype(np.float32)


def _lifted(movement: Movement) -> float:
    """How far the upper lids have risen, in pixels."""
    lids = movement.placed.face.landmarks[[37, 38, 43, 44]]
    return float((movement.before[lids, 1] - movement.after[lids, 1]).clamp(min=0).mean())


def _below_lid(eyes: NDArray[np.bool_], samples: float) -> NDArray[np.bool_]:
    """The eyes without a strip of lashes under their upper edge, which the fit is not exact enough to leave out."""
    kept = eyes.copy()
    for k in range(1, round(samples) + 1):
        kept[k:] &= eyes[:-k]
    return kept


def _eyes_before(movement: Movement, window: Window) -> NDArray[np.bool_]:
    face = movement.placed.face
    triangle, _, _ = rasterize(window.samples(movement.before)[None], face.faces, *window.shape)
    part = np.append(face.face_parts.astype(np.int16), -1)[triangle[0].numpy()]
    return np.isin(part, EYE_PARTS)


def sampled(image: NDArray[np.uint8], places: Array) -> Array:
    """(h, w, 3) colours at positions (h, w, 2), x and y, of a photograph, bilinear."""
    low = np.maximum(np.floor(places.min((0, 1))).astype(int) - 1, 0)
    high = np.ceil(places.max((0, 1))).astype(int) + 2
    piece = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    at = (places - low).transpose(2, 0, 1)[::-1]
    return np.stack([ndimage.map_coordinates(piece[..., k], at, order=1, mode="nearest") for k in range(3)], -1)


def _look_up(mask: NDArray[np.bool_], window: Window, places: Array) -> NDArray[np.bool_]:
    height, width = mask.shape
    x = np.rint((places[..., 0] - window.left + 0.5) * (width / window.width) - 0.5).astype(int)
    y = np.rint((places[..., 1] - window.top + 0.5) * (height / window.height) - 0.5).astype(int)
    found: NDArray[np.bool_] = mask[y.clip(0, height - 1), x.clip(0, width - 1)]
    return found & (x >= 0) & (y >= 0) & (x < width) & (y < height)

"""An edit's layers brought to the photograph's own pixels, tile by tile, whatever the photograph's size."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lssl.data.tiles import Box, floats, look_up
from lssl.face3d.editing.flow import Array, Window

STILL = 1e-3  #: Movements, in pixels, and changes of light and paint below it leave a pixel as it is.
# Light that reaches a fold has been scattered by skin: red is lost least.
_SKIN_SHADE = np.array([0.75, 1.05, 1.1], np.float32)


@dataclass(frozen=True)
class Layers:
    """For each sample of a window: the source (h, w, 2), the gain (h, w), a paint (h, w, 3) and its share (h, w). kept
    (h, w): the part of the share that shows the photograph at its own place instead, such as teeth, which do not move."""

    source: Array
    gain: Array
    paint: Array
    share: Array
    kept: Array


@dataclass(frozen=True)
class Drawn:
    """What an edit makes of a window, at the photograph's own pixels: colours (h, w, 3), 0 to 255, and which of them are
    not the photograph's (h, w)."""

    window: Window
    colours: Array
    changed: NDArray[np.bool_]

    def tile(self, image: NDArray[np.uint8], box: Box) -> tuple[Array, NDArray[np.bool_]]:  # noqa: ARG002
        """The part of a box inside the window, to be written to."""
        left, top, right, bottom = box
        rows = slice(top - self.window.top, bottom - self.window.top)
        columns = slice(left - self.window.left, right - self.window.left)
        return self.colours[rows, columns].copy(), self.changed[rows, columns].copy()


class Enlarged:
    """Layers with fewer samples than the photograph has pixels, enlarged where they are asked for.

    window, layers: in pixels of the photograph made `fewer` times smaller along each axis, from its first pixel on. of:
    (height, width) of the photograph itself.
    """

    def __init__(self, window: Window, layers: Layers, fewer: int, of: tuple[int, int]) -> None:
        self._within, self._fewer = window, fewer
        left, top = window.left * fewer, window.top * fewer
        width = min(window.width * fewer, of[1] - left)
        self.window = Window(left, top, width, min(window.height * fewer, of[0] - top))
        offset = (layers.source - window.places()) * fewer
        planes = [offset, np.log(layers.gain)[..., None]]
        self._painted = bool(layers.share.max() > 0)
        if self._painted:
            own = layers.share * layers.kept
            planes += [layers.paint, (layers.share - own)[..., None], own[..., None]]
        self._planes = torch.from_numpy(np.concatenate(planes, -1, dtype=np.float32)).permute(2, 0, 1).contiguous()

    def tile(self, image: NDArray[np.uint8], box: Box) -> tuple[Array, NDArray[np.bool_]] | None:
        """What the layers make of a box of the photograph, and which pixels are not its own; None if all are."""
        left, top, right, bottom = box
        first_row, down = self._samples(top, bottom, 1)
        first_column, across = self._samples(left, right, 2)
        piece = self._planes[:, first_row : first_row + down.shape[1], first_column : first_column + across.shape[1]]
        if float(piece[:3].abs().max()) < STILL and not (self._painted and float(piece[6:].max()) >= STILL):
            return None
        planes = down @ piece @ across.T
        changed = (planes[:3].abs() >= STILL).any(0)
        colours = look_up(image, planes[None, :2], box)
        colours = colours * torch.exp(planes[None, 2:3] * torch.from_numpy(_SKIN_SHADE)[:, None, None])
        if self._painted:
            painted, own = planes[6:7], planes[7:8]
            colours = colours * (1 - painted - own) + planes[3:6] * painted + floats(image, box) * own
            changed |= (painted + own)[0] >= STILL
        return colours[0].permute(1, 2, 0).numpy(), changed.numpy()

    def _samples(self, start: int, stop: int, axis: int) -> tuple[int, Tensor]:
        """For pixels start to stop along an axis of the planes: the first sample that they see, and the weights
        (pixels, samples) of it and of those after it: linear interpolation, the border repeated."""
        count = self._planes.shape[axis]
        begin, extent = (
            (self._within.top, self._within.height) if axis == 1 else (self._within.left, self._within.width)
        )
        pixels = (np.arange(start, stop) + 0.5) / self._fewer
        at = np.clip((pixels - begin) * (count / extent) - 0.5, 0, count - 1)
        low = np.minimum(at.astype(int), max(count - 2, 0))
        weights = np.zeros((len(at), int(low[-1] - low[0]) + min(2, count)), np.float32)
        rows = np.arange(len(at))
        weights[rows, low - low[0]] = 1 - (at - low)
        if count > 1:
            weights[rows, low - low[0] + 1] = at - low
        return int(low[0]), torch.from_numpy(weights)


def touched(window: Window, layers: Layers) -> NDArray[np.bool_]:
    """(h, w): where layers change the photograph."""
    offset = np.abs(layers.source - window.places())
    moved = (offset[..., 0] >= STILL) | (
        offset[..., 1] >= STILL
    )  # numpy's max() along two values takes ten times as long
    found: NDArray[np.bool_] = moved | (np.abs(layers.gain - 1) >= STILL) | (layers.share >= STILL)
    return found


def coloured(image: NDArray[np.uint8], layers: Layers) -> Array:
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

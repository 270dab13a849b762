"""Applies a moving generator's edit to the photograph's own pixels: natively row by row, else tile by tile.

The photograph may have a hundred megapixels, so there are never floats for all of it, and smooth planes are looked up more
sparsely than its pixels.
"""

from collections import deque
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lssl.data.align import Similarity
from lssl.data.tiles import Box, bicubic, cut, each_tile, floats, look_up
from lssl.models.moving import Edit
from lssl.ops.moved_pixels import LEAST, MOVED, NATIVE, STILL, UNPAINTED, lanczos, moved_pixels

_OVERSHOOT = 1.4  # of a bicubic look-up beyond the values round it, at most (the sum of its weights' sizes, squared)
# Flow and tone are sampled as sparsely as keeps the error of linear interpolation between samples below these.
_FLOW_ERROR, _TONE_ERROR = 0.04, 0.002  # pixels; a share of light


@dataclass(frozen=True)
class _Moved:
    """A tile after movement and tone. total (3,) and weight: sums of its colours times the mask, and of the mask.

    colours (1, 3, h, w), 0 to 255, and inside (1, 1, h, w), the mask: only of a tile that is still to be painted.
    """

    box: Box
    total: NDArray[np.float64]
    weight: float
    colours: Tensor | None = None
    inside: Tensor | None = None


def apply_edit(
    photograph: NDArray[np.uint8], similarity: Similarity, edit: Edit, mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """A copy of the photograph (H, W, 3) with one face of it edited.

    Args:
        similarity: from the photograph's pixels to the network's crop, see `lssl.data.align.Similarity`.
        edit: of one face, N = 1, on any device.
        mask: (S, S) in [0, 1], over the crop: where the edit applies.
    """
    edit = Edit(*(plane.detach().float().cpu() for plane in edit))
    window = _window(photograph.shape[:2], similarity, mask)
    if NATIVE:
        return _in_rows(photograph, similarity, edit, mask, window)
    return _in_tiles(photograph, similarity, edit, mask, window)


def _in_rows(
    photograph: NDArray[np.uint8], similarity: Similarity, edit: Edit, mask: NDArray[np.float32], window: Box
) -> NDArray[np.uint8]:
    shift = _shift(edit, similarity, len(mask))
    return moved_pixels(
        torch.from_numpy(np.require(photograph, requirements=["C", "W"])),
        shift[0],
        edit.tone[0],
        torch.cat([edit.opacity, edit.paint], 1)[0],
        torch.from_numpy(np.ascontiguousarray(mask, np.float32)),
        torch.from_numpy(np.column_stack([similarity.matrix, similarity.offset])),
        window,
        _step(torch.cat([shift, edit.tone], 1), similarity, len(mask)),
    ).numpy()


def _in_tiles(
    photograph: NDArray[np.uint8], similarity: Similarity, edit: Edit, mask: NDArray[np.float32], window: Box
) -> NDArray[np.uint8]:
    """The same without the native library. Floats are computed for one tile at a time, and nothing where a tile neither
    moves nor is painted."""
    result = photograph.copy()
    tiles = _Tiles(photograph, similarity, edit, mask, result)
    moved = [tile for tile in each_tile(tiles.move, cut(window, tiles.step), window) if tile is not None]
    mean = sum((tile.total for tile in moved), np.zeros(3)) / max(sum(tile.weight for tile in moved), 1.0)
    held = [channel for channel in (1, 2) if mean[channel] <= mean[0]]
    painted = [tile for tile in moved if tile.colours is not None]
    deque(each_tile(partial(tiles.paint, held=held), painted, window), maxlen=0)
    return result


class _Tiles:
    """Moves, lights and paints tiles; see `apply_edit`. step: pixels of the photograph between samples of flow and tone.

    result (H, W, 3): a copy of the photograph, into which the tiles are written.
    """

    def __init__(
        self,
        photograph: NDArray[np.uint8],
        similarity: Similarity,
        edit: Edit,
        mask: NDArray[np.float32],
        result: NDArray[np.uint8],
    ) -> None:
        self._photograph, self._similarity, self._size, self._result = photograph, similarity, mask.shape[0], result
        self._mask = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
        self._smooth = torch.cat([_shift(edit, similarity, self._size), edit.tone], 1)
        self._paint = torch.cat([edit.opacity, edit.paint], 1)
        self.step = _step(self._smooth, similarity, self._size)

    def move(self, box: Box) -> _Moved | None:
        """Moves and lights a tile, and writes it where no paint follows. None where the mask does not reach it."""
        if self._largest(self._mask, box) < LEAST:
            return None
        places = self._places(box, 1)
        inside = F.grid_sample(self._mask, places, mode="bilinear", padding_mode="border", align_corners=False)
        inside = inside.where(inside >= LEAST, inside.new_zeros(()))
        weight = float(inside.sum())
        if weight == 0:
            return None
        flow, tone = self._movement(box)
        shift = flow * inside
        length = torch.hypot(shift[:, :1], shift[:, 1:])
        shift = shift * ((length - STILL) / (MOVED - STILL)).clamp_(0, 1)
        still = float(length.max()) <= STILL
        colours = floats(self._photograph, box) if still else look_up(self._photograph, shift, box, lanczos)
        colours = colours * torch.exp(tone * inside)
        total = (colours * inside).sum((0, 2, 3)).double().numpy()
        if _OVERSHOOT * self._largest(self._paint[:, :1], box) > UNPAINTED:
            return _Moved(box, total, weight, colours, inside)  # painted later: its hues depend on the whole face
        self._write(box, colours, inside)
        return _Moved(box, total, weight)

    def paint(self, tile: _Moved, held: list[int]) -> None:
        """Paints a moved tile, without hues that no face has: skin, lips and teeth reflect red at least as well as green and
        blue, so the channels `held` (1 green, 2 blue) are limited to the red one's value."""
        assert tile.colours is not None
        assert tile.inside is not None
        paint = bicubic(self._paint, self._places(tile.box, 1))
        opacity = ((paint[:, :1] - UNPAINTED) / (1 - UNPAINTED)).clamp_(0, 1) * tile.inside
        paint = (paint[:, 1:].clamp_(-1, 1) + 1) * 127.5
        for channel in held:
            paint[:, channel] = torch.minimum(paint[:, channel], paint[:, 0])
        self._write(tile.box, torch.lerp(tile.colours, paint, opacity), tile.inside)

    def _write(self, box: Box, colours: Tensor, inside: Tensor) -> None:
        left, top, right, bottom = box
        window = torch.from_numpy(self._result[top:bottom, left:right]).permute(2, 0, 1)
        edited = colours.round().clamp_(0, 255).to(torch.uint8)[0]
        window.copy_(torch.where(inside[0] > 0, edited, window))

    def _places(self, box: Box, step: int) -> Tensor:
        """Positions in the crop, (1, h, w, 2) in half-sides, of every step-th pixel of a tile, from its first to at least
        its last."""
        left, top, right, bottom = box
        w, h = (-(-(last - first - 1) // step) + 1 for first, last in ((left, right), (top, bottom)))
        matrix = 2 * self._similarity.matrix / self._size
        start = matrix @ [left, top] + 2 * (self._similarity.offset + 0.5) / self._size - 1
        places = torch.empty(1, h, w, 2)
        for k in range(2):  # from a tile's corner on float32 is fine enough, from a large photograph's it is not
            across = torch.arange(w, dtype=torch.float32) * float(step * matrix[k, 0]) + float(start[k])
            torch.add(across, (torch.arange(h) * float(step * matrix[k, 1]))[:, None], out=places[0, ..., k])
        return places

    def _movement(self, box: Box) -> tuple[Tensor, Tensor]:
        """The shift in pixels of the photograph (1, 2, h, w) and the tone (1, 3, h, w) of a tile."""
        left, top, right, bottom = box
        seen = bicubic(self._smooth, self._places(box, self.step))
        if self.step > 1:
            full = [self.step * (n - 1) + 1 for n in seen.shape[2:]]
            seen = seen.contiguous(memory_format=torch.channels_last)  # makes interpolate faster
            seen = F.interpolate(seen, size=full, mode="bilinear", align_corners=True)
            seen = seen[:, :, : bottom - top, : right - left].contiguous(memory_format=torch.contiguous_format)
        return seen[:, :2], seen[:, 2:]

    def _largest(self, plane: Tensor, box: Box) -> float:
        """An upper bound of the values of the plane (1, 1, S, S) that a look-up from a tile can reach."""
        left, top, right, bottom = box
        corners = np.array([[left, top], [right - 1, top], [left, bottom - 1], [right - 1, bottom - 1]], np.float64)
        there = corners @ self._similarity.matrix.T + self._similarity.offset
        low = np.clip(np.floor(there.min(0)).astype(int) - 2, 0, self._size - 1)
        high = np.clip(np.ceil(there.max(0)).astype(int) + 3, low + 1, self._size)
        return float(plane[0, 0, low[1] : high[1], low[0] : high[0]].max())


def _shift(edit: Edit, similarity: Similarity, size: int) -> Tensor:
    """The flow, in half-sides of the crop of `size` pixels, as a shift (1, 2, g, g) in pixels of the photograph."""
    back = torch.from_numpy(similarity.inverse().matrix * (size / 2)).float()
    return torch.einsum("ij,njhw->nihw", back, edit.flow)


def _step(smooth: Tensor, similarity: Similarity, size: int) -> int:
    """Pixels of the photograph between samples of shift and tone (1, 5, g, g) over a crop of `size` pixels."""
    cell = size / smooth.shape[-1] / similarity.scale
    return max(1, int(cell * min(1.0, _samples_apart(smooth))))


def _samples_apart(smooth: Tensor) -> float:
    """How far apart samples may lie, in cells of the grid of shifts and tones (1, 5, g, g): linear interpolation errs by an
    eighth of the curvature times the squared distance along each axis."""
    bend = smooth.new_zeros(smooth.shape[1])
    for axis in (2, 3):
        if smooth.shape[axis] > 2:
            bend += smooth.diff(n=2, dim=axis).abs().amax((0, 2, 3)) / 8
    worst = max(float(bend[:2].max()) / _FLOW_ERROR, float(bend[2:].max()) / _TONE_ERROR)
    return worst**-0.5 if worst > 0 else np.inf


def _window(shape: tuple[int, ...], similarity: Similarity, mask: NDArray[np.float32]) -> Box:
    """The pixels of the photograph that the mask can reach."""
    reached = mask >= LEAST
    rows, columns = np.flatnonzero(reached.any(1)), np.flatnonzero(reached.any(0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    left, right, top, bottom = columns.min() - 1, columns.max() + 1, rows.min() - 1, rows.max() + 1
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)
    back = similarity.inverse()
    there = corners @ back.matrix.T + back.offset
    extent = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(there.min(0)).astype(int) - 1, 0, extent)
    high = np.clip(np.ceil(there.max(0)).astype(int) + 2, low, extent)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])

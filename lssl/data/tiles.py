"""Photographs of any size, changed tile by tile: there are floats of a few tiles only, however large the photograph."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lssl.data.threads import in_order

TILE = 256  #: Pixels along the side of a tile, about.
_SIDE_BY_SIDE = 1 << 20  # pixels of a window; the tiles of windows of at least so many are distributed among threads

Box = tuple[int, int, int, int]  #: left, top, right, bottom, the last two not included
Item = TypeVar("Item")
Result = TypeVar("Result")


def cut(window: Box, step: int = 1) -> list[Box]:
    """Cuts a window into tiles of about `TILE` pixels a side, each side a multiple of step."""
    left, top, right, bottom = window
    side = max(1, TILE // step) * step
    return [
        (x, y, min(x + side, right), min(y + side, bottom))
        for y in range(top, bottom, side)
        for x in range(left, right, side)
    ]


def each_tile(function: Callable[[Item], Result], tiles: Sequence[Item], window: Box) -> Iterator[Result]:
    """function(tile) for each tile of a window, in order; several at once if the window is large and PyTorch may use
    several threads."""
    left, top, right, bottom = window
    threads = torch.get_num_threads()
    if threads > 1 and (right - left) * (bottom - top) >= _SIDE_BY_SIDE:
        return in_order(function, tiles, threads)
    return map(function, tiles)


def floats(photograph: NDArray[np.uint8], box: Box) -> Tensor:
    """Part of a photograph (H, W, 3) as (1, 3, h, w) floats, 0 to 255."""
    left, top, right, bottom = box
    part = np.ascontiguousarray(photograph[top:bottom, left:right].transpose(2, 0, 1), np.float32)
    return torch.from_numpy(part)[None]


def bicubic(planes: Tensor, places: Tensor) -> Tensor:
    """planes (N, C, H, W) at places (N, h, w, 2) in half-sides; the border is repeated outside."""
    return F.grid_sample(planes, places, mode="bicubic", padding_mode="border", align_corners=False)


def look_up(
    photograph: NDArray[np.uint8], shift: Tensor, box: Box, sample: Callable[[Tensor, Tensor], Tensor] = bicubic
) -> Tensor:
    """The photograph (H, W, 3), as (1, 3, h, w) floats, 0 to 255, at a tile's pixels plus a shift (1, 2, h, w) in pixels;
    beyond its border, the border's colour. sample: takes planes and places, like `bicubic`, and may look 3 pixels far."""
    height, width = photograph.shape[:2]
    start, stop = [], []
    for k, (first, last, extent) in enumerate(((box[0], box[2], width), (box[1], box[3], height))):
        low, high = (float(v) for v in shift[:, k].aminmax())
        start.append(min(max(first + int(np.floor(low)) - 3, 0), extent - 1))
        stop.append(max(min(last + int(np.ceil(high)) + 3, extent), start[-1] + 1))
    values = floats(photograph, (start[0], start[1], stop[0], stop[1]))
    places = torch.empty(1, *shift.shape[2:], 2)
    for k, extent in enumerate((stop[0] - start[0], stop[1] - start[1])):
        own = torch.arange(box[k] - start[k], box[k + 2] - start[k], dtype=torch.float32).add_(0.5 - extent / 2)
        torch.add(shift[:, k], own if k == 0 else own[:, None], out=places[..., k]).mul_(2 / extent)
    return sample(values, places).clamp_(0, 255)

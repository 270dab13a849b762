"""A photograph, looked up at positions (H, W, 2): x and y in its pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def framed(places: NDArray[np.float64], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): which positions (H, W, 2) lie within a photograph."""
    sides = np.array([image.shape[1], image.shape[0]])
    inside: NDArray[np.bool_] = np.logical_and.reduce((places > -0.5) & (places < sides - 0.5), axis=-1)
    return inside


def look_up(image: NDArray[np.uint8], places: NDArray[np.float64], step: float) -> Tensor:
    """The photograph at positions (H, W, 2), which lie `step` pixels apart; outside, its mirror image."""
    sides = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(places.min((0, 1))) - 4 * step, 0, sides - 2).astype(int)
    high = np.clip(np.ceil(places.max((0, 1))) + 4 * step, low + 2, sides).astype(int)
    piece = np.array(image[low[1] : high[1], low[0] : high[0]])
    photograph = torch.from_numpy(piece).permute(2, 0, 1)[None].float() / 255
    h, w = piece.shape[:2]
    if step > 1.5:  # shrink first, so that no pixel is skipped
        smaller = (max(2, round(h / step)), max(2, round(w / step)))
        photograph = F.interpolate(photograph, size=smaller, mode="bilinear", antialias=True, align_corners=False)
    look = torch.from_numpy((places - low + 0.5) * 2 / (w, h) - 1).float()[None]
    found = F.grid_sample(photograph, look, mode="bilinear", padding_mode="reflection", align_corners=False)
    return found[0].permute(1, 2, 0)

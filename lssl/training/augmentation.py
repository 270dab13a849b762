"""Random small moves of a face: shift, turn, scale and light; so that a critic does not memorize few photographs.

Beyond the paper, which only mirrors.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# What strength 1 is: shares of the picture's side, degrees, shares of the size and of the light.
SHIFT, TURN, SCALE, GAIN, TINT = 0.08, 6.0, 0.05, 0.1, 0.05
MOVES = 8  #: numbers that make a face's move: turn, scale, shift (x, y), gain, tint (R, G, B)


def draw_moves(count: int, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random moves of a strength, see `moves_of`."""
    return moves_of(torch.rand(count, MOVES, generator=generator) * 2 - 1, strength)


def moves_of(draw: Tensor, strength: float | Tensor) -> tuple[Tensor, Tensor]:
    """The moves that numbers (N, MOVES) in [-1, 1] are at a strength, a number or a scalar tensor.

    Returns affine maps (N, 2, 3) from output to input in [-1, 1] coordinates, and light (N, 4): gain, tint of R, G, B.
    """
    angle = draw[:, 0] * strength * math.radians(TURN)
    scale = 1 + draw[:, 1] * strength * SCALE
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = draw[:, 2:4] * strength * 2 * SHIFT
    affine = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).reshape(-1, 2, 3)
    light = torch.cat([1 + draw[:, 4:5] * strength * GAIN, draw[:, 5:8] * strength * TINT], 1)
    return affine, light


def move_images(images: Tensor, affine: Tensor) -> Tensor:
    """Resamples (N, C, H, W) bilinearly, repeating the border."""
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def move_landmarks(landmarks: Tensor, affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Where the points (N, K, 2), pixels of (height, width) pictures, lie after `move_images`."""
    unit = torch.stack([(landmarks[..., k] + 0.5) / size[1 - k] * 2 - 1 for k in range(2)], -1)
    moved = move_points(unit, affine)
    return torch.stack([(moved[..., k] + 1) / 2 * size[1 - k] - 0.5 for k in range(2)], -1)


def move_points(points: Tensor, affine: Tensor) -> Tensor:
    """`move_landmarks` of points (N, K, 2) in [-1, 1] coordinates."""
    a, b, c, d = affine[:, 0, 0], affine[:, 0, 1], affine[:, 1, 0], affine[:, 1, 1]
    # Written out: a library's inverse waits for the device, which a CUDA graph cannot.
    back = torch.stack([d, -b, -c, a], 1).reshape(-1, 2, 2) / (a * d - b * c)[:, None, None]
    return torch.einsum("nij,nkj->nki", back, points - affine[:, None, :, 2])


def composed(first: Tensor, then: Tensor) -> Tensor:
    """The map (N, 2, 3) for `move_images` that does what `first` and `then`, in this order, would do with two samplings."""
    return torch.cat([first[..., :2] @ then[..., :2], first[..., :2] @ then[..., 2:] + first[..., 2:]], 2)


def light_images(images: Tensor, light: Tensor) -> Tensor:
    """Scales brightness and tints (N, 3, H, W) in [-1, 1]."""
    return ((images + 1) * light[:, :1, None, None] - 1 + light[:, 1:, None, None]).clamp(-1, 1)

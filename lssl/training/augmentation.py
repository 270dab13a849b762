"""Small random moves of a face (shift, turn, scale and light), so that a critic cannot memorize a few photographs; and mouths
made wider or narrower, so that a generator does not take a wide mouth for a smile.

This goes beyond the paper, which only mirrors.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# The largest moves at strength 1: a share of the picture's side, degrees, shares of the face's size and of the light.
SHIFT, TURN, SCALE, GAIN, TINT = 0.08, 6.0, 0.05, 0.1, 0.05
MOUTH = 0.4  # by which share a mouth becomes narrower or wider at strength 1
_UNIT = 0.3 * math.sqrt(2)  # of a mouth's change, which reaches 0.3 half-sides of the picture (one standard deviation)
MOVES = 8  #: numbers that describe one face's move: turn, scale, shift (x, y), gain, tint (R, G, B)


def draw_moves(count: int, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random moves of `count` faces, as `moves_of` returns them; strength 0 leaves faces as they are."""
    return moves_of(torch.rand(count, MOVES, generator=generator) * 2 - 1, strength)


def moves_of(draw: Tensor, strength: float | Tensor) -> tuple[Tensor, Tensor]:
    """The moves that numbers (N, MOVES) in [-1, 1] stand for; `strength` (a number or scalar tensor) scales them.

    Returns affine maps (N, 2, 3) from output to input in [-1, 1] coordinates, and light (N, 4): gain and tint of R, G, B.
    """
    draw = draw * strength
    angle = draw[:, 0] * math.radians(TURN)
    scale = 1 + draw[:, 1] * SCALE
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = draw[:, 2:4] * 2 * SHIFT
    affine = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).reshape(-1, 2, 3)
    light = torch.cat([1 + draw[:, 4:5] * GAIN, draw[:, 5:8] * TINT], 1)
    return affine, light


@dataclass(frozen=True)
class Mouths:
    """Mouths that become narrower or wider.

    centre: (N, 2), in [-1, 1] coordinates, where they lie after the move. narrowing: (N,), the share; below 0 they widen.
    """

    centre: Tensor
    narrowing: Tensor

    def aside(self, points: Tensor) -> Tensor:
        """How far to the side of points (N, K, 2) of the result the picture is looked up: (N, K)."""
        x, share = self._beside(points)
        return x * torch.exp(-x.square()) * share * _UNIT

    def move_points(self, points: Tensor) -> Tensor:
        """Where points (N, K, 2) of the picture lie in the result, by fixed-point iteration."""
        x, share = self._beside(points)
        moved = x
        for _ in range(8):  # on a GPU each operation here costs as much as a convolution of small pictures
            moved = torch.addcmul(x, moved * share, torch.exp(-moved.square()), value=-1)
        return torch.stack([torch.add(points[..., 0], moved - x, alpha=_UNIT), points[..., 1]], 2)

    def _beside(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """How far points lie beside the mouth's centre, in units in which the change falls by exp(-x^2); and what share of
        it there is at their height. Both (N, K)."""
        x, y = ((points - self.centre[:, None]) / _UNIT).unbind(2)
        return x, torch.exp(-y.square()) * self.narrowing[:, None]


def move_images(images: Tensor, affine: Tensor, mouths: Mouths | None = None, *, mode: str = "bicubic") -> Tensor:
    """Resamples (N, C, H, W), repeating the border; `mouths` change after the move, in the same resampling.

    mode: of `grid_sample`. "bilinear" blurs small pictures, so that a critic takes blurred faces for real ones; "bicubic"
        hardly does, but goes slightly beyond the largest and smallest values.
    """
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    if mouths is not None:
        still = torch.eye(2, 3, dtype=affine.dtype, device=affine.device).expand(len(affine), 2, 3)
        places = F.affine_grid(still, list(images.shape), align_corners=False)
        offset = mouths.aside(places.flatten(1, 2)).reshape(places.shape[:3])
        grid = grid + offset[..., None] * affine[:, None, None, :, 0]
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def move_landmarks(landmarks: Tensor, affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Where points (N, K, 2), in pixels of pictures of size (height, width), lie after `move_images`."""
    unit = torch.stack([(landmarks[..., k] + 0.5) / size[1 - k] * 2 - 1 for k in range(2)], -1)
    moved = move_points(unit, affine)
    return torch.stack([(moved[..., k] + 1) / 2 * size[1 - k] - 0.5 for k in range(2)], -1)


def move_points(points: Tensor, affine: Tensor) -> Tensor:
    """As `move_landmarks`, for points (N, K, 2) in [-1, 1] coordinates."""
    a, b, c, d = affine[:, 0, 0], affine[:, 0, 1], affine[:, 1, 0], affine[:, 1, 1]
    # Written out: torch.linalg.inv waits for the device, which a CUDA graph must not do.
    back = torch.stack([d, -b, -c, a], 1).reshape(-1, 2, 2) / (a * d - b * c)[:, None, None]
    return torch.einsum("nij,nkj->nki", back, points - affine[:, None, :, 2])


def composed(first: Tensor, then: Tensor) -> Tensor:
    """The map (N, 2, 3) that resamples once where `first` and `then`, in this order, would resample twice."""
    return torch.cat([first[..., :2] @ then[..., :2], first[..., :2] @ then[..., 2:] + first[..., 2:]], 2)


def light_images(images: Tensor, light: Tensor) -> Tensor:
    """Applies gain and tint, `light` (N, 4) of `moves_of`, to pictures (N, 3, H, W) in [-1, 1]."""
    return ((images + 1) * light[:, :1, None, None] - 1 + light[:, 1:, None, None]).clamp(-1, 1)

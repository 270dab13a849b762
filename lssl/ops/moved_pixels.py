"""A face's edit on a photograph's own pixels. Not part of the public `lssl.ops`: no gradient, on the CPU only."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.ops._library import native_available

LEAST = 1 / 512  #: Of the mask; below it, it counts as nothing: the photograph's pixels are left untouched.
#: Pixels: a shift below the first is dropped, beyond the second it is applied in full. An invisible shift would only blur.
STILL, MOVED = 0.3, 1.2
UNPAINTED = 0.06  #: Opacity below which the photograph is left as it is.
_LOBES, _STEPS = 3, 512  # of Lanczos' kernel; parts of a pixel that places are rounded to

#: Whether the native library has the operator; one that was built from an older source has not.
NATIVE = native_available() and hasattr(torch.ops.lssl, "moved_pixels")


def moved_pixels(
    photograph: Tensor,
    shift: Tensor,
    tone: Tensor,
    paint: Tensor,
    mask: Tensor,
    similarity: Tensor,
    box: tuple[int, int, int, int],
    step: int = 1,
) -> Tensor:
    """A copy of a photograph with one face of it moved, relit and painted; for callers that looked at `NATIVE`.

    The photograph is sampled by Lanczos' kernel with three lobes (`lanczos`), planes of the edit are bicubic.

    Args:
        photograph: (H, W, 3) uint8.
        shift: (2, g, g) float32, x and y in pixels of the photograph, sampled over the crop.
        tone: (3, g, g), the logarithm of the light's change for red, green and blue.
        paint: (4, S, S), opacity from 0 to 1 and colours from -1 to 1.
        mask: (S, S), from 0 to 1: how much of the edit applies.
        similarity: (2, 3) float64, from the photograph's pixels to the crop's, pixel centres at integers.
        box: left, top, right, bottom: the pixels that the mask can reach.
        step: pixels between the samples of shift and tone along a row; between them they are linear.

    Raises RuntimeError for wrong shapes or dtypes.
    """
    smooth = torch.cat([shift, tone, tone.new_zeros(3, *tone.shape[1:])]).permute(1, 2, 0).contiguous()
    result: Tensor = torch.ops.lssl.moved_pixels(
        photograph, smooth, paint.permute(1, 2, 0).contiguous(), mask[..., None], similarity, *box, step
    )
    return result


if NATIVE:

    @torch.library.register_fake("lssl::moved_pixels")
    def _(
        photograph: Tensor,
        smooth: Tensor,
        paint: Tensor,
        mask: Tensor,
        similarity: Tensor,
        left: int,
        top: int,
        right: int,
        bottom: int,
        step: int,
    ) -> Tensor:
        return torch.empty_like(photograph, memory_format=torch.contiguous_format)


def lanczos(planes: Tensor, places: Tensor) -> Tensor:
    """planes (1, C, H, W) at places (1, h, w, 2) in half-sides, by Lanczos' kernel with three lobes; the border is repeated
    outside. Half a pixel away it keeps 0.76 of a wave of 8 / 3 pixels, where `grid_sample`'s bicubic one keeps 0.63."""
    (height, width), flat = planes.shape[2:], planes[0].flatten(1)
    taps = []
    for k, extent in enumerate((width, height)):
        at = ((places[0, ..., k] + 1) * extent - 1) / 2
        at = torch.nan_to_num(at, nan=-2.0 * _LOBES).clamp(-2.0 * _LOBES, extent + 2.0 * _LOBES)
        first = at.floor()
        steps = ((at - first) * _STEPS + 0.5).floor() / _STEPS
        off = steps[..., None] + (_LOBES - 1) - torch.arange(2 * _LOBES, dtype=at.dtype)
        weights = torch.sinc(off) * torch.sinc(off / _LOBES)
        index = first.long()[..., None] + torch.arange(1 - _LOBES, _LOBES + 1)
        taps.append((index.clamp(0, extent - 1), weights / weights.sum(-1, keepdim=True)))
    (columns, across), (rows, down) = taps
    found = flat.new_zeros(len(flat), *places.shape[1:3])
    for i in range(2 * _LOBES):
        row = torch.zeros_like(found)
        for j in range(2 * _LOBES):
            row += across[..., j] * flat[:, rows[..., i] * width + columns[..., j]]
        found += down[..., i] * row
    return found[None]


def moved_pixels_reference(
    photograph: Tensor, shift: Tensor, tone: Tensor, paint: Tensor, mask: Tensor, similarity: Tensor
) -> Tensor:
    """The op's specification in eager PyTorch, in float64; shift and tone are sampled at every pixel."""
    height, width, _ = photograph.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], -1).double()
    places = 2 * (pixels @ similarity[:, :2].T + similarity[:, 2] + 0.5) / mask.shape[0] - 1

    def seen(planes: Tensor, at: Tensor, mode: str = "bicubic") -> Tensor:
        found = F.grid_sample(planes.double()[None], at[None], mode, padding_mode="border", align_corners=False)
        return found[0].movedim(0, -1)

    inside = seen(mask[None], places, "bilinear")
    inside = inside.where(inside >= LEAST, 0)
    moves = seen(shift, places) * inside
    moves = moves * ((moves.norm(dim=-1, keepdim=True) - STILL) / (MOVED - STILL)).clamp(0, 1)
    extent = torch.tensor([width, height])
    places_moved = 2 * (pixels + moves + 0.5) / extent - 1
    moved = lanczos(photograph.movedim(-1, 0).double()[None], places_moved[None])[0].movedim(0, -1).clamp(0, 255)
    moved = moved * torch.exp(seen(tone, places) * inside)
    said = seen(paint, places)
    opacity = ((said[..., :1] - UNPAINTED) / (1 - UNPAINTED)).clamp(0, 1) * inside
    colours = (said[..., 1:].clamp(-1, 1) + 1) * 127.5
    mean = (moved * inside).sum((0, 1))
    for channel in (1, 2):  # hues that no face has: skin, lips and teeth reflect red at least as well as the others
        if mean[channel] <= mean[0]:
            colours[..., channel] = torch.minimum(colours[..., channel], colours[..., 0])
    edited = torch.lerp(moved, colours, opacity).round().clamp(0, 255).byte()
    return torch.where(inside > 0, edited, photograph)

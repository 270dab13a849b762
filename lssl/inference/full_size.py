"""A moving generator's edit on the photograph's own pixels, at the photograph's own size.

Flow and tone are smooth, so they are as good at 12 megapixels as at 128 pixels: the photograph's pixels are moved and
lit, and hair, skin and stubble stay as sharp as they were. Only the paint (teeth, the inside of a mouth) comes from the
network's own resolution. What lies outside the face is the photograph's, bit for bit.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lssl.data import to_float
from lssl.data.align import Similarity
from lssl.inference.synthesis import (
    Blend,
    InputFace,
    Target,
    face_feather,
    paste_back,
    target_vector,
    translate_batch,
)
from lssl.models.export import TrainedGenerator
from lssl.models.moving import Edit, MovingGenerator

_LARGEST_GAP = 1 / 512  # below it, the mask counts as nothing: the photograph's pixels are left untouched
# Pixels: a shift below the first is left out, beyond the second it is whole. What nobody sees move would only be blurred.
_STILL, _MOVED = 0.3, 1.2
_UNPAINTED = 0.06  # opacity below which the photograph is left as it is


def says_movement(model: TrainedGenerator) -> bool:
    """Whether a generator says movement, tone and paint apart."""
    return isinstance(model.network, MovingGenerator)


def whole_photograph(
    model: TrainedGenerator, face: InputFace, target: Target | Blend, translated: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) that a face was read from, with the face changed to a target.

    A moving generator's edit is done to the photograph's own pixels; of another's, `translated` (S, S, 3) is pasted back.
    """
    if face.photograph is None or face.similarity is None or face.landmarks is None:
        raise ValueError(f"{face.name} was not read from a photograph")
    if not says_movement(model):
        return paste_back(face, translated)
    return NetworkEdit(model, face).change(face.photograph, target)


class NetworkEdit:
    """A face of a photograph, made ready once for a trained generator, for any number of edits."""

    def __init__(self, model: TrainedGenerator, face: InputFace) -> None:
        if face.similarity is None or face.landmarks is None:
            raise ValueError(f"{face.name} was not read from a photograph")
        self._model, self._face, self._similarity = model, face, face.similarity
        device = next(model.parameters()).device
        self._image = to_float(torch.from_numpy(face.image).permute(2, 0, 1)[None].to(device))
        self._side = model.side_image(torch.from_numpy(face.landmarks)[None].to(device))
        self._mask = face_feather(face.landmarks, face.image.shape[0])

    @torch.inference_mode()
    def change(self, photograph: NDArray[np.uint8], target: Target | Blend) -> NDArray[np.uint8]:
        """A copy of the photograph (H, W, 3), or of what other edits made of it, with this face changed."""
        if not says_movement(self._model):
            (made,) = translate_batch(self._model, [self._face], [target])
            return paste_back(replace(self._face, photograph=photograph), made)
        device = next(self._model.parameters()).device
        y = target_vector(self._model.schema, self._face.source, target)[None].to(device)
        side = None if self._side is None else self._side.to(device)
        edit, _, _ = self._model.network.edit(self._image.to(device), side, y)
        return apply_edit(photograph, self._similarity, edit, self._mask)


def apply_edit(
    photograph: NDArray[np.uint8], similarity: Similarity, edit: Edit, mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) with one face of it edited.

    Args:
        similarity: from the photograph's pixels to the network's crop, see `lssl.data.align.Similarity`.
        edit: of one face, N = 1, on any device.
        mask: (S, S) in [0, 1], over the crop: where the edit applies.
    """
    size = mask.shape[0]
    low, high = _window(photograph.shape[:2], similarity, mask)
    if (high <= low).any():
        return photograph.copy()
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    pixels = np.stack([x, y], -1)
    at = (pixels @ similarity.matrix.T + similarity.offset).astype(np.float32)
    places = torch.from_numpy(2 * (at + 0.5) / size - 1)[None]

    def seen(planes: Tensor, mode: str) -> NDArray[np.float32]:
        values = F.grid_sample(planes.float().cpu(), places, mode=mode, padding_mode="border", align_corners=False)
        return values[0].permute(1, 2, 0).numpy()

    inside = seen(torch.from_numpy(mask)[None, None], "bilinear")
    inside[inside < _LARGEST_GAP] = 0
    # Half-sides of the crop to pixels of the photograph.
    shift = (seen(edit.flow, "bicubic") * inside * (size / 2)) @ similarity.inverse().matrix.T
    length = np.hypot(shift[..., 0], shift[..., 1])[..., None]
    shift *= np.clip((length - _STILL) / (_MOVED - _STILL), 0, 1)
    moved = _look_up(photograph, (pixels + shift).astype(np.float32), low, high)
    moved = moved * np.exp(seen(edit.tone, "bicubic") * inside)
    opacity = np.clip((seen(edit.opacity, "bicubic") - _UNPAINTED) / (1 - _UNPAINTED), 0, 1) * inside
    paint = _natural((np.clip(seen(edit.paint, "bicubic"), -1, 1) + 1) * 127.5, moved, inside)
    result = photograph.copy()
    window = result[low[1] : high[1], low[0] : high[0]]
    edited = np.clip(np.rint(moved + opacity * (paint - moved)), 0, 255).astype(np.uint8)
    window[:] = np.where(inside > 0, edited, window)
    return result


def _natural(paint: NDArray[np.float32], face: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """The paint without hues that no face has: skin, lips and teeth reflect red at least as well as green and blue.

    So it is held where the face's own light is not greener or bluer than that.
    """
    mean = (face * inside).sum((0, 1)) / max(float(inside.sum()), 1.0)
    held = paint.copy()
    for channel in (1, 2):
        if mean[channel] <= mean[0]:
            held[..., channel] = np.minimum(paint[..., channel], paint[..., 0])
    return held


def _window(
    shape: tuple[int, ...], similarity: Similarity, mask: NDArray[np.float32]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The pixels (x, y) from `low` to before `high` of the photograph that the mask can reach."""
    rows, columns = np.nonzero(mask >= _LARGEST_GAP)
    if len(rows) == 0:
        return np.zeros(2, int), np.zeros(2, int)
    left, right, top, bottom = columns.min() - 1, columns.max() + 1, rows.min() - 1, rows.max() + 1
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)
    back = similarity.inverse()
    there = corners @ back.matrix.T + back.offset
    extent = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(there.min(0)).astype(int) - 1, 0, extent)
    return low, np.clip(np.ceil(there.max(0)).astype(int) + 2, low, extent)


def _look_up(
    photograph: NDArray[np.uint8], places: NDArray[np.float32], low: NDArray[np.int_], high: NDArray[np.int_]
) -> NDArray[np.float32]:
    """The photograph at places (h, w, 2) near the window, bicubic; beyond its border, the border's colour."""
    reach = int(np.ceil(max(1.0, float(np.abs(places[..., 0] - np.arange(low[0], high[0])).max())))) + 3
    down = int(np.ceil(max(1.0, float(np.abs(places[..., 1] - np.arange(low[1], high[1])[:, None]).max())))) + 3
    start = np.maximum(low - [reach, down], 0)
    stop = np.minimum(high + [reach, down], [photograph.shape[1], photograph.shape[0]])
    piece = np.ascontiguousarray(photograph[start[1] : stop[1], start[0] : stop[0]])
    extent = (stop - start).astype(np.float32)
    grid = torch.from_numpy((2 * (places - start + 0.5) / extent - 1).astype(np.float32))[None]
    values = torch.from_numpy(piece).permute(2, 0, 1)[None].float()
    sampled = F.grid_sample(values, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return sampled[0].permute(1, 2, 0).numpy().clip(0, 255)

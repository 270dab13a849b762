"""A moving generator's edit on the photograph's own pixels, at the photograph's own size.

Flow and tone are smooth, so they are as good at 12 megapixels as at 128 pixels: the photograph's pixels are moved and
relit, and hair, skin and stubble stay as sharp as they were. Only the paint (teeth, the inside of a mouth) has the network's
own resolution. Everything outside the face is the photograph's, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.data import to_float
from lssl.data.align import warp
from lssl.inference.moved_pixels import apply_edit
from lssl.inference.synthesis import (
    Blend,
    InputFace,
    Target,
    face_feather,
    paste_back,
    source_vector,
    target_vector,
    translate_batch,
)
from lssl.models.export import TrainedGenerator
from lssl.models.moving import Edit, MovingGenerator

_BEGUN = 0.25  # of the way, by which what a network paints whole has come in: it is never quite the photograph


def says_movement(model: TrainedGenerator) -> bool:
    """Whether a generator gives movement, tone and paint separately."""
    return isinstance(model.network, MovingGenerator)


def whole_photograph(
    model: TrainedGenerator, face: InputFace, target: Target | Blend, translated: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) that a face was read from, with the face changed to a target.

    A moving generator's edit is applied to the photograph's own pixels; with any other generator, `translated`
    (S, S, 3) is pasted back. Raises ValueError for a face that was not read from a photograph.
    """
    if face.photograph is None or face.similarity is None or face.landmarks is None:
        raise ValueError(f"{face.name} was not read from a photograph")
    if not says_movement(model):
        return paste_back(face, translated)
    return NetworkEdit(model, face).change(face.photograph, target)


def edited_photographs(
    model: TrainedGenerator, face: InputFace, targets: Sequence[Target]
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """The photograph (H, W, 3) that a face was read from with each target, and the face's crops (S, S, 3) of these."""
    if face.photograph is None or face.similarity is None:
        raise ValueError(f"{face.name} was not read from a photograph")
    edit = NetworkEdit(model, face)
    pictures = [edit.change(face.photograph, target) for target in targets]
    return pictures, [warp(picture, face.similarity, model.image_size) for picture in pictures]


class NetworkEdit:
    """A face of a photograph, prepared once for any number of edits by a trained generator."""

    def __init__(self, model: TrainedGenerator, face: InputFace) -> None:
        if face.similarity is None or face.landmarks is None:
            raise ValueError(f"{face.name} was not read from a photograph")
        self._model, self._face, self._similarity = model, face, face.similarity
        device = next(model.parameters()).device
        self._image = to_float(torch.from_numpy(face.image).permute(2, 0, 1)[None].to(device))
        self._side = model.side_image(torch.from_numpy(face.landmarks)[None].to(device))
        self._mask = face_feather(face.landmarks, face.image.shape[0])
        self._last: tuple[Tensor, Edit] | None = None  # y, and what the network said to it

    @torch.inference_mode()
    def change(self, photograph: NDArray[np.uint8], target: Target | Blend) -> NDArray[np.uint8]:
        """A copy of the photograph (H, W, 3), which other edits may have changed, with this face changed."""
        part, full = part_of_whole(target)
        if part == 0:
            return photograph.copy()
        if not says_movement(self._model):
            (made,) = translate_batch(self._model, [self._face], [target])
            begun = min(1.0, part / _BEGUN)
            if begun < 1:
                made = np.rint(self._face.image + begun * (made.astype(np.float32) - self._face.image)).astype(np.uint8)
            return paste_back(replace(self._face, photograph=photograph), made)
        edit = self._whole_edit(target_vector(self._model.schema, self._face.source, full))
        return apply_edit(photograph, self._similarity, part_of_edit(edit, part), self._mask)

    def _whole_edit(self, y: Tensor) -> Edit:
        """What the network says to y (A,), on the CPU. The last answer is kept: a slider asks for parts of the same."""
        last = self._last
        if last is not None and torch.equal(last[0], y):
            return last[1]
        device = next(self._model.parameters()).device
        side = None if self._side is None else self._side.to(device)
        y_source = source_vector(self._model, self._face.source, y)
        edit, _, _ = self._model.network.edit(
            self._image.to(device), side, y[None].to(device), y_source[None].to(device)
        )
        edit = Edit(*(plane.float().cpu() for plane in edit))
        self._last = y, edit
        return edit


def part_of_edit(edit: Edit, part: float) -> Edit:
    """A part of an edit, from 0 (nothing) over 1 to more: its movement and light grow on, paint covers no more than it did."""
    if part == 1:
        return edit
    return Edit(edit.flow * part, edit.tone * part, edit.paint, edit.opacity * min(part, 1.0))


def part_of_whole(target: Target | Blend) -> tuple[float, Blend]:
    """How much of an edit is asked for, 0 to 1 or more, and the whole of it.

    A generator says what makes a face show y, not from where: half of a smile is half of its movement, whatever the
    photograph shows (y half way is neither: from a photograph that smiles it would begin at a neutral face). Nor has it
    learnt a y beyond 1: asked for one, `london` shuts the mouth of a smile.
    """
    sums: dict[str, float] = {}
    for (group, _), share in target.shares.items():
        sums[group] = sums.get(group, 0.0) + share
    part = max(sums.values(), default=0.0)
    if part == 0:
        return 0.0, Blend({}, target.name)
    return part, Blend({pair: share / part for pair, share in target.shares.items()}, target.name)

"""Edits of a face in a frame, in two steps: a costly one for key frames only, and a cheap one for every frame.

A generator that gives movement, light and paint separately gives them in the face's own crop, where they change slowly, so
they are interpolated between key frames. The network only runs when the face changes its shape, and the edit does not
flicker.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import to_float
from lssl.data.align import Similarity, face_anchors, face_similarity, warp
from lssl.face3d.editing.edit import edit_photograph
from lssl.face3d.editing.field import named_movement
from lssl.face3d.editing.movement import PlacedFace, place_between
from lssl.inference.full_size import part_of_edit, part_of_whole, says_movement
from lssl.inference.model_edit import GROUP, ModelEditor
from lssl.inference.moved_pixels import apply_edit
from lssl.inference.synthesis import (
    InputFace,
    Target,
    face_feather,
    framing,
    paste_back,
    source_vector,
    target_vector,
)
from lssl.models.export import TrainedGenerator
from lssl.models.moving import Edit

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]


class FaceEdits(Protocol):
    """The edits of one kind of generator. landmarks: (68, 2) in pixels of the frame."""

    def key(self, image: Pixels, landmarks: Points) -> Any:
        """Computes the edit of a face in a key frame, for `apply`. Raises LsslError if the face cannot be edited."""

    def apply(self, image: Pixels, landmarks: Points, before: Any, after: Any, share: float, strength: float) -> Pixels:
        """The frame (H, W, 3) with one face edited, by what `key` returned for the key frames `before` and `after` it.

        share: how far the frame is from one to the other, 0 to 1. strength: how much of the edit to show, 0 to 1.
        """


def face_edits(model: "TrainedGenerator | ModelEditor", target: Target, source: dict[str, str]) -> FaceEdits:
    """The edits that a model makes. source: what the frames show, see `source_values`."""
    if isinstance(model, ModelEditor):
        return ModelEdits(model, target, source.get(GROUP))
    return MovingEdits(model, target, source) if says_movement(model) else PastedEdits(model, target, source)


def half_precision(device: torch.device) -> AbstractContextManager[Any]:
    """A bfloat16 context if the chip multiplies bfloat16 in hardware: an NVIDIA GPU from Ampere on, a CPU with AMX.
    Elsewhere it would be emulated, and slower than float32."""
    if device.type == "cuda":
        pays = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        pays = device.type == "cpu" and bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
    return torch.autocast(device.type, torch.bfloat16) if pays else nullcontext()


def face_crop(model: TrainedGenerator, image: Pixels, landmarks: Points) -> tuple[Pixels, Points, Similarity]:
    """The crop (S, S, 3) of a face for the generator, its landmarks (68, 2) in the crop, and the similarity to the crop."""
    similarity = crop_similarity(model, landmarks)
    return warp(image, similarity, model.image_size), similarity.apply(landmarks), similarity


def crop_similarity(model: TrainedGenerator, landmarks: Points) -> Similarity:
    frame = framing(model)
    return face_similarity(face_anchors(landmarks), model.image_size, frame.crop_scale, frame.eye_line)


@dataclass(frozen=True)
class MovingEdits:
    """With a generator that moves faces: the frame's own pixels are moved."""

    model: TrainedGenerator
    target: Target
    source: dict[str, str]

    @torch.inference_mode()
    def key(self, image: Pixels, landmarks: Points) -> tuple[Edit, NDArray[np.float32]]:
        crop, points, _ = face_crop(self.model, image, landmarks)
        device = next(self.model.parameters()).device
        pixels = to_float(torch.from_numpy(crop).permute(2, 0, 1)[None].to(device))
        side = self.model.side_image(torch.from_numpy(points)[None].to(device))
        part, whole = part_of_whole(self.target)
        y = target_vector(self.model.schema, self.source, whole)
        y_source = source_vector(self.model, self.source, y)
        with half_precision(device):
            edit, _, _ = self.model.network.edit(pixels, side, y[None].to(device), y_source[None].to(device))
        edit = part_of_edit(Edit(*(field.float().cpu() for field in edit)), part)
        return edit, face_feather(points, self.model.image_size)

    @torch.inference_mode()
    def apply(
        self,
        image: Pixels,
        landmarks: Points,
        before: tuple[Edit, NDArray[np.float32]],
        after: tuple[Edit, NDArray[np.float32]],
        share: float,
        strength: float,
    ) -> Pixels:
        similarity = crop_similarity(self.model, landmarks)
        edit, mask = before
        if share > 0:
            edit = Edit(*(torch.lerp(a, b, share) for a, b in zip(edit, after[0], strict=True)))
            mask = mask + np.float32(share) * (after[1] - mask)
        return apply_edit(image, similarity, part_of_edit(edit, strength), mask)


@dataclass(frozen=True)
class PastedEdits:
    """With a generator that returns whole faces: the change it makes is pasted into the frame."""

    model: TrainedGenerator
    target: Target
    source: dict[str, str]

    @torch.inference_mode()
    def key(self, image: Pixels, landmarks: Points) -> NDArray[np.float32]:
        """What is added to the crop (S, S, 3), in levels of 0 to 255."""
        crop, points, _ = face_crop(self.model, image, landmarks)
        device = next(self.model.parameters()).device
        pixels = to_float(torch.from_numpy(crop).permute(2, 0, 1)[None].to(device))
        y = target_vector(self.model.schema, self.source, self.target)[None].to(device)
        y_source = self.model.schema.encode(self.source)[None].to(device)
        with half_precision(device):
            made = self.model.translate(pixels, torch.from_numpy(points)[None].to(device), y, y_source)
        change = 127.5 * (made.float() - pixels)
        return change[0].permute(1, 2, 0).cpu().numpy()

    def apply(
        self,
        image: Pixels,
        landmarks: Points,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        share: float,
        strength: float,
    ) -> Pixels:
        crop, points, similarity = face_crop(self.model, image, landmarks)
        change = strength * (before + share * (after - before))
        made = np.clip(np.rint(crop + change), 0, 255).astype(np.uint8)
        return paste_back(InputFace("", crop, points, self.source, image, similarity), made)


@dataclass(frozen=True)
class ModelEdits:
    """With the fitted 3D model: the fit is interpolated, and the edit is made in every frame."""

    editor: ModelEditor
    target: Target
    source: str | None

    def key(self, image: Pixels, landmarks: Points) -> PlacedFace:  # noqa: ARG002
        return self.editor.place(landmarks)

    def apply(
        self, image: Pixels, landmarks: Points, before: PlacedFace, after: PlacedFace, share: float, strength: float
    ) -> Pixels:
        placed = before
        if share > 0:
            placed = place_between(before, after, share, torch.from_numpy(landmarks))
        name, intensity = self.target.values[GROUP], strength * self.target.intensity
        return edit_photograph(image, [named_movement(placed, name, intensity, self.source)])[0]

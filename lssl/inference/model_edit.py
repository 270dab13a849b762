"""`3d`: changes expressions with the fitted 3D face model only. Nothing is trained, and the photograph keeps its size.

The model is fitted to the photograph's landmarks, its expression is changed, and the movement of its visible surface
moves the photograph's own pixels (lssl/face3d/editing).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lssl.data.align import warp
from lssl.data.folder import FaceFolder
from lssl.data.images import read_image
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.errors import LsslError
from lssl.face3d.builtin import load_face_model
from lssl.face3d.editing.edit import edit_face, see_face
from lssl.face3d.editing.field import blended_movement
from lssl.face3d.editing.movement import PlacedFace, place_face
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.inference.synthesis import Blend, InputFace, Target, leaving

GROUP = "expression"


@dataclass(frozen=True)
class ModelEditor:
    """Edits expressions with a bilinear face model; takes a trained generator's place when photographs are read.

    image_size: side in pixels of the crops that contact sheets show; the edit itself is made in the whole photograph.
    """

    model: BilinearFaceModel
    image_size: int = 256

    @classmethod
    def load(cls, model: str = "ict") -> "ModelEditor":
        """The editor with a built-in face model, by its name, or with a model's file. Raises LsslError naming it."""
        return cls(load_face_model(model))

    @property
    def schema(self) -> AttributeSchema:
        return AttributeSchema((AttributeGroup(GROUP, tuple(self.model.expressions)),))

    @property
    def info(self) -> dict[str, object]:
        """Empty, so that faces are cropped as `lssl prepare` crops them."""
        return {}

    def place(self, landmarks: NDArray[np.floating] | Tensor) -> PlacedFace:
        """The model fitted to landmarks (68, 2), in pixels. Raises LsslError if the fit is doubtful."""
        placed = place_face(self.model, torch.as_tensor(landmarks, dtype=torch.float32))
        if placed.doubt:
            raise LsslError(f"the 3D face does not fit: {placed.doubt}")
        return placed

    def prepared(self, folder: FaceFolder) -> Iterator[InputFace]:
        """The faces of a data set folder, of any size; its column `expression`, if there is one, says what they show.

        Raises LsslError if the folder has no landmarks.
        """
        if folder.landmarks is None:
            raise LsslError(f"{folder.root} has no landmarks.npy, which the 3D edit needs; make it with `lssl prepare`")
        known = folder.columns.get(GROUP)
        for row in range(len(folder)):
            source = {GROUP: known[row]} if known is not None and known[row] in self.model.expressions else {}
            path = folder.image_path(row)
            yield InputFace(path.stem, read_image(path), folder.landmarks[row], source)

    def edit_face(self, face: InputFace, targets: Sequence[Target]) -> list[NDArray[np.uint8]]:
        """The whole photograph of an input face (for a prepared face, its picture), changed to each target.

        Raises LsslError if the model does not fit the face.
        """
        if face.landmarks is None:
            raise ValueError(f"{face.name}: the 3D edit needs landmarks")
        photograph, marks = face.photograph, face.places
        if photograph is None or marks is None:
            photograph, marks = face.image, face.landmarks
        edit = PlacedEdit(self, photograph, marks, face.source.get(GROUP))
        return [edit.change(photograph, target) for target in targets]

    def crops(self, face: InputFace, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """The input face's crop, then those of its edited pictures, (image_size, image_size, 3) each."""
        size = self.image_size
        if face.similarity is not None:
            return [face.image, *(warp(picture, face.similarity, size) for picture in pictures)]
        return [
            np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
            for picture in (face.image, *pictures)
        ]


class PlacedEdit:
    """A face of a photograph, fitted once for any number of edits.

    photograph: uint8 (H, W, 3). landmarks: (68, 2) in its pixels. source: the expression that it shows; None to read it
    from the face. quick: edits are previews, with edges less smooth. Raises LsslError if the model does not fit.
    """

    def __init__(
        self,
        editor: ModelEditor,
        photograph: NDArray[np.uint8],
        landmarks: NDArray[np.float32],
        source: str | None,
        *,
        quick: bool = False,
    ) -> None:
        self._placed = editor.place(landmarks)
        self._seen = see_face(photograph, self._placed, quick=quick)
        self._source = source

    def change(self, photograph: NDArray[np.uint8], target: Target | Blend) -> NDArray[np.uint8]:
        """A copy of the photograph, which other edits may have changed, with this face changed."""
        shares = {value: share for (_, value), share in target.shares.items()}
        movement = blended_movement(self._placed, shares, leaving(list(shares.values())), self._source)
        return edit_face(replace(self._seen, image=photograph), movement)

"""`lssl.FaceEditor`: changes faces in a program's own pictures, as `lssl synthesize` does in files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data.portrait import Portrait
from lssl.data.schema import AttributeSchema
from lssl.device import choose_device
from lssl.errors import LsslError
from lssl.inference.full_size import NetworkEdit
from lssl.inference.model_edit import GROUP, ModelEditor, PlacedEdit
from lssl.inference.pictures import Detector, Faces, GivenPicture, find_portraits, given_picture, given_pictures
from lssl.inference.sharing import find_folder, model_card, push_folder, save_folder
from lssl.inference.synthesis import EDIT_3D, Blend, InputFace, Target, framing, parse_targets, source_values
from lssl.models.export import TrainedGenerator, load_generator

#: What to change to: "happy", "expression=happy", "happy+dark", or how far to go to each: {"happy": 0.5, "sad": 0.2}.
Wanted = str | Mapping[str, float]
LARGEST_INTENSITY = 1.5


class _Edit(Protocol):
    """One face, prepared for edits."""

    def change(self, photograph: NDArray[np.uint8], target: Target | Blend) -> NDArray[np.uint8]: ...


class FaceEditor:
    """Changes faces in photographs; each photograph keeps its size, and everything outside the face stays as it was.

    Args:
        model: a built-in generator ("london"), "3d" (the fitted 3D face model), a run folder, a folder written by
            `save_pretrained`, or a generator's file; or what `lssl.load_generator` returned.
        device: of the network, "cpu", "cuda", "cuda:1"; None: a GPU if there is one.
        landmarks: finds faces, see `Detector`; by default dlib.

    Raises FileNotFoundError or LsslError if `model` is no generator.

    Examples:
        >>> from PIL import Image
        >>> lssl.FaceEditor("london").edit(Image.open("photo.jpg"), "happy").save("happy.jpg")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | TrainedGenerator | ModelEditor = "london",
        device: str | torch.device | None = "cpu",
        landmarks: Detector | None = None,
    ) -> None:
        chosen = choose_device(None if device is None else str(device))
        self.model: TrainedGenerator | ModelEditor
        if isinstance(model, ModelEditor):
            self.model = model
        elif isinstance(model, TrainedGenerator):
            self.model = model.to(chosen)
        else:
            self.model = ModelEditor.load() if str(model) == EDIT_3D else load_generator(model, chosen)
        self.detector = landmarks
        self.card = None if isinstance(model, TrainedGenerator | ModelEditor) else model_card(model)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device | None = "cpu", landmarks: Detector | None = None
    ) -> "FaceEditor":
        """The editor for a folder that `save_pretrained` wrote, a built-in name, or `owner/name` on the Hugging Face hub.

        Raises FileNotFoundError or LsslError if it is no generator, or if huggingface_hub is needed but not installed.
        """
        return cls(find_folder(name), device, landmarks)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes generator.safetensors, config.json and the model card README.md into a folder, created if missing.

        Raises LsslError for "3d", which has no weights.
        """
        save_folder(Path(folder), self._network(), self.card)

    def push_to_hub(
        self, repository: str, *, private: bool = False, token: str | None = None, message: str = "Upload by lssl"
    ) -> str:
        """Uploads what `save_pretrained` writes to `owner/name` on the Hugging Face hub; returns its address.

        token: for the hub, unless one is stored by `hf auth login`. Raises LsslError for "3d" and without huggingface_hub.
        """
        return push_folder(repository, self._network(), self.card, private=private, token=token, message=message)

    def _network(self) -> TrainedGenerator:
        if isinstance(self.model, ModelEditor):
            raise LsslError(f'"{EDIT_3D}" has no weights to save: it is part of lssl')
        return self.model

    @property
    def schema(self) -> AttributeSchema:
        """The attributes that the model knows, and their values."""
        return self.model.schema

    @property
    def info(self) -> Mapping[str, Any]:
        """What the model's file says of its training."""
        return self.model.info

    @property
    def attributes(self) -> list[str]:
        """What can be asked for, in the words that `edit` takes, such as ["neutral", "happy"]."""
        words = []
        for group, value in self.schema.targets():
            words.append(value if self.schema.knows(value) else f"{group}={value}")
        return words

    @property
    def device(self) -> torch.device:
        """Where the network computes; the 3D edit computes on the CPU."""
        return torch.device("cpu") if isinstance(self.model, ModelEditor) else next(self.model.parameters()).device

    def to(self, device: str | torch.device | None) -> "FaceEditor":
        """Moves the network to a device; returns the editor itself."""
        if isinstance(self.model, TrainedGenerator):
            self.model.to(choose_device(None if device is None else str(device)))
        return self

    def edit(
        self,
        image: Any,
        to: Wanted,
        intensity: float = 1.0,
        *,
        source: str | Sequence[str] | None = None,
        on: str | torch.device | None = None,
        faces: Faces = "largest",
        landmarks: Any = None,
    ) -> Any:
        """The photograph with its face changed, as the same kind of object that was given.

        Args:
            image: a PIL image (mode, size, EXIF and colour profile are kept; palettes, CMYK and 16 bits come back as
                RGB), a file's path (returns a PIL image), a uint8 array (H, W, 3), or a tensor (3, H, W) in [-1, 1] or
                uint8. Or several, of which as many are returned: (N, H, W, 3), (N, 3, H, W), a list of any of these.
            to: a value such as "happy"; "happy+dark" for two attributes at once; or {value: how far}.
            intensity: how far to go, from 0 (as it was, bit for bit) to 1 (fully) and up to 1.5; multiplies the numbers of a
                mapping.
            source: what the photograph shows, such as "happy". By default neutral, normal light, front; "3d" reads
                a smile or an open mouth from the face.
            on: first moves the network to this device, where it stays.
            faces: "largest", or "all" that are found.
            landmarks: instead of a search, (68, 2) or (K, 68, 2): x and y in pixels of the picture as it is seen (after
                EXIF's orientation); for several pictures one such array each.

        Raises LsslError if no face is found, if the face is cut off, too small or on its side, for an unknown value, and for
        a picture of another shape or range; with several pictures, it says which one.
        """

        def changed(picture: GivenPicture, marks: Any) -> Any:
            return self._open(picture, source=source, on=on, faces=faces, landmarks=marks).edit(to, intensity)

        return given_pictures(image).each(changed, landmarks)

    def open(
        self,
        image: Any,
        *,
        source: str | Sequence[str] | None = None,
        on: str | torch.device | None = None,
        faces: Faces = "largest",
        landmarks: Any = None,
        quick: bool = False,
    ) -> "OpenPhotograph":
        """Prepares one photograph for many edits: its faces are found, cropped and fitted once. For arguments see `edit`.

        quick: edits are previews, sooner and with edges less smooth, while a slider moves; only "3d" takes longer without.
        """
        return self._open(given_picture(image), source=source, on=on, faces=faces, landmarks=landmarks, quick=quick)

    def _open(
        self,
        picture: GivenPicture,
        *,
        source: str | Sequence[str] | None,
        on: str | torch.device | None,
        faces: Faces,
        landmarks: Any,
        quick: bool = False,
    ) -> "OpenPhotograph":
        if on is not None:
            self.to(on)
        words = [source] if isinstance(source, str) else list(source or ())
        shown = source_values(self.model, words)
        said = dict(self.schema.find(word) for word in words)
        if isinstance(self.model, ModelEditor) and not words:
            shown = {}  # read from each face
        found = find_portraits(picture, faces, landmarks, self.detector)
        return OpenPhotograph(self, picture, found, shown, said, quick)

    def _ready(self, portrait: Portrait, shown: dict[str, str], quick: bool) -> _Edit:
        if isinstance(self.model, ModelEditor):
            return PlacedEdit(self.model, portrait.image, portrait.landmarks, shown.get(GROUP), quick=quick)
        frame = framing(self.model)
        crop, points, similarity = portrait.crop(self.model.image_size, frame.crop_scale, frame.eye_line)
        return NetworkEdit(self.model, InputFace("face", crop, points, shown, portrait.image, similarity))

    def target(self, to: Wanted, intensity: float = 1.0) -> Blend:
        """What `to` and `intensity` mean to this model: how far to go to each (group, value).

        Raises LsslError for an unknown value, and for an intensity outside 0 to 1.5.
        """
        wishes = {to: 1.0} if isinstance(to, str) else dict(to)
        shares: dict[tuple[str, str], float] = {}
        for word, share in wishes.items():
            (meant,) = parse_targets(self.schema, [word], [1.0])
            far = float(share) * float(intensity)
            if not 0 <= far <= LARGEST_INTENSITY:
                raise LsslError(f"{word}: intensity {far:g} is not between 0 and {LARGEST_INTENSITY:g}")
            for pair in meant.values.items():
                if far > 0:
                    shares[pair] = shares.get(pair, 0.0) + far
        return Blend(shares, "+".join(wishes) or "unchanged")


class OpenPhotograph:
    """One photograph with its faces found, cropped and fitted: what `FaceEditor.open` returns.

    Attributes:
        landmarks: (K, 68, 2) float32, of the faces that are edited, in pixels of the picture as it is seen.
        pixels: uint8 RGB (H, W, 3), the picture as it is seen, before edits.
        source: what it was said to show, a value for each attribute; empty if nothing was said.
    """

    def __init__(
        self,
        editor: FaceEditor,
        picture: GivenPicture,
        portraits: Sequence[Portrait],
        shown: dict[str, str],
        source: dict[str, str],
        quick: bool = False,
    ) -> None:
        self._editor, self._picture, self.source = editor, picture, source
        self._edits: list[_Edit] = []
        reasons, kept = [], []
        for portrait in portraits:
            try:
                self._edits.append(editor._ready(portrait, dict(shown), quick))
                kept.append(portrait.landmarks)
            except LsslError as error:  # of several faces, those that are too small or do not fit are left alone
                reasons.append(error)
        if not kept:
            raise reasons[0]
        self.landmarks: NDArray[np.float32] = np.stack(kept)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self._picture.pixels

    def edit(self, to: Wanted, intensity: float = 1.0) -> Any:
        """The photograph with its faces changed, as the same kind of object that was opened; see `FaceEditor.edit`."""
        return self._picture.back(self.edited_pixels(to, intensity))

    def edited_pixels(self, to: Wanted, intensity: float = 1.0) -> NDArray[np.uint8]:
        """The changed photograph as uint8 RGB (H, W, 3), as it is seen."""
        target = self._editor.target(to, intensity)
        pixels = self.pixels
        if not target.shares:
            return pixels.copy()
        for edit in self._edits:
            pixels = edit.change(pixels, target)
        return pixels

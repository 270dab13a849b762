"""`lssl.FaceEditor`: faces changed in a program's own pictures, as `lssl synthesize` changes them in files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import detect
from lssl.data.images import Picture
from lssl.data.landmarks import COUNT
from lssl.data.portrait import Portrait, check_face, only_face
from lssl.data.schema import AttributeSchema
from lssl.device import choose_device
from lssl.errors import LsslError
from lssl.inference.full_size import NetworkEdit
from lssl.inference.model_edit import GROUP, ModelEditor, PlacedEdit
from lssl.inference.model_edit import NAME as EDIT_3D
from lssl.inference.pictures import GivenPicture, given_picture, given_pictures
from lssl.inference.synthesis import Blend, InputFace, Target, framing, parse_targets, source_values
from lssl.models.export import TrainedGenerator, load_generator

#: What to change to: "happy", "expression=happy", "happy+dark", or how far to go to each: {"happy": 0.5, "sad": 0.2}.
Wanted = str | Mapping[str, float]
#: Finds faces: a picture, uint8 RGB (H, W, 3), to the 68 landmarks (K, 68, 2) of its faces, pixels, largest first.
Detector = Callable[[NDArray[np.uint8]], Any]
Faces = Literal["largest", "all"]
LARGEST_INTENSITY = 1.5


class _Edit(Protocol):
    """One face, made ready."""

    def change(self, photograph: NDArray[np.uint8], target: Target | Blend) -> NDArray[np.uint8]: ...


class FaceEditor:
    """Changes faces in photographs; each photograph keeps its size, and what is not face is left as it was.

    Args:
        model: a built-in generator ("london"), "3d" (the fitted 3D face model), a run folder, a folder of
            `save_pretrained`, or a generator's file; or what `lssl.load_generator` returned.
        device: of the network, "cpu", "cuda", "cuda:1"; None: a GPU where there is one.
        landmarks: finds faces, see `Detector`; dlib where none is given.

    Raises FileNotFoundError or LsslError for what is no generator.

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
            is_3d = str(model) == EDIT_3D and not Path(model).exists()
            self.model = ModelEditor.load() if is_3d else load_generator(model, chosen)
        self.detector = landmarks

    @property
    def schema(self) -> AttributeSchema:
        """The attributes that the model knows, and their values."""
        return self.model.schema

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
        """Moves the network; returns the editor."""
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
        """The photograph with its face changed, of the kind that was given.

        Args:
            image: a PIL image (mode, size, EXIF and colour profile are kept; palettes, CMYK and 16 bits come back as
                RGB), a file's path (gives a PIL image), a uint8 array (H, W, 3), a tensor (3, H, W) in [-1, 1] or uint8;
                or several: (N, H, W, 3), (N, 3, H, W), a list of any of these (gives as many).
            to: a value such as "happy"; "happy+dark" for two attributes at once; or {value: how far}.
            intensity: how far to go, 0 (as it was) to 1 (fully) and up to 1.5; multiplies the numbers of a mapping.
            source: what the photograph shows, such as "happy". Not given: neutral, normal light, front; "3d" reads
                a smile or an open mouth from the face.
            on: moves the network to this device first, where it stays.
            faces: "largest" or "all" that are found.
            landmarks: (68, 2) or (K, 68, 2), x and y in pixels of the picture as it is seen (after EXIF's orientation)
                instead of a search; for several pictures one such array each.

        Raises LsslError where no face is found, the face is cut off, too small or on its side, for an unknown value, and for a picture
        of another shape or range; of several pictures it names which.
        """
        given = given_pictures(image)
        count = len(given.pictures)
        marks = [landmarks] if not given.several else [None] * count if landmarks is None else list(landmarks)
        if len(marks) != count:
            raise LsslError(f"landmarks of {len(marks)} pictures, but there are {count} pictures")
        results = []
        for number, (picture, points) in enumerate(zip(given.pictures, marks, strict=True)):
            try:
                opened = self._open(picture, source=source, on=on, faces=faces, landmarks=points)
                results.append(opened.edit(to, intensity))
            except LsslError as error:
                if count == 1 or isinstance(error, detect.DetectionError):
                    raise
                raise LsslError(f"picture {number}: {error}") from None
        return given.join(results)

    def open(
        self,
        image: Any,
        *,
        source: str | Sequence[str] | None = None,
        on: str | torch.device | None = None,
        faces: Faces = "largest",
        landmarks: Any = None,
    ) -> "OpenPhotograph":
        """One photograph made ready for many edits: its faces are found, cropped and fitted once. Arguments as `edit`'s."""
        return self._open(given_picture(image), source=source, on=on, faces=faces, landmarks=landmarks)

    def _open(
        self,
        picture: GivenPicture,
        *,
        source: str | Sequence[str] | None,
        on: str | torch.device | None,
        faces: Faces,
        landmarks: Any,
    ) -> "OpenPhotograph":
        if faces not in ("largest", "all"):
            raise LsslError(f"faces={faces!r}: expected 'largest' or 'all'")
        if on is not None:
            self.to(on)
        words = [source] if isinstance(source, str) else list(source or ())
        shown = source_values(self.schema, words)
        if isinstance(self.model, ModelEditor) and not words:
            shown = {}  # read from each face
        found = self._faces(picture, faces, landmarks)
        return OpenPhotograph(self, picture, found, shown)

    def _faces(self, picture: GivenPicture, faces: Faces, landmarks: Any) -> list[Portrait]:
        """The faces to edit, largest first; of all that are found, those that can be."""
        pixels = picture.pixels
        if landmarks is not None:
            found = _landmark_sets(landmarks)
        elif self.detector is not None:
            found = _landmark_sets(self.detector(pixels))
        elif faces == "largest":
            found = [only_face(pixels, largest_face=True)]
        else:
            found = [face.landmarks for face in detect.find_faces(pixels)]
        if not found:
            raise LsslError("no face found")
        if faces == "largest":
            found = [max(found, key=_extent)]
        usable, reasons = [], []
        for points in found:
            try:
                check_face(points, Picture(pixels, picture.orientation))
                usable.append(Portrait(pixels, points))
            except LsslError as error:
                reasons.append(error)
        if not usable:
            raise reasons[0]
        return usable

    def _ready(self, portrait: Portrait, shown: dict[str, str]) -> _Edit:
        if isinstance(self.model, ModelEditor):
            return PlacedEdit(self.model, portrait.image, portrait.landmarks, shown.get(GROUP))
        frame = framing(self.model)
        crop, points, similarity = portrait.crop(self.model.image_size, frame.crop_scale, frame.eye_line)
        return NetworkEdit(self.model, InputFace("face", crop, points, shown, portrait.image, similarity))

    def target(self, to: Wanted, intensity: float = 1.0) -> Blend:
        """What a wish means to this model: how far to go to each (group, value). Raises LsslError for an unknown value, and for numbers
        outside 0 to 1.5."""
        wishes = {to: 1.0} if isinstance(to, str) else dict(to)
        shares: dict[tuple[str, str], float] = {}
        for word, share in wishes.items():
            (meant,) = parse_targets(self.schema, [word], [1.0])
            far = float(share) * float(intensity)
            if not 0 <= far <= LARGEST_INTENSITY:
                raise LsslError(f"{word}: intensity {far:g} does not lie between 0 and {LARGEST_INTENSITY:g}")
            for pair in meant.values.items():
                if far > 0:
                    shares[pair] = shares.get(pair, 0.0) + far
        return Blend(shares, "+".join(wishes) or "unchanged")


class OpenPhotograph:
    """One photograph with its faces found, cropped and fitted: what `FaceEditor.open` returns.

    Attributes:
        landmarks: (K, 68, 2) float32, of the faces that are edited, pixels of the picture as it is seen.
        pixels: uint8 RGB (H, W, 3), the picture as it is seen.
    """

    def __init__(
        self, editor: FaceEditor, picture: GivenPicture, portraits: Sequence[Portrait], shown: dict[str, str]
    ) -> None:
        self._editor, self._picture = editor, picture
        self._edits: list[_Edit] = []
        reasons, kept = [], []
        for portrait in portraits:
            try:
                self._edits.append(editor._ready(portrait, dict(shown)))
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
        """The photograph with its faces changed, of the kind that was opened; see `FaceEditor.edit`."""
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


def _landmark_sets(given: Any) -> list[NDArray[np.float32]]:
    """(68, 2) or (K, 68, 2), of any numbers, as K arrays. Raises LsslError for another shape."""
    points = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given, dtype=np.float32)
    if points.size == 0:
        return []
    if points.ndim == 2:
        points = points[None]
    if points.ndim != 3 or points.shape[1:] != (COUNT, 2):
        raise LsslError(f"landmarks are ({COUNT}, 2) or (faces, {COUNT}, 2), x and y in pixels; got {points.shape}")
    return list(points)


def _extent(points: NDArray[np.float32]) -> float:
    width, height = np.ptp(points, axis=0)
    return float(width * height)

"""Made portraits and real ones to compare them with, brought to one size, for the measures at full size."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data import FaceFolder, detect
from lssl.data.folder import METADATA
from lssl.data.schema import PLAIN
from lssl.errors import LsslError
from lssl.evaluation.measures.portraits import SIDE, FacePicture, common_scale, found_anew, resized
from lssl.evaluation.measures.writing import written_like
from lssl.inference.full_size import says_movement, whole_photograph
from lssl.inference.synthesis import (
    InputFace,
    Target,
    paste_back,
    prepared_faces,
    read_photograph,
    source_values,
    translate_batch,
)
from lssl.models.export import TrainedGenerator

#: The source that `lssl generate-faces` records in its folders, whose landmarks are projected vertices.
GENERATED = "generate-faces"
MOST_MADE, MOST_REAL = 240, 600  # pictures; a picture of SIDE pixels takes 0.8 MB
_BATCH = 8


@dataclass
class JudgedPortraits:
    """What is judged, at its working size, with landmarks found in the same way in every picture.

    made: made pictures, labelled with the class asked for. stored: the same, written like the photograph that each was made
        from (`measures.writing`), for the two-sample test. before: that photograph.
    real: photographs of all people and classes. written: the same, after the processing (resizing, cropping, pasting) that
        made pictures go through.
    own: for each made picture, the same person's real picture of the class asked for, in the same light and pose; or None.
    anew: whether the landmarks were found in the pictures themselves; else made pictures have their photographs'.
    geometry: by (person, class asked for), the true landmarks (68, 2) of the face before, and of the same person's face in
        that class; for generated faces only, whose vertices are known.
    """

    made: list[FacePicture]
    stored: list[FacePicture]
    before: list[FacePicture]
    real: list[FacePicture]
    written: list[FacePicture]
    scale: float
    own: list[FacePicture | None]
    anew: bool
    geometry: dict[tuple[str, str], tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)


def prepare_portraits(
    made: Sequence[FacePicture],
    before: Sequence[FacePicture],
    real: Sequence[FacePicture],
    written: Sequence[FacePicture] | None = None,
    stored: Sequence[FacePicture] | None = None,
) -> JudgedPortraits:
    """Brings all to one size, that of the made pictures or SIDE if that is less, and finds their landmarks again.

    written, stored: see `JudgedPortraits`; by default the real and the made pictures as they are.
    Raises LsslError if there is nothing to judge, or if a made picture has another shape than its photograph.
    """
    if not made:
        raise LsslError("there is no made picture to judge")
    for picture, photograph in zip(made, before, strict=True):
        (height, width), (h, w) = picture.image.shape[:2], photograph.image.shape[:2]
        if abs(height * w - width * h) > max(height, width, h, w):
            raise LsslError(
                f"the picture made of '{picture.subject}' is {width}x{height}, its photograph {w}x{h}: they do not match; "
                "give whole photographs (lssl synthesize --paste)"
            )
    side = min(SIDE, *(max(portrait.image.shape[:2]) for portrait in made))
    anew = detect.available()

    def ready(portraits: Sequence[FacePicture]) -> list[FacePicture]:
        small = [resized(portrait, side) for portrait in portraits]
        return [found_anew(portrait) for portrait in small] if anew else small

    photographs = ready(real)
    copies = photographs if written is None else ready(written)
    by_class = {(picture.subject, picture.label): picture for picture in reversed(photographs)}
    own = [by_class.get((picture.subject, picture.label)) for picture in made]
    faces = ready(made)
    files = [
        replace(resized(file, side), landmarks=face.landmarks)
        for file, face in zip(made if stored is None else stored, faces, strict=True)
    ]
    return JudgedPortraits(faces, files, ready(before), photographs, copies, common_scale(photographs), own, anew)


def photographs_of(folder: FaceFolder) -> Path | None:
    """The folder of the photographs that a data set's crops were taken from; None if unknown, or if they are gone."""
    names, root = folder.columns.get("source_file"), folder.info.get("settings", {}).get("path")
    if not names or not root:
        return None
    return Path(root) if all((Path(root) / name).is_file() for name in names) else None


def gather_portraits(
    model: TrainedGenerator, folder: FaceFolder, attribute: str, tested: Sequence[str], *, seed: int = 0
) -> JudgedPortraits:
    """One plain (neutral) photograph of every tested person, changed to each other class, with real ones to compare with.

    Where no class is called plain (`lssl.data.schema.PLAIN`), the first person's photograph is of the first class, the second's of
    the second, and so on, so that faces are changed to every class.

    If the photographs that the folder was prepared from are still there, the faces are pasted back into them, as `lssl
    synthesize --paste` does, and judged at SIDE pixels; else the crops are judged as they are.

    Args:
        folder: with landmarks; the real pictures are of all its people, including `tested`.
        attribute: the one to change.
    Raises LsslError if the folder has no landmarks or no tested person, or does not fit the model.
    """
    if folder.landmarks is None:
        raise LsslError(f"{folder.root} has no landmarks.npy, by which portraits are measured")
    group = model.schema.group(attribute)
    plain = source_values(model, ())[attribute]
    classes = [plain] if plain in PLAIN else group.values
    rows = _one_a_person(folder, attribute, classes, set(tested))
    if not rows:
        raise LsslError(f"{folder.root}/{METADATA} has no face of anybody who is tested")
    rng = np.random.default_rng(seed)
    rows = _at_most(rows, max(2, MOST_MADE // max(1, len(group.values) - 1)), rng)
    root = photographs_of(folder)
    sources = _faces(folder.select(rows), model, root)

    def as_file(row: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return picture if root is None else written_like(picture, root / folder.columns["source_file"][row])

    made, stored, before = [], [], []
    for row, face in zip(rows, sources, strict=True):
        own = folder.columns[attribute][row]
        others = [value for value in group.values if value != own]
        for start in range(0, len(others), _BATCH):
            asked = others[start : start + _BATCH]
            targets = [Target({attribute: value}, 1.0, value) for value in asked]
            pictures = translate_batch(model, [face] * len(asked), targets)
            for value, target, crop in zip(asked, targets, pictures, strict=True):
                whole = crop if face.photograph is None else whole_photograph(model, face, target, crop)
                made.append(_picture(folder.subjects[row], value, face, whole))
                stored.append(_picture(folder.subjects[row], value, face, as_file(row, whole)))
                before.append(_picture(folder.subjects[row], value, face, _whole(face)))
    wanted = set(tested)  # whose own pictures are compared with the made ones
    kept = _at_most([row for row, subject in enumerate(folder.subjects) if subject in wanted], MOST_REAL, rng)
    strangers = [row for row, subject in enumerate(folder.subjects) if subject not in wanted]
    kept = sorted(kept + _at_most(strangers, MOST_REAL - len(kept), rng))
    real_faces = _faces(folder.select(kept), model, root)
    labels = folder.columns[attribute]
    real = [_picture(folder.subjects[r], labels[r], f, _whole(f)) for r, f in zip(kept, real_faces, strict=True)]
    # A moving generator works on the photograph's own pixels; others paste their crops.
    same = says_movement(model)
    written = [
        _picture(folder.subjects[r], labels[r], f, as_file(r, _whole(f) if same else _placed(f, f.image)))
        for r, f in zip(kept, real_faces, strict=True)
    ]
    judged = prepare_portraits(made, before, real, written, stored)
    like = _alike(folder, attribute, rows)
    places = {row: place for place, row in enumerate(kept)}
    for k, shown in enumerate(made):
        pair = like.get((shown.subject, shown.label))
        judged.own[k] = None if pair is None or pair[1] not in places else judged.real[places[pair[1]]]
    if folder.info.get("settings", {}).get("source") == GENERATED:
        points = folder.landmarks
        judged.geometry = {key: (points[row], points[other]) for key, (row, other) in like.items()}
    return judged


def _alike(folder: FaceFolder, attribute: str, rows: Sequence[int]) -> dict[tuple[str, str], tuple[int, int]]:
    """By (person, class): the person's row of `rows`, and the person's row in that class with all other attributes equal."""
    names = [name for name in folder.attributes if name != attribute]

    def rest(row: int) -> tuple[str, ...]:
        return (folder.subjects[row], *(folder.columns[name][row] for name in names))

    first: dict[tuple[tuple[str, ...], str], int] = {}
    for row in range(len(folder)):
        first.setdefault((rest(row), folder.columns[attribute][row]), row)
    values = set(folder.columns[attribute])
    return {
        (folder.subjects[row], value): (row, first[rest(row), value])
        for row in rows
        for value in values
        if (rest(row), value) in first
    }


def _faces(folder: FaceFolder, model: TrainedGenerator, root: Path | None) -> list[InputFace]:
    if root is None:
        return list(prepared_faces(folder, model))
    faces = []
    for row, name in enumerate(folder.columns["source_file"]):
        values = {group.name: folder.columns[group.name][row] for group in model.schema.groups}
        try:
            faces.append(read_photograph(root / name, model, values, largest_face=True))
        except LsslError as error:
            raise LsslError(f"{error}; it was read when {folder.root} was prepared") from None
    return faces


def _whole(face: InputFace) -> np.ndarray:
    return face.image if face.photograph is None else face.photograph


def _placed(face: InputFace, picture: np.ndarray) -> np.ndarray:
    return picture if face.photograph is None else paste_back(face, picture)


def _picture(subject: str, label: str, face: InputFace, image: np.ndarray) -> FacePicture:
    assert face.landmarks is not None
    points = face.landmarks if face.similarity is None else face.similarity.inverse().apply(face.landmarks)
    return resized(FacePicture(subject, label, image, points), SIDE)


def _one_a_person(folder: FaceFolder, attribute: str, classes: Sequence[str], tested: set[str]) -> list[int]:
    """One row of each tested person, of the classes in turn if the person has such a picture."""
    chosen: dict[str, int] = {}
    asked: dict[str, str] = {}
    for row, subject in enumerate(folder.subjects):
        if subject not in tested:
            continue
        label, known = asked.setdefault(subject, classes[len(asked) % len(classes)]), chosen.get(subject)
        if known is None or (folder.columns[attribute][row] == label != folder.columns[attribute][known]):
            chosen[subject] = row
    return list(chosen.values())


def _at_most(rows: list[int], most: int, rng: np.random.Generator) -> list[int]:
    if len(rows) <= most:
        return rows
    return sorted(int(rows[k]) for k in rng.choice(len(rows), most, replace=False))

"""Table 2: a classifier of real faces judges synthesized versions of unseen faces.

Besides the agreement with the target, it measures what a generator must keep: the person (distance of face embeddings
between input and output) and, when asked for the expression that is already there, the whole picture (SSIM).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import FaceFolder, detect
from lssl.data.sheet import labelled_grid
from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.measures.similarity import psnr, ssim
from lssl.inference.synthesis import InputFace, Target, prepared_faces, translate_batch
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator

_MOST_IDENTITIES = 600
_GRID_FACES = 8
_WRONG = (214, 40, 40)


@dataclass
class Transferred:
    """Unseen faces and their translations: `pictures[n, t]` is face n as class t, uint8 (N, T, S, S, 3)."""

    faces: list[InputFace]
    source: NDArray[np.int64]  # (N,) the class of each face
    subjects: list[str]
    classes: tuple[str, ...]
    pictures: NDArray[np.uint8]

    @property
    def images(self) -> NDArray[np.uint8]:
        """The faces themselves, (N, S, S, 3)."""
        return np.stack([face.image for face in self.faces])


def transfer(
    model: TrainedGenerator, test: FaceFolder, attribute: str, *, batch_size: int = 16, progress: bool = False
) -> Transferred:
    """Translates each face of `test` to each class of the attribute; its other attributes are kept.

    Raises LsslError if the folder does not fit the model.
    """
    from lssl.progress import tqdm

    group = model.schema.group(attribute)
    faces = list(prepared_faces(test, model))
    size = model.image_size
    pictures = np.empty((len(faces), len(group.values), size, size, 3), np.uint8)
    starts = tqdm(range(0, len(faces), batch_size), desc="translating", unit="batch", disable=not progress, leave=False)
    for start in starts:
        chunk = faces[start : start + batch_size]
        for t, value in enumerate(group.values):
            made = translate_batch(model, chunk, [Target({attribute: value}, 1.0, value)] * len(chunk))
            pictures[start : start + len(chunk), t] = made
    source = np.array([group.index(face.source[attribute]) for face in faces], np.int64)
    return Transferred(faces, source, list(test.subjects), group.values, pictures)


def measure(judge: TrainedClassifier, result: Transferred, *, identities: bool) -> dict[str, Any]:
    """The figures of one fold, as plain values.

    real, changed, kept: confusion matrices (row: true or asked for, column: recognised) of the test faces, of their
        translations to other classes, and of those to their own class. ssim, psnr: of the latter with their input.
    relative: real, changed and kept for faces judged relative to their person's photographs (see `judged_beside_own`).
    identity (if `identities`): distances from the input to its translations to other classes and, for comparison,
        between real photographs of the same person and of different people.
    """
    count = len(result.classes)
    real = classify(judge, result.images)
    guesses = np.stack([classify(judge, result.pictures[:, t]) for t in range(count)], 1)
    own = result.pictures[np.arange(len(result.faces)), result.source]
    figures: dict[str, Any] = {
        "classes": list(result.classes),
        "faces": len(result.faces),
        **_confusions(result.source, real, guesses),
        "relative": judged_beside_own(judge, result),
        "ssim": ssim(result.images, own),
        "psnr": psnr(result.images, own),
    }
    if identities:
        figures["identity"] = measure_identity(result)
    return figures


def judged_beside_own(judge: TrainedClassifier, result: Transferred) -> dict[str, Any] | None:
    """Confusion matrices real, changed and kept, as in `measure`, of faces judged relative to the same person's photographs.

    Faces differ at rest: one person's neutral mouth is another's smile. So the judge's `logits` are taken relative to the
    person's `own_middle`, the mean over that person's real test faces. With two classes, the real figure then says how often
    the right one of a person's two photographs shows more of the second class. Only people with a real face of each class
    count (people: how many); None if there are none.
    """
    count = len(result.classes)
    real = logits(judge, result.images)
    middle = own_middle(real, result.source, result.subjects)
    known = ~np.isnan(middle[:, 0])
    if not known.any():
        return None
    guesses = np.stack([(logits(judge, result.pictures[:, t]) - middle).argmax(1) for t in range(count)], 1)[known]
    people = len(set(np.array(result.subjects)[known]))
    return {"people": people, **_confusions(result.source[known], (real - middle)[known].argmax(1), guesses)}


def _confusions(
    source: NDArray[np.int64], real: NDArray[np.int64], guesses: NDArray[np.int64]
) -> dict[str, list[list[int]]]:
    """real, changed and kept of `measure`, from the true classes `source` (N,) and the classes predicted for the faces,
    `real` (N,), and for their translations, `guesses` (N, T)."""
    count = guesses.shape[1]
    asked = np.broadcast_to(np.arange(count), guesses.shape)
    other = asked != source[:, None]
    return {
        "real": confusion_matrix(source, real, count).tolist(),
        "changed": confusion_matrix(asked[other], guesses[other], count).tolist(),
        "kept": confusion_matrix(asked[~other], guesses[~other], count).tolist(),
    }


def logits(judge: TrainedClassifier, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log-probabilities (N, C) of uint8 pictures (N, H, W, 3), averaged over each picture and its mirror image."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    both = torch.stack([judge.predict(pixels), judge.predict(pixels.flip(-1))]).double()
    return both.clamp(min=1e-12).log().mean(0).numpy()


def own_middle(values: NDArray[np.float64], classes: NDArray[np.int64], people: Sequence[str]) -> NDArray[np.float64]:
    """For each of N real faces, the mean of its person's logits, with equal weight for each class, (N, C); NaN if the person
    lacks a class. values: the faces' logits (N, C). classes: (N,). people: (N,)."""
    middle = np.full_like(values, np.nan)
    owner = np.array(people)
    for person in set(people):
        own = [values[(owner == person) & (classes == k)] for k in range(values.shape[1])]
        if all(map(len, own)):
            middle[owner == person] = np.mean([part.mean(0) for part in own], axis=0)
    return middle


def measure_identity(result: Transferred) -> dict[str, list[float]]:
    """dlib embedding distances: `changed` (face to its translation), `same` person, `different` people (real faces).

    The input's landmarks are used for its translations, too, so that both are cropped alike. Raises DetectionError without
    dlib.
    """
    pairs = [(n, t) for n in range(len(result.faces)) for t in range(len(result.classes)) if t != result.source[n]]
    if len(pairs) > _MOST_IDENTITIES:
        pairs = [pairs[k] for k in np.linspace(0, len(pairs) - 1, _MOST_IDENTITIES).round().astype(int)]
    wanted = sorted({n for n, _ in pairs})
    place = {n: k for k, n in enumerate(wanted)}
    points = [result.faces[n].landmarks for n in wanted]
    known = all(p is not None for p in points)
    landmarks = np.stack([p for p in points if p is not None]) if known else None
    inputs = detect.identity_embedding(result.images[wanted], landmarks)
    outputs = detect.identity_embedding(
        np.stack([result.pictures[n, t] for n, t in pairs]),
        None if landmarks is None else landmarks[[place[n] for n, _ in pairs]],
    )
    changed = identity_distance(inputs[[place[n] for n, _ in pairs]], outputs)
    people = np.array([result.subjects[n] for n in wanted])
    first, second = np.triu_indices(len(wanted), 1)
    between = identity_distance(inputs[first], inputs[second])
    alike = people[first] == people[second]
    return {
        "changed": _rounded(changed),
        "same": _rounded(between[alike][:_MOST_IDENTITIES]),
        "different": _rounded(between[~alike][:: max(1, int((~alike).sum()) // _MOST_IDENTITIES)]),
    }


def classify(judge: TrainedClassifier, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The classes (N,) that the judge predicts for uint8 pictures (N, H, W, 3)."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return judge.predict(pixels).argmax(1).numpy()


def transfer_grid(judge: TrainedClassifier, result: Transferred) -> NDArray[np.uint8]:
    """Faces of several people, input and each class; pictures that the judge takes for another class get a red frame."""
    rows = spread_people(result.subjects, _GRID_FACES)
    columns = [torch.from_numpy(result.images[rows]).permute(0, 3, 1, 2)]
    for t in range(len(result.classes)):
        pictures = result.pictures[rows, t].copy()
        frame_wrong(pictures, classify(judge, pictures) != t)
        columns.append(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    return np.asarray(labelled_grid(columns, ["input", *result.classes]))


def frame_wrong(pictures: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> None:
    """Draws a red frame into those of the pictures (N, S, S, 3) for which `wrong` (N,) is set."""
    width = max(1, pictures.shape[1] // 64)
    for k in np.flatnonzero(wrong):
        picture = pictures[k]
        picture[:width] = picture[-width:] = picture[:, :width] = picture[:, -width:] = _WRONG


def spread_people(subjects: Sequence[str], count: int) -> list[int]:
    """At most `count` rows, of different people, spread over the rows."""
    first: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        first.setdefault(subject, []).append(row)
    people = list(first.values())
    chosen = people if len(people) <= count else [people[k * len(people) // count] for k in range(count)]
    return [rows[k % len(rows)] for k, rows in enumerate(chosen)]


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]

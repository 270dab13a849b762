"""Table 3: a classifier of frontal faces on turned faces: as they are, turned to the front, and made realistic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data import AttributeGroup, FaceFolder, FaceFolderWriter, read_metadata
from lssl.data.folder import check_images
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.evaluation.experiments.contenders import Contender
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.transfer import classify
from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.inference.frontal_jobs import folder_jobs
from lssl.inference.frontalize import Options, frontalize_all
from lssl.inference.pose_normalization import normalize_faces
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator


@dataclass(frozen=True)
class Method:
    """One row of the table.

    key: for file names. normalizer: returns the trained generator of a fold; None if the method needs none. contender: what
    it is trained by, and facts: what `train_contender` says of each fold; None and empty if it is given.
    """

    name: str
    key: str
    normalizer: Callable[[Fold], TrainedGenerator] | None = None
    contender: Contender | None = None
    facts: dict[int, dict[str, Any]] = field(default_factory=dict)


RAW = Method("photographs", "raw")
FRONTAL = Method("simulated frontal", "frontal")


@dataclass(frozen=True)
class TurnedFaces:
    """The faces under test, and the simulated frontal face of each if one could be drawn.

    column: the one with the yaw. yaws: its values as text and in degrees, ascending. simulated: what `lssl render-frontal`
    drew, with the aligned photographs in side/. place: for each face its row there, or None.
    """

    folder: FaceFolder
    column: str
    yaws: dict[str, float]
    simulated: FaceFolder
    place: list[int | None]

    def rows_at(self, yaw: str, subjects: Iterable[str]) -> list[int]:
        """The rows of some subjects at a yaw."""
        wanted, values = set(subjects), self.folder.columns[self.column]
        return [row for row, who in enumerate(self.folder.subjects) if who in wanted and values[row] == yaw]

    def photographs(self, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
        """The pictures of rows as they are, uint8 (S, S, 3) each."""
        return [read_image(self.folder.image_path(row)) for row in rows]

    def drawn(self, rows: Sequence[int]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
        """The simulated faces of those rows that have one, and the aligned photographs that they were drawn from."""
        there = [place for row in rows if (place := self.place[row]) is not None]
        simulated = [read_image(self.simulated.image_path(row)) for row in there]
        return simulated, [read_image(self.simulated.side_path(row)) for row in there]


def frontal_yaw(folder: FaceFolder, column: str) -> dict[str, float]:
    """The yaw values of a folder, as text and in degrees, ascending.

    Raises LsslError unless the column has angles, with both frontal (0) and turned faces.
    """
    where = f"{folder.root}/metadata.csv"
    if column not in folder.columns:
        raise LsslError(
            f"{where} has no column '{column}' with the yaw in degrees; name it with --yaw-column. It has: "
            f"{', '.join(folder.columns) or 'none'}"
        )
    yaws: dict[str, float] = {}
    for row, text in enumerate(folder.columns[column]):
        if text not in yaws:
            try:
                yaws[text] = float(text)
            except ValueError:
                raise LsslError(
                    f"{where}: '{text}' in column '{column}' of {folder.file_names[row]} is no angle"
                ) from None
    if 0 not in yaws.values():
        raise LsslError(f"{where}: no face has {column} 0, but the classifier learns from frontal faces")
    if len(set(yaws.values())) < 2:
        raise LsslError(f"{where}: every face has {column} 0, but the test needs turned faces")
    return dict(sorted(yaws.items(), key=lambda item: item[1]))


def check_frontal_classes(folder: FaceFolder, group: AttributeGroup, frontal: Sequence[int], folds: list[Fold]) -> None:
    """Raises LsslError if a fold's frontal training faces lack a class."""
    for fold in folds:
        people = set(fold.train)
        found = {folder.columns[group.name][row] for row in frontal if folder.subjects[row] in people}
        if missing := [value for value in group.values if value not in found]:
            raise LsslError(
                f"{folder.root}: no frontal face of the training subjects of fold {fold.number} has {group.name} "
                f"'{missing[0]}'; use fewer folds or more subjects"
            )


def render_faces(
    folder: FaceFolder,
    out: Path,
    *,
    size: int,
    yaw_column: str = "yaw",
    background: str = "original",
    face_model: Path | None = None,
    workers: int = 1,
    progress: bool = False,
) -> None:
    """Draws every face of the folder from the front into the data set folder `out`; continues where it was stopped.

    The true yaw is left out of its attributes, since no trained part may know it. Faces with a doubtful fit are drawn, too.
    Raises LsslError if the folder has no landmarks or no face could be drawn.
    """
    from lssl.progress import tqdm

    known = replace(folder, attributes=tuple(name for name in folder.attributes if name != yaw_column))
    options = Options(
        model=None if face_model is None else str(face_model), size=size, background=background, keep_doubtful=True
    )
    settings = {"command": "evaluate pose", "data": folder.root.name, **{k: str(v) for k, v in vars(options).items()}}
    jobs = folder_jobs(known)
    writer = FaceFolderWriter(out, attributes=known.attributes, settings=settings)
    if writer.finished:
        return
    waiting = [job for job in jobs if job.key not in writer]
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), desc="frontal", unit="face", disable=not progress)
    with bar:
        for _, entry in frontalize_all(waiting, options, out, workers):
            writer.append(entry)
            bar.update()
    writer.finish(source="render-frontal")


def open_turned(folder: FaceFolder, column: str, simulated_root: Path) -> TurnedFaces:
    """The faces of `folder` with the simulated ones in `simulated_root`, matched by file name.

    Raises LsslError if none match, if the pictures differ in size, or if the yaw column is unusable.
    """
    simulated = read_metadata(simulated_root)
    there = {Path(name).stem: row for row, name in enumerate(simulated.file_names)}
    place = [there.get(Path(name).stem) for name in folder.file_names]
    if all(row is None for row in place):
        raise LsslError(
            f"{simulated_root} has no simulated face of {folder.root}; draw them with `lssl render-frontal`"
        )
    if not (simulated_root / "side").is_dir():
        raise LsslError(f"{simulated_root} has no side/: it was not written by `lssl render-frontal`")
    sizes = check_images(folder), check_images(simulated)
    if sizes[0] != sizes[1]:
        raise LsslError(
            f"{folder.root} has pictures of {sizes[0][1]} pixels, {simulated_root} of {sizes[1][1]}; draw them with "
            f"`lssl render-frontal --size {sizes[0][1]}`"
        )
    return TurnedFaces(folder, column, frontal_yaw(folder, column), simulated, place)


def method_pictures(method: Method, fold: Fold, faces: TurnedFaces, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The pictures that the method makes of some faces; the photograph itself if no frontal face could be drawn."""
    pictures = faces.photographs(rows)
    drawn = [k for k, row in enumerate(rows) if faces.place[row] is not None]
    if method.key == RAW.key or not drawn:
        return pictures
    simulated, photographs = faces.drawn(rows)
    made: Iterable[NDArray[np.uint8]] = simulated
    if method.normalizer is not None:
        made = normalize_faces(method.normalizer(fold), simulated, photographs)
    for k, picture in zip(drawn, made, strict=True):
        pictures[k] = picture
    return pictures


def measure_method(
    method: Method, fold: Fold, judge: TrainedClassifier, faces: TurnedFaces, *, progress: bool = False
) -> dict[str, Any]:
    """Confusion matrix (row: true class) of a fold's test faces at each yaw, as plain values by the yaw's text; and how the
    fold's normalizer was trained."""
    from lssl.progress import tqdm

    if method.normalizer is not None:
        method.normalizer(fold)  # trains it now, if it is not yet trained, before the progress bar starts
    values = faces.folder.columns[judge.group.name]
    confusion = {}
    bar = tqdm(faces.yaws, desc=f"{method.name}, fold {fold.number}", unit="yaw", disable=not progress, leave=False)
    for yaw in bar:
        rows = faces.rows_at(yaw, fold.test)
        pictures = np.stack(method_pictures(method, fold, faces, rows)) if rows else None
        guesses = classify(judge, pictures) if pictures is not None else np.zeros(0, np.int64)
        true = np.array([judge.group.index(values[row]) for row in rows], np.int64)
        confusion[yaw] = confusion_matrix(true, guesses, len(judge.classes)).tolist()
    training = method.facts.get(fold.number)
    return {"confusion": confusion, **({} if training is None else {"training": training})}

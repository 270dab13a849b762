"""`lssl evaluate pose`: fold by fold, then the tables, the curve and the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import FaceFolder, read_metadata
from lssl.data.fingerprint import file_fingerprint
from lssl.data.folder import check_images
from lssl.data.pairs import frontal_attributes
from lssl.data.sheet import labelled_grid
from lssl.errors import LsslError
from lssl.evaluation.experiments.contenders import Contender, same_table, train_contender
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    check_unseen,
    generator_budget,
    open_experiment,
    seeded,
)
from lssl.evaluation.experiments.fold_training import train_fold_classifier
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.pose import (
    FRONTAL,
    RAW,
    Method,
    TurnedFaces,
    check_frontal_classes,
    frontal_yaw,
    measure_method,
    method_pictures,
    open_turned,
    render_faces,
)
from lssl.evaluation.experiments.pose_tables import Results, add_tables, signed
from lssl.evaluation.experiments.transfer import classify, frame_wrong
from lssl.evaluation.report import Report
from lssl.inference.pose_normalization import load_normalizer
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator

#: Normalizers that are trained on each fold's training subjects: their method, and their name in the table.
TRAINED = {
    "lssl": ("pose", "normalized (LSSL)"),
    "simgan": ("simgan", "normalized (SimGAN)"),
    "cyclegan": ("cyclegan_pose", "normalized (CycleGAN)"),
}
_PEOPLE = 2


def evaluate_pose(
    settings: Settings,
    out: Path,
    command: str,
    *,
    yaw_column: str = "yaw",
    normalizers: Sequence[str] = ("lssl",),
    frontal_folder: Path | None = None,
    background: str = "original",
    face_model: Path | None = None,
    workers: int = 1,
    seeds: int = 1,
    overwrite: bool = False,
) -> Report:
    """Runs (or continues) the experiment and writes report.html, results.json and results.csv to `out`.

    Args:
        settings: `training` is that of the normalizers.
        yaw_column: the column with the yaw in degrees; 0 is frontal.
        normalizers: names of `TRAINED`, or files of trained ones (with one fold only, whose test subjects they must not
            have seen).
        frontal_folder: what `lssl render-frontal` drew of the same faces; by default they are drawn first, into the state.
        background, face_model, workers: for the drawing.
        seeds: trainings of the classifier and of every normalizer in each fold; a later call with more of them continues
            with those that are missing.

    Raises LsslError before work starts if the data or the settings do not fit.
    """
    given = _open_given(settings, normalizers)
    yaws = frontal_yaw(read_metadata(settings.data), yaw_column)
    experiment = open_experiment(
        "pose",
        settings,
        out,
        overwrite=overwrite,
        yaw_column=yaw_column,
        frontal=None if frontal_folder is None else file_fingerprint(frontal_folder / "metadata.csv"),
        background=background,
        face_model=None if face_model is None else file_fingerprint(face_model),
    )
    folder = experiment.folder
    frontal_rows = [row for row, text in enumerate(folder.columns[yaw_column]) if yaws[text] == 0]
    check_frontal_classes(folder, experiment.group, frontal_rows, experiment.folds)
    for model in given.values():
        check_unseen(model, experiment.folds)
    if frontal_folder is None:
        frontal_folder = _draw(experiment, yaw_column, background, face_model, workers)
    faces = open_turned(folder, yaw_column, frontal_folder)
    results: Results = {}
    for seed in range(seeds):  # outermost, so that a run that is stopped has finished whole seeds
        own = experiment.with_seed(seed)
        methods = [RAW, FRONTAL, *(_method(name, given.get(name), own, seed, faces.simulated) for name in normalizers)]
        judge = _judges(own, seed, frontal_rows)
        _measure(own, seed, methods, judge, faces, results)
    report = Report(f"Pose: {folder.root.name}", command, settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.paragraph(experiment.describe())
    report.paragraph(_explanation(faces, normalizers))
    report.paragraph(_provenance(settings, normalizers, given))
    add_tables(report, experiment, methods, results, yaws)
    trained = [m for m in methods if m.contender and all("training" in run for run in results[m.key])]
    if trained:
        contenders = [method.contender for method in trained if method.contender]
        report.table(same_table(experiment, contenders, {method.name: results[method.key] for method in trained}))
    _add_people(report, methods, experiment.folds[0], judge(0), faces)  # of the last seed
    experiment.record(report, fold_results=results)
    report.write(out)
    return report


def _judges(experiment: Experiment, seed: int, frontal_rows: Sequence[int]) -> Callable[[int], TrainedClassifier]:
    """A function of a fold's number: the classifier of its training people's frontal faces, trained when first asked for."""
    folder = experiment.folder

    @cache
    def judge(number: int) -> TrainedClassifier:
        people = set(experiment.folds[number].train)
        rows = folder.select([row for row in frontal_rows if folder.subjects[row] in people])
        out = experiment.state.folder(seeded(f"fold-{number:02d}", seed))
        return train_fold_classifier(experiment.settings.judge, rows, experiment, out)

    return judge


def _measure(
    experiment: Experiment,
    seed: int,
    methods: Sequence[Method],
    judge: Callable[[int], TrainedClassifier],
    faces: TurnedFaces,
    results: Results,
) -> None:
    """Adds each method's result in each fold to `results`."""

    def measure(method: Method, fold: Fold) -> dict[str, Any]:
        return measure_method(method, fold, judge(fold.number), faces, progress=not experiment.settings.quiet)

    for fold in experiment.folds:
        for method in methods:
            name = seeded(f"fold-{fold.number:02d}-{method.key}", seed)
            found = experiment.state.part(name, partial(measure, method, fold))
            results.setdefault(method.key, []).append(found)


def _open_given(settings: Settings, normalizers: Sequence[str]) -> dict[str, TrainedGenerator]:
    """The normalizers that are files, by their paths. Raises LsslError if they, or the settings, may know tested people."""
    if settings.training.has("pose.real_faces") and settings.training.settings.pose.real_faces:
        raise LsslError("pose.real_faces may show people who are tested; leave it out of this experiment")
    given = {path: load_normalizer(path, settings.device) for path in normalizers if path not in TRAINED}
    if given and settings.folds > 1:
        raise LsslError(
            f"--normalizer {next(iter(given))} has seen people who are tested in one of {settings.folds} folds; use --folds 1"
        )
    return given


def _add_people(
    report: Report, methods: Sequence[Method], fold: Fold, judge: TrainedClassifier, faces: TurnedFaces
) -> None:
    report.heading("Unseen people")
    for subject in fold.test[:_PEOPLE]:
        report.image(
            _sheet(methods, fold, judge, faces, subject),
            f"Subject {subject}; from above: {', '.join(method.name for method in methods)}. A red frame: the classifier "
            "takes it for another class.",
        )


def _draw(experiment: Experiment, yaw_column: str, background: str, face_model: Path | None, workers: int) -> Path:
    """Draws every face from the front into the experiment's state, unless that is done; returns the folder."""
    out = experiment.state.folder("frontal")

    def draw() -> dict[str, Any]:
        render_faces(
            experiment.folder,
            out,
            size=check_images(experiment.folder)[0],
            yaw_column=yaw_column,
            background=background,
            face_model=face_model,
            workers=workers,
            progress=not experiment.settings.quiet,
        )
        return {}

    experiment.state.part("frontal-drawn", draw)
    return out


def _explanation(faces: TurnedFaces, normalizers: Sequence[str]) -> str:
    missing = sum(row is None for row in faces.place)
    realistic = ", and made realistic by a generator" if normalizers else ""
    return (
        "A classifier learns from the frontal faces of each fold's training people, and is tested on the others' faces at "
        f"every yaw: as photographed, drawn from the front with the 3D face model{realistic}."
        + (f" For {missing} faces no frontal one could be drawn; their photograph takes its place." if missing else "")
    )


def _provenance(settings: Settings, normalizers: Sequence[str], given: Mapping[str, TrainedGenerator]) -> str:
    """A sentence on whose faces the classifier and the normalizers have seen, as far as known."""
    own = [name for name in normalizers if name not in given]
    trained = f"Classifier and normalizer ({generator_budget(settings)}) were" if own else "The classifier was"
    sentences = [f"{trained} trained here, only on the training people."]
    for name, model in given.items():
        known = "was trained on none, by its own record," if model.info.get("subjects") else "may have seen some"
        sentences.append(f"The normalizer {Path(name).name} was given; it {known} of the tested people.")
    return " ".join(sentences)


def _sheet(
    methods: Sequence[Method], fold: Fold, judge: TrainedClassifier, faces: TurnedFaces, subject: str
) -> NDArray[np.uint8]:
    """One person at every yaw with one expression, one row per method."""
    values = faces.folder.columns[judge.group.name]
    at = {yaw: faces.rows_at(yaw, [subject]) for yaw in faces.yaws}
    # Not the first expression, which is the neutral one if there is one.
    common = [v for v in judge.classes if all(any(values[row] == v for row in rows) for rows in at.values())]
    value = common[min(len(common) - 1, 1 + fold.test.index(subject))] if common else None
    chosen = {yaw: next((r for r in rows if values[r] == value), rows[0]) for yaw, rows in at.items() if rows}
    rows = list(chosen.values())
    lines = []
    for method in methods:
        pictures = np.stack(method_pictures(method, fold, faces, rows))
        frame_wrong(pictures, classify(judge, pictures) != [judge.group.index(values[row]) for row in rows])
        lines.append(pictures)
    columns = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in zip(*lines, strict=True)]
    names = [f"{values[row]} {signed(faces.yaws[yaw])}" for yaw, row in chosen.items()]
    return np.asarray(labelled_grid(columns, names))


def _method(
    name: str, given: TrainedGenerator | None, experiment: Experiment, seed: int, simulated: FaceFolder
) -> Method:
    """A normalizer's row: given, or trained only on the simulated faces of a fold's training subjects."""
    if given is not None:
        path = Path(name) / "generator.safetensors" if Path(name).is_dir() else Path(name)
        return Method(f"normalized ({Path(name).name})", f"given-{file_fingerprint(path)[:8]}", lambda fold: given)
    faces = replace(simulated, attributes=frontal_attributes(simulated))
    method, title = TRAINED[name]
    contender = Contender(title, experiment.settings.training.for_method(method))
    models: dict[int, TrainedGenerator] = {}
    facts: dict[int, dict[str, Any]] = {}

    def train(fold: Fold) -> TrainedGenerator:
        if fold.number not in models:
            people = set(fold.train)
            models[fold.number], facts[fold.number] = train_contender(
                experiment,
                contender,
                faces.select([row for row, subject in enumerate(faces.subjects) if subject in people]),
                0,
                experiment.state.folder(seeded(f"fold-{fold.number:02d}", seed) + f"/{name}"),
                schema=faces.schema(),
            )
        return models[fold.number]

    return Method(title, name, train, contender, facts)

"""`lssl evaluate pose`: fold by fold, then the tables, the curve and the page."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import FaceFolder, FolderError, read_metadata
from lssl.data.folder import check_images
from lssl.evaluation.experiment import (
    Experiment,
    Settings,
    check_unseen,
    fingerprint,
    open_experiment,
)
from lssl.evaluation.fold_training import train_fold_classifier, train_fold_generator
from lssl.evaluation.folds import Fold
from lssl.evaluation.pose import (
    FRONTAL,
    RAW,
    FrontalFaces,
    Method,
    check_frontal_classes,
    frontal_yaw,
    measure_method,
    method_pictures,
    open_frontal,
    render_faces,
)
from lssl.evaluation.pose_tables import Results, add_tables, signed
from lssl.evaluation.report import Report
from lssl.evaluation.transfer import classify, frame_wrong
from lssl.models.classifier_export import TrainedClassifier
from lssl.models.export import TrainedGenerator
from lssl.training.config import ConfigError
from lssl.training.pose_normalization import load_normalizer
from lssl.training.pose_trainer import frontal_attributes
from lssl.training.samples import labelled_grid

#: Normalizers that are trained anew on each fold's training subjects, and their names in the table.
TRAINED = {"lssl": "normalized (LSSL)", "simgan": "normalized (SimGAN)"}
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
    overwrite: bool = False,
) -> Report:
    """Runs (or goes on with) the experiment and writes report.html, results.json and results.csv to `out`.

    Args:
        settings: `training` is the normalizers'.
        yaw_column: the column with the yaw in degrees; 0 is frontal.
        normalizers: names of `TRAINED`, or files of trained ones (with one fold only, whose test subjects they must not
            have seen).
        frontal_folder: what `lssl render-frontal` drew of the same faces; drawn first, into the state, if not given.
        background, face_model, workers: of the drawing.

    Raises FolderError, SchemaError, ConfigError or ExportError before work starts.
    """
    if settings.training.pose.real_faces:
        raise ConfigError("pose.real_faces may show people who are tested; leave it out of this experiment")
    given = {path: load_normalizer(path, settings.device) for path in normalizers if path not in TRAINED}
    if given and settings.folds > 1:
        raise FolderError(
            f"--normalizer {next(iter(given))} has seen people who are tested in one of {settings.folds} folds; use --folds 1"
        )
    yaws = frontal_yaw(read_metadata(settings.data), yaw_column)
    experiment = open_experiment(
        "pose",
        settings,
        out,
        overwrite=overwrite,
        yaw_column=yaw_column,
        frontal=None if frontal_folder is None else fingerprint(frontal_folder / "metadata.csv"),
        background=background,
        face_model=None if face_model is None else fingerprint(face_model),
    )
    folder = experiment.folder
    report = Report(f"Pose: {folder.root.name}", command, settings.seed)
    frontal_rows = [row for row, text in enumerate(folder.columns[yaw_column]) if yaws[text] == 0]
    check_frontal_classes(folder, experiment.group, frontal_rows, experiment.folds)
    for model in given.values():
        check_unseen(model, experiment.folds)
    if frontal_folder is None:
        frontal_folder = experiment.state.folder("frontal")
        render_faces(
            folder,
            frontal_folder,
            size=check_images(folder)[0],
            yaw_column=yaw_column,
            background=background,
            face_model=face_model,
            workers=workers,
            progress=not settings.quiet,
        )
    frontal = open_frontal(folder, frontal_folder)
    methods = [RAW, FRONTAL, *(_method(name, given.get(name), experiment, frontal) for name in normalizers)]
    results: Results = {method.key: [] for method in methods}
    judges: dict[int, TrainedClassifier] = {}
    for fold in experiment.folds:
        name = f"fold-{fold.number:02d}"
        people = set(fold.train)
        seen = folder.select([row for row in frontal_rows if folder.subjects[row] in people])
        judges[fold.number] = judge = train_fold_classifier(
            settings.judge,
            seen,
            experiment.group,
            experiment.state.folder(name),
            weights=settings.weights,
            device=settings.device,
            quiet=settings.quiet,
        )
        for method in methods:
            measure = partial(
                measure_method, method, fold, judge, folder, frontal, yaws, yaw_column, progress=not settings.quiet
            )
            results[method.key].append(experiment.state.part(f"{name}-{method.key}", measure))
    report.paragraph(experiment.describe())
    missing = sum(row is None for row in frontal.rows)
    realistic = ", and made realistic by a generator" if normalizers else ""
    report.paragraph(
        "A classifier learns from the frontal faces of each fold's training subjects, and looks at the test subjects' "
        f"faces at every yaw: as photographed, drawn from the front by the 3D face{realistic}."
        + (f" {missing} faces gave no frontal one; their photograph stands in for it." if missing else "")
    )
    add_tables(report, experiment, methods, results, yaws)
    report.heading("Unseen people")
    fold = experiment.folds[0]
    for subject in fold.test[:_PEOPLE]:
        report.image(
            _sheet(methods, fold, judges[fold.number], folder, frontal, yaws, yaw_column, subject),
            f"Subject {subject}; from above: {', '.join(method.name for method in methods)}. A red frame: the classifier "
            "takes it for another class.",
        )
    report.results.update(folds=experiment.subjects(), fold_results=results, settings=experiment.state.settings)
    report.write(out)
    return report


def _sheet(
    methods: Sequence[Method],
    fold: Fold,
    judge: TrainedClassifier,
    folder: FaceFolder,
    frontal: FrontalFaces,
    yaws: dict[str, float],
    yaw_column: str,
    subject: str,
) -> NDArray[np.uint8]:
    """One person at every yaw with one expression, a row a method."""
    own = [row for row, name in enumerate(folder.subjects) if name == subject]
    values = folder.columns[judge.group.name]
    at = {text: [row for row in own if folder.columns[yaw_column][row] == text] for text in yaws}
    # The expression that says most: not the first, which is the neutral one where there is one.
    common = [v for v in judge.classes if all(any(values[r] == v for r in rows) for rows in at.values())]
    value = common[min(len(common) - 1, 1 + fold.test.index(subject))] if common else None
    rows = [next((r for r in found if values[r] == value), found[0]) for found in at.values() if found]
    lines = []
    for method in methods:
        pictures = np.stack(method_pictures(method, fold, folder, frontal, rows))
        frame_wrong(pictures, classify(judge, pictures) != [judge.group.index(values[row]) for row in rows])
        lines.append(pictures)
    columns = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in zip(*lines, strict=True)]
    names = [f"{values[row]} {signed(yaws[folder.columns[yaw_column][row]])}" for row in rows]
    return np.asarray(labelled_grid(columns, names))


def _method(name: str, given: TrainedGenerator | None, experiment: Experiment, frontal: FrontalFaces) -> Method:
    """A normalizer's row: given, or trained on the simulated faces of a fold's training subjects alone."""
    if given is not None:
        path = Path(name) / "generator.safetensors" if Path(name).is_dir() else Path(name)
        return Method(f"normalized ({Path(name).name})", f"given-{fingerprint(path)[:8]}", lambda fold: given)
    settings = experiment.settings
    attributes = frontal_attributes(frontal.folder)
    faces = replace(frontal.folder, attributes=attributes)
    config = settings.training.with_overrides({"pose.method": name})
    models: dict[int, TrainedGenerator] = {}

    def train(fold: Fold) -> TrainedGenerator:
        if fold.number not in models:
            people = set(fold.train)
            models[fold.number] = train_fold_generator(
                config,
                faces.select([row for row, subject in enumerate(faces.subjects) if subject in people]),
                faces.schema(),
                experiment.state.folder(f"fold-{fold.number:02d}/{name}"),
                parser_iterations=settings.parser_iterations,
                processes=experiment.processes,
                quiet=settings.quiet,
            )
        return models[fold.number]

    return Method(TRAINED[name], name, train)

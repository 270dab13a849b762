"""`lssl evaluate transfer`: fold by fold, then the table and the page."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.data import detect
from lssl.data.fingerprint import file_fingerprint
from lssl.data.writer import save_picture
from lssl.errors import LsslError
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    accuracy,
    check_unseen,
    generator_budget,
    open_experiment,
    over_folds,
)
from lssl.evaluation.experiments.fold_training import train_fold_classifier, train_fold_generator
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.paper import paper_figures
from lssl.evaluation.experiments.portraits import gather_portraits
from lssl.evaluation.experiments.portraits_report import add_sheets, measure_portraits, portrait_tables, save_sheets
from lssl.evaluation.experiments.transfer import measure, transfer, transfer_grid
from lssl.evaluation.figures import confusion_figure
from lssl.evaluation.report import Report, Table
from lssl.models.classifier import TrainedClassifier, load_classifier
from lssl.models.export import TrainedGenerator, load_generator

SAME_PERSON = 0.6


def evaluate_transfer(
    settings: Settings,
    out: Path,
    command: str,
    *,
    model_path: Path | None = None,
    judge_path: Path | None = None,
    portraits: bool = True,
    overwrite: bool = False,
) -> Report:
    """Runs (or continues) the experiment and writes report.html, results.json and results.csv to `out`.

    model_path, judge_path: a trained generator and classifier; only with a single fold, whose test subjects they must not
        have seen. What is not given is trained on each fold's training faces. If both are given, nothing is trained, and a
        folder of test faces is enough.
    portraits: also make the measures of `portraits_report` and its sheets, if the folder has landmarks.
    Raises LsslError before work starts if the data, the models or the settings do not fit.
    """
    for path, option in ((model_path, "--model"), (judge_path, "--classifier")):
        if path is not None and settings.folds > 1:
            raise LsslError(f"{option} has seen people who are tested in one of {settings.folds} folds; use --folds 1")
    model = None if model_path is None else load_generator(model_path, settings.device)
    judge = None if judge_path is None else load_classifier(judge_path, settings.device)
    identities = detect.available()
    trained = None if model is None or judge is None else (judge.group, model.schema)
    further: dict[str, Any] = {} if portraits else {"portraits": False}
    experiment = open_experiment(
        "transfer",
        settings,
        out,
        overwrite=overwrite,
        trained=trained,
        model=None if model_path is None else _content(model_path, "generator.safetensors"),
        judge=None if judge_path is None else _content(judge_path, "classifier.safetensors"),
        identities=identities,
        **further,
    )
    for part, path in ((model, model_path), (judge, judge_path)):
        if part is not None:
            _check_given(part, path, experiment)

    results = []
    for fold in experiment.folds:
        measured = partial(_measure_fold, experiment, fold, model, judge, identities, portraits)
        results.append(experiment.state.part(f"fold-{fold.number:02d}", measured))
    report = _report(experiment, results, _provenance(settings, model, judge), command)
    report.write(out)
    return report


def _measure_fold(
    experiment: Experiment,
    fold: Fold,
    model: TrainedGenerator | None,
    judge: TrainedClassifier | None,
    identities: bool,
    portraits: bool,
) -> dict[str, Any]:
    """The figures of one fold; what is not given is trained first."""
    settings, folder, name = experiment.settings, experiment.folder, experiment.group.name
    parts = experiment.state.folder(f"fold-{fold.number:02d}")
    train, test = experiment.train_rows(fold), experiment.test_rows(fold)
    judge = judge or train_fold_classifier(settings.judge, train, experiment, parts)
    model = model or train_fold_generator(settings.training, train, experiment, parts / "generator")
    result = transfer(model, test, name, progress=not settings.quiet)
    figures = measure(judge, result, identities=identities)
    save_picture(parts / "grid.png", Image.fromarray(transfer_grid(judge, result)))
    if portraits and folder.landmarks is not None:
        judged = gather_portraits(model, folder, name, fold.test, seed=settings.seed)
        figures["portraits"] = measure_portraits(judged, seed=settings.seed)
        save_sheets(judged, parts)
    return figures


def _check_given(part: TrainedGenerator | TrainedClassifier, path: Path | None, experiment: Experiment) -> None:
    """Raises LsslError if a given part has other classes than the folder, or has seen somebody who is tested."""
    check_unseen(part, experiment.folds)
    group = part.group if isinstance(part, TrainedClassifier) else part.schema.group(experiment.group.name)
    if group.values != experiment.group.values:
        raise LsslError(
            f"{path} has the classes {', '.join(group.values)}, but {experiment.folder.root} has {experiment.group.name} "
            f"{', '.join(experiment.group.values)}"
        )


def accuracy_table(experiment: Experiment, results: list[dict[str, Any]]) -> Table:
    """Table 2: real test faces, and what was synthesized from them."""
    rows = _accuracy_rows(results)
    paper = paper_figures("transfer", experiment.source)
    if paper is not None:
        rows += [[f"{paper[0]}: {method}", None, value] for method, value in paper[1]]
    note = "Percent recognised as what they show, or were asked to show"
    note += ", mean and standard deviation over the folds." if len(results) > 1 else "."
    return Table("Recognised by a classifier of real faces", ["faces", "number", "accuracy"], rows, note)


def relative_table(results: list[dict[str, Any]]) -> Table | None:
    """The same, judged relative to each person's own photographs; None if nobody has one of every class."""
    found = [r["relative"] for r in results if r.get("relative")]
    if not found:
        return None
    people = sum(r["people"] for r in found)
    note = (
        f"Percent, for {people} people with a real face of each class: logits relative to the mean of the person's own, so "
        "that a mouth whose corners rise at rest is no smile. Real faces are part of the mean that they are judged by."
    )
    rows = _accuracy_rows(found)
    return Table("Recognised beside the same person's photographs", ["faces", "number", "accuracy"], rows, note)


def _accuracy_rows(results: list[dict[str, Any]]) -> list[list[Any]]:
    """Number of faces and accuracy, from each fold's confusion matrices real, changed and kept."""
    real, changed, kept = ([accuracy(r[name]) for r in results] for name in ("real", "changed", "kept"))
    counts = {name: int(sum(np.sum(r[name]) for r in results)) for name in ("real", "changed", "kept")}
    return [
        ["real test faces", counts["real"], over_folds(real)],
        ["changed to another class", counts["changed"], over_folds(changed)],
        ["asked for their own class", counts["kept"], over_folds(kept)],
        ["changed minus real", None, over_folds([c - r for c, r in zip(changed, real, strict=True)])],
    ]


def _report(experiment: Experiment, results: list[dict[str, Any]], provenance: str, command: str) -> Report:
    report = Report(f"Transfer: {experiment.folder.root.name}", command, experiment.settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.paragraph(experiment.describe())
    report.paragraph(provenance)
    _add_portraits(report, experiment, results)
    report.table(accuracy_table(experiment, results))
    relative = relative_table(results)
    if relative is not None:
        report.table(relative)
    report.table(identity_table(results))
    report.table(reconstruction_table(results))
    report.table(_class_table(experiment.group.values, results))
    grids = [experiment.state.root / f"fold-{fold.number:02d}" / "grid.png" for fold in experiment.folds]
    report.heading("Unseen people")
    with Image.open(grids[0]) as grid:
        report.image(
            np.asarray(grid.convert("RGB")),
            "Input and every class; a red frame: classified as another class.",
        )
    report.heading("Confusion")
    for key, caption in (("real", "Real test faces"), ("changed", "Faces changed to another class (row: asked for)")):
        matrix = np.sum([r[key] for r in results], axis=0)
        report.plot(confusion_figure(matrix, experiment.group.values), f"{caption}, in percent of each row.")
    experiment.record(report, fold_results=results)
    return report


def _add_portraits(report: Report, experiment: Experiment, results: list[dict[str, Any]]) -> None:
    """Adds the measures at full size and the sheets of the first fold, or says why there are none."""
    found = [r["portraits"] for r in results if "portraits" in r]
    if not found:
        report.paragraph(
            f"{experiment.folder.root} has no landmarks.npy, so there is no two-sample test, no movement, and no judging at "
            "several sizes."
        )
        return
    for table in portrait_tables(found):
        report.table(table)
    add_sheets(report, experiment.state.root / f"fold-{experiment.folds[0].number:02d}")


def identity_table(results: list[dict[str, Any]]) -> Table:
    """Whether the person stays the same: distances of face embeddings, compared with those of real photographs."""
    rows: list[list[Any]] = []
    note = "Identity distances need dlib: pip install 'lssl[landmarks]'."
    if "identity" in results[0]:
        note = f"Distance of dlib's face embeddings; under {SAME_PERSON} usually means the same person."
        for key, name in (
            ("changed", "face and its translation to another class"),
            ("same", "two real photographs of one person"),
            ("different", "real photographs of different people"),
        ):
            values = [np.array(r["identity"][key]) for r in results]
            if all(len(v) for v in values):
                medians = over_folds([float(np.median(v)) for v in values])
                rows.append([name, medians, over_folds([100 * float((v < SAME_PERSON).mean()) for v in values])])
    return Table("Does the person stay?", ["pair", "median distance", f"under {SAME_PERSON} (%)"], rows, note)


def reconstruction_table(results: list[dict[str, Any]]) -> Table:
    """Whether the picture stays the same when nothing is to change."""
    row = ["own class", over_folds([r["ssim"] for r in results]), over_folds([r["psnr"] for r in results])]
    note = "Unseen faces asked for the class that they show, compared with themselves."
    return Table("Does the picture stay?", ["asked for", "SSIM", "PSNR (dB)"], [row], note)


def _provenance(settings: Settings, model: TrainedGenerator | None, judge: TrainedClassifier | None) -> str:
    """A sentence each on whose faces the generator and the classifier have seen, as far as known."""
    sentences = []
    for name, part in (("generator", model), ("classifier", judge)):
        if part is None:
            budget = f", {generator_budget(settings)}" if name == "generator" else ""
            sentences.append(f"The {name} was trained here, only on the training people{budget}.")
        elif part.info.get("subjects"):
            sentences.append(f"The {name} was given; by its own record it was trained on none of the tested people.")
        else:
            sentences.append(f"The {name} was given, without a record of the people that it was trained on.")
    return " ".join(sentences)


def _class_table(classes: tuple[str, ...], results: list[dict[str, Any]]) -> Table:
    rows: list[list[Any]] = []
    for k, name in enumerate(classes):
        row: list[Any] = [name]
        for key in ("real", "changed"):
            counts = np.sum([r[key] for r in results], axis=0)[k]
            row += [int(counts.sum()), 100 * float(counts[k]) / float(counts.sum()) if counts.sum() else None]
        rows.append(row)
    header = ["class", "real faces", "real accuracy", "changed to it", "changed accuracy"]
    return Table("By class", header, rows, "All folds together, percent.")


def _content(path: Path, name: str) -> str:
    return file_fingerprint(path / name if path.is_dir() else path)

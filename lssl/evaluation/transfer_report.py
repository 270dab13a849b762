"""`lssl evaluate transfer`: fold by fold, then the table and the page."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.data import FolderError, detect
from lssl.evaluation.experiment import (
    Experiment,
    Settings,
    accuracy,
    check_unseen,
    fingerprint,
    open_experiment,
    over_folds,
)
from lssl.evaluation.figures import confusion_figure
from lssl.evaluation.fold_training import train_fold_classifier, train_fold_generator
from lssl.evaluation.paper import paper_figures
from lssl.evaluation.report import Report, Table
from lssl.evaluation.transfer import measure, transfer, transfer_grid
from lssl.models.classifier_export import load_classifier
from lssl.models.export import load_generator

SAME_PERSON = 0.6


def evaluate_transfer(
    settings: Settings,
    out: Path,
    command: str,
    *,
    model_path: Path | None = None,
    judge_path: Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Runs (or goes on with) the experiment and writes report.html, results.json and results.csv to `out`.

    model_path, judge_path: a trained generator and classifier; with one fold only, whose test subjects they must not
        have seen. Else both are trained on each fold's training faces.
    Raises FolderError, SchemaError, ConfigError, ExportError or ClassifierError before work starts.
    """
    for path, option in ((model_path, "--model"), (judge_path, "--classifier")):
        if path is not None and settings.folds > 1:
            raise FolderError(
                f"{option} has seen people who are tested in one of {settings.folds} folds; use --folds 1"
            )
    model = None if model_path is None else load_generator(model_path, settings.device)
    judge = None if judge_path is None else load_classifier(judge_path, settings.device)
    identities = detect.available()
    experiment = open_experiment(
        "transfer",
        settings,
        out,
        overwrite=overwrite,
        model=None if model_path is None else _content(model_path, "generator.safetensors"),
        judge=None if judge_path is None else _content(judge_path, "classifier.safetensors"),
        identities=identities,
    )
    if model is not None:
        check_unseen(model, experiment.folds)
        if model.schema.group(experiment.group.name).values != experiment.group.values:
            raise FolderError(
                f"{model_path} knows {', '.join(model.schema.group(experiment.group.name).values)}, but {settings.data} "
                f"has {experiment.group.name} {', '.join(experiment.group.values)}"
            )
    if judge is not None and judge.classes != experiment.group.values:
        raise FolderError(f"{judge_path} knows {', '.join(judge.classes)}, not {', '.join(experiment.group.values)}")

    results = []
    for fold in experiment.folds:
        name = f"fold-{fold.number:02d}"

        def make(fold: Any = fold, name: str = name) -> dict[str, Any]:
            parts = experiment.state.folder(name)
            train, test = experiment.train_rows(fold), experiment.test_rows(fold)
            own_judge = judge or train_fold_classifier(
                settings.judge,
                train,
                experiment.group,
                parts,
                weights=settings.weights,
                device=settings.device,
                quiet=settings.quiet,
            )
            own_model = model or train_fold_generator(
                settings.training,
                train,
                experiment.schema,
                parts / "generator",
                parser_iterations=settings.parser_iterations,
                processes=experiment.processes,
                quiet=settings.quiet,
            )
            result = transfer(own_model, test, experiment.group.name, progress=not settings.quiet)
            figures = measure(own_judge, result, identities=identities)
            Image.fromarray(transfer_grid(own_judge, result)).save(parts / "grid.png")
            return figures

        results.append(experiment.state.part(name, make))
    report = _report(experiment, results, command)
    report.write(out)
    return report


def accuracy_table(experiment: Experiment, results: list[dict[str, Any]]) -> Table:
    """Table 2: real test faces beside what was synthesized from them."""
    real = [accuracy(r["real"]) for r in results]
    changed = [accuracy(r["changed"]) for r in results]
    kept = [accuracy(r["kept"]) for r in results]
    counts = {name: int(sum(np.sum(r[name]) for r in results)) for name in ("real", "changed", "kept")}
    rows: list[list[Any]] = [
        ["real test faces", counts["real"], over_folds(real)],
        ["changed to another class", counts["changed"], over_folds(changed)],
        ["asked for their own class", counts["kept"], over_folds(kept)],
        ["changed minus real", None, over_folds([c - r for c, r in zip(changed, real, strict=True)])],
    ]
    paper = paper_figures("transfer", experiment.source)
    if paper is not None:
        rows += [[f"{paper[0]}: {method}", None, value] for method, value in paper[1]]
    note = "Percent recognised as what they show, or were asked to show"
    note += ", mean and standard deviation over the folds." if len(results) > 1 else "."
    return Table("Recognised by a classifier of real faces", ["faces", "number", "accuracy"], rows, note)


def _report(experiment: Experiment, results: list[dict[str, Any]], command: str) -> Report:
    report = Report(f"Transfer: {experiment.folder.root.name}", command, experiment.settings.seed)
    report.paragraph(experiment.describe())
    report.table(accuracy_table(experiment, results))
    report.table(keeping_table(results))
    report.table(_class_table(experiment.group.values, results))
    grids = [experiment.state.root / f"fold-{fold.number:02d}" / "grid.png" for fold in experiment.folds]
    report.heading("Unseen people")
    with Image.open(grids[0]) as grid:
        report.image(
            np.asarray(grid.convert("RGB")),
            "Input and every class; a red frame: the classifier takes it for another class.",
        )
    report.heading("Confusion")
    for key, caption in (("real", "Real test faces"), ("changed", "Faces changed to another class (row: asked for)")):
        matrix = np.sum([r[key] for r in results], axis=0)
        report.plot(confusion_figure(matrix, experiment.group.values), f"{caption}, in percent of each row.")
    report.results.update(folds=experiment.subjects(), fold_results=results, settings=experiment.state.settings)
    return report


def keeping_table(results: list[dict[str, Any]]) -> Table:
    """What should stay: the person, and the picture where nothing was to change."""
    rows: list[list[Any]] = []
    notes = []
    if "identity" in results[0]:
        for key, name in (
            ("changed", "face and its translation to another class"),
            ("same", "two real photographs of one person"),
            ("different", "real photographs of different people"),
        ):
            values = [np.array(r["identity"][key]) for r in results]
            if all(len(v) for v in values):
                rows.append(
                    [
                        name,
                        over_folds([float(np.median(v)) for v in values]),
                        over_folds([100 * float((v < SAME_PERSON).mean()) for v in values]),
                        None,
                        None,
                    ]
                )
        notes.append(f"Identity: dlib embedding; under {SAME_PERSON} usually means one person.")
    else:
        notes.append("Identity distances need dlib: pip install 'lssl[landmarks]'.")
    rows.append(
        [
            "face and its translation to its own class",
            None,
            None,
            over_folds([r["ssim"] for r in results]),
            over_folds([r["psnr"] for r in results]),
        ]
    )
    header = ["pair", "median identity distance", f"under {SAME_PERSON} (%)", "SSIM", "PSNR (dB)"]
    return Table("What stays", header, rows, " ".join(notes))


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
    return fingerprint(path / name if path.is_dir() else path)

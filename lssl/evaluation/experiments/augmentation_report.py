"""`lssl evaluate augmentation`: fold by fold, then the table, the curve and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation import augmentation_fold
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    accuracy,
    generator_budget,
    open_experiment,
    over_folds,
)
from lssl.evaluation.experiments.fold_training import train_fold_generator
from lssl.evaluation.experiments.paper import paper_figures
from lssl.evaluation.figures import confusion_figure, new_figure
from lssl.evaluation.report import Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Fig. 8's numbers of synthesized faces an expression.
PAPER_COUNTS = (500, 1000, 2000, 5000, 10000)


def evaluate_augmentation(
    settings: Settings,
    out: Path,
    command: str,
    *,
    counts: Sequence[int] = PAPER_COUNTS,
    repeats: int = 1,
    overwrite: bool = False,
) -> Report:
    """Runs (or goes on with) the experiment and writes report.html, results.json and results.csv to `out`.

    counts: synthesized faces a class, one point of the curve each.
    repeats: classifiers a point, seeds apart, whose accuracies are averaged in each fold.
    Raises LsslError before work starts.
    """
    counts = sorted(set(counts))
    if not counts or counts[0] < 1:
        raise LsslError(f"counts are {', '.join(map(str, counts)) or 'missing'}; give numbers of faces from 1 on")
    experiment = open_experiment(
        "augmentation", settings, out, overwrite=overwrite, counts=list(counts), repeats=repeats
    )
    results = []
    for fold in experiment.folds:
        name = f"fold-{fold.number:02d}"

        def make(fold: Any = fold, name: str = name) -> dict[str, Any]:
            parts = experiment.state.folder(name)
            model = train_fold_generator(
                settings.training,
                experiment.train_rows(fold),
                experiment.schema,
                parts / "generator",
                parser_iterations=settings.parser_iterations,
                processes=experiment.processes,
                quiet=settings.quiet,
            )
            return augmentation_fold(experiment, fold, model, counts, repeats, parts)

        results.append(experiment.state.part(name, make))
    report = _report(experiment, results, counts, repeats, command)
    report.write(out)
    return report


def mean_accuracy(matrices: list[list[list[int]]]) -> float:
    """Percent, mean over repeated classifiers."""
    return float(np.mean([accuracy(matrix) for matrix in matrices]))


def accuracies(results: list[dict[str, Any]], counts: Sequence[int]) -> dict[int, list[float]]:
    """Percent by number of synthesized faces a class (0: real faces alone), a value a fold."""
    table = {0: [mean_accuracy(r["real"]) for r in results]}
    for count in counts:
        table[count] = [mean_accuracy(r["synthetic"][str(count)]) for r in results]
    return table


def augmentation_table(
    experiment: Experiment, results: list[dict[str, Any]], counts: Sequence[int], repeats: int
) -> Table:
    values = accuracies(results, counts)
    classes = len(experiment.group.values)
    real = round(float(np.mean([r["real_faces"] for r in results])))
    rows: list[list[Any]] = [["real faces alone", over_folds(values[0]), None, real, 0]]
    for count in counts:
        gain = [a - b for a, b in zip(values[count], values[0], strict=True)]
        rows.append([f"real + {count} a class", over_folds(values[count]), over_folds(gain), real, count * classes])
    paper = paper_figures("augmentation", experiment.source)
    if paper is not None:
        rows += [[f"{paper[0]}: {method}", value, None, None, None] for method, value in paper[1]]
    note = f"Percent of real test faces recognised; all classifiers had {results[0]['iterations']} iterations"
    note += f", {repeats} of each are averaged" if repeats > 1 else ""
    note += "; mean and standard deviation over the folds." if len(results) > 1 else "."
    return Table(
        "Classifiers trained with synthesized faces",
        ["trained on", "accuracy", "gain", "real faces", "synthesized"],
        rows,
        note,
        best=["accuracy"],
    )


def curve(results: list[dict[str, Any]], counts: Sequence[int]) -> "Figure":
    """Fig. 8: accuracy over the number of synthesized faces a class; the band is the deviation over the folds."""
    values = accuracies(results, counts)
    means = np.array([np.mean(values[count]) for count in counts])
    spread = np.array([np.std(values[c], ddof=1) if len(results) > 1 else 0.0 for c in counts])
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    colour, other = "#2f7fd0", "#c46a1b"
    axes.axhline(float(np.mean(values[0])), color=other, linestyle="--", linewidth=1.5, label="real faces alone")
    if len(counts) > 1:
        axes.fill_between(counts, means - spread, means + spread, color=colour, alpha=0.2, linewidth=0)
        axes.set_xscale("log")
    axes.plot(counts, means, "o-", color=colour, linewidth=1.8, label="real + synthesized")
    axes.set_xticks(counts, [f"{count / 1000:g}K" if count >= 500 else str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("synthesized faces a class")
    axes.set_ylabel("accuracy on unseen people (%)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _report(
    experiment: Experiment, results: list[dict[str, Any]], counts: Sequence[int], repeats: int, command: str
) -> Report:
    report = Report(f"Augmentation: {experiment.folder.root.name}", command, experiment.settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.paragraph(experiment.describe())
    report.paragraph(
        "In each fold the generator (and its face parser) and all classifiers learn from the same training people; the "
        "synthesized faces are made from the faces of those people. Nobody who is tested is seen by any of them. "
        f"A generator is trained for {generator_budget(experiment.settings)}."
    )
    report.table(augmentation_table(experiment, results, counts, repeats))
    report.plot(
        curve(results, counts), "Fig. 8: more synthesized faces. The band is one standard deviation over folds."
    )
    report.heading("Synthesized training faces")
    with Image.open(experiment.state.root / "fold-00" / "sheet.png") as sheet:
        report.image(
            np.asarray(sheet.convert("RGB")), "Some of the first fold, a column a class they are labelled with."
        )
    report.heading("Confusion")
    shown = [("real faces alone", [r["real"] for r in results])]
    shown.append((f"real + {counts[-1]} a class", [r["synthetic"][str(counts[-1])] for r in results]))
    for name, matrices in shown:
        total = np.sum([matrix for repeated in matrices for matrix in repeated], axis=0)
        report.plot(
            confusion_figure(total, experiment.group.values), f"Trained on {name}, in percent of each true class."
        )
    report.results.update(folds=experiment.subjects(), fold_results=results, settings=experiment.state.settings)
    return report

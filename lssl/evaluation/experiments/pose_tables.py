"""The tables and the curve of `lssl evaluate pose`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lssl.evaluation.experiments.experiment import Experiment, accuracy, over_folds
from lssl.evaluation.experiments.paper import paper_pose_figures
from lssl.evaluation.experiments.pose import FRONTAL, RAW, Method
from lssl.evaluation.figures import new_figure
from lssl.evaluation.report import Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The results of `measure_method`, by the method's key: one per fold, for one seed after another.
Results = dict[str, list[dict[str, Any]]]


def add_tables(
    report: Report, experiment: Experiment, methods: Sequence[Method], results: Results, yaws: dict[str, float]
) -> None:
    """Adds Table 3, what each step gains, each side separately, each class, and the curve over the yaw."""
    report.table(accuracy_table(experiment, methods, results, yaws))
    report.table(gain_table(methods, results, yaws))
    report.table(_side_table(methods, results, yaws))
    report.table(class_table(experiment.group.values, methods, results, yaws))
    report.plot(
        _curve(methods, results, yaws), "Accuracy over the yaw; bars are one standard deviation over folds and seeds."
    )


def accuracy_table(
    experiment: Experiment, methods: Sequence[Method], results: Results, yaws: dict[str, float]
) -> Table:
    """Table 3, with both sides together."""
    columns = _sides(yaws)
    rows: list[list[Any]] = [
        [m.name, *(over_folds(_accuracies(results[m.key], texts)) for texts in columns.values())] for m in methods
    ]
    paper = paper_pose_figures(experiment.source)
    if paper is not None:
        rows += [[f"{paper[0]}: {name}", *(values.get(angle) for angle in columns)] for name, values in paper[1]]
    runs = results[RAW.key]
    first = runs[: len(experiment.folds)]  # every seed tests the same faces
    count = [sum(np.sum(r["confusion"][t]) for r in first for t in texts) for texts in columns.values()]
    seeds = len(runs) // len(experiment.folds)
    over = "the folds" if seeds == 1 else f"{len(experiment.folds)} folds and {seeds} seeds"
    note = "Percent recognised, by degrees of yaw" + (
        f", mean and standard deviation over {over}" if len(runs) > 1 else ""
    )
    note += "; faces: " + ", ".join(f"{n} at {angle}" for n, angle in zip(count, columns, strict=True)) + "."
    return Table("Recognised by a classifier of frontal faces", ["faces", *columns], rows, note, best=list(columns))


def gain_table(methods: Sequence[Method], results: Results, yaws: dict[str, float]) -> Table:
    """What each step gains: simulated faces over photographs, normalized faces over simulated ones."""
    columns = _sides(yaws)
    rows: list[list[Any]] = []
    for method in methods[1:]:
        before = RAW if method.key == FRONTAL.key else FRONTAL
        gains = [
            [
                a - b
                for a, b in zip(_accuracies(results[method.key], t), _accuracies(results[before.key], t), strict=True)
            ]
            for t in columns.values()
        ]
        rows.append([f"{method.name} over {before.name}", *(over_folds(gain) for gain in gains)])
    return Table("Gain of each step", ["step", *columns], rows, "Percentage points, by degrees of yaw.")


def class_table(classes: Sequence[str], methods: Sequence[Method], results: Results, yaws: dict[str, float]) -> Table:
    """Each class at the turned yaws: which expressions a step improves, and which it makes worse."""
    turned = {angle: texts for angle, texts in _sides(yaws).items() if any(yaws[text] for text in texts)}
    rows: list[list[Any]] = []
    for k, name in enumerate(classes):
        row: list[Any] = [name]
        for texts in turned.values():
            for method in methods:
                counts = np.sum([fold["confusion"][text] for fold in results[method.key] for text in texts], axis=0)[k]
                row.append(100 * float(counts[k]) / float(counts.sum()) if counts.sum() else None)
        rows.append(row)
    header = [f"{angle} {method.name}" for angle in turned for method in methods]
    return Table("Each class", ["class", *header], rows, "Percent recognised, all folds and seeds together.")


def _side_table(methods: Sequence[Method], results: Results, yaws: dict[str, float]) -> Table:
    rows: list[list[Any]] = [
        [m.name, *(over_folds(_accuracies(results[m.key], [text])) for text in yaws)] for m in methods
    ]
    note = "Percent recognised; positive yaw turns the face to the picture's right."
    return Table("Each side", ["faces", *map(signed, yaws.values())], rows, note)


def _curve(methods: Sequence[Method], results: Results, yaws: dict[str, float]) -> "Figure":
    figure = new_figure(7, 3.8)
    axes = figure.add_subplot()
    for k, method in enumerate(methods):
        values = [_accuracies(results[method.key], [text]) for text in yaws]
        mean = [float(np.mean(v)) for v in values]
        spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values]
        axes.errorbar(list(yaws.values()), mean, spread, color=f"C{k}", marker="o", capsize=3, label=method.name)
    axes.set_xticks(list(yaws.values()))
    axes.set_xlabel("yaw (degrees)")
    axes.set_ylabel("recognised (%)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _sides(yaws: dict[str, float]) -> dict[str, list[str]]:
    """The yaw texts at each angle, both sides together: {"0": ["0"], "±15": ["-15", "15"]}."""
    angles = sorted({abs(yaw) for yaw in yaws.values()})
    sides = {angle: [text for text, yaw in yaws.items() if abs(yaw) == angle] for angle in angles}
    return {(f"±{angle:g}" if len(texts) > 1 else f"{yaws[texts[0]]:g}"): texts for angle, texts in sides.items()}


def signed(yaw: float) -> str:
    """Degrees with their sign, as headers show them."""
    return f"{yaw:+g}" if yaw else "0"


def _accuracies(folds: list[dict[str, Any]], texts: Sequence[str]) -> list[float]:
    """Each fold's (and seed's) accuracy in percent over some yaw values."""
    return [accuracy(np.sum([fold["confusion"][text] for text in texts], axis=0)) for fold in folds]

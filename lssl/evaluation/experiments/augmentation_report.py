"""`lssl evaluate augmentation`: fold by fold, then the table, the curve and the page."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lssl.data import FaceFolder
from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation import Mend, augmentation_fold
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    accuracy,
    generator_budget,
    open_experiment,
    over_folds,
)
from lssl.evaluation.experiments.fold_training import train_fold_generator
from lssl.evaluation.experiments.folds import Fold, rows_of
from lssl.evaluation.experiments.paper import paper_figures
from lssl.evaluation.figures import confusion_figure, new_figure
from lssl.evaluation.report import Report, Table
from lssl.inference.face_orders import Synthesizer
from lssl.inference.synthesizers import GENERATOR, GeneratorSynthesizer, open_synthesizer
from lssl.training.config import TrainConfig, method_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Fig. 8's numbers of synthesized faces per expression.
PAPER_COUNTS = (500, 1000, 2000, 5000, 10000)
_DRAWS = 2000
_COLOURS = ("#2f7fd0", "#2a9d5c", "#8a4fc7", "#c43b5b")


def evaluate_augmentation(
    settings: Settings,
    out: Path,
    command: str,
    *,
    counts: Sequence[int] = (),
    ratios: Sequence[float] = (),
    repeats: int = 1,
    sources: Sequence[str] = (GENERATOR,),
    mend: Mend | None = None,
    overwrite: bool = False,
) -> Report:
    """Runs (or continues) the experiment and writes report.html, results.json and results.csv to `out`.

    counts: numbers of synthesized faces per class, one point of the curve each. ratios: the same as multiples of the real
        training faces; one of the two must be given.
    repeats: classifiers per point, with different seeds, whose accuracies are averaged in each fold.
    sources: what makes the faces, each with rows of its own; names as `open_synthesizer` takes them.
    Raises LsslError before work starts if the data or the settings do not fit.
    """
    mend, sources = mend or Mend(), list(dict.fromkeys(sources))
    check_counts(counts, ratios)
    further: dict[str, Any] = {"counts": sorted(set(counts)), "repeats": repeats, "sources": sources}
    further |= {"mend": asdict(mend), **({"ratios": list(ratios)} if ratios else {})}
    experiment = open_experiment(
        "augmentation", settings, out, overwrite=overwrite, check=check_sources(sources, settings.training), **further
    )
    counts = choose_counts(experiment, counts, ratios)
    results: dict[str, list[dict[str, Any]]] = {source: [] for source in sources}
    for fold in experiment.folds:
        name = f"fold-{fold.number:02d}"
        for source in sources:

            def make(fold: Fold = fold, name: str = name, source: str = source) -> dict[str, Any]:
                parts = experiment.state.folder(name)
                maker = fold_synthesizer(experiment, fold, source, parts / "generator")
                own = experiment.state.folder(_part(name, source))
                return augmentation_fold(
                    experiment, fold, maker, counts, repeats, own, real_out=parts / "real", mend=mend
                )

            results[source].append(experiment.state.part(_part(name, source), make))
    report = _report(experiment, results, counts, repeats, mend, command)
    report.write(out)
    return report


def check_counts(counts: Sequence[int], ratios: Sequence[float]) -> None:
    """Raises LsslError if there is no number of faces, or one below 1."""
    if not (counts or ratios) or min(counts, default=1) < 1:
        raise LsslError(f"counts are {', '.join(map(str, counts)) or 'missing'}; give numbers of faces from 1 on")
    if ratios and min(ratios) <= 0:
        raise LsslError(f"ratios are {', '.join(f'{ratio:g}' for ratio in ratios)}; give numbers above 0")


def choose_counts(experiment: Experiment, counts: Sequence[int], ratios: Sequence[float]) -> list[int]:
    """Numbers of synthesized faces per class in ascending order: those given, and those that `ratios` stand for, multiples of
    the folds' real training faces."""
    real = real_per_class(experiment)
    return sorted({*counts, *(max(1, round(ratio * real)) for ratio in ratios)})


def real_per_class(experiment: Experiment) -> float:
    """The mean number of a fold's real training faces per class."""
    faces = float(np.mean([len(experiment.train_rows(fold)) for fold in experiment.folds]))
    return faces / len(experiment.group.values)


def _part(name: str, source: str) -> str:
    return name if source == GENERATOR else f"{name}-{source}"


def check_sources(sources: Sequence[str], training: TrainConfig) -> Callable[[FaceFolder, str, Sequence[Fold]], None]:
    """A check, to be made before any work, that a folder has what the synthesizers need, in each fold's training faces.

    training: the settings of the generators.
    """
    words = {word for source in sources for word in source.split("+")}

    def check(folder: FaceFolder, attribute: str, folds: Sequence[Fold]) -> None:
        for word in sorted(words - {GENERATOR}):
            maker = open_synthesizer(word)
            group = maker.group(folder, attribute)
            for fold in folds:
                maker.plan(rows_of(folder, fold.train), group, 1, (1.0, 1.0), 0)
        side = method_module(training.method).Method.side(training.settings)[0]
        if GENERATOR in words and side == "heatmap" and folder.landmarks is None:
            raise LsslError(
                f"{folder.root} has no landmarks.npy, which the generator's side image needs; make it with `lssl prepare`, "
                "add --set network.side_channels=0, or choose --with blend"
            )

    return check


def fold_synthesizer(experiment: Experiment, fold: Fold, source: str, generator_out: Path) -> Synthesizer:
    """The synthesizer of a source's name in a fold; a generator is trained first, only on the fold's training people."""
    generator: Synthesizer | None = None
    if GENERATOR in source.split("+"):
        training, faces = experiment.settings.training, experiment.train_rows(fold)
        trained = train_fold_generator(training, faces, experiment, generator_out)
        generator = GeneratorSynthesizer(trained, "fold's")
    return open_synthesizer(source, generator)


def mean_accuracy(matrices: list[list[list[int]]]) -> float:
    """The accuracy in percent, averaged over repeated classifiers' confusion matrices."""
    return float(np.mean([accuracy(matrix) for matrix in matrices]))


def accuracies(results: list[dict[str, Any]], counts: Sequence[int]) -> dict[int, list[float]]:
    """Accuracy in percent by number of synthesized faces per class (0: real faces alone), with one value per fold."""
    table = {0: [mean_accuracy(r["real"]) for r in results]}
    for count in counts:
        table[count] = [mean_accuracy(r["synthetic"][str(count)]) for r in results]
    return table


def augmentation_table(
    experiment: Experiment, results: dict[str, list[dict[str, Any]]], counts: Sequence[int], repeats: int
) -> Table:
    some = next(iter(results.values()))
    classes = len(experiment.group.values)
    real = round(float(np.mean([r["real_faces"] for r in some])))
    alone = accuracies(some, counts)[0]
    rows: list[list[Any]] = [["real faces alone", over_folds(alone), None, None, real, 0]]
    for source, found in results.items():
        values = accuracies(found, counts)
        for count in counts:
            gain = [a - b for a, b in zip(values[count], values[0], strict=True)]
            made = round(float(np.mean([min(r["made"], count * classes) for r in found])))
            interval = f"{gain_interval(found, count)[1]:.1f}"
            rows.append(
                [
                    f"real + {count} per class, {source}",
                    over_folds(values[count]),
                    over_folds(gain),
                    interval,
                    real,
                    made,
                ]
            )
    paper = paper_figures("augmentation", experiment.source)
    if paper is not None:
        rows += [[f"{paper[0]}: {method}", value, None, None, None, None] for method, value in paper[1]]
    note = f"Percent of real test faces recognised; all classifiers had {some[0]['iterations']} iterations"
    note += f", {repeats} of each are averaged" if repeats > 1 else ""
    note += "; mean and standard deviation over the folds" if len(some) > 1 else ""
    note += f". The interval covers 95% of {_DRAWS} resamplings of the people who are tested."
    return Table(
        "Classifiers trained with synthesized faces",
        ["trained on", "accuracy", "gain", "gain's interval, +-", "real faces", "synthesized"],
        rows,
        note,
        best=["accuracy"],
    )


def gain_interval(
    results: Sequence[dict[str, Any]], name: int | str, over: str = "real", seed: int = 0
) -> tuple[float, float]:
    """(gain, half of its 95% interval), in points, by resampling the people tested in all folds (a bootstrap).

    name, over: the keys of `people` for the classifiers that gain, and for those that they are compared with.
    """
    # Somebody who is tested several times (with several seeds) is one person still.
    counts: dict[str, list[int]] = {}
    for result in results:
        alone, mixed = result["people"][over], result["people"][str(name)]
        for subject, (right, number) in alone.items():
            change, faces = counts.setdefault(subject, [0, 0])
            counts[subject] = [change + mixed[subject][0] - right, faces + number]
    change, total = np.array(list(counts.values()), float).T
    drawn = np.random.default_rng(seed).integers(len(total), size=(_DRAWS, len(total)))
    gains = 100 * change[drawn].sum(1) / total[drawn].sum(1)
    low, high = np.quantile(gains, (0.025, 0.975))
    return 100 * float(change.sum() / total.sum()), float(high - low) / 2


def difference(results: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], count: int) -> str:
    """How many points `count` faces per class of some results give more than those of others, in the same folds and seeds:
    "+1.2 ± 0.8", with half of the 95% interval."""
    pairs = [
        {"people": {"own": one["people"][str(count)], "other": two["people"][str(count)]}}
        for one, two in zip(results, others, strict=True)
    ]
    return points(gain_interval(pairs, "own", "other"))


def points(gain: tuple[float, float]) -> str:
    """A gain and half of its interval in words: "+1.2 ± 0.8"."""
    return f"{gain[0]:+.1f} ± {gain[1]:.1f}"


def conclusion(name: str, results: Sequence[dict[str, Any]], count: int) -> str:
    """Whether synthesized faces help, in a sentence. name: whose faces, where there are several; "" otherwise."""
    gain, half = gain_interval(results, count)
    people = round(float(np.mean([result["real_people"] for result in results])))
    whose = f"{name}: " if name else ""
    if abs(gain) <= half:
        return f"{whose}synthesized faces make no significant difference: {gain:+.1f} +- {half:.1f} points with {people} people"
    effect = "help" if gain > 0 else "harm"
    return f"{whose}synthesized faces {effect} by {abs(gain):.1f} +- {half:.1f} points with {people} people"


def conclusions(results: dict[str, list[dict[str, Any]]], count: int) -> list[str]:
    """A sentence for each source; with the source's name if there are several."""
    return [conclusion(source if len(results) > 1 else "", found, count) for source, found in results.items()]


def curve(results: dict[str, list[dict[str, Any]]], counts: Sequence[int]) -> "Figure":
    """Fig. 8: accuracy over the number of synthesized faces per class; the band is one standard deviation over folds."""
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    some = next(iter(results.values()))
    alone = float(np.mean(accuracies(some, counts)[0]))
    axes.axhline(alone, color="#c46a1b", linestyle="--", linewidth=1.5, label="real faces alone")
    for (source, found), colour in zip(results.items(), itertools.cycle(_COLOURS)):
        values = accuracies(found, counts)
        means = np.array([np.mean(values[count]) for count in counts])
        if len(counts) > 1 and len(found) > 1:
            spread = np.array([np.std(values[c], ddof=1) for c in counts])
            axes.fill_between(counts, means - spread, means + spread, color=colour, alpha=0.2, linewidth=0)
        axes.plot(counts, means, "o-", color=colour, linewidth=1.8, label=f"real + synthesized, {source}")
    if len(counts) > 1:
        axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count / 1000:g}K" if count >= 500 else str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("synthesized faces per class")
    axes.set_ylabel("accuracy on unseen people (%)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _report(
    experiment: Experiment,
    results: dict[str, list[dict[str, Any]]],
    counts: Sequence[int],
    repeats: int,
    mend: Mend,
    command: str,
) -> Report:
    judge = experiment.settings.judge
    report = Report(f"Augmentation: {experiment.folder.root.name}", command, experiment.settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.conclusions = conclusions(results, counts[-1])
    for sentence in report.conclusions:
        report.paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
    report.paragraph(experiment.describe())
    trained = any(GENERATOR in source.split("+") for source in results)
    report.paragraph(
        "In each fold, everything that is trained learns from the same training people, and the synthesized faces are made "
        "from their faces. Nobody who is tested is seen by any of it. "
        + (f"A generator is trained for {generator_budget(experiment.settings)}. " if trained else "")
        + f"{judge.synthetic_share:.0%} of each batch is synthesized"
        + (f", none in the last {judge.real_last:.0%} of the iterations" if judge.real_last else "")
        + (
            f"; a synthesized face is kept if a classifier of the real ones gives its class at least {mend.agreement:g}."
            if mend.agreement
            else "."
        )
    )
    report.table(augmentation_table(experiment, results, counts, repeats))
    report.plot(
        curve(results, counts), "Fig. 8: more synthesized faces. The band is one standard deviation over folds."
    )
    report.heading("Synthesized training faces")
    for source in results:
        with Image.open(experiment.state.root / _part("fold-00", source) / "sheet.png") as sheet:
            report.image(
                np.asarray(sheet.convert("RGB")),
                f"Some of the first fold's faces, {source}; one column per class that they are labelled with.",
            )
    report.heading("Confusion")
    some = next(iter(results.values()))
    shown = [("real faces alone", [r["real"] for r in some])]
    for source, found in results.items():
        shown.append((f"real + {counts[-1]} per class, {source}", [r["synthetic"][str(counts[-1])] for r in found]))
    for name, matrices in shown:
        total = np.sum([matrix for repeated in matrices for matrix in repeated], axis=0)
        report.plot(
            confusion_figure(total, experiment.group.values), f"Trained on {name}, in percent of each true class."
        )
    experiment.record(report, fold_results=results, conclusions=report.conclusions)
    return report

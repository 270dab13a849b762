"""`lssl evaluate diagnosis`: fold by fold, then one figure, the tables and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.evaluation.experiments.augmentation_report import (
    check_sources,
    fold_synthesizer,
    gain_interval,
    mean_accuracy,
)
from lssl.evaluation.experiments.diagnosis import ALWAYS, ARMS, open_parts, with_synthesized, without_synthesized
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    accuracy,
    generator_budget,
    open_experiment,
    over_folds,
)
from lssl.evaluation.figures import confusion_figure, new_figure
from lssl.evaluation.report import Report, Table
from lssl.inference.synthesizers import GENERATOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#2f7fd0", "#2a9d5c", "#8a4fc7", "#c43b5b")
_REAL = "#c46a1b"

#: A fold's results: `real` (what `without_synthesized` gives), and by source what `with_synthesized` does.
Result = dict[str, Any]


def evaluate_diagnosis(
    settings: Settings,
    out: Path,
    command: str,
    *,
    per_class: int = 200,
    repeats: int = 1,
    sources: Sequence[str] = (GENERATOR,),
    arms: Sequence[str] = tuple(ARMS),
    overwrite: bool = False,
) -> Report:
    """Runs (or resumes) the experiment and writes report.html, results.json and results.csv to `out`.

    per_class: synthesized faces per class. sources: as `evaluate_augmentation` takes them. arms: keys of `ARMS`.
    repeats: classifiers per arm, with different seeds, whose accuracies are averaged in each fold.
    Raises LsslError before work starts.
    """
    sources = list(dict.fromkeys(sources))
    arms = [key for key in ARMS if key in ALWAYS or key in arms]
    further: dict[str, Any] = {"per_class": per_class, "repeats": repeats, "sources": sources, "arms": arms}
    needed = [*sources, *(["morph"] if "morphs" in arms else [])]
    experiment = open_experiment(
        "diagnosis", settings, out, overwrite=overwrite, check=check_sources(needed, settings.training), **further
    )
    results = [_fold(experiment, number, per_class, repeats, sources, arms) for number in range(len(experiment.folds))]
    report = _report(experiment, results, sources, arms, per_class, repeats, command)
    report.write(out)
    return report


def _fold(
    experiment: Experiment, number: int, per_class: int, repeats: int, sources: Sequence[str], arms: Sequence[str]
) -> Result:
    fold = experiment.folds[number]
    parts = open_parts(experiment, fold, per_class, repeats)
    found: Result = {"real": without_synthesized(parts, arms)}
    for source in sources:

        def make(source: str = source) -> dict[str, Any]:
            maker = fold_synthesizer(experiment, fold, source, parts.root / "generator")
            return with_synthesized(parts, source, maker, per_class, arms)

        found[source] = experiment.state.part(f"fold-{number:02d}-{source}", make)
    return found


def gain(results: Sequence[Result], source: str, arm: str, over: str = "real") -> tuple[float, float]:
    """The gain of an arm of a source over the arm `over`: (percentage points, half of the 95% interval over the people of
    all folds)."""
    pairs = []
    for result in results:
        every = {**result["real"]["arms"], **(result[source]["arms"] if source else {})}
        pairs.append({"people": {key: every[key]["people"] for key in (arm, over)}})
    return gain_interval(pairs, arm, over)


def _share(matrices: Sequence[Any]) -> float:
    return accuracy(np.sum(matrices, axis=0))


def _by_class(matrices: Sequence[Any]) -> NDArray[np.float64]:
    total = np.sum(matrices, axis=0)
    shares: NDArray[np.float64] = 100 * np.diag(total) / np.maximum(total.sum(1), 1)
    return shares


def conclusion(results: Sequence[Result], source: str) -> str:
    """What is wrong with the faces of a source and what helps most, in one sentence."""
    labels, ceiling = _share([r[source]["labels"] for r in results]), _share([r["real"]["labels"] for r in results])
    real = float(np.mean([mean_accuracy(r["real"]["arms"]["real"]["matrices"]) for r in results]))
    only = float(np.mean([mean_accuracy(r[source]["arms"]["only"]["matrices"]) for r in results]))
    known = [
        key for key in ARMS if ARMS[key].real and ARMS[key].synthetic and all(key in r[source]["arms"] for r in results)
    ]
    best = max((key for key in known if key != "oracle"), key=lambda key: gain(results, source, key)[0])
    value, half = gain(results, source, best)
    both, both_half = gain(results, source, "both")
    text = (
        f"{source}: an independent judge disputes {100 - labels:.1f}% of the labels ({100 - ceiling:.1f}% of real faces'); "
        f"synthesized faces alone teach {only:.1f}%, real ones {real:.1f}%; together {both:+.1f} +- {both_half:.1f} points"
    )
    if "oracle" in known:
        bound, bound_half = gain(results, source, "oracle")
        text += f", without wrong labels {bound:+.1f} +- {bound_half:.1f}"
    if best != "both":
        text += f"; the best remedy tried: {ARMS[best].name}, {value:+.1f} +- {half:.1f}"
    return text


def faults_table(results: Sequence[Result], sources: Sequence[str]) -> Table:
    """One row per source, real faces first: are the labels right, are the faces like real ones, what do they teach alone?"""
    real = [r["real"] for r in results]

    def of(values: list[float]) -> Any:
        return over_folds(values)

    rows: list[list[Any]] = [
        [
            "real training faces",
            of([accuracy(r["labels"]) for r in real]),
            None,
            of([1000 * r[sources[0]]["real_distance"] for r in results]),
            of([mean_accuracy(r["arms"]["real"]["matrices"]) for r in real]),
            None,
            None,
        ]
    ]
    for source in sources:
        own = [r[source] for r in results]
        right = all("only-right" in r["arms"] for r in own)
        rows.append(
            [
                source,
                of([accuracy(r["labels"]) for r in own]),
                of([accuracy(r["reverse"]) for r in own]),
                of([1000 * r["distance"] for r in own]),
                of([mean_accuracy(r["arms"]["only"]["matrices"]) for r in own]),
                of([mean_accuracy(r["arms"]["only-right"]["matrices"]) for r in own]) if right else None,
                round(float(np.mean([r["made"] for r in own]))),
            ]
        )
    header = ["faces", "labels right", "recognised", "distance", "teach alone", "right ones alone", "made"]
    note = (
        "Percent. Labels right: the oracle, a classifier trained on everybody except the training people, agrees with the "
        "label. Recognised: a classifier trained on the real training faces agrees with it. Distance: from the tested "
        "people's real faces, squared maximum mean discrepancy of the oracle's features x 1000. Teach alone: accuracy on the "
        "tested people's real faces of a classifier trained on these faces and no others; right ones alone: on only those "
        "whose label the oracle agrees with."
    )
    return Table("What is wrong with the faces", header, rows, note)


def remedies_table(results: Sequence[Result], sources: Sequence[str], arms: Sequence[str]) -> Table:
    rows: list[list[Any]] = []
    plain = [key for key in arms if not ARMS[key].synthetic]
    for key in plain:
        values = over_folds([mean_accuracy(r["real"]["arms"][key]["matrices"]) for r in results])
        change = None if key == "real" else gain(results, "", key)
        rows.append([ARMS[key].name, "", values, *_signed(change), None])
    for source in sources:
        for key in (key for key in arms if ARMS[key].synthetic):
            if not all(key in r[source]["arms"] for r in results):
                continue
            values = over_folds([mean_accuracy(r[source]["arms"][key]["matrices"]) for r in results])
            used = round(float(np.mean([r[source]["used"][key] for r in results])))
            rows.append([ARMS[key].name, source, values, *_signed(gain(results, source, key)), used])
    header = ["trained on", "synthesized by", "accuracy", "gain", "gain's interval, +-", "synthesized"]
    note = (
        "Percent of the tested people's real faces. Gain: over real faces alone; its interval: 95%, over random draws of the "
        "tested people. All classifiers were trained for the same number of iterations. The oracle has seen the tested people, "
        "so its rows are a bound, not a method."
    )
    return Table("What each remedy gives", header, rows, note, best=["accuracy"])


def _signed(change: tuple[float, float] | None) -> tuple[str | None, str | None]:
    return (None, None) if change is None else (f"{change[0]:+.2f}", f"{change[1]:.1f}")


def diagnosis_figure(
    results: Sequence[Result], sources: Sequence[str], arms: Sequence[str], classes: Sequence[str]
) -> "Figure":
    """Left: the share of labels that the oracle agrees with, by class. Right: the gain of each arm over real faces alone."""
    shown = [key for key in arms if key != "real"]
    figure = new_figure(10.5, max(3.4, 0.42 * max(len(classes), len(shown)) + 1.4))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    height = 0.8 / (len(sources) + 1)
    bars = [("real faces", _by_class([r["real"]["labels"] for r in results]), _REAL)]
    for source, colour in zip(sources, _COLOURS * len(sources)):
        bars.append((source, _by_class([r[source]["labels"] for r in results]), colour))
    for k, (name, shares, colour) in enumerate(bars):
        left.barh(
            np.arange(len(classes)) + (k - len(sources) / 2) * height, shares, height * 0.9, label=name, color=colour
        )
    left.set_yticks(range(len(classes)), classes)
    left.invert_yaxis()
    left.set_xlim(0, 100)
    left.set_xlabel("labels that the oracle agrees with (%)")
    left.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(bars))
    right.axvline(0, color=_REAL, linestyle="--", linewidth=1.2)
    for k, (source, colour) in enumerate(zip(sources, _COLOURS * len(sources))):
        for place, key in enumerate(shown):
            plain = not ARMS[key].synthetic
            if (plain and k) or (not plain and not all(key in r[source]["arms"] for r in results)):
                continue
            value, half = gain(results, "" if plain else source, key)
            offset = 0.0 if plain else (k - (len(sources) - 1) / 2) * 0.2
            right.errorbar(value, place + offset, xerr=half, fmt="o", color=_REAL if plain else colour, capsize=3, ms=5)
    right.set_yticks(range(len(shown)), [_short(ARMS[key].name) for key in shown], fontsize=8)
    right.invert_yaxis()
    right.set_xlabel("points over real faces alone, with its 95% interval")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _short(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, 34))


def _report(
    experiment: Experiment,
    results: list[Result],
    sources: Sequence[str],
    arms: Sequence[str],
    per_class: int,
    repeats: int,
    command: str,
) -> Report:
    settings, classes = experiment.settings, experiment.group.values
    report = Report(f"Diagnosis of synthesized faces: {experiment.folder.root.name}", command, settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.conclusions = [conclusion(results, source) for source in sources]
    for sentence in report.conclusions:
        report.paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
    report.paragraph(experiment.describe())
    trained = any(GENERATOR in source.split("+") for source in sources)
    report.paragraph(
        f"{per_class} synthesized faces per class, made from the training people's faces"
        + (f" by a generator trained on them alone for {generator_budget(settings)}" if trained else "")
        + ". Only the oracle sees the people who are tested"
        + (f"; {repeats} classifiers of each kind are averaged." if repeats > 1 else ".")
    )
    report.plot(
        diagnosis_figure(results, sources, arms, classes),
        "Left: are the labels right, class by class? Right: what each way of using the faces gives.",
    )
    report.table(faults_table(results, sources))
    report.table(remedies_table(results, sources, arms))
    report.heading("Synthesized faces")
    for source in sources:
        with Image.open(experiment.state.root / "fold-00" / source / "sheet.png") as sheet:
            report.image(np.asarray(sheet.convert("RGB")), f"Some of the first fold, {source}, one column per label.")
        total = np.sum([r[source]["labels"] for r in results], axis=0)
        report.plot(
            confusion_figure(total, classes), f"{source}: 'true' is the label, 'predicted' what the oracle sees."
        )
    experiment.record(report, fold_results=results, conclusions=report.conclusions)
    return report

"""Table 1 with a row per method: `lssl evaluate augmentation --method NAME ... --with SOURCE ...`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation import Mend, augmentation_fold
from lssl.evaluation.experiments.augmentation_report import (
    check_counts,
    check_sources,
    choose_counts,
    conclusions,
    curve,
    difference,
    gain_interval,
    mean_accuracy,
)
from lssl.evaluation.experiments.comparison import (
    Results,
    begin_report,
    finish_report,
    open_comparison,
    part_name,
    run_contenders,
)
from lssl.evaluation.experiments.contenders import IN_THE_PAPER, Contender, over_runs, same_table
from lssl.evaluation.experiments.experiment import Experiment, Settings
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.paper import published
from lssl.evaluation.report import Report, Table
from lssl.inference.face_orders import Synthesizer
from lssl.inference.synthesizers import UNTRAINED, open_synthesizer
from lssl.models.export import TrainedGenerator


def compare_augmentation(
    settings: Settings,
    contenders: Sequence[Contender],
    out: Path,
    command: str,
    *,
    counts: Sequence[int] = (),
    ratios: Sequence[float] = (),
    repeats: int = 1,
    seeds: int = 2,
    sources: Sequence[str] = (),
    mend: Mend | None = None,
    overwrite: bool = False,
) -> Report:
    """Table 1 with a row per method, and one per source that needs no training; writes the report to `out`.

    counts, ratios, repeats: as in `evaluate_augmentation`. seeds: how often everything is repeated in each fold, each time
    with other random numbers for generators, synthesized faces and classifiers, those of real faces alone among them.
    Raises LsslError before work starts if the data or the settings do not fit.
    """
    sources, mend = list(dict.fromkeys(sources)), mend or Mend()
    check_counts(counts, ratios)
    for source in sources:
        if unknown := [word for word in source.split("+") if word not in UNTRAINED]:
            raise LsslError(f"--with {source} beside --method: '{unknown[0]}' is none of {', '.join(UNTRAINED)}")
    further: dict[str, Any] = {"repeats": repeats, "mend": asdict(mend), "counts": sorted(set(counts))}
    further |= {name: list(values) for name, values in (("ratios", ratios), ("sources", sources)) if values}
    experiment = open_comparison(
        "augmentation",
        settings,
        contenders,
        out,
        seeds,
        overwrite,
        check=check_sources(sources, settings.training),
        **further,
    )
    counts = choose_counts(experiment, counts, ratios)

    def judged(maker: TrainedGenerator | Synthesizer, fold: Fold, seed: int, parts: Path) -> dict[str, Any]:
        alone = experiment.state.folder(f"fold-{fold.number:02d}") / f"real-seed-{seed}"
        return augmentation_fold(
            experiment.with_seed(seed), fold, maker, counts, repeats, parts, real_out=alone, mend=mend
        )

    results = _run_sources(experiment, sources, seeds, judged)
    results = run_contenders(experiment, contenders, seeds, judged) | results
    report = begin_report("Augmentation", experiment, command, contenders)
    report.conclusions = conclusions(results, counts[-1])
    for sentence in report.conclusions:
        report.paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
    report.table(augmented_table(results, counts, repeats))
    report.table(differences_table(results, counts[-1]))
    report.plot(curve(results, counts), "Fig. 8: more synthesized faces. The band is one standard deviation.")
    report.table(same_table(experiment, contenders, results))
    report.heading("Synthesized training faces")
    for name in results:
        with Image.open(experiment.state.root / part_name(experiment.folds[0], name, 0) / "sheet.png") as sheet:
            report.image(np.asarray(sheet.convert("RGB")), f"{name}; one column per class that they are labelled with.")
    finish_report(report, experiment, results, out)
    return report


def _run_sources(
    experiment: Experiment,
    sources: Sequence[str],
    seeds: int,
    judged: Callable[[Synthesizer, Fold, int, Path], dict[str, Any]],
) -> Results:
    """As `run_contenders`, for what needs no training."""
    results: Results = {source: [] for source in sources}
    for seed in range(seeds):
        for fold in experiment.folds:
            for source in sources:
                name = part_name(fold, source, seed)

                def make(fold: Fold = fold, seed: int = seed, source: str = source, name: str = name) -> dict[str, Any]:
                    found = judged(open_synthesizer(source), fold, seed, experiment.state.folder(name))
                    return {**found, "fold": fold.number, "seed": seed}

                results[source].append(experiment.state.part(name, make))
    return results


def augmented_table(results: Results, counts: Sequence[int], repeats: int) -> Table:
    """Table 1: accuracy on unseen people of a classifier trained on real and each method's faces; the paper's figures next
    to it."""
    title, paper = published("augmentation")
    some = next(iter(results.values()))
    alone = over_runs([mean_accuracy(r["real"]) for r in some])
    rows: list[list[Any]] = [["real faces alone", *[alone] * len(counts), None, None, None]]
    for name, found in results.items():
        largest = str(counts[-1])
        gains = [mean_accuracy(r["synthetic"][largest]) - mean_accuracy(r["real"]) for r in found]
        values = [over_runs([mean_accuracy(r["synthetic"][str(count)]) for r in found]) for count in counts]
        interval = f"{gain_interval(found, largest)[1]:.1f}"
        rows.append([name, *values, over_runs(gains), interval, paper.get(IN_THE_PAPER.get(name, ""))])
    note = (
        f"Percent of real faces of unseen people recognised by classifiers trained on real and so many synthesized faces per class, "
        f"all with {some[0]['iterations']} iterations{f'; {repeats} of each are averaged' if repeats > 1 else ''}. Gain: of the "
        "largest number over real faces alone; its interval: 95%, over random draws of the tested people. Mean and standard "
        f"deviation over folds and seeds. {title}: the paper's own figures, for other faces."
    )
    per_class = [f"{count} per class" for count in counts]
    header = ["trained on real and", *per_class, "gain", "gain's interval, +-", title]
    return Table("Classifiers trained with synthesized faces", header, rows, note)


def differences_table(results: Results, count: int) -> Table:
    """How many points each row's faces give more than each column's, with the interval."""
    rows: list[list[Any]] = []
    for name, found in results.items():
        row: list[Any] = [name]
        for other, compared in results.items():
            row.append(None if name == other else difference(found, compared, count))
        rows.append(row)
    note = f"Points of accuracy that the row's faces give more than the column's, {count} per class, with the 95% interval."
    return Table("Compared with each other", ["", *results], rows, note)

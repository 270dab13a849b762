"""`lssl evaluate domain-adaptation`: fold by fold, then the table and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data import FaceFolder, read_metadata
from lssl.data.fingerprint import file_fingerprint
from lssl.data.folder import METADATA, check_images
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation_report import gain_interval, mean_accuracy
from lssl.evaluation.experiments.domain_adaptation import (
    SIMULATED,
    adaptation_fold,
    arms,
    open_simulated,
    refiner_config,
    write_simulated,
)
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    generator_budget,
    open_experiment,
    over_folds,
)
from lssl.evaluation.experiments.moved_people import MOVED, check_moved, write_moved
from lssl.evaluation.figures import confusion_figure
from lssl.evaluation.report import Report, Table
from lssl.inference.model_edit import ModelEditor


def evaluate_domain_adaptation(
    settings: Settings,
    out: Path,
    command: str,
    *,
    simulated: Path | str | None = None,
    face_model: str = "ict",
    people: int = 100,
    refiners: Sequence[str] = ("lssl",),
    few: Sequence[int] = (5,),
    repeats: int = 1,
    overwrite: bool = False,
) -> Report:
    """Runs (or resumes) the experiment and writes report.html, results.json and results.csv to `out`.

    Args:
        settings: `data` holds the real faces, `training` the refiners' settings.
        simulated: a data set folder of simulated faces with the real ones' classes, or `MOVED`: in each fold, the neutral
            photographs of its training people, moved by the 3D edit. Without it `people` people of `face_model` are drawn
            into the state first.
        refiners: names of `REFINERS`.
        few: for each number n, classifiers that also see the real faces of n training people.
        repeats: classifiers per arm, with different seeds, whose accuracies are averaged in each fold.

    Raises LsslError before work starts.
    """
    few, refiners = sorted(set(few)), list(dict.fromkeys(refiners))
    for refiner in refiners:
        refiner_config(settings.training, refiner, Path())
    source: dict[str, Any] = {"face_model": face_model, "people": people}
    if simulated is not None:
        source = {"simulated": MOVED if simulated == MOVED else file_fingerprint(Path(simulated) / METADATA)}
    further = {**source, "refiners": refiners, "few": few, "repeats": repeats}
    experiment = open_experiment("domain-adaptation", settings, out, overwrite=overwrite, **further)
    least = min(len(fold.train) for fold in experiment.folds)
    if few and few[-1] >= least:
        raise LsslError(f"--few {few[-1]}: a fold has only {least} training people; give fewer")
    if simulated == MOVED:
        faces = _moved_people(experiment)
    else:
        size = check_images(experiment.folder)[0]
        root = out / "state" / SIMULATED if simulated is None else Path(simulated)
        if simulated is None:
            write_simulated(root, experiment.group, size, model=face_model, people=people, seed=settings.seed)
        faces = [open_simulated(root, experiment.folder, experiment.group)] * len(experiment.folds)
    results = [
        adaptation_fold(experiment, fold, made, refiners, few, repeats)
        for fold, made in zip(experiment.folds, faces, strict=True)
    ]
    report = _report(experiment, faces[0], results, refiners, few, repeats, command)
    report.write(out)
    return report


def _moved_people(experiment: Experiment) -> list[FaceFolder]:
    """Each fold's training people, moved to every class from their neutral photographs."""
    editor = ModelEditor.load()
    check_moved(editor, experiment.folder, experiment.group)
    made = []
    for fold in experiment.folds:
        out = experiment.state.folder(f"fold-{fold.number:02d}") / SIMULATED
        people = experiment.train_rows(fold)
        made.append(write_moved(editor, people, experiment.group, out, seed=experiment.settings.seed))
    return made


def adaptation_table(
    simulated: FaceFolder,
    results: Sequence[dict[str, Any]],
    refiners: Sequence[str],
    few: Sequence[int],
    repeats: int,
) -> Table:
    """One row per arm: accuracy on unseen real faces, gain over unrefined simulated faces with as many real people."""
    rows: list[list[Any]] = []
    for arm in arms(refiners, few):
        values = over_folds([mean_accuracy(result["matrices"][arm.key]) for result in results])
        gain = interval = None
        if arm.base in refiners:
            before = f"{SIMULATED}-{arm.people}" if arm.people else SIMULATED
            change, half = gain_interval(results, arm.key, before)
            gain, interval = f"{change:+.2f}", f"{half:.1f}"
        kept = None
        if not arm.people and arm.base in (SIMULATED, *refiners):
            kept = over_folds([result["kept"][arm.base] for result in results])
        rows.append([arm.name, values, gain, interval, kept])
    note = (
        f"Percent of unseen people's real faces that are recognised. {len(simulated)} simulated faces of "
        f"{len(set(simulated.subjects))} people; all classifiers were trained for {results[0]['iterations']} iterations"
        + (f", {repeats} of each are averaged" if repeats > 1 else "")
        + ("; mean and standard deviation over the folds" if len(results) > 1 else "")
        + ". Gain: over unrefined simulated faces with as many real people; its interval: 95%, over random draws of the "
        "tested people. Labels kept: faces that a classifier trained on the simulated ones still recognises as their class."
    )
    header = ["trained on", "accuracy", "gain", "gain's interval, +-", "labels kept"]
    return Table("Simulated faces teach a classifier of real ones", header, rows, note, best=["accuracy"])


def conclusion(refiner: str, results: Sequence[dict[str, Any]], people: int = 0) -> str:
    """Whether making the simulated faces real helps, in a sentence."""
    suffix = f"-{people}" if people else ""
    gain, half = gain_interval(results, f"{refiner}{suffix}", f"{SIMULATED}{suffix}")
    beside = f", together with real faces of {people} people" if people else ""
    if abs(gain) <= half:
        return f"made real by {refiner}, simulated faces make no significant difference: {gain:+.1f} +- {half:.1f} points{beside}"
    word = "help" if gain > 0 else "harm"
    return f"made real by {refiner}, simulated faces {word} by {abs(gain):.1f} +- {half:.1f} points{beside}"


def _sheet(experiment: Experiment, simulated: FaceFolder, refiners: Sequence[str]) -> NDArray[np.uint8]:
    """From above: simulated faces, the same refined in the first fold, real training faces; left to right by class."""
    group, part = experiment.group, experiment.state.root / "fold-00"
    per_class = max(1, 16 // len(group.values)) if len(group.values) < 16 else 1
    rows = [row for value in group.values for row in simulated.rows_where(**{group.name: value})[:per_class]]
    lines = [[read_image(simulated.image_path(row)) for row in rows]]
    for refiner in refiners:
        made = read_metadata(part / f"{refiner}-faces")
        lines.append([read_image(made.image_path(row)) for row in rows])
    real = experiment.train_rows(experiment.folds[0])
    few = [row for value in group.values for row in real.rows_where(**{group.name: value})[:per_class]]
    lines.append([read_image(real.image_path(row)) for row in few])
    width = min(map(len, lines))
    return np.concatenate([np.concatenate(line[:width], 1) for line in lines])


def _report(
    experiment: Experiment,
    simulated: FaceFolder,
    results: list[dict[str, Any]],
    refiners: Sequence[str],
    few: Sequence[int],
    repeats: int,
    command: str,
) -> Report:
    settings = experiment.settings
    report = Report(f"Domain adaptation: {experiment.folder.root.name}", command, settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.conclusions = [conclusion(refiner, results, people) for refiner in refiners for people in (0, *few)]
    for sentence in report.conclusions:
        report.paragraph(f"{sentence[0].upper()}{sentence[1:]}.")
    report.paragraph(experiment.describe())
    report.paragraph(
        "In each fold a refiner learns to make simulated faces look like the real faces of the training people, whose labels "
        "it does not see; the labels are those that the simulated faces were drawn with. No trained part sees anybody who is "
        f"tested. A refiner is trained for {generator_budget(settings)}."
    )
    report.table(adaptation_table(simulated, results, refiners, few, repeats))
    report.heading("Faces")
    shown = ", ".join(
        ["simulated", *(f"made real by {name}" for name in refiners), "real faces of the training people"]
    )
    report.image(_sheet(experiment, simulated, refiners), f"First fold; from above: {shown}. Left to right by class.")
    report.heading("Confusion")
    for arm in arms(refiners, ()):
        total = np.sum([matrix for result in results for matrix in result["matrices"][arm.key]], axis=0)
        report.plot(
            confusion_figure(total, experiment.group.values), f"Trained on {arm.name}, in percent of each true class."
        )
    experiment.record(report, fold_results=results, conclusions=report.conclusions)
    return report

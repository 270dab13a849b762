"""A run's own last page: what it learnt, class by class, on people that it never saw."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.data import FaceFolder, read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments.portraits import gather_portraits, photographs_of
from lssl.evaluation.experiments.portraits_report import add_sheets, measure_portraits, portrait_tables, save_sheets
from lssl.evaluation.report import Report, Table
from lssl.models.export import TrainedGenerator, load_generator

LEARNT = "What was learnt"  #: title of the table that says it
# The bars of the two-sample test and of the judges: between what a photograph passes and what a smudge does.
TOLD_APART, ALIKE = 0.9, 0.75
RECOGNISED = 70.0
MOVES = (0.7, 1.4)


def judge_run(run: Path, folder: str | Path, *, command: str = "", seed: int = 0) -> list[str]:
    """Writes the last page of a run that has ended, and says in lines what was learnt, class by class.

    run: a run folder with its generator.safetensors. folder: the data set that it was trained on.
    Nothing that stands in the way of judging is an error: the run is done. It is said instead.
    """
    try:
        model = load_generator(run)
        if model.task != "attribute-synthesis":
            return []
        data = read_metadata(folder, attributes=tuple(group.name for group in model.schema.groups))
        report = write_run_report(run, model, data, command=command, seed=seed)
    except (LsslError, ValueError, OSError) as error:
        return [f"Not judged: {error}"]
    rows = next(table for table in report.tables if table.title == LEARNT).rows
    width = max(len(str(row[0])) for row in rows)
    people = report.results["portraits"]["people"]
    return [
        f"On {people} people who were not trained on (more in {run / 'report.html'}):",
        *(f"  {row[0]:<{width}}  {row[1]}" for row in rows),
    ]


def write_run_report(
    run: Path,
    model: TrainedGenerator,
    folder: FaceFolder,
    *,
    attribute: str = "",
    command: str = "",
    seed: int = 0,
) -> Report:
    """Judges the generator on the folder's test people and writes report.html, results.json and results.csv into `run`.

    Args:
        run: the run folder; its sheets go into `run/judged`.
        folder: the whole data set folder, with landmarks, both splits.
        attribute: what to change; the model's first if empty.
        command: the command line that made the run.

    Raises LsslError where the folder has no landmarks or no test people, or does not fit the model.
    """
    attribute = attribute or model.schema.groups[0].name
    report = Report(f"What {run.name} learnt", command or f"lssl train --out {run}", seed)
    tested = sorted({subject for subject, split in zip(folder.subjects, folder.splits, strict=True) if split == "test"})
    judged = gather_portraits(model, folder, attribute, tested, seed=seed)
    figures = measure_portraits(judged, seed=seed)
    sheets = run / "judged"
    sheets.mkdir(parents=True, exist_ok=True)
    save_sheets(judged, sheets)
    where = f"pictures of {figures['size']} pixels"
    if photographs_of(folder):
        where = f"in their whole photographs, {figures['size']} pixels"
    elif "source_file" in folder.columns:
        where += f" (their photographs are not where {folder.root}/dataset.json says)"
    report.paragraph(
        f"{figures['people']} people who were not trained on, one picture each, to every other {attribute}; {where}."
    )
    report.table(learnt_table(figures))
    for table in portrait_tables([figures]):
        report.table(table)
    add_sheets(report, sheets)
    _add_training(report, run)
    report.results["portraits"] = figures
    report.write(run)
    return report


def _add_training(report: Report, run: Path) -> None:
    """The run's curves and its last samples, where they are."""
    report.heading("How it was trained")
    samples = sorted((run / "samples").glob("iteration_*.png"))
    for path, caption in (
        (run / "losses.png", "The losses over the iterations."),
        *((path, "The last samples: unseen people, and what is made of them.") for path in samples[-1:]),
    ):
        if path.is_file():
            with Image.open(path) as picture:
                report.image(np.asarray(picture.convert("RGB")), caption)


def learnt_table(figures: dict[str, Any]) -> Table:
    """A row a class: by the mouths' two-sample test, the judges and the movement, in words."""
    labels = list(dict.fromkeys(name for judge in figures["judges"] for name in judge["by_class"]))
    rows: list[list[Any]] = []
    for label in labels:
        areas = {e["region"]: e["area"] for e in figures["two_sample"] if e["label"] == label}
        ratios = {e["part"]: e["ratio"] for e in figures["movement"] if e["label"] == label}
        seen = min(judge["by_class"][label] for judge in figures["judges"])
        best = max(judge["by_class"][label] for judge in figures["judges"])
        area = areas.get("mouth")
        rows.append([label, verdict(area, seen, best, ratios), area, seen, best])
    note = (
        f"Learnt: recognised by every judge (by {RECOGNISED:g}% or more), and mouths that a fresh classifier hardly tells from "
        f"real ones (area of {ALIKE} or less). Painted: judges of small pictures see it, those of large ones do not."
    )
    return Table(LEARNT, ["class", "verdict", "two-sample, mouth", "worst judge", "best judge"], rows, note)


def verdict(area: float | None, worst: float, best: float, ratios: dict[str, float | None]) -> str:
    """In words, what one class's figures say: percents of the worst and the best judge, movement ratios by part."""
    if best < RECOGNISED:
        return "not learnt: no judge recognises it"
    if worst < RECOGNISED:
        return "painted: not every judge recognises it"
    if area is not None and area > TOLD_APART:
        return "recognised, and told from real pictures at once"
    far = [part for part, ratio in ratios.items() if ratio is not None and not MOVES[0] <= ratio <= MOVES[1]]
    if area is not None and area > ALIKE:
        return "nearly: recognised, but told from real pictures" + (f"; moves amiss: {', '.join(far)}" if far else "")
    return "learnt" + (f"; moves amiss: {', '.join(far)}" if far else "")

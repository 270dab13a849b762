"""The report at the end of a training run: what was learnt, class by class, tested on people that it never saw."""

from collections.abc import Sequence
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

LEARNT = "What was learnt"  #: title of the table that says so
# Thresholds of the two-sample test, of the judges and of movement ratios, which photographs pass and smudges do not.
TOLD_APART, ALIKE = 0.9, 0.75
RECOGNISED, HALF = 70.0, 50.0
MOVES = (0.7, 1.4)


def judge_run(run: Path, folder: str | Path, *, command: str = "", seed: int = 0) -> list[str]:
    """Writes the report of a run that has ended; returns lines that say what was learnt, class by class.

    run: a run folder with its generator.safetensors. folder: the data set that it was trained on.
    Raises nothing if the run cannot be judged, since the training itself is complete; the lines then say why.
    """
    try:
        model = load_generator(run)
        if model.task != "attribute-synthesis":
            return []
        data = read_metadata(folder, attributes=tuple(group.name for group in model.schema.groups))
        report = write_run_report(run, model, data, command=command, seed=seed)
    except (LsslError, ValueError, OSError) as error:
        return [f"The run could not be judged: {error}"]
    rows = next(table for table in report.tables if table.title == LEARNT).rows
    width = max(len(str(row[0])) for row in rows)
    people = report.results["portraits"]["people"]
    return [
        f"On {people} people not seen in training (more in {run / 'report.html'}):",
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

    Raises LsslError if the folder has no landmarks or no test people, or does not fit the model.
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
        f"{figures['people']} people not seen in training, one picture each, changed to every other {attribute}; {where}."
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
    """Adds the run's loss curves and its last samples, if they are there."""
    report.heading("How it was trained")
    samples = sorted((run / "samples").glob("iteration_*.png"))
    for path, caption in (
        (run / "losses.png", "The losses over the iterations."),
        *((path, "The last samples: unseen people, and what the generator makes of them.") for path in samples[-1:]),
    ):
        if path.is_file():
            with Image.open(path) as picture:
                report.image(np.asarray(picture.convert("RGB")), caption)


def learnt_table(figures: dict[str, Any]) -> Table:
    """One row per class: a verdict in words, from the mouths' two-sample test, the judges and the movement."""
    labels = list(dict.fromkeys(name for judge in figures["judges"] for name in judge["by_class"]))
    rows: list[list[Any]] = []
    for label in labels:
        areas = {e["region"]: e["area"] for e in figures["two_sample"] if e["label"] == label}
        ratios = {e["part"]: e["ratio"] for e in figures["movement"] if e["label"] == label}
        seen = [(judge["by_class"][label], judge["real_by_class"][label]) for judge in figures["judges"]]
        area = areas.get("mouth")
        rows.append([label, verdict(area, seen, ratios), area, *_worst(seen), *_best(seen)])
    note = (
        f"Learnt: {RECOGNISED:g}% or more recognised by every judge, or as many as of real pictures of the class if these are "
        f"fewer ({HALF:g}% at least), and mouths that a fresh classifier can hardly tell from real ones (area of {ALIKE} or "
        "less). Painted: recognised by some judges, but not by all."
    )
    header = [
        "class",
        "verdict",
        "two-sample, mouth",
        "worst judge",
        "worst judge, real",
        "best judge",
        "best judge, real",
    ]
    return Table(LEARNT, header, rows, note)


def verdict(area: float | None, seen: Sequence[tuple[float, float]], ratios: dict[str, float | None]) -> str:
    """What one class's figures mean, in words.

    area: of the mouths' two-sample test, 0.5 to 1. seen: percent of made and of real pictures of the class that each judge
    recognises. ratios: made over real movement, by part; None: unknown.
    """
    best, real = _best(seen)
    if max(best, real) < HALF:
        return f"unknown: the judges do not recognise real ones either ({real:.0f}%)"
    if best < HALF:
        return "not learnt: no judge recognises it"
    if _missing((best, real)) > 0:
        return f"half learnt: recognised in {best:.0f}% by the best judge (real ones {real:.0f}%)"
    if _missing(_worst(seen)) > 0:
        return "painted: not every judge recognises it"
    if area is not None and area > TOLD_APART:
        return "recognised, but easily told from real pictures"
    far = [part for part, ratio in ratios.items() if ratio is not None and not MOVES[0] <= ratio <= MOVES[1]]
    if area is not None and area > ALIKE:
        amiss = f"; moves wrongly: {', '.join(far)}" if far else ""
        return f"nearly learnt: recognised, but can be told from real pictures{amiss}"
    return "learnt" + (f"; moves wrongly: {', '.join(far)}" if far else "")


def _missing(seen: tuple[float, float]) -> float:
    """How many percent of the made pictures a judge ought to recognise and does not; 0 or less: it recognises enough."""
    made, real = seen
    return min(RECOGNISED, max(HALF, real)) - made


def _worst(seen: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the judge that misses most, percent of made and of real pictures."""
    return max(seen, key=_missing)


def _best(seen: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the judge that misses least, percent of made and of real pictures."""
    return min(seen, key=_missing)

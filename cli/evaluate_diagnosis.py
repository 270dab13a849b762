"""`lssl evaluate diagnosis`."""

from pathlib import Path
from typing import Any

import click

from .evaluate_options import (
    command_line,
    experiment_options,
    make_settings,
    people_option,
    print_report,
    repeats_option,
)

#: Keys of `lssl.evaluation.experiments.diagnosis.ARMS`, without those that are always measured.
REMEDIES = ("only-right", "oracle", "teacher", "morphs", "last", "quarter", "mixup", "smoothing", "still")


@click.command()
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Synthesized faces per class.")
@people_option(15)
@repeats_option
@click.option(
    "--with",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="What makes the faces, as in lssl evaluate augmentation; repeatable.  [default: generator]",
)
@click.option(
    "--remedy",
    "remedies",
    multiple=True,
    type=click.Choice([*REMEDIES, "none"]),
    metavar="REMEDY",
    help=f"What to try, with a classifier each: {', '.join(REMEDIES)}; repeatable; none: nothing.  [default: all]",
)
@experiment_options("standard", "few", "quick", "paper")
def command(
    count: int,
    real_subjects: int,
    repeats: int,
    sources: tuple[str, ...],
    remedies: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Why do synthesized faces help a classifier, or harm it? One figure and one page say so.

    \b
    lssl evaluate diagnosis --data faces/
    lssl evaluate diagnosis --data faces/ --with generator --with morph --folds 2
    lssl evaluate diagnosis --data london/ --with morph --remedy oracle

    An independent judge, a classifier trained on everybody except the people learnt from, says which labels are wrong,
    class by class, and how far the faces are from real ones. One classifier learns from synthesized faces only and is
    tested on real ones; one of real faces is tested on synthesized ones. Then the remedies: wrong faces are dropped by
    the judge (only-right and oracle: upper bounds, since it has seen the tested people) or by a classifier of the training
    faces, alone (teacher) or with mixtures of them (morphs); real faces come last (last); a quarter is synthesized
    (quarter); and, without synthesized faces, mixup, label smoothing, and faces that are not moved and relit (still),
    as they are everywhere else. All are tested on other people's real faces.
    """
    from lssl.evaluation.experiments.diagnosis import ALWAYS
    from lssl.evaluation.experiments.diagnosis_report import evaluate_diagnosis

    out = out or Path("runs") / f"diagnosis-{options['data'].name}"
    settings = make_settings(default_folds=5, real_subjects=real_subjects, **options)
    report = evaluate_diagnosis(
        settings,
        out,
        command_line(),
        per_class=count,
        repeats=repeats,
        sources=sources or ("generator",),
        arms=(*ALWAYS, *(name for name in remedies or REMEDIES if name != "none")),
        overwrite=overwrite,
    )
    print_report(report, out)

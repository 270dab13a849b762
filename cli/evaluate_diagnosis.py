"""`lssl evaluate diagnosis`."""

from pathlib import Path
from typing import Any

import click

from .evaluate_options import command_line, experiment_options, make_settings, print_report

#: Keys of `lssl.evaluation.experiments.diagnosis.ARMS`, beside those that are always measured.
REMEDIES = ("only-right", "oracle", "teacher", "last", "quarter", "mixup", "smoothing")


@click.command()
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Synthesized faces a class.")
@click.option(
    "--real-subjects", type=click.IntRange(0), default=15, show_default=True, help="People; 0: all of a fold."
)
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True, help="Classifiers a row, averaged.")
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
    help="What is tried, a classifier each; repeatable; none: nothing.  [default: all]",
)
@experiment_options("standard", "quick", "paper")
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
    """Why do synthesized faces help a classifier, or harm it? One figure, one page.

    \b
    lssl evaluate diagnosis --data faces/
    lssl evaluate diagnosis --data faces/ --with generator --with morph --with 3d --folds 2
    lssl evaluate diagnosis --data london/ --with morph --remedy oracle --remedy mixup

    An independent judge, a classifier of everybody but the people learnt from, says whose labels are wrong, class by class,
    and how far the faces are from real ones. Classifiers learn from synthesized faces alone and are tested on real ones;
    one of real faces is tested on synthesized ones. Then each remedy: wrong faces dropped by the judge (only-right,
    oracle: a bound, for it knows the tested people) or by a classifier of the training faces (teacher), real faces last,
    a quarter synthesized, and, without any, mixup and smoother labels. All are tested on other people's real faces.
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

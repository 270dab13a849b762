"""`lssl evaluate ablation`."""

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


@click.command()
@click.option("--per-class", type=click.IntRange(1), help="Synthesized faces per class.  [default: 1000; quick: 100]")
@people_option()
@repeats_option
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings of each variant in each fold. Asked for more, the same command adds those that are missing.",
)
@experiment_options("standard", "quick", "paper")
def command(
    per_class: int | None,
    real_subjects: int,
    repeats: int,
    seeds: int,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Tables 1 and 2 for generators without side image, without bidirectional loss, without parsing loss.

    \b
    lssl evaluate ablation --data faces/ --quick
    lssl evaluate ablation --data london/ --folds 3 --per-class 500 --repeats 3
    lssl evaluate ablation --data faces/ --folds 3 --real-subjects 15 --seeds 2

    In each fold, a generator of every variant is trained on the training people and measured twice: are its
    translations of unseen faces recognised (transfer), and does a classifier learn from its faces (augmentation)?
    The full variant has all parts, even one that the preset leaves out; results.json lists its settings.
    """
    from lssl.evaluation.experiments.ablation import evaluate_ablation

    out = out or Path("runs") / f"ablation-{options['data'].name}"
    settings = make_settings(default_folds=3, quick_folds=1, real_subjects=real_subjects, **options)
    report = evaluate_ablation(
        settings,
        out,
        command_line(),
        per_class=per_class or (100 if options["quick"] else 1000),
        repeats=repeats,
        seeds=seeds,
        overwrite=overwrite,
    )
    print_report(report, out)

"""`lssl evaluate augmentation`."""

from pathlib import Path
from typing import Any

import click

from .evaluate_options import (
    command_line,
    experiment_options,
    make_contenders,
    make_settings,
    method_options,
    print_report,
)

QUICK_COUNTS = (50, 200)


def _counts(_context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise click.BadParameter(f"expected numbers with commas between them, got {text!r}", param=parameter) from None


@click.command()
@click.option(
    "--counts", callback=_counts, help="Synthesized faces a class, with commas.  [default: 500,1000,2000,5000,10000]"
)
@click.option(
    "--real-subjects", type=click.IntRange(0), default=0, help="Train on so many people of each fold.  [default: all]"
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Classifiers a point, seeds apart, averaged.",
)
@method_options
@experiment_options("standard", "quick", "paper")
def command(
    counts: tuple[int, ...] | None,
    real_subjects: int,
    repeats: int,
    methods: tuple[str, ...],
    seeds: int | None,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Table 1, Fig. 8: does a classifier of real people learn more from synthesized faces?

    \b
    lssl evaluate augmentation --data faces/ --quick
    lssl evaluate augmentation --data london/ --folds 4 --counts 200,500,1000 --repeats 3
    lssl evaluate augmentation --data london/ --real-subjects 10 --counts 500
    lssl evaluate augmentation --data oulu/ --folds 10 --preset paper --architecture vgg16 --weights vgg_face.pth
    lssl evaluate augmentation --data london/ --method standard --method stargan-small --counts 500

    In each fold a generator is trained on the training people alone, faces are synthesized from theirs, and a
    classifier is trained on real and synthesized faces together, for as many iterations as the one that has real faces
    alone. Half of each batch is synthesized. All are tested on real faces of the other people.

    With --method a row a method, trained on the same folds, beside what was the same for all and the paper's own figures.
    """
    from lssl.evaluation.experiments.augmentation_report import PAPER_COUNTS, evaluate_augmentation

    few = f"-{real_subjects}-people" if real_subjects else ""
    out = out or Path("runs") / f"augmentation-{options['data'].name}{few}{'-methods' if methods else ''}"
    counts = counts or (QUICK_COUNTS if options["quick"] else PAPER_COUNTS)
    if methods:
        from lssl.evaluation.experiments.comparison import compare_augmentation

        options.update(default_folds=5, real_subjects=real_subjects)
        settings, contenders, times = make_contenders(methods, seeds, options)
        report = compare_augmentation(
            settings, contenders, out, command_line(), counts=counts, repeats=repeats, seeds=times, overwrite=overwrite
        )
        print_report(report, out)
        return
    settings = make_settings(default_folds=5, real_subjects=real_subjects, **options)
    report = evaluate_augmentation(settings, out, command_line(), counts=counts, repeats=repeats, overwrite=overwrite)
    print_report(report, out)

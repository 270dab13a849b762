"""`lssl evaluate augmentation`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .evaluate_options import (
    command_line,
    experiment_options,
    make_contenders,
    make_settings,
    method_options,
    print_report,
)

if TYPE_CHECKING:
    from lssl.evaluation.experiments.experiment import Settings

QUICK_COUNTS = (50, 200)


def numbers(_context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Several whole numbers with commas between them."""
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise click.BadParameter(f"expected numbers with commas between them, got {text!r}", param=parameter) from None


@click.command()
@click.option(
    "--counts", callback=numbers, help="Synthesized faces a class, with commas.  [default: 500,1000,2000,5000,10000]"
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
@click.option(
    "--with",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="What makes the faces, a row each: generator (trained on the fold's people), morph (two people who show the same, "
    "mixed: new people), 3d (the 3D edit, as the fold's people move), or several by turns, as generator+morph. Repeatable.  "
    "[default: generator and, where the folder has landmarks, morph]",
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Keep synthesized faces whose class a classifier of the fold's real training faces gives at least this; 0: all.",
)
@click.option(
    "--intensity",
    nargs=2,
    type=click.FloatRange(0, 1.5),
    default=(0.8, 1.2),
    show_default=True,
    help="Range from which each face's strength is drawn.",
)
@click.option(
    "--synthetic-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Of each batch of a classifier.",
)
@click.option(
    "--real-last",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the iterations, the last ones, with real faces alone.",
)
@method_options
@experiment_options("standard", "quick", "paper")
def command(
    counts: tuple[int, ...] | None,
    real_subjects: int,
    repeats: int,
    sources: tuple[str, ...],
    agreement: float,
    intensity: tuple[float, float],
    synthetic_share: float,
    real_last: float,
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
    lssl evaluate augmentation --data faces/ --real-subjects 15 --with morph --counts 400    minutes: trains no generator
    lssl evaluate augmentation --data faces/ --with generator+morph --agreement 0.5 --real-last 0.3
    lssl evaluate augmentation --data oulu/ --folds 10 --preset paper --architecture vgg16 --weights vgg_face.pth
    lssl evaluate augmentation --data london/ --method standard --method stargan-small --counts 500

    In each fold faces are synthesized from those of the training people, by a generator that is trained on them alone or
    by what needs no training, and a classifier is trained on real and synthesized faces together, for as many iterations as
    the one that has real faces alone. All are tested on real faces of the other people. It ends with whether they help.

    With --method a row a method, trained on the same folds, beside what was the same for all and the paper's own figures.
    """
    from dataclasses import replace

    from lssl.evaluation.experiments.augmentation import Mend
    from lssl.evaluation.experiments.augmentation_report import PAPER_COUNTS, evaluate_augmentation

    if intensity[0] > intensity[1]:
        raise click.BadParameter("give the lower end first", param_hint="--intensity")
    mend = Mend(agreement, intensity)

    def shared(settings: "Settings") -> "Settings":
        return replace(settings, judge=replace(settings.judge, synthetic_share=synthetic_share, real_last=real_last))

    few = f"-{real_subjects}-people" if real_subjects else ""
    out = out or Path("runs") / f"augmentation-{options['data'].name}{few}{'-methods' if methods else ''}"
    counts = counts or (QUICK_COUNTS if options["quick"] else PAPER_COUNTS)
    if methods:
        from lssl.evaluation.experiments.comparison import compare_augmentation

        options.update(default_folds=5, real_subjects=real_subjects)
        if sources:
            raise click.UsageError("--method compares trained generators; leave --with out, or --method")
        settings, contenders, times = make_contenders(methods, seeds, options)
        settings = shared(settings)
        report = compare_augmentation(
            settings,
            contenders,
            out,
            command_line(),
            counts=counts,
            repeats=repeats,
            seeds=times,
            mend=mend,
            overwrite=overwrite,
        )
        print_report(report, out)
        return
    settings = make_settings(default_folds=5, real_subjects=real_subjects, **options)
    settings = shared(settings)
    if not sources:
        known = (settings.data / "landmarks.npy").is_file()
        sources = ("generator", "morph") if known else ("generator",)
    report = evaluate_augmentation(
        settings,
        out,
        command_line(),
        counts=counts,
        repeats=repeats,
        sources=sources,
        mend=mend,
        overwrite=overwrite,
    )
    print_report(report, out)

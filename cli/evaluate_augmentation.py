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
    """Parses whole numbers separated by commas."""
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise click.BadParameter(f"expected numbers separated by commas, got {text!r}", param=parameter) from None


@click.command()
@click.option(
    "--counts",
    callback=numbers,
    help="Synthesized faces per class, separated by commas.  [default: 500,1000,2000,5000,10000]",
)
@click.option(
    "--real-subjects", type=click.IntRange(0), default=0, help="Train on this many people per fold.  [default: all]"
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Classifiers per number of faces, with different seeds, averaged.",
)
@click.option(
    "--with",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="What makes the faces, one row each: generator (trained on the fold's people), morph (new people, mixed of two with "
    "the same label), 3d (the 3D edit, the way that the fold's people move), or several in equal parts, such as "
    "generator+morph. Repeatable.  [default: generator and, if the folder has landmarks, morph]",
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Keep only synthesized faces whose class gets at least this probability from a classifier of the fold's real "
    "training faces; 0: all.",
)
@click.option(
    "--intensity",
    nargs=2,
    type=click.FloatRange(0, 1.5),
    default=(0.8, 1.2),
    show_default=True,
    help="Range from which each face's strength is drawn; 1 is the full change.",
)
@click.option(
    "--synthetic-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of each training batch of a classifier that is synthesized.",
)
@click.option(
    "--real-last",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the iterations, the last ones, with real faces only.",
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
    lssl evaluate augmentation --data london/ --folds 4 --counts 200,500,1000
    lssl evaluate augmentation --data london/ --real-subjects 10 --counts 500
    lssl evaluate augmentation --data faces/ --with morph    minutes: no generator
    lssl evaluate augmentation --data faces/ --with generator --agreement 0.5
    lssl evaluate augmentation --data oulu/ --folds 10 --preset paper \\
        --architecture vgg16 --weights vgg_face.pth
    lssl evaluate augmentation --data london/ --method standard \\
        --method stargan-small --counts 500

    In each fold, faces are synthesized from those of the training people, by a generator that is trained only on these or
    by something that needs no training. One classifier is trained on real and synthesized faces together, another on real
    faces only, for the same number of iterations. All are tested on real faces of the other people. The output ends with
    whether synthesized faces help.

    With --method, the table has a row per method, each trained on the same folds; a second table lists what was the same
    for all, and a column the paper's own figures.
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
            raise click.UsageError("--method compares trained generators: give either --with or --method")
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

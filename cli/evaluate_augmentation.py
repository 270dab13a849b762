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
    people_option,
    prepare_plain,
    print_report,
    repeats_option,
)
from .values import intensity_range_option, numbers_of

if TYPE_CHECKING:
    from lssl.evaluation.experiments.experiment import Settings

#: Synthesized faces as multiples of the real training faces, where neither --counts nor --ratios are given.
DEFAULT_RATIOS = (10.0,)
QUICK_COUNTS = (50, 200)


def shares(_context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Parses numbers separated by commas; a trailing x is allowed."""
    try:
        return tuple(float(word.strip().rstrip("x")) for word in (text or "").split(",") if word.strip())
    except ValueError:
        raise click.BadParameter(f"expected numbers separated by commas, got {text!r}", param=parameter) from None


@click.command()
@click.option("--counts", callback=numbers_of(int), help="Synthesized faces per class, separated by commas.")
@click.option(
    "--ratios",
    callback=shares,
    help="The same as multiples of the real training faces, such as 0.5,1,2,5,10,30.  [default: 10]",
)
@people_option()
@repeats_option
@click.option(
    "--with",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="What makes the faces, one row each: generator (trained on the fold's people), morph (new people, mixed of two with "
    "the same label), blend (the same without landmarks), 3d (the 3D edit, the way that the fold's people move), or "
    "several in equal parts, such as generator+morph. Repeatable.  [default: morph if the folder has landmarks, else blend]",
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Keep only synthesized faces whose class gets at least this probability from a classifier of the fold's real "
    "training faces; 0: all.",
)
@intensity_range_option
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
@click.option(
    "--size",
    type=click.IntRange(32, 1024),
    default=64,
    show_default=True,
    help="Side of the crops, where DATA is prepared first.",
)
@method_options
@experiment_options("standard", "few", "quick", "paper")
def command(
    counts: tuple[int, ...] | None,
    ratios: tuple[float, ...],
    real_subjects: int,
    repeats: int,
    sources: tuple[str, ...],
    agreement: float,
    intensity: tuple[float, float],
    synthetic_share: float,
    real_last: float,
    size: int,
    methods: tuple[str, ...],
    seeds: int | None,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Table 1, Fig. 8: does a classifier of real people learn more from synthesized faces?

    \b
    lssl evaluate augmentation --data faces/
    lssl evaluate augmentation --data london/ --folds 4 --ratios 0.5,1,2,5,10,30
    lssl evaluate augmentation --data london/ --real-subjects 10 --counts 500
    lssl evaluate augmentation --data faces/ --with generator --agreement 0.5
    lssl evaluate augmentation --data oulu/ --folds 10 --preset paper \\
        --with generator --counts 500,1000,2000,5000,10000 \\
        --architecture vgg16 --weights vgg_face.pth
    lssl evaluate augmentation --data london/ --method standard \\
        --method stargan-small --with morph --counts 500

    In each fold, faces are synthesized from those of the training people, by a generator that is trained only on these or
    by something that needs no training. One classifier is trained on real and synthesized faces together, another on real
    faces only, for the same number of iterations. All are tested on real faces of the other people. The output ends with
    whether synthesized faces help.

    DATA may also be a plain folder of pictures with a metadata.csv: the columns file_name, subject (who it is) and one with
    the classes. It is prepared first, to a folder next to --out.

    With --method, the table has a row per method, each trained on the same folds, and one per --with; further tables
    compare them with each other and list what was the same for all, and a column has the paper's own figures.
    """
    from dataclasses import replace

    from lssl.evaluation.experiments.augmentation import Mend
    from lssl.evaluation.experiments.augmentation_report import evaluate_augmentation
    from lssl.inference.synthesizers import check_names

    mend = Mend(agreement, intensity)

    few = f"-{real_subjects}-people" if real_subjects else ""
    out = out or Path("runs") / f"augmentation-{options['data'].name}{few}{'-methods' if methods else ''}"
    target = out
    check_names(sources)

    def shared(settings: "Settings") -> "Settings":
        judge = replace(settings.judge, synthetic_share=synthetic_share, real_last=real_last)
        return prepare_plain(replace(settings, judge=judge), target, size, options["folds"])

    counts = counts or ()
    if not counts and not ratios:
        counts, ratios = (QUICK_COUNTS, ()) if options["quick"] else ((), DEFAULT_RATIOS)
    if methods:
        from lssl.evaluation.experiments.augmentation_comparison import compare_augmentation

        options.update(default_folds=5, real_subjects=real_subjects)
        settings, contenders, times = make_contenders(methods, seeds, options)
        settings = shared(settings)
        report = compare_augmentation(
            settings,
            contenders,
            out,
            command_line(),
            counts=counts,
            ratios=ratios,
            repeats=repeats,
            seeds=times,
            sources=sources,
            mend=mend,
            overwrite=overwrite,
        )
        print_report(report, out)
        return
    settings = make_settings(default_folds=5, real_subjects=real_subjects, **options)
    settings = shared(settings)
    if not sources:
        known = (settings.data / "landmarks.npy").is_file()
        sources = ("morph",) if known else ("blend",)
    report = evaluate_augmentation(
        settings,
        out,
        command_line(),
        counts=counts,
        ratios=ratios,
        repeats=repeats,
        sources=sources,
        mend=mend,
        overwrite=overwrite,
    )
    print_report(report, out)

"""`lssl evaluate transfer`."""

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


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Trained generator or its run.  [default: train one]")
@click.option(
    "--classifier",
    type=click.Path(path_type=Path),
    help="Trained classifier (lssl train-classifier).  [default: train one]",
)
@click.option(
    "--portraits/--no-portraits",
    default=None,
    help="With --method: also the two-sample test, which takes longest.  [default: yes; with --quick: no]",
)
@method_options
@experiment_options("standard", "quick", "paper")
def command(
    model: Path | None,
    classifier: Path | None,
    portraits: bool | None,
    methods: tuple[str, ...],
    seeds: int | None,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Table 2: a classifier of real faces looks at synthesized versions of unseen faces.

    \b
    lssl evaluate transfer --data london/ --model runs/london
    lssl evaluate transfer --data london/ --model runs/london --classifier runs/smile
    lssl evaluate transfer --data mug/ --folds 10 --architecture resnet50 --preset paper
    lssl evaluate transfer --data faces/ --quick
    lssl evaluate transfer --data london/ --method standard --method stargan-small --method cyclegan-small --folds 4
    lssl evaluate transfer --data rafd/ --folds 10 --method paper --method stargan --method cyclegan --method icgan

    The report begins with what a smudge does not pass, on the photographs that the crops came from where they are there:
    can a fresh classifier tell made from real pictures (0.5: it cannot), how far mouth, brows and eyes move beside
    reality, judges of several sizes, and sheets to look at.

    Each unseen test face is changed to every class; the table says how many are recognised as their target, beside
    how many real test faces are recognised; a second table does so beside the same person's real photographs, for
    expressions that single pictures hardly show. And what stays: the person (dlib's embedding), and the picture where
    its own class is asked for (SSIM). A given model or classifier must not have seen the folder's test subjects.

    With --method a row a method, trained on the same folds, beside what was the same for all, the paper's own figures and
    Fig. 6 (figure.png).
    """
    from lssl.evaluation.experiments.transfer_report import evaluate_transfer

    out = out or Path("runs") / f"transfer-{options['data'].name}{'-methods' if methods else ''}"
    if methods:
        from lssl.evaluation.experiments.comparison import compare_transfer

        if model or classifier:
            raise click.UsageError("--method trains all that it compares; --model and --classifier are for one")
        settings, contenders, times = make_contenders(methods, seeds, {**options, "default_folds": 1})
        look = not options["quick"] if portraits is None else portraits
        report = compare_transfer(
            settings, contenders, out, command_line(), seeds=times, portraits=look, overwrite=overwrite
        )
        print_report(report, out)
        return
    settings = make_settings(default_folds=1, **options)
    report = evaluate_transfer(
        settings, out, command_line(), model_path=model, judge_path=classifier, overwrite=overwrite
    )
    print_report(report, out)

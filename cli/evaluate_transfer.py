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
from .values import ModelPath


@click.command()
@click.option("--model", type=ModelPath(), help="Trained generator or its run.  [default: train one]")
@click.option(
    "--classifier",
    type=click.Path(path_type=Path),
    help="Trained classifier (lssl train-classifier).  [default: train one]",
)
@click.option(
    "--portraits/--no-portraits",
    default=None,
    help="Also run the two-sample test and what goes with it, which takes longest.  [default: yes; with --method and "
    "--quick: no]",
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
    """Table 2: does a classifier of real faces recognise synthesized versions of unseen faces?

    \b
    lssl evaluate transfer --data london/ --model runs/london
    lssl evaluate transfer --data london/ --model runs/london \\
        --classifier runs/smile
    lssl evaluate transfer --data mug/ --folds 10 --preset paper \\
        --architecture resnet50
    lssl evaluate transfer --data faces/ --quick
    lssl evaluate transfer --data london/ --folds 4 --method standard \\
        --method stargan-small --method cyclegan-small
    lssl evaluate transfer --data rafd/ --folds 10 --method paper \\
        --method stargan --method cyclegan --method icgan

    The report begins with measures that a mere smudge cannot pass, made on the photographs that the crops came from if
    they are still there: can a fresh classifier tell made from real pictures (0.5: it cannot); how far do mouth, brows and
    eyes move, compared with reality; do judges at several picture sizes recognise the change; and sheets to look at.

    Then each unseen test face is changed to every class. A table says how many are recognised as their target, compared
    with how many real test faces are recognised; a second one judges faces relative to the same person's real photographs,
    for expressions that single pictures hardly show. Further tables say whether the person stays the same (dlib's
    embedding), and the picture when its own class is asked for (SSIM). A given model or classifier must not have seen
    the folder's test subjects.

    With --method, the table has a row per method, each trained on the same folds; the report adds what was the same for
    all, the paper's own figures, and Fig. 6 (figure.png).
    """
    from lssl.evaluation.experiments.transfer_report import evaluate_transfer

    out = out or Path("runs") / f"transfer-{options['data'].name}{'-methods' if methods else ''}"
    if methods:
        from lssl.evaluation.experiments.comparison import compare_transfer

        if model or classifier:
            raise click.UsageError("--method trains everything it compares: leave out --model and --classifier")
        settings, contenders, times = make_contenders(methods, seeds, {**options, "default_folds": 1})
        look = not options["quick"] if portraits is None else portraits
        report = compare_transfer(
            settings, contenders, out, command_line(), seeds=times, portraits=look, overwrite=overwrite
        )
        print_report(report, out)
        return
    settings = make_settings(default_folds=1, **options)
    report = evaluate_transfer(
        settings,
        out,
        command_line(),
        model_path=model,
        judge_path=classifier,
        portraits=portraits is not False,
        overwrite=overwrite,
    )
    print_report(report, out)

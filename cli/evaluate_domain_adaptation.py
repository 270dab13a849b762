"""`lssl evaluate domain-adaptation`."""

from pathlib import Path
from typing import Any

import click

from .evaluate_options import command_line, experiment_options, make_settings, print_report, repeats_option
from .values import numbers_of


def _folder_or_moved(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | str | None:
    from lssl.evaluation.experiments.moved_people import MOVED

    if value is None or value == MOVED:
        return value
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    return Path(folder.convert(value, param, ctx))


@click.command()
@click.option(
    "--simulated",
    metavar="DIRECTORY|3d",
    callback=_folder_or_moved,
    help="Labelled simulated faces (lssl generate-faces) with DATA's classes and size; or 3d: the neutral photographs of each "
    "fold's training people, moved to every class by the 3D edit.  [default: drawn first]",
)
@click.option(
    "--face-model", default="ict", show_default=True, help="Face model to draw with: ict, embedded, or an .npz."
)
@click.option("--people", type=click.IntRange(2), default=100, show_default=True, help="How many people to draw.")
@click.option(
    "--refiner",
    "refiners",
    multiple=True,
    type=click.Choice(["lssl", "simgan"]),
    help="What makes them look real, one row each; repeatable.  [default: lssl]",
)
@click.option(
    "--few",
    callback=numbers_of(int),
    default="5",
    show_default=True,
    help="Also train with the real faces of this many training people; several separated by commas; 0: no.",
)
@repeats_option
@experiment_options("pose", "simgan")
def command(
    simulated: Path | str | None,
    face_model: str,
    people: int,
    refiners: tuple[str, ...],
    few: tuple[int, ...],
    repeats: int,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Paper 3.2: can simulated faces, made to look real, train a classifier of real faces?

    \b
    lssl evaluate domain-adaptation --data london/
    lssl evaluate domain-adaptation --data london/ --refiner simgan --few 5,15
    lssl generate-faces drawn/ --model embedded --size 64
    lssl evaluate domain-adaptation --data ict/ --simulated drawn/
    lssl evaluate domain-adaptation --data photographs/ --simulated 3d

    DATA holds the real faces. In each fold, a refiner learns to make simulated faces, whose labels are known, look like the
    real ones of the training people, whose labels it does not see. Classifiers learn from the simulated faces as they
    are, from the refined ones, from either together with the labelled real faces of a few people, and from real faces
    only; all are tested on real faces of the other people. The output ends with whether refining helps. --preset,
    --config and --set apply to the refiners.
    """
    from lssl.evaluation.experiments.domain_adaptation_report import evaluate_domain_adaptation

    out = out or Path("runs") / f"domain-adaptation-{options['data'].name}"
    if options["preset"] is None and options["config_file"] is None:
        options["preset"] = "pose"
    settings = make_settings(default_folds=5, **options)
    report = evaluate_domain_adaptation(
        settings,
        out,
        command_line(),
        simulated=simulated,
        face_model=face_model,
        people=people,
        refiners=refiners or ("lssl",),
        few=[count for count in few if count],
        repeats=repeats,
        overwrite=overwrite,
    )
    print_report(report, out)

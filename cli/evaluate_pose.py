"""`lssl evaluate pose`."""

from pathlib import Path
from typing import Any

import click

from .evaluate_options import command_line, experiment_options, make_settings, print_report


@click.command()
@click.option(
    "--normalizer",
    "--method",
    "normalizers",
    multiple=True,
    default=("lssl",),
    show_default=True,
    help="What makes simulated faces realistic: lssl, simgan or cyclegan, each trained on the fold's training subjects; a "
    "trained generator of `lssl train --method pose` (only with --folds 1); or none. Repeatable.",
)
@click.option("--yaw-column", default="yaw", show_default=True, help="Column with the yaw in degrees.")
@click.option(
    "--frontal",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder in which lssl render-frontal drew the faces of DATA.  [default: they are drawn first]",
)
@click.option(
    "--background",
    type=click.Choice(["plain", "original", "blur"]),
    default="original",
    show_default=True,
    help="Background of the frontal faces that are drawn; see lssl render-frontal.",
)
@click.option("--face-model", type=click.Path(exists=True, path_type=Path), help="3D face model.  [default: embedded]")
@click.option("--workers", type=click.IntRange(1), help="Processes that draw.  [default: the number of processors]")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings of the classifier and of each normalizer in each fold. Asked for more, the same command adds those that "
    "are missing.",
)
@experiment_options("pose", "paper")
def command(
    normalizers: tuple[str, ...],
    yaw_column: str,
    frontal: Path | None,
    background: str,
    face_model: Path | None,
    workers: int | None,
    seeds: int,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Table 3: does a classifier of frontal faces recognise turned ones, as they are, turned to the front, made realistic?

    \b
    lssl generate-faces faces/ --yaw -45,-30,-15,0,15,30,45 --size 64
    lssl evaluate pose --data faces/
    lssl evaluate pose --data faces/ --method lssl --method cyclegan --seeds 2
    lssl evaluate pose --data faces/ --normalizer none --folds 2
    lssl evaluate pose --data bu3dfe/ --preset paper \\
        --architecture vgg16 --weights vgg_face.pth

    DATA has a column with the yaw in degrees; 0 is frontal. In each fold, the classifier learns from the frontal faces
    of the training subjects, and a normalizer from their simulated frontal faces and photographs; neither sees anybody
    who is tested. --preset, --config and --set apply to the normalizers.
    """
    import os

    from lssl.evaluation.experiments.pose_report import evaluate_pose

    out = out or Path("runs") / f"pose-{options['data'].name}"
    if options["preset"] is None and options["config_file"] is None:
        options["preset"] = "pose"
    settings = make_settings(default_folds=5, **options)
    report = evaluate_pose(
        settings,
        out,
        command_line(),
        yaw_column=yaw_column,
        normalizers=[name for name in normalizers if name != "none"],
        frontal_folder=frontal,
        background=background,
        face_model=face_model,
        workers=workers or os.cpu_count() or 1,
        seeds=seeds,
        overwrite=overwrite,
    )
    print_report(report, out)

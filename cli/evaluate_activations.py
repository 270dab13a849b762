"""`lssl evaluate activations`."""

from pathlib import Path

import click

from .evaluate_options import command_line, print_report
from .output import kept_json_option, quiet_option
from .values import ModelPath, numbers_of


@click.command()
@click.argument("model", type=ModelPath())
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--layer", type=click.IntRange(1), default=5, show_default=True, help="Layer of the encoder, counted from 1."
)
@click.option("--units", type=click.IntRange(1), default=12, show_default=True, help="Units to show.")
@click.option(
    "--unit",
    "chosen",
    callback=numbers_of(int),
    help="Show these units, such as 3,17,40, instead of an automatic choice.",
)
@click.option("--pictures", type=click.IntRange(1), default=8, show_default=True, help="Faces per unit.")
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="A unit counts as active above this quantile of its activations over all faces.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test", "all"]),
    default="all",
    show_default=True,
    help="Which faces to use.",
)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder of the report.  [default: runs/activations-<DATA>]"
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@quiet_option
@kept_json_option
def command(
    model: Path,
    data: Path,
    layer: int,
    units: int,
    chosen: tuple[int, ...] | None,
    pictures: int,
    quantile: float,
    split: str,
    out: Path | None,
    device: str | None,
    quiet: bool,
) -> None:
    """Fig. 10: the face regions that activate hidden units of the generator's encoder most.

    \b
    lssl evaluate activations runs/faces faces/
    lssl evaluate activations runs/london london/ --layer 3 --units 20
    lssl evaluate activations runs/london london/ --unit 5,17 --pictures 12

    MODEL is a trained generator or its run folder, DATA a data set folder with pictures of its size. For every region of
    the face, the units with the most consistent and sharpest response are shown, each with the faces of different people
    that activate it most. The report's folder also gets activations.png.
    """
    from PIL import Image

    from lssl.data import read_metadata
    from lssl.data.writer import save_picture
    from lssl.device import choose_device
    from lssl.evaluation.experiments.activation_report import show_activations
    from lssl.evaluation.experiments.activations import open_faces
    from lssl.evaluation.report import Report
    from lssl.models.export import load_generator

    out = out or Path("runs") / f"activations-{data.resolve().name}"
    trained = load_generator(model, choose_device(device))
    folder = read_metadata(data)
    folder = folder if split == "all" else folder.split(split)
    faces = open_faces(folder, trained, next(trained.parameters()).device)
    report = Report(f"What units of {model.name} look at, in {data.name}", command_line(), 0)
    sheet = show_activations(
        report,
        trained,
        faces,
        layer=layer,
        units=units,
        chosen=chosen or (),
        pictures=pictures,
        quantile=quantile,
        progress=not quiet,
    )
    report.write(out)
    save_picture(out / "activations.png", Image.fromarray(sheet))
    print_report(report, out)

"""`lssl evaluate figure`."""

from pathlib import Path

import click

from .evaluate_options import QUICK_TRAINING, parse_assignments
from .output import SEED, kept_json_option, of_context, quiet_option
from .values import ModelPath


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Data set folder with a test split.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]PATH",
    help="A trained generator or its run, and the name of its row.  [default: the run's name] Repeatable.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="PRESET",
    help="A method to train first on the folder's training split; kept in --out, and reused next time. Repeatable.",
)
@click.option("--attribute", default="", help="Attribute whose values are the columns.  [default: the folder's first]")
@click.option(
    "--faces", type=click.IntRange(1), default=4, show_default=True, help="How many people of the test split."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting of the methods to train; repeatable."
)
@click.option("--quick", is_flag=True, help="Train the methods only briefly, for a first look.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the methods to train.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: runs/figure-<data>]")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@quiet_option
@kept_json_option
def command(
    data: Path,
    models: tuple[str, ...],
    methods: tuple[str, ...],
    attribute: str,
    faces: int,
    assignments: tuple[str, ...],
    quick: bool,
    seed: int,
    out: Path | None,
    device: str | None,
    quiet: bool,
) -> None:
    """Fig. 6: photographs of unseen people, with one row per method and one column per class.

    \b
    lssl evaluate figure --data london/ --model LSSL=runs/london \\
        --model StarGAN=runs/london-stargan
    lssl evaluate figure --data faces/ --method standard --method stargan-small \\
        --method cyclegan-small --quick

    Writes figure.png. A given model must not have seen the folder's test subjects.
    """
    from lssl.device import choose_device
    from lssl.evaluation.experiments.experiment import Settings
    from lssl.evaluation.experiments.figure import make_figure

    if not models and not methods:
        raise click.UsageError("give --model, a trained generator, or --method, one to train")
    given = {}
    for text in models:
        name, equals, path = text.partition("=")
        given[name if equals else Path(text).name] = ModelPath().convert(path if equals else text, None, None)
    out = out or Path("runs") / f"figure-{data.resolve().name}"
    make_figure(
        Settings(data, attribute, seed=seed, device=str(choose_device(device)), quiet=quiet),
        given,
        methods,
        out,
        faces=faces,
        changes=parse_assignments(assignments),
        quick=QUICK_TRAINING if quick else None,
    )
    output = of_context()
    output.say(f"{out / 'figure.png'}")
    output.result(out=out, figure=out / "figure.png")

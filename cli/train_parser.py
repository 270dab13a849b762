"""`lssl train-parser`."""

from pathlib import Path

import click

from .output import SEED, Output, json_option, quiet_option


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set folder with masks/ or landmarks.npy.  [default: faces of the embedded 3D model]",
)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default="runs/parser", show_default=True, help="Folder to write."
)
@click.option(
    "--masks",
    type=click.Choice(["auto", "folder", "landmarks"]),
    default="auto",
    show_default=True,
    help="Labels: the folder's masks, or masks drawn from its 68 landmarks; auto: the folder's if it has any.",
)
@click.option("--iterations", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True)
@click.option("--width", type=click.IntRange(8), default=16, show_default=True, help="Channels of the first level.")
@click.option("--learning-rate", type=float, default=3e-3, show_default=True)
@click.option(
    "--max-faces", type=click.IntRange(2), default=4000, show_default=True, help="Use at most this many faces."
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--overwrite", is_flag=True, help="Replace the parser that is there.")
@quiet_option
@json_option
def command(
    data: Path | None,
    out: Path,
    masks: str,
    iterations: int,
    batch_size: int,
    width: int,
    learning_rate: float,
    max_faces: int,
    seed: int,
    device: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the face parser (lips, skin, eyes) that the parsing loss uses.

    \b
    lssl train-parser                              faces of the embedded model
    lssl prepare helen Helen/ data/helen --size 128
    lssl train-parser --data data/helen -o runs/parser             as in the paper
    lssl train-parser --data data/london           masks drawn from landmarks
    lssl train --preset paper --data data/london \\
        --parser runs/parser/parser.safetensors

    The folder gets parser.safetensors, maps.png (people that it has not seen, as in Fig. 4 of the paper), report.json
    (each part's intersection over union) and metrics.jsonl. Ctrl-C stops early and keeps what was learnt.
    """
    from lssl.data.lock import check_writable, hold_folder
    from lssl.device import choose_device
    from lssl.training.parser_data import open_parser_faces
    from lssl.training.parser_training import ParserConfig, train_parser, write_parser_run

    if (out / "parser.safetensors").is_file() and not overwrite:
        raise click.ClickException(f"{out} holds a parser already; choose another --out or add --overwrite")
    check_writable(out)
    output = Output(quiet, as_json)
    chosen = choose_device(device)
    config = ParserConfig(width, iterations, batch_size, learning_rate, seed)
    if data is None:
        hold_folder(out)
        data = _generated(out, seed, output)
    faces = open_parser_faces(data, masks=masks, max_faces=max_faces, seed=seed)
    hold_folder(out)
    output.say(
        f"{data}: {len(faces.train)} faces to learn from, {len(faces.test)} of other people to test, "
        f"{faces.size[1]}x{faces.size[0]}, labels: {faces.source}"
    )
    output.say(f"{config} on {chosen}")
    result = train_parser(faces, config, device=chosen, progress=not quiet)
    write_parser_run(out, faces, config, result)
    output.say("Intersection over union on people not seen in training:")
    for part, value in result.iou.items():
        output.say(f"  {part:6} {value:.3f}")
    output.say(f"  {out / 'parser.safetensors'}; maps: {out / 'maps.png'}")
    output.result(out=out, iou=result.iou, iterations=result.iterations)
    if result.interrupted:
        click.secho(f"Stopped after {result.iterations} of {iterations} iterations.", fg="yellow", err=True)
        raise SystemExit(130)


def _generated(out: Path, seed: int, output: Output) -> Path:
    """Generates faces of the embedded model, at several yaws, next to the parser; returns their folder."""
    from lssl.face3d.embedded import cache_key, load_embedded_model
    from lssl.face3d.generate import FaceGenerator, GenerateConfig
    from lssl.face3d.generated import write_generated

    folder = out / "faces"
    wanted = GenerateConfig(subjects=60, yaw=(-30.0, 0.0, 30.0), lighting=("normal",), size=64, seed=seed)
    output.say(f"No --data: generating 60 people of the embedded face model in {folder}")
    write_generated(
        folder,
        FaceGenerator(load_embedded_model(), wanted),
        model=f"embedded {cache_key()}",
        progress=not output.quiet,
    )
    return folder

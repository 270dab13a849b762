"""`lssl generate-faces`."""

from pathlib import Path

import click

from lssl.errors import LsslError

from .output import SEED, Output, json_option, out_folder, quiet_option
from .values import numbers_of


def _words(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


@click.command(context_settings={"show_default": True})
@out_folder
@click.option("--subjects", type=click.IntRange(1), default=100, help="How many people.")
@click.option(
    "--expressions", callback=_words, default="all", help="Names separated by commas, or 'all' that the model has."
)
@click.option(
    "--yaw",
    callback=numbers_of(float),
    default="0",
    help="Degrees separated by commas; positive turns to the picture's right.",
)
@click.option("--lighting", callback=_words, default="normal", help="Any of normal, weak, dark, warm, cold, dim.")
@click.option(
    "--hair",
    callback=_words,
    default="model",
    help="Any of model (its own), none, short, long, fringe, sweep (over one eye), hat; each subject gets one of these.",
)
@click.option("--size", type=click.IntRange(16, 2048), default=128, help="Side of the pictures in pixels.")
@click.option("--seed", type=SEED, default=0, help="The same seed gives the same bytes.")
@click.option("--test-fraction", type=click.FloatRange(0, 1), default=0.2, help="Share of the people in split test.")
@click.option("--background", type=click.Choice(["random", "plain"]), default="random")
@click.option(
    "--variation",
    type=click.FloatRange(0, 3),
    default=1.0,
    help="Scale of random variation between pictures with the same labels; 0: none.",
)
@click.option(
    "--model", type=click.Path(path_type=Path), help="A face model: embedded, ict, or an .npz  [default: embedded]"
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a contact sheet to this picture.")
@click.option(
    "--force", is_flag=True, help="Make the faces even if `lssl train`, with its default preset, would refuse them."
)
@click.option("--overwrite", is_flag=True, help="First remove the data set that OUT holds.")
@quiet_option
@json_option
def command(
    out: Path,
    subjects: int,
    expressions: tuple[str, ...],
    yaw: tuple[float, ...],
    lighting: tuple[str, ...],
    hair: tuple[str, ...],
    size: int,
    seed: int,
    test_fraction: float,
    background: str,
    variation: float,
    model: Path | None,
    sheet: Path | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    force: bool,
) -> None:
    """Write a data set of labelled faces to the folder OUT: one picture for each subject, expression, yaw and lighting,
    with 68 landmarks and part masks, drawn with a 3D face model; no photographs are needed.

    \b
    lssl generate-faces faces/ --subjects 100
    lssl generate-faces faces/ --subjects 100 --yaw -45,-30,-15,0,15,30,45 \\
        --lighting normal,weak,dark --size 128 --seed 0
    lssl generate-faces faces/ --hair none,short,long,fringe,sweep,hat \\
        --lighting normal,warm,cold,dim
    lssl generate-faces pairs/ --expressions neutral,happy --sheet pairs.png
    lssl generate-faces faces/ --model ict        the built-in part of ICT-FaceKit

    To continue an interrupted run, repeat the command.
    """
    from dataclasses import asdict

    from lssl.data.writer import save_picture
    from lssl.face3d.builtin import load_face_model, model_stamp
    from lssl.face3d.generate import FaceGenerator, GenerateConfig
    from lssl.face3d.generated import write_generated
    from lssl.face3d.sheet import folder_sheet
    from lssl.training.suitability import why_not_trainable

    config = GenerateConfig(
        subjects=subjects,
        expressions=() if expressions == ("all",) else expressions,
        yaw=yaw,
        lighting=lighting,
        hair=hair,
        size=size,
        seed=seed,
        test_fraction=test_fraction,
        background=background,
        variation=variation,
    )
    if sheet is not None and sheet.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.BadParameter(f"{sheet}: expected a .png or .jpg name", param_hint="--sheet")
    chosen = "embedded" if model is None else str(model)
    face_model = load_face_model(chosen)
    name = model_stamp(chosen, face_model)
    generator = FaceGenerator(face_model, config)
    output = Output(quiet, as_json)
    output.say(f"Model: {face_model.name}")
    for option, value in asdict(generator.config).items():
        output.say(f"  {option}: {', '.join(map(str, value)) if isinstance(value, tuple) else value}")
    output.say(f"{len(generator.cells)} faces to {out}")
    tested = sum(cell.subject in generator.test_subjects for cell in generator.cells)
    attributes = [{getattr(cell, name) for cell in generator.cells} for name in ("expression", "yaw", "lighting")]
    reasons = why_not_trainable(len(generator.cells) - tested, tested, attributes, size)
    if reasons and not force:
        raise LsslError(
            f"`lssl train` would refuse this folder: {'; '.join(reasons)}. Ask for other faces, or add --force"
        )
    rows = write_generated(out, generator, model=name, overwrite=overwrite, progress=not quiet, say=output.beside_bar)
    if sheet is not None:
        save_picture(sheet, folder_sheet(out))
    output.say(f"{rows} faces in {out} ({len(generator.test_subjects)} of {subjects} subjects in split test)")
    if sheet is not None:
        output.say(f"Contact sheet: {sheet}")
    output.result(out=out, faces=rows, subjects=subjects, test_subjects=len(generator.test_subjects), sheet=sheet)

"""`lssl normalize-pose`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import SOME_REFUSED, Output, json_option, photograph_options, quiet_option
from .values import ModelPath

if TYPE_CHECKING:
    from lssl.data.folder import FaceFolder
    from lssl.data.writer import FaceFolderWriter
    from lssl.models.export import TrainedGenerator

SIMULATED = "simulated"


@click.command()
@click.argument("model", type=ModelPath("runs/pose {} -o normalized/"), metavar="MODEL")
@click.argument("photographs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; created if missing."
)
@click.option("--to", default="", help="Values to change to, such as happy, if MODEL learnt that (pose.keep under 1).")
@photograph_options
@click.option("--face-model", type=click.Path(exists=True, path_type=Path), help="3D face model.  [default: embedded]")
@click.option(
    "--background",
    type=click.Choice(["plain", "original", "blur"]),
    help="Background of the simulated faces.  [default: as in training]",
)
@click.option("--keep-doubtful", is_flag=True, help="Keep faces with an unreliable fit, too.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: the number of processors]")
@click.option("--device", help="For the generator: cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run with other options wrote.")
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    photographs: tuple[Path, ...],
    out: Path,
    to: str,
    landmarks: Path | None,
    face_model: Path | None,
    background: str | None,
    largest_face: bool,
    keep_doubtful: bool,
    workers: int | None,
    device: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Turn faces to the front and make them realistic with the generator MODEL, a run of
    `lssl train --preset pose` or its generator.safetensors.

    \b
    lssl normalize-pose runs/frontal-pose photo.jpg -o normalized/
    lssl normalize-pose runs/frontal-pose portraits/*.jpg -o normalized/
    lssl normalize-pose runs/frontal-pose data-set-folder/ -o normalized/
    lssl normalize-pose runs/frontal-pose frontal/ -o normalized/
    lssl normalize-pose runs/frontal-pose photo.jpg --to happy -o happy/

    Besides photographs it takes a data set folder, such as one that `lssl render-frontal` wrote.
    Landmarks, fit and frontal rendering are those of `lssl render-frontal`, and are kept in OUT/simulated. OUT becomes a
    data set folder (images/: the normalized faces, side/: the cropped photographs) with comparisons/ (photograph,
    simulated, normalized). To continue a run that was stopped, repeat the command. Exit code: 0 if all photographs gave a
    face, 1 if some or all did not.
    """
    from lssl.data.fingerprint import weights_fingerprint
    from lssl.data.folder import read_metadata
    from lssl.data.portrait import check_apart
    from lssl.data.prepare import read_rejected
    from lssl.data.writer import FaceFolderWriter
    from lssl.device import choose_device
    from lssl.inference.frontal_jobs import POSE_ATTRIBUTE
    from lssl.inference.pose_normalization import check_simulated, load_normalizer, parse_changes

    output = Output(quiet, as_json)
    check_apart(out, photographs)
    generator = load_normalizer(model, choose_device(device))
    changes = parse_changes(generator, to)
    given = _prepared(photographs)
    drawn = given is not None and (given.root / "side").is_dir()
    background = background or generator.info.get("rendering", {}).get("background", "plain")
    options = {"background": background, "largest_face": largest_face, "keep_doubtful": keep_doubtful}
    if given is not None and drawn:
        check_simulated(given, generator)
        options = {}
    settings = {
        "command": "normalize-pose",
        "model": model.name,
        "model_weights": weights_fingerprint(generator.network),
        "photographs": sorted(map(str, photographs)),
        "to": changes,
        "face_model": str(face_model),
        **options,
    }
    attributes = () if given is None else given.attributes
    if not drawn:  # a drawn face has a yaw of its own
        attributes = tuple(name for name in attributes if name != POSE_ATTRIBUTE)
    writer = FaceFolderWriter(out, attributes=attributes, settings=settings, overwrite=overwrite)
    code, source = 0, given.root if given is not None and drawn else out / SIMULATED
    if writer.finished:
        output.say(f"{out} is complete; add --overwrite to make it again")
        rejected = [] if drawn else read_rejected(source)
        output.result(out=out, faces=len(read_metadata(out)), rejected=dict(rejected))
        raise SystemExit(SOME_REFUSED if rejected else 0)
    if not drawn:
        code = _render(
            context, photographs, source, landmarks=landmarks, model=face_model, size=generator.image_size,
            workers=workers, overwrite=overwrite, quiet=quiet or as_json, **options,
        )  # fmt: skip
    folder = read_metadata(source)
    check_simulated(folder, generator)
    count = _normalize(generator, folder, writer, changes, output)
    output.result(out=out, faces=count, rejected=dict([] if drawn else read_rejected(source)))
    if code:
        raise SystemExit(code)


def _prepared(photographs: tuple[Path, ...]) -> "FaceFolder | None":
    """The data set folder among the arguments, or None if these are photographs."""
    from lssl.data.folder import METADATA, read_metadata

    folders = [path for path in photographs if (path / METADATA).is_file()]
    if folders and len(photographs) > 1:
        raise click.ClickException(f"{folders[0]} is a data set folder: give a single one, or photographs")
    return read_metadata(folders[0]) if folders else None


def _render(context: click.Context, photographs: tuple[Path, ...], out: Path, **options: object) -> int:
    """Runs `lssl render-frontal` into `out`; returns its exit code."""
    from .render_frontal import command as render_frontal

    try:
        context.invoke(render_frontal, photographs=photographs, out=out, **options)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _normalize(
    generator: "TrainedGenerator",
    folder: "FaceFolder",
    writer: "FaceFolderWriter",
    changes: Mapping[str, str],
    output: Output,
) -> int:
    from lssl.inference.pose_normalization import normalize_folder
    from lssl.progress import tqdm

    with tqdm(total=len(folder), initial=len(writer), unit="face", desc="normalizing", disable=output.quiet) as bar:
        normalize_folder(generator, folder, writer, to=changes, on_done=bar.update)
    count = writer.finish(source="normalize-pose", iterations=generator.info.get("iterations"))
    output.say(f"{count} normalized faces in {writer.root}; compare them in {writer.root / 'comparisons'}", "green")
    return count

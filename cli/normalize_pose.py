"""`lssl normalize-pose`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lssl.data.folder import FaceFolder
    from lssl.data.writer import FaceFolderWriter
    from lssl.models.export import TrainedGenerator

SIMULATED = "simulated"


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.argument("photographs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; made where missing."
)
@click.option("--to", default="", help="Values to change, e.g. happy, where MODEL learnt that (pose.keep under 1).")
@click.option(
    "--landmarks",
    type=click.Path(exists=True, path_type=Path),
    help="68 landmarks: a .pts or .csv file, or a folder of them; else beside the photograph, else by dlib.",
)
@click.option(
    "--face-model", type=click.Path(exists=True, path_type=Path), help="3D face model; the embedded one if not given."
)
@click.option(
    "--background",
    type=click.Choice(["plain", "original", "blur"]),
    help="Of the simulated faces.  [default: as in the training]",
)
@click.option("--largest-face", is_flag=True, help="Of several faces take the largest instead of refusing.")
@click.option("--keep-doubtful", is_flag=True, help="Go on with faces whose fit is not to be trusted, too.")
@click.option("--workers", type=click.IntRange(1), help="Processes; the number of processors if not given.")
@click.option("--device", help="Of the generator: cpu, cuda, cuda:1.  [default: a GPU where there is one]")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run with other options wrote.")
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
) -> None:
    """Turn faces to the front and make them realistic with the generator MODEL, a run of
    `lssl train --task pose-normalization` or its generator.safetensors.

    \b
    lssl normalize-pose runs/frontal-pose photo.jpg -o normalized/
    lssl normalize-pose runs/frontal-pose portraits/*.jpg -o normalized/
    lssl normalize-pose runs/frontal-pose prepared-folder/ -o normalized/     every face of a data set folder
    lssl normalize-pose runs/frontal-pose frontal/ -o normalized/             what `lssl render-frontal` drew
    lssl normalize-pose runs/frontal-pose photo.jpg --to happy -o happy/      where the model learnt that (pose.keep under 1)

    Landmarks, fit and frontal rendering are those of `lssl render-frontal`, and stay in OUT/simulated. OUT becomes a
    data set folder (images/ normalized, side/ the photograph cropped) with comparisons/ (photograph, simulated,
    normalized). A run that was stopped goes on where it was. Exit code: 0 all faces, 2 some gave none, 1 none.
    """
    import torch

    from lssl.data.folder import read_metadata
    from lssl.data.writer import FaceFolderWriter
    from lssl.inference.frontal_jobs import POSE_ATTRIBUTE
    from lssl.inference.pose_normalization import check_simulated, load_normalizer, parse_changes
    from lssl.inference.synthetic_folder import weights_fingerprint

    generator = load_normalizer(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
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
        "model_weights": weights_fingerprint(generator),
        "photographs": sorted(map(str, photographs)),
        "to": changes,
        "face_model": str(face_model),
        **options,
    }
    attributes = () if given is None else given.attributes
    if not drawn:  # what is drawn has a yaw of its own
        attributes = tuple(name for name in attributes if name != POSE_ATTRIBUTE)
    writer = FaceFolderWriter(out, attributes=attributes, settings=settings, overwrite=overwrite)
    code, source = 0, given.root if given is not None and drawn else out / SIMULATED
    if writer.finished:
        click.echo(f"{out} is complete; say --overwrite to make it again")
        raise SystemExit(2 if (source / "rejected.csv").is_file() else 0)
    if not drawn:
        code = _render(
            context, photographs, source, landmarks=landmarks, model=face_model, size=generator.image_size,
            workers=workers, overwrite=overwrite, **options,
        )  # fmt: skip
    folder = read_metadata(source)
    check_simulated(folder, generator)
    _normalize(generator, folder, writer, changes)
    if code:
        raise SystemExit(code)


def _prepared(photographs: tuple[Path, ...]) -> "FaceFolder | None":
    """The data set folder that is meant, None for photographs."""
    from lssl.data.folder import read_metadata

    if len(photographs) == 1 and (photographs[0] / "metadata.csv").is_file():
        return read_metadata(photographs[0])
    return None


def _render(context: click.Context, photographs: tuple[Path, ...], out: Path, **options: object) -> int:
    """`lssl render-frontal` into `out`; its exit code where not all photographs gave a face."""
    from .render_frontal import command as render_frontal

    try:
        context.invoke(render_frontal, photographs=photographs, out=out, **options)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _normalize(
    generator: "TrainedGenerator", folder: "FaceFolder", writer: "FaceFolderWriter", changes: Mapping[str, str]
) -> None:
    from tqdm import tqdm

    from lssl.inference.pose_normalization import normalize_folder

    with tqdm(total=len(folder), initial=len(writer), unit="face", desc="normalizing") as bar:
        normalize_folder(generator, folder, writer, to=changes, on_done=bar.update)
    count = writer.finish(source="normalize-pose", iterations=generator.info.get("iterations"))
    click.secho(f"{count} normalized faces in {writer.root}; compare them in {writer.root / 'comparisons'}", fg="green")

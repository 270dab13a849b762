"""`lssl render-frontal`."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import SOME_REFUSED, Output, counted, json_option, photograph_options, quiet_option

if TYPE_CHECKING:
    from lssl.inference.frontal_jobs import Job


@click.command()
@click.argument("photographs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; created if missing."
)
@photograph_options
@click.option(
    "--model", type=click.Path(path_type=Path), help="Face model: embedded, ict, or an .npz.  [default: embedded]"
)
@click.option(
    "--views-of-one-subject", is_flag=True, help="All photographs show the same person: draw one face from all of them."
)
@click.option("--expression", help="Expression of the model to draw, such as neutral.  [default: the photograph's own]")
@click.option("--yaw", default=0.0, show_default=True, help="Degrees; positive turns the face to the picture's right.")
@click.option("--pitch", default=0.0, show_default=True, help="Degrees; positive lowers the chin.")
@click.option(
    "--size", type=click.IntRange(32, 2048), default=128, show_default=True, help="Side of the pictures in pixels."
)
@click.option(
    "--background",
    type=click.Choice(["plain", "original", "blur"]),
    default="plain",
    show_default=True,
    help="plain: grey; original: the photograph's surroundings, bent to meet the face; blur: the same, out of focus.",
)
@click.option(
    "--remove-light", is_flag=True, help="Even light instead of the photograph's; dark photographs are brightened."
)
@click.option(
    "--distance",
    type=click.FloatRange(min=20),
    default=150.0,
    show_default=True,
    help="Centimetres from camera to head, such as 40 for a selfie; inf: weak perspective.",
)
@click.option("--mesh", type=click.Choice(["obj", "glb"]), help="Also write the 3D face with its texture.")
@click.option("--turntable", is_flag=True, help="Also write an animated GIF of the face turning.")
@click.option("--keep-doubtful", is_flag=True, help="Draw faces with an unreliable fit, too.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: the number of processors]")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run with other options wrote.")
@quiet_option
@json_option
def command(
    photographs: tuple[Path, ...],
    out: Path,
    landmarks: Path | None,
    model: Path | None,
    views_of_one_subject: bool,
    expression: str | None,
    yaw: float,
    pitch: float,
    size: int,
    background: str,
    remove_light: bool,
    distance: float,
    largest_face: bool,
    mesh: str | None,
    turntable: bool,
    keep_doubtful: bool,
    workers: int | None,
    overwrite: bool,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Turn faces to the front: fit a 3D face model to each photograph, colour it with the photograph, draw it frontally.

    \b
    lssl render-frontal photo.jpg -o frontal/
    lssl render-frontal photo.jpg --background original --size 512 -o frontal/
    lssl render-frontal left.jpg right.jpg --views-of-one-subject -o frontal/
    lssl render-frontal portraits/ --landmarks points/ -o frontal/
    lssl render-frontal photo.jpg --expression neutral --remove-light -o frontal/
    lssl render-frontal data-set-folder/ -o frontal/

    Besides photographs it takes plain folders of them, or a data set folder. OUT becomes a data set folder (images/: the
    frontal faces, side/: the cropped photographs) for `lssl train --preset pose`, with comparisons/ (photograph next to
    result), fits.csv (pose in degrees, error in eye distances, doubts), fits/ (weights of the 3D face) and, on request,
    meshes/ and turntables/. The faces of a data set folder keep their attributes; with --views-of-one-subject, faces of a subject that differ only in yaw count as views of one.

    A photograph without a face, with several, or with an unreliable fit is named and skipped; OUT/rejected.csv lists them.
    To continue a run that was stopped, repeat the command. Exit code: 0 if all faces were drawn, 1 if some or all were not,
    2 for a wrong option, 130 if interrupted.

    Faces that may look wrong (turned far, with a covered eye, in light of a strong colour or hardly any, before a
    background like their hair) are reported as doubtful, in the output and in fits.csv.
    """
    import os

    from lssl.data.how_long import HowLong
    from lssl.data.portrait import check_apart
    from lssl.data.prepare import read_rejected
    from lssl.data.writer import FaceFolderWriter
    from lssl.inference.frontal_jobs import check_landmarks_can_be_had
    from lssl.inference.frontalize import FIT_COLUMNS, Options, clear_extras, frontalize_all, load_model
    from lssl.progress import tqdm

    output = Output(quiet, as_json)
    check_apart(out, photographs)
    jobs, refused = _jobs(photographs, landmarks, views_of_one_subject, expression)
    check_landmarks_can_be_had(jobs)
    face_model = load_model(None if model is None else str(model))
    if expression is not None and expression not in face_model.expressions:
        known = ", ".join(face_model.expressions)
        raise click.ClickException(f"--expression {expression}: the model has {known}")
    options = Options(
        model=None if model is None else str(model.resolve()) if model.is_file() else str(model),
        size=size,
        background=background,
        expression=expression,
        yaw=yaw,
        pitch=pitch,
        remove_light=remove_light,
        distance=distance,
        largest_face=largest_face,
        mesh=mesh,
        turntable=turntable,
        keep_doubtful=keep_doubtful,
    )
    settings = {"command": "render-frontal", "photographs": sorted({p for j in jobs for p in j.photographs})}
    settings |= {name: str(value) for name, value in vars(options).items()}
    writer = FaceFolderWriter(out, attributes=tuple(jobs[0].attributes), settings=settings, overwrite=overwrite)
    if overwrite:
        clear_extras(out)
    if writer.finished:
        output.say(f"{out} is complete; add --overwrite to draw it again")
        if not (out / "fits.csv").is_file():  # an earlier run was killed before it was written
            _write_fits(out, FIT_COLUMNS)
        _finish(output, out, read_rejected(out))
    for path, reason in refused:
        if (key := f"refused {path}") not in writer:
            writer.append({"key": key, "source": str(path), "rejected": reason})
            output.refused([(path.name, reason)])
    waiting = [job for job in jobs if job.key not in writer]
    output.say(
        f"{counted(len(jobs), 'face')}, {len(jobs) - len(waiting)} already there; model {face_model.name}, {size} pixels, {out}"
    )
    processes = min(workers or os.cpu_count() or 1, len(waiting) or 1)
    how_long = HowLong(output.beside_bar, len(jobs), len(jobs) - len(waiting), unit="faces")
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), unit="face", desc="frontal", disable=quiet)
    with bar:
        for job, entry in frontalize_all(waiting, options, out, processes):
            writer.append(entry)
            if "rejected" in entry:
                with bar.external_write_mode(file=sys.stderr):
                    output.refused([(Path(job.photographs[0]).name, entry["rejected"])])
            bar.update()
            how_long.advance()
    drawn = writer.finish(source="render-frontal", model=face_model.name)
    _write_fits(out, FIT_COLUMNS)
    output.say(f"{counted(drawn, 'frontal face')} in {out}; compare them in {out / 'comparisons'}", "green")
    _finish(output, out, writer.rejected)


def _finish(output: Output, out: Path, rejected: Sequence[tuple[str, str]]) -> None:
    """Prints the result with its doubtful faces, and ends the program with its exit code."""
    from lssl.data.folder import read_metadata

    folder = read_metadata(out)
    named = zip(folder.file_names, folder.columns["doubt"], strict=True)
    doubtful = {Path(name).name: doubt for name, doubt in named if doubt}
    for name, note in zip(folder.file_names, folder.columns.get("note", [""] * len(folder)), strict=True):
        if note:
            output.say(f"{Path(name).name}: {note}")
    for name, doubt in doubtful.items():
        output.warn(f"{name} is doubtful: {doubt}")
    if doubtful:
        output.say(f"doubtful: {len(doubtful)} of {counted(len(folder), 'face')}; fits.csv says why", "yellow")
    output.result(out=out, faces=len(folder), rejected=dict(rejected), doubtful=doubtful)
    if rejected:
        output.say(f"no face in {counted(len(rejected), 'photograph')}; {out / 'rejected.csv'} says why", "yellow")
    raise SystemExit(SOME_REFUSED if rejected else 0)


def _jobs(
    paths: tuple[Path, ...], landmarks: Path | None, one_subject: bool, expression: str | None
) -> tuple[list["Job"], list[tuple[Path, str]]]:
    """The faces to draw, and (path, reason) for files that are not readable pictures."""
    from lssl.data.folder import read_metadata
    from lssl.data.portrait import find_inputs
    from lssl.inference.frontal_jobs import folder_jobs, photograph_jobs

    inputs = find_inputs(paths)
    if not inputs.folders:
        return photograph_jobs(inputs.photographs, landmarks=landmarks, one_subject=one_subject), inputs.refused
    folder = inputs.folders[0]
    if len(inputs.folders) > 1 or inputs.photographs:
        raise click.ClickException(f"{folder} is a data set folder: give a single one, or photographs")
    if landmarks is not None:
        raise click.ClickException(f"--landmarks {landmarks}: {folder} is a data set folder and has its own")
    return folder_jobs(read_metadata(folder), one_subject=one_subject, expression=expression), inputs.refused


def _write_fits(out: Path, names: Sequence[str]) -> None:
    """Writes fits.csv, one row per face, from the folder's metadata."""
    from lssl.data.writer import write_atomic

    with (out / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file_name", *names])
    table.writerows([[row["file_name"], *(row[name] for name in names)] for row in rows])
    write_atomic(out / "fits.csv", text.getvalue().encode())

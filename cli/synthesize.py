"""`lssl synthesize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import SOME_REFUSED, Output, json_option, photograph_options, quiet_option
from .synthesize_video import write_videos

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import InputFace, Target
    from lssl.models.export import TrainedGenerator

GRID_ROWS = 8


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option("--to", "targets", help="Values to change to, e.g. happy,sad or expression=happy; happy+dark for both.")
@click.option("--all", "all_targets", is_flag=True, help="Every value that the model knows.")
@click.option(
    "--intensity",
    "intensities",
    default="1",
    show_default=True,
    help="How far: 0 the source, 1 fully, up to 1.5 beyond; several as 0.5,1,1.5.",
)
@click.option("--out", "-o", type=click.Path(path_type=Path), default="synthesized", show_default=True)
@click.option("--source", multiple=True, help="What the photographs show.  [default: neutral, normal light, yaw 0]")
@click.option(
    "--paste",
    is_flag=True,
    help="Also write the whole photograph with the new face in it (a generator that moves faces writes that alone).",
)
@photograph_options
@click.option("--split", type=click.Choice(["train", "test", "all"]), default="all", show_default=True,
              help="Rows of a prepared folder.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="At most this many faces.")
@click.option(
    "--ease",
    type=click.FloatRange(0),
    default=0.0,
    help="Of a video: seconds in which the change grows at the beginning.",
)
@click.option(
    "--every-frame",
    is_flag=True,
    help="Of a video: ask the network about every frame, not only where the face changes its shape.",
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU where there is one]")
@quiet_option
@json_option
def command(
    model: Path,
    images: tuple[Path, ...],
    targets: str | None,
    all_targets: bool,
    intensities: str,
    out: Path,
    source: tuple[str, ...],
    paste: bool,
    landmarks: Path | None,
    largest_face: bool,
    split: str,
    limit: int | None,
    ease: float,
    every_frame: bool,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Change the attributes of faces with the generator MODEL: generator.safetensors, a run folder, or the built-in
    "3d", which moves the photograph's own pixels by a fitted 3D face model (expressions; nothing is trained), or "london",
    which learnt smiles from photographs (neutral, happy).

    \b
    lssl synthesize 3d photo.jpg --to happy -o out                 the whole photograph at its own size
    lssl synthesize london photo.jpg --to happy -o out             the same by a trained generator
    lssl synthesize runs/london photo.jpg --to happy -o out        find, align, translate
    lssl synthesize runs/london photo.jpg --to happy --paste       and back into the photograph
    lssl synthesize runs/faces *.jpg --all                         every expression, in one grid
    lssl synthesize runs/faces photo.jpg --to happy --intensity 0.5,1,1.5
    lssl synthesize runs/london data/london --to happy --split test    a prepared folder
    lssl synthesize runs/london portraits/ --to happy                  a plain folder of photographs
    lssl synthesize london clip.mp4 --to happy -o out              a video (MP4, MOV, MKV, GIF, WebP), its sound kept
    lssl synthesize london camera --to happy -o me.mp4             the camera, until Ctrl-C; camera:1 is the next one

    Writes <name>_<target>.png a face and target (of 3d and london: the whole photograph, upright, with its EXIF and colour
    profile), and grids/grid_01.png, grid_02.png ...:
    a row a face, the input first. A value with a comma in it stands in quotes: --to '"a,b",happy'. A photograph in
    which there is no face, or more than one large one, is named, the others go on, and the exit code is 1.
    In a video every face is changed; frames without one stay as they are. It is written to <name>_<target>.mp4, or to
    the file that -o names; Ctrl-C leaves what is done in <name>_<target>.partial.mp4.
    """
    from tqdm import tqdm

    from lssl.data.detect import DetectionError
    from lssl.data.lock import check_writable
    from lssl.data.portrait import find_inputs
    from lssl.device import choose_device
    from lssl.errors import LsslError
    from lssl.inference.model_edit import NAME as EDIT_3D
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import parse_targets, read_photograph, source_values, target_words
    from lssl.inference.video.frames import is_moving
    from lssl.models.export import load_generator

    if bool(targets) == all_targets:
        raise click.UsageError("say what to change to: either --to VALUE,... or --all")
    check_writable(out)
    numbers = _numbers(intensities)
    output = Output(quiet, as_json)
    faces: list[InputFace] = []
    moving = [path for path in images if is_moving(path)]
    still = [path for path in images if path not in moving]
    inputs = find_inputs(still)
    failed = [(str(path), reason) for path, reason in inputs.refused]
    generator: TrainedGenerator | ModelEditor
    if str(model) == EDIT_3D:
        generator = ModelEditor.load()
    else:
        generator = load_generator(model, choose_device(device))
    wanted = parse_targets(generator.schema, target_words(generator.schema, targets or ""), numbers)
    for folder in inputs.folders:
        faces += _from_folder(folder, generator, split, limit)
    photographs = inputs.photographs[:limit]
    taken_for = source_values(generator.schema, source)
    if isinstance(generator, ModelEditor) and not source:
        taken_for = {}  # read from each face
    elif photographs or moving:
        shown = ", ".join(f"{name} {value}" for name, value in taken_for.items())
        output.say(f"Photographs are taken to show: {shown} (--source says otherwise)")
    for path in tqdm(photographs, desc="finding faces", unit="photo", disable=quiet or len(photographs) < 2):
        try:
            faces.append(
                read_photograph(path, generator, taken_for, landmarks_dir=landmarks, largest_face=largest_face)
            )
        except DetectionError:
            raise  # no photograph will do without dlib
        except LsslError as error:
            failed.append((str(path), str(error).removeprefix(f"{path}: ")))
    videos, refused = write_videos(
        generator,
        moving,
        wanted,
        out,
        output,
        source=taken_for,
        largest_face=largest_face,
        ease=ease,
        every_frame=every_frame,
    )
    failed += refused
    written: list[Path] = []
    if isinstance(generator, ModelEditor):
        written, refused = _write_edits(generator, faces, wanted, out, quiet)
        failed += refused
    elif faces:
        written = _write(generator, faces, wanted, out, paste, quiet)
    output.refused(failed)
    done = f"{len(faces)} faces to {len(wanted)} targets in {out}"
    if still:
        output.say(done + (f", {len(failed)} failed" if failed else ""))
    written += [Path(video["file"]) for video in videos]
    result = {"videos": videos} if moving else {}
    output.result(
        out=out, faces=len(faces), targets=[t.name for t in wanted], files=written, rejected=dict(failed), **result
    )
    if failed:
        raise SystemExit(SOME_REFUSED)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{text}' is no number", param_hint="--intensity") from None
    for number in numbers:
        if not 0 <= number <= 1.5:
            raise click.BadParameter(f"{number:g} does not lie between 0 and 1.5", param_hint="--intensity")
    return numbers


def _from_folder(
    root: Path, model: "TrainedGenerator | ModelEditor", split: str, limit: int | None
) -> "list[InputFace]":
    from lssl.data import read_metadata
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import prepared_faces

    folder = read_metadata(root)
    folder = folder if split == "all" else folder.split(split)
    folder = folder.select(range(len(folder))[:limit])
    return list(model.prepared(folder) if isinstance(model, ModelEditor) else prepared_faces(folder, model))


def _write_edits(
    model: "ModelEditor", faces: "list[InputFace]", wanted: "list[Target]", out: Path, quiet: bool
) -> tuple[list[Path], list[tuple[str, str]]]:
    """The whole photographs, and grids of their crops; returns their files, and (face, reason) of what went wrong."""
    from tqdm import tqdm

    from lssl.data.writer import write_image
    from lssl.errors import LsslError

    failed, rows, written = [], [], []
    names = _names(faces, wanted)
    for face, own in zip(tqdm(faces, desc="editing", unit="face", disable=quiet), names, strict=True):
        try:
            pictures = model.edit_face(face, wanted)
        except LsslError as error:
            failed.append((face.name, str(error)))
            continue
        for name, picture in zip(own, pictures, strict=True):
            write_image(out / f"{name}.png", picture, face.metadata)
            written.append(out / f"{name}.png")
        rows.append(model.crops(face, pictures))
    for page, start in enumerate(range(0, len(rows), GRID_ROWS), start=1):
        _write_grid(out, page, [list(column) for column in zip(*rows[start : start + GRID_ROWS], strict=True)], wanted)
    return written, failed


def _write(
    model: "TrainedGenerator", faces: "list[InputFace]", wanted: "list[Target]", out: Path, paste: bool, quiet: bool
) -> list[Path]:
    """The pictures of all faces and targets, and grids of them; returns the pictures' files."""
    from tqdm import tqdm

    from lssl.data.images import colour_profile
    from lssl.data.writer import write_image
    from lssl.inference.full_size import edited_photographs, says_movement
    from lssl.inference.synthesis import paste_back, translate_all

    names, moves = _names(faces, wanted), says_movement(model)
    written = []
    pages = [range(len(faces))[start : start + GRID_ROWS] for start in range(0, len(faces), GRID_ROWS)]
    bar = tqdm(pages, desc="translating", unit="page", disable=quiet or len(pages) < 2)
    for number, page in enumerate(bar, start=1):
        chosen = [faces[k] for k in page]
        translated = iter(translate_all(model, [f for f in chosen if not (moves and f.photograph is not None)], wanted))
        results = []
        for k, face in zip(page, chosen, strict=True):
            if moves and face.photograph is not None:
                pictures, crops = edited_photographs(model, face, wanted)
                for name, picture in zip(names[k], pictures, strict=True):
                    write_image(out / f"{name}.png", picture, face.metadata)
            else:
                crops = next(translated)
                for name, crop in zip(names[k], crops, strict=True):
                    write_image(out / f"{name}.png", crop, colour_profile(face.metadata))
                    if paste and face.photograph is not None:
                        write_image(out / f"{name}_photo.png", paste_back(face, crop), face.metadata)
            results.append(crops)
            written += [out / f"{name}.png" for name in names[k]]
        columns = [[face.image for face in chosen], *map(list, zip(*results, strict=True))]
        _write_grid(out, number, columns, wanted)
    return written


def _names(faces: "list[InputFace]", wanted: "list[Target]") -> list[list[str]]:
    """The names of each face's files, a target each; no two alike."""
    from lssl.data.portrait import unique_names

    kept = unique_names([face.name for face in faces])
    names = unique_names([f"{name}_{target.file_name}" for name in kept for target in wanted])
    return [names[start : start + len(wanted)] for start in range(0, len(names), len(wanted))]


def _write_grid(out: Path, number: int, columns: "list[list[NDArray[np.uint8]]]", wanted: "list[Target]") -> None:
    """A page of faces, the input first, in a folder that does not count as one of faces."""
    import numpy as np
    import torch

    from lssl.data.picture_files import NOT_FACES
    from lssl.data.sheet import labelled_grid
    from lssl.data.writer import write_image

    tensors = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in columns]
    grid = labelled_grid(tensors, ["input", *(target.name for target in wanted)])
    write_image(out / "grids" / f"grid_{number:02d}.png", np.asarray(grid))
    (out / "grids" / NOT_FACES).touch()

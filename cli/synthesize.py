"""`lssl synthesize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import SOME_REFUSED, Output, counted, json_option, photograph_options, quiet_option
from .synthesize_video import write_videos
from .values import ModelPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lssl.data.ahead import PortraitsAhead
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import InputFace, Target
    from lssl.models.export import TrainedGenerator

GRID_ROWS = 8


@click.command()
@click.argument("model", type=ModelPath("london {} --to happy"))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--to", "targets", help="Values to change to, such as happy,sad or expression=happy; happy+dark is one change."
)
@click.option("--all", "all_targets", is_flag=True, help="Change to every value that the model knows.")
@click.option(
    "--intensity",
    "intensities",
    default="1",
    show_default=True,
    help="How far to go: 0 not at all, 1 fully, up to 1.5; several separated by commas, such as 0.5,1,1.5.",
)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default="synthesized", show_default=True, help="Folder to write."
)
@click.option(
    "--source",
    multiple=True,
    help="What the photographs show, from where a face is changed.  [default: neutral, normal light, yaw 0]",
)
@click.option(
    "--paste",
    is_flag=True,
    help="Also write the whole photograph with the new face in it (3d, london and presets like standard write only that).",
)
@photograph_options
@click.option("--split", type=click.Choice(["train", "test", "all"]), default="all", show_default=True,
              help="Which faces of a prepared folder to take.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Take at most this many faces.")
@click.option(
    "--ease",
    type=click.FloatRange(0),
    default=0.0,
    help="Videos: seconds over which the change grows at the beginning.",
)
@click.option(
    "--every-frame",
    is_flag=True,
    help="Videos: run the network on every frame, not only when the face changes its shape.",
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
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
    """Change the attributes of faces with the generator MODEL: a generator.safetensors, a run folder, or a built-in one:
    "3d" moves the photograph's own pixels with a fitted 3D face model (expressions; nothing is trained); "london" learnt to
    smile from photographs (neutral, happy); "generated" learnt eight expressions from rendered faces.

    \b
    lssl synthesize 3d photo.jpg --to happy -o out        any photograph, any size
    lssl synthesize london photo.jpg --to happy -o out    a trained generator
    lssl synthesize runs/mine photo.jpg --to happy        a generator of your own
    lssl synthesize runs/mine photo.jpg --to happy --paste    the whole photograph
    lssl synthesize runs/mine *.jpg --all                 every value, in one grid
    lssl synthesize runs/mine photo.jpg --to happy --intensity 0.5,1,1.5
    lssl synthesize runs/mine data/mine --to happy --split test      a data set
    lssl synthesize runs/mine portraits/ --to happy       a folder of photographs
    lssl synthesize london clip.mp4 --to happy -o out     a video; keeps its sound
    lssl synthesize london camera --to happy -o me.mp4    the camera, until Ctrl-C

    Writes <name>_<target>.png for each face and target (with 3d and london the whole photograph, upright, with its EXIF and
    colour profile), and grids/grid_01.png, grid_02.png ... with one row per face, the input first. Put a value that
    contains a comma in quotes: --to '"a,b",happy'. A photograph without a face, or with more than one large one, is named
    and skipped, and the exit code is then 1.

    In a video (MP4, MOV, MKV, GIF, WebP, or camera, camera:1 ...), every face is changed; frames without a face stay as they
    are. It is written to <name>_<target>.mp4, or to the file that -o names; Ctrl-C leaves the finished part in
    <name>_<target>.partial.mp4.
    """
    from lssl.data.ahead import PortraitsAhead
    from lssl.data.lock import check_writable
    from lssl.data.portrait import check_apart, check_not_over, find_inputs
    from lssl.inference.video.frames import is_moving

    if bool(targets) == all_targets:
        raise click.UsageError("name what to change to: either --to VALUE,... or --all")
    numbers = _numbers(intensities)
    output = Output(quiet, as_json)
    moving = [path for path in images if is_moving(path)]
    still = [path for path in images if path not in moving]
    check_writable(out.parent if moving and out.is_file() else out)
    inputs = find_inputs(still)
    if still:
        check_apart(out, still)
    photographs = inputs.photographs[:limit]
    with PortraitsAhead(photographs, landmarks=landmarks, largest_face=largest_face) as portraits:
        from lssl.device import choose_device
        from lssl.inference.synthesis import EDIT_3D, parse_targets, source_values, target_words
        from lssl.models.export import TrainedGenerator, load_generator

        edits_3d = str(model) == EDIT_3D
        generator = _model_editor() if edits_3d else load_generator(model, choose_device(device))
        wanted = parse_targets(generator.schema, target_words(generator.schema, targets or ""), numbers)
        faces = [face for folder in inputs.folders for face in _from_folder(folder, generator, split, limit)]
        taken_for = source_values(generator, source)
        if edits_3d and not source:
            taken_for = {}  # read from each face
        elif photographs or moving:
            shown = ", ".join(f"{name} {value}" for name, value in taken_for.items())
            output.say(f"Photographs are taken to show: {shown} (change that with --source)")
        found, failed = _from_photographs(photographs, portraits, generator, taken_for, quiet)
    faces += found
    failed = [(str(path), reason) for path, reason in inputs.refused] + failed
    names = [name for own in _names(faces, wanted) for name in own]
    files = [out / f"{name}{end}.png" for name in names for end in (("", "_photo") if paste else ("",))]
    check_not_over(files, photographs)
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
    if not isinstance(generator, TrainedGenerator):
        written, refused = _write_edits(generator, faces, wanted, out, quiet)
        failed += refused
    elif faces:
        written = _write(generator, faces, wanted, out, paste, quiet)
    output.refused(failed)
    done = f"{counted(len(faces), 'face')} to {counted(len(wanted), 'target')} in {out}"
    if still:
        output.say(done + (f", {len(failed)} failed" if failed else ""))
    written += [Path(video["file"]) for video in videos]
    result = {"videos": videos} if moving else {}
    output.result(
        out=out, faces=len(faces), targets=[t.name for t in wanted], files=written, rejected=dict(failed), **result
    )
    if failed:
        raise SystemExit(SOME_REFUSED)


def _from_photographs(
    paths: "Sequence[Path]",
    portraits: "PortraitsAhead",
    model: "TrainedGenerator | ModelEditor",
    shown: dict[str, str],
    quiet: bool,
) -> "tuple[list[InputFace], list[tuple[str, str]]]":
    """The faces of photographs, and (path, reason) for those that cannot be used."""
    from lssl.data.detect import DetectionError
    from lssl.errors import LsslError
    from lssl.inference.synthesis import aligned_face
    from lssl.progress import tqdm

    faces, failed = [], []
    for path in tqdm(paths, desc="finding faces", unit="photo", disable=quiet or len(paths) < 2):
        try:
            portrait = portraits.read(path)
            faces.append(aligned_face(path, portrait, model, shown))
            if portrait.note:
                Output(quiet).beside_bar(f"{path.name}: {portrait.note}")
        except DetectionError:
            raise  # without dlib, no photograph will work
        except LsslError as error:
            failed.append((str(path), str(error).removeprefix(f"{path}: ")))
    return faces, failed


def _model_editor() -> "TrainedGenerator | ModelEditor":
    from lssl.inference.model_edit import ModelEditor

    return ModelEditor.load()


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a number", param_hint="--intensity") from None
    for number in numbers:
        if not 0 <= number <= 1.5:
            raise click.BadParameter(f"{number:g} is not between 0 and 1.5", param_hint="--intensity")
    return numbers


def _from_folder(
    root: Path, model: "TrainedGenerator | ModelEditor", split: str, limit: int | None
) -> "list[InputFace]":
    from lssl.data import read_metadata
    from lssl.inference.synthesis import prepared_faces
    from lssl.models.export import TrainedGenerator

    folder = read_metadata(root)
    folder = folder if split == "all" else folder.split(split)
    folder = folder.select(range(len(folder))[:limit])
    return list(prepared_faces(folder, model) if isinstance(model, TrainedGenerator) else model.prepared(folder))


def _write_edits(
    model: "ModelEditor", faces: "list[InputFace]", wanted: "list[Target]", out: Path, quiet: bool
) -> tuple[list[Path], list[tuple[str, str]]]:
    """Writes the whole photographs, and grids of their crops; returns the files, and (face, reason) for what failed."""
    from lssl.data.writer import write_image
    from lssl.errors import LsslError
    from lssl.progress import tqdm

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
    """Writes the pictures of all faces and targets, and grids of them; returns the pictures' files."""
    from lssl.data.images import colour_profile
    from lssl.data.writer import write_image
    from lssl.inference.full_size import edited_photographs, says_movement
    from lssl.inference.synthesis import paste_back, translate_all
    from lssl.progress import tqdm

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
    """For each face, the names of its files, one per target; all different."""
    from lssl.data.portrait import unique_names

    kept = unique_names([face.name for face in faces])
    names = unique_names([f"{name}_{target.file_name}" for name in kept for target in wanted])
    return [names[start : start + len(wanted)] for start in range(0, len(names), len(wanted))]


def _write_grid(out: Path, number: int, columns: "list[list[NDArray[np.uint8]]]", wanted: "list[Target]") -> None:
    """Writes a grid of faces, the input first, into a folder that is marked as not holding faces."""
    import numpy as np
    import torch

    from lssl.data.picture_files import NOT_FACES
    from lssl.data.sheet import labelled_grid
    from lssl.data.writer import write_image

    tensors = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in columns]
    grid = labelled_grid(tensors, ["input", *(target.name for target in wanted)])
    write_image(out / "grids" / f"grid_{number:02d}.png", np.asarray(grid))
    (out / "grids" / NOT_FACES).touch()

"""`lssl synthesize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import InputFace, Target
    from lssl.models.export import TrainedGenerator

GRID_ROWS = 8


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
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
@click.option("--paste", is_flag=True, help="Also write the whole photograph with the new face in it.")
@click.option(
    "--landmarks", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of .pts, .csv."
)
@click.option("--largest-face", is_flag=True, help="Of several faces take the largest.")
@click.option("--split", type=click.Choice(["train", "test", "all"]), default="all", show_default=True,
              help="Rows of a prepared folder.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="At most this many faces.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU where there is one]")
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
    device: str | None,
) -> None:
    """Change the attributes of faces with the generator MODEL: generator.safetensors, a run folder, or the built-in
    "3d", which moves the photograph's own pixels by a fitted 3D face model (expressions; nothing is trained).

    \b
    lssl synthesize 3d photo.jpg --to happy -o out                 the whole photograph at its own size
    lssl synthesize runs/london photo.jpg --to happy -o out        find, align, translate
    lssl synthesize runs/london photo.jpg --to happy --paste       and back into the photograph
    lssl synthesize runs/faces *.jpg --all                         every expression, in one grid
    lssl synthesize runs/faces photo.jpg --to happy --intensity 0.5,1,1.5
    lssl synthesize runs/london data/london --to happy --split test    a prepared folder

    Writes <name>_<target>.png a face and target (of 3d: the whole photograph), and grid_01.png, grid_02.png ...: a row a face, the input first.
    A photograph in which there is no face, or more than one, is named, the others go on, and the exit code is 1.
    """
    import torch
    from tqdm import tqdm

    from lssl.data.detect import DetectionError
    from lssl.errors import LsslError
    from lssl.inference.model_edit import NAME as EDIT_3D
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import expand_inputs, parse_targets, read_photograph, source_values
    from lssl.models.export import load_generator

    if bool(targets) == all_targets:
        raise click.UsageError("say what to change to: either --to VALUE,... or --all")
    numbers = _numbers(intensities)
    failed: list[str] = []
    faces: list[InputFace] = []
    generator: TrainedGenerator | ModelEditor
    if str(model) == EDIT_3D:
        generator = ModelEditor.load()
    else:
        generator = load_generator(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    words = [word for word in (targets or "").split(",") if word.strip()]
    wanted = parse_targets(generator.schema, words, numbers)
    folders = [path for path in images if path.is_dir() and (path / "metadata.csv").is_file()]
    for folder in folders:
        faces += _from_folder(folder, generator, split, limit)
    photographs = expand_inputs([path for path in images if path not in folders])[:limit]
    taken_for = source_values(generator.schema, source)
    if isinstance(generator, ModelEditor) and not source:
        taken_for = {}  # read from each face
    elif photographs:
        shown = ", ".join(f"{name} {value}" for name, value in taken_for.items())
        click.echo(f"Photographs are taken to show: {shown} (--source says otherwise)")
    for path in tqdm(photographs, desc="finding faces", unit="photo", disable=len(photographs) < 2):
        try:
            faces.append(
                read_photograph(path, generator, taken_for, landmarks_dir=landmarks, largest_face=largest_face)
            )
        except DetectionError:
            raise  # no photograph will do without dlib
        except LsslError as error:
            failed.append(str(error))
    if faces:
        if isinstance(generator, ModelEditor):
            failed += _write_edits(generator, faces, wanted, out)
        else:
            _write(generator, faces, wanted, out, paste)
    for reason in failed:
        click.secho(reason, fg="red", err=True)
    click.echo(f"{len(faces)} faces to {len(wanted)} targets in {out}" + (f", {len(failed)} failed" if failed else ""))
    if failed:
        raise SystemExit(1)


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


def _write_edits(model: "ModelEditor", faces: "list[InputFace]", wanted: "list[Target]", out: Path) -> list[str]:
    """The whole photographs, and grids of their crops. Returns what went wrong, a line a face."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from lssl.data.writer import write_image
    from lssl.errors import LsslError
    from lssl.training.samples import labelled_grid

    failed, rows = [], []
    for name, face in zip(
        _unique([face.name for face in faces]), tqdm(faces, desc="editing", unit="face"), strict=True
    ):
        try:
            pictures = model.edit_face(face, wanted)
        except LsslError as error:
            failed.append(f"{face.name}: {error}")
            continue
        for target, picture in zip(wanted, pictures, strict=True):
            write_image(out / f"{name}_{target.file_name}.png", picture)
        rows.append(model.crops(face, pictures))
    for page, start in enumerate(range(0, len(rows), GRID_ROWS), start=1):
        columns = zip(*rows[start : start + GRID_ROWS], strict=True)
        tensors = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in columns]
        grid = labelled_grid(tensors, ["input", *(target.name for target in wanted)])
        grid.save(out / f"grid_{page:02d}.png")
    return failed


def _write(model: "TrainedGenerator", faces: "list[InputFace]", wanted: "list[Target]", out: Path, paste: bool) -> None:
    import numpy as np
    import torch
    from tqdm import tqdm

    from lssl.data.writer import write_image
    from lssl.inference.synthesis import paste_back, translate_all
    from lssl.training.samples import labelled_grid

    names = _unique([face.name for face in faces])
    pages = [range(len(faces))[start : start + GRID_ROWS] for start in range(0, len(faces), GRID_ROWS)]
    for number, page in enumerate(tqdm(pages, desc="translating", unit="page", disable=len(pages) < 2), start=1):
        chosen = [faces[k] for k in page]
        results = translate_all(model, chosen, wanted)
        for k, face, pictures in zip(page, chosen, results, strict=True):
            for target, picture in zip(wanted, pictures, strict=True):
                write_image(out / f"{names[k]}_{target.file_name}.png", picture)
                if paste and face.photograph is not None:
                    write_image(out / f"{names[k]}_{target.file_name}_photo.png", paste_back(face, picture))
        columns = [[face.image for face in chosen], *map(list, zip(*results, strict=True))]
        tensors = [torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2) for column in columns]
        grid = labelled_grid(tensors, ["input", *(target.name for target in wanted)])
        grid.save(out / f"grid_{number:02d}.png")


def _unique(names: list[str]) -> list[str]:
    """The names, numbered where one occurs twice."""
    taken: set[str] = set()
    result = []
    for name in names:
        chosen, number = name, 1
        while chosen in taken:
            number += 1
            chosen = f"{name}-{number}"
        taken.add(chosen)
        result.append(chosen)
    return result

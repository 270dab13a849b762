"""What the built-in editors leave of a photograph at its own size: sharpness, identity, seams, what is not face.

    python benchmarks/full_size.py LONDON/neutral --people 011,016,021 -o full/

LONDON/neutral holds photographs with their 68 landmarks (NNN.jpg, NNN.pts). `london` and `3d` make the people in them
smile, `generated` the people that `lssl generate-faces` draws (another seed than it was trained with), at 512 and at
1350 pixels; all three change scikit-image's astronaut at her 512. Photographs are never enlarged: sizes that they do not have are
left out, and named. Writes report.html, results.json, results.csv and, for each row, a sheet: photograph and result, the whole
and the face.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

import lssl
from lssl.data import read_metadata
from lssl.data.detect import detect_landmarks, identity_embedding
from lssl.data.images import read_image
from lssl.data.landmark_files import read_landmarks
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.measures.portraits import SIDE, FacePicture, eye_distance, found_anew, resized
from lssl.evaluation.measures.seams import steps_along_border
from lssl.evaluation.measures.sharpness import change_off_face, sharpness_ratio
from lssl.evaluation.report import Report, Table, console_table

COLUMNS = ["pictures", "pixels", "editor", "faces", "sharpness", "identity", "untouched", "change off the face",
           "step at the border", "the photograph's there"]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Faces of one kind and size, and what is asked of one editor."""

    pictures: str
    editor: str
    target: str
    faces: list[FacePicture]


def photographs(folder: Path, people: list[str]) -> list[FacePicture]:
    """Raises click.ClickException where there is none."""
    paths = [path for path in sorted(folder.glob("*.jpg")) if path.with_suffix(".pts").is_file()]
    paths = [path for path in paths if not people or path.stem in people]
    if not paths:
        raise click.ClickException(f"{folder} holds no NNN.jpg with NNN.pts of the people asked for")
    return [FacePicture(path.stem, "", read_image(path), read_landmarks(path.with_suffix(".pts"))) for path in paths]


def drawn(count: int, side: int) -> list[FacePicture]:
    """Neutral people that `generated` was not trained on."""
    with tempfile.TemporaryDirectory() as work:
        words = ["--subjects", count, "--expressions", "neutral", "--size", side, "--seed", 1, "--force", "--quiet"]
        subprocess.run([sys.executable, "-m", "lssl", "generate-faces", f"{work}/faces", *map(str, words)], check=True)
        folder = read_metadata(Path(work) / "faces")
        assert folder.landmarks is not None
        return [
            FacePicture(folder.subjects[row], "", read_image(folder.image_path(row)), folder.landmarks[row])
            for row in range(len(folder))
        ]


def at_size(faces: list[FacePicture], side: int) -> list[FacePicture]:
    """The faces whose pictures have `side` pixels or more, with the longer side made that long."""
    return [resized(face, side) for face in faces if max(face.image.shape[:2]) >= side]


def astronaut() -> FacePicture:
    image = skimage.data.astronaut()
    points = detect_landmarks(image)
    assert points is not None
    return FacePicture("astronaut", "", image, points)


def embeddings(faces: list[FacePicture]) -> NDArray[np.float32]:
    found = [found_anew(resized(face, SIDE)) for face in faces]
    return np.concatenate([identity_embedding(face.image[None], face.landmarks[None]) for face in found])


def measured(row: Row, out: Path) -> list[object]:
    """One row of the table; the sheet of its pictures is written."""
    editor = lssl.FaceEditor(row.editor)
    made = [
        replace(face, image=editor.edit(face.image, row.target, source=_source(row), landmarks=face.landmarks))
        for face in tqdm(row.faces, desc=f"{row.pictures} {row.editor}", unit="face")
    ]
    steps = np.array([steps_along_border(new.image, old.image) for new, old in zip(made, row.faces, strict=True)])
    off = [change_off_face(new, old) for new, old in zip(made, row.faces, strict=True)]
    same = [float((new.image == old.image).all(-1).mean()) for new, old in zip(made, row.faces, strict=True)]
    distances = identity_distance(embeddings(made), embeddings(row.faces))
    side = max(row.faces[0].image.shape[:2])
    name = f"{row.pictures}-{side}-{row.editor}.png".replace(" ", "-")
    _sheet(row.faces, made).save(out / name)
    return [row.pictures, side, f"{row.editor}, {row.target}", len(made), sharpness_ratio(made, row.faces),
            float(np.median(distances)), float(np.median(same)), float(np.median(off)), *(float(value) for value in np.nanmedian(steps, 0))]  # fmt: skip


def _source(row: Row) -> str | None:
    return "happy" if row.pictures == "astronaut" and row.editor != "3d" else None


def _sheet(before: list[FacePicture], made: list[FacePicture], most: int = 8, tile: int = 320) -> Image.Image:
    """A column a person: the photograph, the result, and both from nearer."""
    columns = []
    for old, new in list(zip(before, made, strict=True))[:most]:
        middle, reach = old.landmarks.mean(0), 1.6 * eye_distance(old.landmarks)
        box = [*(middle - reach), *(middle + reach)]
        pictures = [Image.fromarray(face.image) for face in (old, new)]
        tiles = [*(picture.resize((tile, tile)) for picture in pictures)]
        tiles += [
            picture.resize((tile, tile), Image.Resampling.LANCZOS, box=_inside(box, picture)) for picture in pictures
        ]
        columns.append(np.concatenate([np.asarray(part) for part in tiles]))
    return Image.fromarray(np.concatenate(columns, 1))


def _inside(box: list[float], picture: Image.Image) -> tuple[float, float, float, float]:
    width, height = picture.size
    return max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="PHOTOGRAPHS")
@click.option("--people", default="", help="Names of the photographs to take, with commas.  [default: all]")
@click.option("--drawn", "count", default=4, help="Drawn people for the generator of drawn faces.")
@click.option("--sizes", default="512,1350", help="Pixels of the longer side, with commas.")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def main(folder: Path, people: str, count: int, sizes: str, out: Path) -> None:
    """Sharpness, identity and seams of the built-in editors at the photograph's own size."""
    real = photographs(folder, [name.strip() for name in people.split(",") if name.strip()])
    rows = []
    for side in (int(size) for size in sizes.split(",")):
        faces = at_size(real, side)
        if len(faces) < len(real):
            click.echo(f"{len(real) - len(faces)} of {len(real)} photographs have under {side} pixels: left out there")
        rows += [Row("photographs", editor, "happy", faces) for editor in ("london", "3d") if faces]
        rows.append(Row("drawn people", "generated", "happy", drawn(count, side)))
    targets = {"london": "neutral", "3d": "surprised", "generated": "surprised"}
    rows += [Row("astronaut", editor, target, [astronaut()]) for editor, target in targets.items()]
    out.mkdir(parents=True, exist_ok=True)
    table = Table(
        "The built-in editors at the photograph's own size",
        COLUMNS,
        [measured(row, out) for row in rows],
        note="sharpness: of the face away from the mouth, of the photograph's (median); identity: dlib's distance to the "
        "photograph (median, under 0.6 is one person); untouched: the share of the photograph's pixels that are left bit for "
        "bit, and the mean change off the face, 0 to 255 (medians); steps: grey levels between neighbouring pixels across the border "
        "of what was changed (median)",
    )
    report = Report("Full size", " ".join(["python", *sys.argv]), 0)
    report.table(table)
    report.write(out)
    click.echo(console_table(table))


if __name__ == "__main__":
    main()

"""Judges made portraits against real ones, from folders, so that a recipe's results can be judged before lssl has it.

    python benchmarks/judge_faces.py LONDON/ made/                  made/NNN.png: smiles made from LONDON/neutral/NNN.jpg
    python benchmarks/judge_faces.py LONDON/ made/ --source neutral --target smiling -o judged/

LONDON holds a folder per class, with photographs and their 68 landmarks (NNN.jpg, NNN.pts). The made pictures match the
photographs that they were made from pixel by pixel, at their size or reduced; their names begin with the person's
(`001.png`, or `001_happy_photo.png` as `lssl synthesize --paste` writes it). They should be PNG, or JPEG of high quality; the
two-sample test sees those made from JPEGs as JPEGs like these (`lssl.evaluation.measures.writing`).
Prints all tables and writes report.html, results.json, results.csv, sheet.jpg (512 pixels per picture) and mouths.jpg.
"""

import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from PIL import Image

from lssl.data.images import read_image
from lssl.data.landmark_files import read_landmarks
from lssl.data.picture_files import SUFFIXES
from lssl.evaluation.experiments.portraits import prepare_portraits
from lssl.evaluation.experiments.portraits_report import measure_portraits, portrait_sheet, portrait_tables
from lssl.evaluation.measures.portraits import SIDE, FacePicture, resized
from lssl.evaluation.measures.writing import written_like
from lssl.evaluation.report import Report, console_table


def read_class(folder: Path, label: str) -> dict[str, FacePicture]:
    """The portraits of one class, by person. Raises click.ClickException if there are none."""
    found = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in SUFFIXES and path.with_suffix(".pts").is_file():
            found[path.stem] = FacePicture(path.stem, label, read_image(path), read_landmarks(path.with_suffix(".pts")))
    if not found:
        raise click.ClickException(f"{folder} holds no photograph with a .pts file next to it")
    return found


def photograph_file(folder: Path, person: str) -> Path:
    return next(path for path in sorted(folder.glob(f"{person}.*")) if path.suffix.lower() in SUFFIXES)


def is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def made_files(folder: Path, people: set[str]) -> dict[str, Path]:
    """The made picture of each person; if there are several, the whole photograph (`_photo`)."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        person = path.stem if path.stem in people else path.stem.split("_")[0]
        if person in people and (person not in found or path.stem.endswith("_photo")):
            found[person] = path
    if len(found) < 2:
        raise click.ClickException(
            f"{folder} holds pictures of {len(found)} of the people; name them NNN.png, like the photographs"
        )
    return found


@click.command()
@click.argument("real", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("made", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--source", default="neutral", show_default=True, help="Folder of REAL that the pictures were made from.")
@click.option("--target", default="smiling", show_default=True, help="Folder of REAL that shows what was asked for.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: MADE-judged]")
@click.option("--seed", default=0, show_default=True)
def main(real: Path, made: Path, source: str, target: str, out: Path | None, seed: int) -> None:
    """Judge the pictures in MADE, which were made from REAL/neutral, against those in REAL/smiling."""
    out = out or made.parent / f"{made.name}-judged"
    classes = {label: read_class(real / label, label) for label in (source, target)}
    files = made_files(made, set(classes[source]))
    before = [classes[source][person] for person in files]
    pictures, stored = [], []
    for person, path in files.items():
        image, photograph = read_image(path), classes[source][person]
        ratio = np.array([image.shape[k] / photograph.image.shape[k] for k in (1, 0)])
        points = ((photograph.landmarks + 0.5) * ratio - 0.5).astype(np.float32)
        pictures.append(FacePicture(person, target, image, points))
        if not is_jpeg(path):
            image = written_like(image, photograph_file(real / source, person))
        stored.append(FacePicture(person, target, image, points))
    everyone = [portrait for people in classes.values() for portrait in people.values()]
    example, side = next(iter(files.values())), max(pictures[0].image.shape[:2])
    copies = []
    for portrait in everyone:
        like = example if is_jpeg(example) else photograph_file(real / portrait.label, portrait.subject)
        copy = resized(portrait, side)
        copies.append(replace(copy, image=written_like(copy.image, like)))
    judged = prepare_portraits(pictures, before, everyone, copies, stored)
    report = Report(f"Made faces: {made.name}", " ".join(["python", *sys.argv]), seed)
    report.paragraph(
        f"{len(files)} pictures made from {source} to {target}, {len(everyone)} real photographs, at most {SIDE} pixels."
    )
    figures = measure_portraits(judged, seed=seed)
    for table in portrait_tables([figures]):
        report.table(table)
        click.echo(console_table(table) + "\n")
    report.results["portraits"] = figures
    report.heading("Look")
    report.image(
        portrait_sheet(judged, target, most=8), "Photograph, result, the person's real picture.", photographs=True
    )
    report.write(out)
    Image.fromarray(portrait_sheet(judged, target)).save(out / "sheet.jpg", quality=95, subsampling=0)
    Image.fromarray(portrait_sheet(judged, target, close=True)).save(out / "mouths.jpg", quality=95, subsampling=0)
    click.echo(f"{out}/report.html, sheet.jpg, mouths.jpg")


if __name__ == "__main__":
    main()

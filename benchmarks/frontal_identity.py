"""How much of the person `lssl render-frontal` keeps, on real photographs: dlib's distance from photograph to result.

    python benchmarks/frontal_identity.py portraits/*.jpg --out identity/

Landmarks are those of .pts files next to the photographs, else dlib's. The photograph is cropped as by `lssl prepare`;
distances under 0.6 usually mean the same person. Writes report.html, results.json, results.csv and worst.png (a row per
case: photograph, drawn on grey, drawn in front of its surroundings) into --out. Fails (exit code 1) if the median
is 0.5 or more. Needs dlib: pip install 'lssl[landmarks]'.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lssl.data.detect import EXTRA_MISSING, available, detect_landmarks, identity_embedding
from lssl.data.images import read_image
from lssl.data.landmark_files import read_landmarks
from lssl.data.portrait import Portrait
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.report import Report, Table, console_table
from lssl.face3d import BilinearFaceModel, fit_landmarks
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.frontal.draw import draw_face
from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.sheet import sheet

BAR = 0.5
BACKGROUNDS = ("plain", "original")


@dataclass(frozen=True)
class Case:
    """A photograph's crop and its frontal faces, one per background; fit error in eye distances, yaw in degrees."""

    name: str
    crop: NDArray[np.uint8]
    drawn: list[NDArray[np.uint8]]
    error: float
    yaw: float


def frontal_case(model: BilinearFaceModel, path: Path, size: int) -> Case | None:
    """The case of a photograph; None if no face is found or the fit is not reliable."""
    image = read_image(path)
    marks = path.with_suffix(".pts")
    points = read_landmarks(marks) if marks.is_file() else detect_landmarks(image)
    if points is None:
        return None
    fit = fit_landmarks(model, torch.from_numpy(points)[None])
    if not fit.trusted.all():
        return None
    painter = FacePainter(model, fit, [image], size=size)
    drawn = [draw_face(painter, size, background=background).image for background in BACKGROUNDS]
    name = f"{path.parent.name}/{path.stem}"
    return Case(name, Portrait(image, points).crop(size)[0], drawn, float(fit.error), float(fit.camera.yaw))


@click.command(context_settings={"show_default": True})
@click.argument(
    "photographs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PHOTO..."
)
@click.option("--size", default=256, help="Side of the pictures compared, in pixels.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="Face model.  [default: embedded]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def main(photographs: tuple[Path, ...], size: int, model: Path | None, out: Path) -> None:
    """Identity kept by frontal rendering."""
    if not available():
        raise click.ClickException(EXTRA_MISSING)
    face_model = load_embedded_model() if model is None else BilinearFaceModel.load(model)
    found = [frontal_case(face_model, path, size) for path in tqdm(photographs, desc="drawing", unit="face")]
    cases = [case for case in found if case is not None]
    if not cases:
        raise click.ClickException("no photograph gave a frontal face")
    report = Report("Identity kept by frontal rendering", " ".join(["python", *sys.argv]), 0)
    crops = identity_embedding(np.stack([case.crop for case in cases]))
    rows, worst = [], []
    for k, background in enumerate(BACKGROUNDS):
        distances = identity_distance(crops, identity_embedding(np.stack([case.drawn[k] for case in cases])))
        quartiles = [float(np.percentile(distances, share)) for share in (50, 90, 100)]
        rows.append([background, *quartiles, float((distances < 0.6).mean())])
        worst.append(distances)
    errors = [case.error for case in cases]
    table = Table(
        "dlib's distance from photograph to frontal face",
        ["background", "median", "90%", "largest", "share under 0.6"],
        rows,
        note=f"{len(cases)} of {len(photographs)} photographs; fit error {np.median(errors):.3f} eye distances (median)",
    )
    report.table(table)
    order = np.argsort(-worst[0])[:12].tolist()

    def tiles(k: int) -> list[tuple[str, NDArray[np.uint8]]]:
        captions = [f"yaw {cases[k].yaw:+.0f}", *(f"{name}, {worst[b][k]:.2f}" for b, name in enumerate(BACKGROUNDS))]
        return list(zip(captions, [cases[k].crop, *cases[k].drawn], strict=True))

    rows_of_two = [order[start : start + 2] for start in range(0, len(order), 2)]
    page = sheet(
        [("; ".join(cases[k].name for k in pair), [tile for k in pair for tile in tiles(k)]) for pair in rows_of_two],
        192,
        heading="Largest distances",
    )
    out.mkdir(parents=True, exist_ok=True)
    page.save(out / "worst.png")
    report.image(np.asarray(page.convert("RGB")), "Largest distances")
    report.write(out)
    click.echo(console_table(table))
    sys.exit(0 if max(row[1] for row in rows) < BAR else 1)


if __name__ == "__main__":
    main()

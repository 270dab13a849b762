"""How accurate `lssl render-frontal` is, on generated people whose frontal face is known.

    python benchmarks/frontal_accuracy.py --out accuracy/                     the embedded model
    python benchmarks/frontal_accuracy.py --model ict --out accuracy/         and ICT-FaceKit, right and wrong model

ict is the part of ICT-FaceKit that comes with the package; for the whole one: `lssl face-model import ict FaceXModel/ -o
ict.npz`. Each person is drawn from the model's prior, with one of its expressions, and photographed at each yaw under a
light that stays where it is, from nearer than the command assumes; landmarks are the true ones with noise. The frontal
rendering of the fit is compared with the true frontal picture over the true face (skin, brows, eyes, lips, the inside of an
open mouth, and the forehead; not hair, ears and neck), with everything else painted grey in both. Further tables
(frontal_surroundings.py): how much hair is kept around the face, chroma under tinted light, eyes under a fringe. Writes
report.html, results.json, results.csv and worst.png (a row per case: photograph, drawn, true, four times the difference)
into --out. Fails (exit code 1) if a threshold is missed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from frontal_surroundings import surroundings_tables
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity
from torch import Tensor
from tqdm import tqdm

from lssl.evaluation.report import Report, Table, console_table
from lssl.face3d import BilinearFaceModel, fit_landmarks, render_frontal
from lssl.face3d.builtin import load_face_model
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.face3d.sheet import sheet, to_uint8
from lssl.inference.frontalize import DISTANCE

YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
PAIRS = ((-45.0, 45.0),)
YAW_BAR = 2.0
PSNR_BARS = {15: 26.0, 30: 24.0, 45: 22.0}
_GREY = 128


@dataclass(frozen=True)
class People:
    """N people of a model: vertices (N, V, 3), albedo (N, V, 3), lights."""

    model: BilinearFaceModel
    vertices: Tensor
    albedo: Tensor
    lights: Lighting
    distance: float

    def photograph(self, size: int, yaw: float) -> tuple[NDArray[np.uint8], Tensor, NDArray[np.bool_]]:
        """Pictures (N, size, size, 3), true landmarks (N, 68, 2), and the face's pixels (N, size, size)."""
        where = torch.from_numpy(self.model.topology.landmarks).long()
        camera = portrait_camera(self.vertices[:, where], size, yaw=yaw, distance=self.distance)
        pictures, masks = [], []
        for i in range(len(self.vertices)):
            picture = render(
                self.vertices[i : i + 1], self.albedo[i : i + 1], self.model.topology, camera[i : i + 1],
                self.lights[i], size, background=0.1,
            )  # fmt: skip
            pictures.append(to_uint8(picture.images)[0])
            masks.append(ndimage.binary_fill_holes(picture.classes[0].numpy() > 0))
        landmarks = self.model.landmarks(camera.project(self.vertices))[..., :2]
        return np.stack(pictures), landmarks, np.stack(masks)


def people_of(model: BilinearFaceModel, count: int, seed: int, lighting: str, distance: float) -> People:
    generator = torch.Generator().manual_seed(seed)
    identity = model.sample_identity(count, generator)
    albedo = model.albedo(model.sample_albedo(count, generator))
    names = list(model.expressions)
    expression = torch.stack([model.expression(names[i % len(names)]) for i in range(count)])
    return People(
        model,
        model.vertices(identity, expression),
        albedo,
        Lighting.named([lighting] * count),
        distance,
    )


@dataclass(frozen=True)
class Comparison:
    """One person's frontal face: yaw errors in degrees, PSNR (dB) and SSIM over the face, and the pictures."""

    yaw_errors: list[float]
    psnr: float
    ssim: float
    pictures: list[NDArray[np.uint8]]


def compare(drawn: NDArray[np.uint8], true: NDArray[np.uint8], face: NDArray[np.bool_]) -> tuple[float, float]:
    """PSNR (dB) and mean SSIM of pictures (H, W, 3) over the pixels of `face` (H, W)."""
    a, b = (np.where(face[..., None], picture, np.uint8(_GREY)) for picture in (drawn, true))
    error = ((a.astype(np.float64) - b)[face] ** 2).mean()
    _, similarity = structural_similarity(a, b, channel_axis=2, data_range=255, full=True)
    return 10 * float(np.log10(255**2 / max(error, 1e-9))), float(similarity[face].mean())


def measure(
    people: People,
    fitted: BilinearFaceModel,
    yaws: Sequence[float],
    size: int,
    noise: float,
    distance: float,
    seed: int,
    title: str,
) -> list[Comparison]:
    """Fits every person, with a camera at `distance`, and draws it from the views at `yaws` together."""
    true, _, face = people.photograph(size, 0.0)
    shots = [people.photograph(size, yaw) for yaw in yaws]
    generator = torch.Generator().manual_seed(seed + 1)
    landmarks = torch.stack(
        [points + noise * torch.randn(points.shape, generator=generator) for _, points, _ in shots], 1
    )
    fit = fit_landmarks(fitted, landmarks, distance=distance)
    errors = (fit.camera.yaw.reshape(-1, len(yaws)) - torch.tensor(yaws)).abs()
    results = []
    for i in tqdm(range(len(true)), desc=title, leave=False):
        photographs = [pictures[i] for pictures, _, _ in shots]
        drawn = render_frontal(fitted, fit, photographs, subject=i, size=size).image
        psnr, ssim = compare(drawn, true[i], face[i])
        difference = np.where(face[i][..., None], np.abs(drawn.astype(int) - true[i]) * 4, 0).clip(0, 255)
        results.append(
            Comparison(errors[i].tolist(), psnr, ssim, [*photographs, drawn, true[i], difference.astype(np.uint8)])
        )
    return results


def misses(case: str, yaws: Sequence[float], results: list[Comparison]) -> list[str]:
    """The thresholds that a row of the table misses, in words; they apply only to people fitted with their own model."""
    angle = round(abs(yaws[0]))
    psnr = float(np.mean([result.psnr for result in results]))
    yaw_error = float(np.mean([result.yaw_errors for result in results]))
    where = f"{case}, yaw {' and '.join(f'{yaw:+.0f}' for yaw in yaws)}"
    found = []
    if yaw_error >= YAW_BAR:
        found.append(f"{where}: yaw error {yaw_error:.2f}, bar {YAW_BAR:g} degrees")
    if len(yaws) == 1 and psnr < PSNR_BARS.get(angle, 0):
        found.append(f"{where}: PSNR {psnr:.2f}, bar {PSNR_BARS[angle]:g} dB")
    return found


def not_better_together(case: str, singles: dict[float, list[Comparison]], pair: list[Comparison]) -> list[str]:
    """A complaint if two views together do not beat the better one of them."""
    best = max(float(np.mean([result.psnr for result in results])) for results in singles.values())
    both = float(np.mean([result.psnr for result in pair]))
    return [] if both > best else [f"{case}: two views give {both:.2f} dB, the better one alone {best:.2f} dB"]


@click.command(context_settings={"show_default": True})
@click.option("--model", help="Add another model's people: ict, or the file of an imported model.")
@click.option("--subjects", type=click.IntRange(0), default=40, help="People per case; 0: leave this table out.")
@click.option("--wearers", type=click.IntRange(0), default=8, help="People per hair style; 0: leave these tables out.")
@click.option("--yaw", "yaws", default=",".join(f"{yaw:g}" for yaw in YAWS), help="Degrees, separated by commas.")
@click.option("--size", default=128, help="Side of photographs and results in pixels.")
@click.option("--noise", default=1.0, help="Standard deviation of each landmark coordinate, in pixels at that size.")
@click.option("--lighting", type=click.Choice(["normal", "weak", "dark"]), default="normal")
@click.option("--distance", default=130.0, help="From camera to head in centimetres.")
@click.option("--assumed-distance", default=DISTANCE, help="The distance that the fit assumes.")
@click.option("--seed", default=0)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def main(
    model: str | None,
    subjects: int,
    wearers: int,
    yaws: str,
    size: int,
    noise: float,
    lighting: str,
    distance: float,
    assumed_distance: float,
    seed: int,
    out: Path,
) -> None:
    """Accuracy of fitting and frontal rendering on generated people."""
    angles = [float(value) for value in yaws.split(",")]
    embedded = load_embedded_model()
    cases = [("embedded", embedded, embedded)]
    if model is not None:
        ict = load_face_model(model)
        cases += [("ICT", ict, ict), ("ICT people, embedded model", ict, embedded)]
    report = Report("Accuracy of frontal rendering", " ".join(["python", *sys.argv]), seed)
    rows, missed, pages, tables = [], [], [], []
    for case, source, fitted in cases:
        if wearers:
            found, shown = surroundings_tables(
                case, source, fitted, wearers, seed, size, noise, (distance, assumed_distance)
            )
            tables += found
            pages += shown
        if not subjects:
            continue
        people = people_of(source, subjects, seed, lighting, distance)
        by_view: dict[tuple[float, ...], list[Comparison]] = {}
        pairs = [pair for pair in PAIRS if set(pair) <= set(angles)]
        for view in [*((angle,) for angle in angles), *pairs]:
            name = " and ".join(f"{yaw:+.0f}" for yaw in view)
            results = by_view[view] = measure(
                people, fitted, view, size, noise, assumed_distance, seed, f"{case} {name}"
            )
            columns = [[np.mean(r.yaw_errors) for r in results], [r.psnr for r in results], [r.ssim for r in results]]
            rows.append([f"{case}, yaw {name}", *(float(np.mean(c)) for c in columns), float(np.min(columns[1]))])
            if source is fitted:
                missed += misses(case, view, results)
            ranked = sorted(results, key=lambda r: r.psnr)
            tiles = []
            for label, chosen in (("worst", ranked[0]), ("median", ranked[len(ranked) // 2])):
                captions = [
                    *(f"{yaw:+.0f}" for yaw in view),
                    f"{label}, {chosen.psnr:.1f} dB",
                    "true",
                    "4 x difference",
                ]
                tiles += zip(captions, chosen.pictures, strict=True)
            pages.append((f"{case}, yaw {name}", tiles))
        for pair in pairs:
            missed += not_better_together(case, {yaw: by_view[(yaw,)] for yaw in pair}, by_view[pair])
    table = Table(
        "Frontal rendering against the truth",
        ["people and fitted model", "yaw error, degrees", "PSNR, dB", "SSIM", "worst PSNR, dB"],
        rows,
        note=f"means over {subjects} people; {noise:g} pixel of landmark noise at {size}x{size}; {lighting} light, "
        f"from {distance:g} cm, assumed to be {assumed_distance:g}",
    )
    tables = [table, *tables] if subjects else tables
    for each in tables:
        report.table(each)
    out.mkdir(parents=True, exist_ok=True)
    page = sheet(pages, size, heading="Worst and median cases")
    page.save(out / "worst.png")
    report.image(np.asarray(page.convert("RGB")), "Worst and median cases")
    report.write(out)
    for each in tables:
        click.echo(console_table(each))
    for line in missed:
        click.secho(line, fg="red")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

"""The pictures and the page of `lssl evaluate activations` (Fig. 10)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lssl.data import FaceDataset
from lssl.data.sheet import draw_sheet
from lssl.errors import LsslError
from lssl.evaluation.experiments.activations import (
    REGIONS,
    Layer,
    Unit,
    choose_units,
    encoder_layer,
    find_peaks,
    summarise_units,
    unit_maps,
    unit_thresholds,
)
from lssl.evaluation.report import Report, Table
from lssl.models.export import TrainedGenerator

_TILE = 128
_GAP = 4
_LINE = (255, 196, 0)  # amber: visible on any skin and on grey
_DIM = 0.36


def show_activations(
    report: Report,
    model: TrainedGenerator,
    faces: FaceDataset,
    *,
    layer: int = 5,
    units: int = 12,
    chosen: Sequence[int] = (),
    pictures: int = 8,
    quantile: float = 0.95,
    progress: bool = False,
) -> NDArray[np.uint8]:
    """Adds the sheet of units and their tables to the report; returns the sheet, uint8 (H, W, 3).

    Args:
        layer: layer of the encoder, counted from 1; the paper shows the fifth.
        units: how many units to show, unless `chosen` gives their numbers.
        pictures: faces per unit.
        quantile: a unit counts as active where it is above this quantile (0 to 1) of all its activations.

    Raises LsslError for a layer or unit that the model does not have.
    """
    about = encoder_layer(model, layer)
    if wrong := [number for number in chosen if not 0 <= number < about.units]:
        raise LsslError(f"unit {wrong[0]}: layer {layer} has units 0 to {about.units - 1}")
    peaks = find_peaks(model, faces, about, progress=progress)
    found = summarise_units(peaks, faces.folder, faces.size, pictures)
    shown = [u for u in found if u.number in set(chosen)] if chosen else choose_units(found, units)
    sheet = _unit_sheet(model, faces, about, shown, quantile)
    silent = about.units - len(found)
    report.paragraph(
        f"{about}. {len(faces)} faces. Each row shows the faces, of different people, that activate one unit most; they are "
        f"bright where the unit is above the {100 * quantile:g}% quantile of all its activations."
        + (f" {silent} units never change." if silent else "")
    )
    where = "chosen by number" if chosen else "the most consistent and sharpest of each region"
    report.image(sheet, f"Units of encoder layer {layer} ({where}) and the face regions that activate them most.")
    if faces.folder.landmarks is not None:
        report.table(_region_table(found))
    report.table(_unit_table(shown, faces))
    report.results.update(
        layer=layer,
        quantile=quantile,
        units=[
            {
                "unit": u.number,
                "region": u.region,
                "share": u.share,
                "focus": u.focus,
                "faces": [faces.folder.file_names[row] for row in u.rows],
            }
            for u in shown
        ],
    )
    return sheet


def _unit_sheet(
    model: TrainedGenerator, faces: FaceDataset, about: Layer, units: Sequence[Unit], quantile: float
) -> NDArray[np.uint8]:
    """One row per unit: its top faces, highlighted."""
    thresholds = unit_thresholds(model, faces, about, [unit.number for unit in units], quantile)
    rows = [
        [
            _highlighted(faces, row, heat, threshold)
            for row, heat in zip(u.rows, unit_maps(model, faces, about, u, _TILE), strict=True)
        ]
        for u, threshold in zip(units, thresholds, strict=True)
    ]
    labels = [f"unit {unit.number}\n{unit.region}" for unit in units]
    return np.asarray(draw_sheet(rows, labels=labels, tile=_TILE, gap=_GAP))


def _region_table(units: Sequence[Unit]) -> Table:
    counts = Counter(unit.region for unit in units)
    rows: list[list[Any]] = []
    for region in REGIONS:
        steady = [unit for unit in units if unit.region == region]
        share = 100 * float(np.mean([unit.share for unit in steady])) if steady else None
        rows.append([region, counts[region], 100 * counts[region] / len(units), share])
    note = (
        "A unit's region is where most of its top faces have their peak, by the landmarks; the last column is how many of "
        "these faces agree, on average."
    )
    return Table("Where the layer's units look", ["region", "units", "% of units", "faces that agree, %"], rows, note)


def _unit_table(units: Sequence[Unit], faces: FaceDataset) -> Table:
    """The units shown, with what their top faces have in common if the folder has attributes."""
    groups = faces.schema.groups
    header = ["unit", "region", "faces that agree, %", "focus", *(f"mostly ({group.name})" for group in groups)]
    rows: list[list[Any]] = []
    for unit in units:
        common = []
        for group in groups:
            values = Counter(faces.folder.columns[group.name][row] for row in unit.rows)
            value, count = values.most_common(1)[0]
            common.append(f"{value} {100 * count / len(unit.rows):.0f}%")
        rows.append([unit.number, unit.region or None, 100 * unit.share, unit.focus, *common])
    note = "Focus: the peak above the map's mean, in the map's standard deviations."
    return Table("The units shown", header, rows, note)


def _highlighted(faces: FaceDataset, row: int, heat: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """The face: bright where the unit is active, dim and grey elsewhere, with a line between the two."""
    pixels = faces[row]["image"].permute(1, 2, 0).numpy()
    tile = np.asarray(Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BICUBIC), np.float32)
    active = heat > min(threshold, float(heat.max()) - 1e-6)
    grey = tile.mean(2, keepdims=True).repeat(3, 2) * _DIM + 255 * 0.08
    picture = np.where(active[..., None], tile, grey)
    line = active & ~ndimage.binary_erosion(active, iterations=2, border_value=1)
    picture[line] = _LINE
    return picture.round().clip(0, 255).astype(np.uint8)

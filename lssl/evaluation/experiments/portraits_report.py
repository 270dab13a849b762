"""Made portraits judged at full size, by measures that a mere smudge cannot pass, as plain values and as tables.

What is judged is what a user sees: whole photographs with the change in them, at 512 pixels, compared with real photographs
of the class asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.portrait import safe_name
from lssl.data.writer import save_picture
from lssl.evaluation.experiments.experiment import over_folds
from lssl.evaluation.experiments.portraits import JudgedPortraits
from lssl.evaluation.measures.contact_sheet import contact_sheet
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.measures.judges import judge_expressions
from lssl.evaluation.measures.movement import face_shape, movements
from lssl.evaluation.measures.portraits import MOUTH, REGIONS, SIDE, FacePicture, region_crops
from lssl.evaluation.measures.sharpness import change_off_face, sharpness_ratio
from lssl.evaluation.measures.two_sample import halves_control, two_sample_test
from lssl.evaluation.report import Report, Table

SHOWN = 16
_IDENTITIES = 40  # embeddings take a third of a second each
_KEPT = {
    "sharpness": "sharpness away from the mouth, made / photograph (median)",
    "off_face": "change off the face, 0 to 255 (median)",
    "identity": "identity distance to the photograph (median)",
    "identity_real": "the same for the person's real picture of the class",
}


def measure_portraits(judged: JudgedPortraits, *, seed: int = 0) -> dict[str, Any]:
    """All measures as plain values; `portrait_tables` shows them.

    size: the longer side in pixels. anew: whether landmarks were found in the pictures themselves. two_sample: a list with
    an entry per class and region; movement: per class and part; judges: per judge. kept: what must stay as it was.
    """
    asked = sorted({picture.label for picture in judged.made})
    people = len({picture.subject for picture in judged.real})
    judgements = judge_expressions(judged.real, judged.made, judged.scale, folds=min(5, people), seed=seed)
    return {
        "size": max(judged.made[0].image.shape[:2]),
        "anew": judged.anew,
        "people": len({picture.subject for picture in judged.made}),
        "two_sample": [entry for label in asked for entry in _two_sample(judged, label, seed)],
        "movement": [entry for label in asked for entry in _movement(judged, label)],
        "judges": [
            {
                "judge": j.judge,
                "made": _number(j.made),
                "real": _number(j.real),
                "made_beside": _number(j.made_beside),
                "real_beside": _number(j.real_beside),
                "by_class": _by_class(j.recognised, judged.made, asked),
                "real_by_class": _by_class(j.recognised_real, judged.real, asked),
            }
            for j in judgements
        ],
        "kept": _kept(judged),
    }


def _by_class(
    recognised: NDArray[np.bool_], pictures: Sequence[FacePicture], labels: Sequence[str]
) -> dict[str, float]:
    """Percent of the pictures of each class that are recognised."""
    return {label: 100 * float(recognised[[p.label == label for p in pictures]].mean()) for label in labels}


def _two_sample(judged: JudgedPortraits, label: str, seed: int) -> list[dict[str, Any]]:
    made = [p for p in judged.stored if p.label == label]
    places = [k for k, p in enumerate(judged.real) if p.label == label]
    real, written = ([side[k] for k in places] for side in (judged.real, judged.written))
    people, made_people = [p.subject for p in real], [p.subject for p in made]
    if min(len(set(people)), len(set(made_people))) < 2:
        return []
    entries = []
    for region in REGIONS:
        crops = [region_crops(part, region, judged.scale) for part in (real, made, written)]
        test = two_sample_test(crops[0], crops[1], people, made_people, seed=seed)
        rewritten = two_sample_test(crops[0], crops[2], people, people, seed=seed, resamples=0, repeats=1)
        control, error = halves_control(crops[0], crops[2], people, seed=seed)
        entries.append(
            {
                "label": label,
                "region": region.name,
                "area": test.area,
                "low": test.low,
                "high": test.high,
                "rewritten": rewritten.area,
                "control": control,
                "control_error": error,
                "made": test.made,
                "real": test.real,
            }
        )
    return entries


def _movement(judged: JudgedPortraits, label: str) -> list[dict[str, Any]]:
    chosen = [k for k, p in enumerate(judged.made) if p.label == label]
    others = [p.landmarks for p in judged.real if p.label == label]
    if not others:
        return []
    nothing = np.full((68, 2), np.nan, np.float32)
    before, made = (np.stack([side[k].landmarks for k in chosen]) for side in (judged.before, judged.made))
    real = np.stack([nothing if (own := judged.own[k]) is None else own.landmarks for k in chosen])
    pairs = [judged.geometry[key] for k in chosen if (key := (judged.made[k].subject, label)) in judged.geometry]
    vertices = np.median([face_shape(after) - face_shape(start) for start, after in pairs], 0) if pairs else None
    return [
        {
            "label": label,
            "part": m.part,
            "made": m.made,
            "real": m.real,
            "ratio": _number(m.ratio),
            "people": m.people,
            "vertices": None if vertices is None else float(vertices[k]),
        }
        for k, m in enumerate(movements(before, made, real, np.stack(others)))
    ]


def _kept(judged: JudgedPortraits) -> dict[str, float | None]:
    pairs = list(zip(judged.made, judged.before, strict=True))
    figures: dict[str, float | None] = {
        "sharpness": _number(sharpness_ratio(judged.made, judged.before)),
        "off_face": float(np.median([change_off_face(made, before) for made, before in pairs])),
    }
    if not judged.anew:
        return figures
    count = min(_IDENTITIES, len(pairs))
    chosen = [k * len(pairs) // count for k in range(count)]
    start = _embeddings([judged.before[k] for k in chosen])
    figures["identity"] = float(np.median(identity_distance(_embeddings([judged.made[k] for k in chosen]), start)))
    own = {place: picture for place, k in enumerate(chosen) if (picture := judged.own[k]) is not None}
    if own:
        figures["identity_real"] = float(
            np.median(identity_distance(_embeddings(list(own.values())), start[list(own)]))
        )
    return figures


def _embeddings(pictures: Sequence[FacePicture]) -> NDArray[np.float32]:
    return np.concatenate([detect.identity_embedding(p.image[None], p.landmarks[None]) for p in pictures])


def portrait_tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """The tables for the results of `measure_portraits` in one or several folds, the two-sample test first."""
    return [_two_sample_table(results), _movement_table(results), _judges_table(results), _kept_table(results)]


def _two_sample_table(results: Sequence[dict[str, Any]]) -> Table:
    rows: list[list[Any]] = []
    for entries in _together(results, "two_sample", ("label", "region")):
        first = entries[0]
        interval = f"{first['low']:.2f} to {first['high']:.2f}" if len(entries) == 1 else None
        control = (first["control"], first["control_error"]) if len(entries) == 1 else _mean(entries, "control")
        counts = [sum(entry[side] for entry in entries) for side in ("made", "real")]
        rows.append(
            [
                f"{first['label']}: {first['region']}",
                _mean(entries, "area"),
                interval,
                _mean(entries, "rewritten"),
                control,
            ]
            + counts
        )
    note = (
        f"Pictures of {results[0]['size']} pixels. A fresh classifier is trained on some people's made and real pictures of the "
        "class and tested on others: area under the curve, 0.5 is perfect. 95% interval over people. Made pictures are written "
        "in their photographs' format and quality first: else a test tells them from JPEGs by the grain of their colours, which "
        "nobody sees. Rewritten: the real pictures against themselves after the reading, resizing, cropping and writing that "
        "made ones go through. Control: "
        "such pictures of half of the people against real ones of the other half, mean and standard error over 20 halvings. "
        "Both must be about 0.5."
    )
    header = ["made or real?", "area", "95% interval", "rewritten", "control", "made", "real"]
    return Table("Two-sample test", header, rows, note)


def _movement_table(results: Sequence[dict[str, Any]]) -> Table:
    rows: list[list[Any]] = []
    known = any(entry["vertices"] is not None for result in results for entry in result["movement"])
    columns = ["moved", "made", "real", *(["vertices"] if known else []), "ratio", "people"]
    for entries in _together(results, "movement", ("label", "part")):
        values = [_mean(entries, name) for name in ("made", "real", "vertices")[: len(columns) - 3]]
        name = f"{entries[0]['label']}: {entries[0]['part']}"
        rows.append([name, *values, _mean(entries, "ratio"), sum(e["people"] for e in entries)])
    note = (
        "Medians over people, in distances between the eyes, by landmarks found in every picture itself. Ratio: median of a "
        "person's made movement over the same person's real one, of those who move the part by 0.02 or more (over the class's "
        "if nobody has a real picture of the class); a dash if the class does not move the part."
    )
    if not all(result["anew"] for result in results):
        note = (
            "Not measured: without dlib (pip install 'lssl[landmarks]') a made picture has its photograph's landmarks. "
            + note
        )
    if known:
        note += " Vertices: the real movement by the generated faces' geometry, which shows the error of the landmarks."
    return Table("Movement", columns, rows, note)


def _judges_table(results: Sequence[dict[str, Any]]) -> Table:
    columns = ("made", "real", "made_beside", "real_beside")
    rows = [
        [entries[0]["judge"], *(_mean(entries, name) for name in columns)]
        for entries in _together(results, "judges", ("judge",))
    ]
    note = (
        "Percent of made pictures recognised as the class asked for, and of real ones as what they show, by judges trained on "
        "other people; the smallest first. Beside own: relative to the mean of the same person's photographs of every class."
    )
    header = ["judge", "made", "real", "made, beside own", "real, beside own"]
    return Table("Recognised at several sizes", header, rows, note)


def _kept_table(results: Sequence[dict[str, Any]]) -> Table:
    kept = [result["kept"] for result in results]
    rows: list[list[Any]] = [[name, _mean(kept, key)] for key, name in _KEPT.items() if all(key in k for k in kept)]
    note = "Sharpness: variance of the Laplacian. Identity: dlib's embedding; under 0.6 is usually the same person."
    return Table("What must stay", ["measure", "value"], rows, note)


def _together(results: Sequence[dict[str, Any]], key: str, names: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The entries of all folds that agree in `names`, in the first fold's order."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in results:
        for entry in result[key]:
            found.setdefault(tuple(entry[name] for name in names), []).append(entry)
    return list(found.values())


def _mean(entries: Sequence[dict[str, Any]], name: str) -> float | tuple[float, float] | None:
    values = [entry[name] for entry in entries if entry[name] is not None]
    return over_folds(values) if values else None


def _number(value: float) -> float | None:
    """The value, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def portrait_sheet(judged: JudgedPortraits, label: str, *, most: int = SHOWN, close: bool = False) -> NDArray[np.uint8]:
    """A sheet, uint8 (H, W, 3): photograph, result, and the person's real picture of the class, at SIDE pixels; `most` people
    at most, evenly chosen.

    close: only the mouths, as the two-sample test sees them, four times as large.
    """
    chosen = [k for k, p in enumerate(judged.made) if p.label == label]
    chosen = [chosen[k * len(chosen) // min(most, len(chosen))] for k in range(min(most, len(chosen)))]
    rows: list[list[NDArray[np.uint8] | None]] = []
    for k in chosen:
        row = [judged.before[k], judged.made[k], judged.own[k]]
        if close:
            rows.append([None if p is None else region_crops([p], MOUTH, judged.scale)[0] for p in row])
        else:
            rows.append([None if p is None else p.image for p in row])
    side = 4 * max(region_crops([judged.made[0]], MOUTH, judged.scale).shape[1:3]) if close else SIDE
    names = [judged.made[k].subject for k in chosen]
    return contact_sheet(rows, ["photograph", "result", f"real: {label}"], names, side=side)


def save_sheets(judged: JudgedPortraits, folder: Path) -> None:
    """Writes a contact sheet per class, `sheet-<class>.jpg`, and one of the mouths, `mouths-<class>.jpg`."""
    for label in sorted({picture.label for picture in judged.made}):
        for name, close in (("sheet", False), ("mouths", True)):
            sheet = Image.fromarray(portrait_sheet(judged, label, most=8, close=close))
            save_picture(folder / f"{name}-{safe_name(label)}.jpg", sheet, quality=92, subsampling=0)


def add_sheets(report: Report, folder: Path) -> None:
    """Adds the sheets that `save_sheets` wrote to the report."""
    report.heading("Look")
    for path in sorted(folder.glob("sheet-*.jpg")):
        with Image.open(path) as sheet:
            caption = (
                f"{path.stem.removeprefix('sheet-')}: photograph, result, the person's real picture if there is one."
            )
            report.image(np.asarray(sheet.convert("RGB")), caption, photographs=True)

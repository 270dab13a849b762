"""Made portraits judged at full size: every measure that a smudge does not pass, in one report.

What is judged is what a user sees: whole photographs with the change in them, 512 pixels high and wide, beside real
photographs of the class that was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data import FolderError, detect
from lssl.evaluation.measures.contact_sheet import contact_sheet
from lssl.evaluation.measures.judges import judge_expressions
from lssl.evaluation.measures.metrics import identity_distance
from lssl.evaluation.measures.movement import movements
from lssl.evaluation.measures.portraits import (
    MOUTH,
    REGIONS,
    SIDE,
    Portrait,
    common_scale,
    found_anew,
    region_crops,
    resized,
)
from lssl.evaluation.measures.sharpness import change_off_face, sharpness_ratio
from lssl.evaluation.measures.two_sample import halves_control, two_sample_test
from lssl.evaluation.report import Report, Table

SHOWN = 16
_IDENTITIES = 40  # embeddings take a third of a second each


@dataclass
class JudgedPortraits:
    """What is judged, at its working size, with landmarks found alike in every picture.

    made: labelled with the class asked for. before: the photographs that they were made from, one each.
    real: photographs of all people and classes. written: of each picture of `real`, what the writing and reading of the
        made pictures makes of it.
    anew: whether the landmarks were found in the pictures themselves; else the made ones have their photographs'.
    """

    made: list[Portrait]
    before: list[Portrait]
    real: list[Portrait]
    written: list[Portrait]
    scale: float
    anew: bool


def prepare_portraits(
    made: Sequence[Portrait],
    before: Sequence[Portrait],
    real: Sequence[Portrait],
    written: Sequence[Portrait] | None = None,
) -> JudgedPortraits:
    """Brings all to one size, that of the made pictures or SIDE if that is less, and finds their landmarks anew.

    Raises FolderError where there is nothing to judge, or a made picture has another shape than its photograph.
    """
    if not made:
        raise FolderError("there is no made picture to judge")
    for picture, photograph in zip(made, before, strict=True):
        (height, width), (h, w) = picture.image.shape[:2], photograph.image.shape[:2]
        if abs(height * w - width * h) > max(height, width, h, w):
            raise FolderError(
                f"the picture made of '{picture.subject}' is {width}x{height}, its photograph {w}x{h}: they do not lie on "
                "one another; give whole photographs (lssl synthesize --paste)"
            )
    side = min(SIDE, *(max(portrait.image.shape[:2]) for portrait in made))
    anew = detect.available()

    def ready(portraits: Sequence[Portrait]) -> list[Portrait]:
        small = [resized(portrait, side) for portrait in portraits]
        return [found_anew(portrait) for portrait in small] if anew else small

    photographs = ready(real)
    copies = photographs if written is None else ready(written)
    return JudgedPortraits(ready(made), ready(before), photographs, copies, common_scale(photographs), anew)


def judge_portraits(report: Report, judged: JudgedPortraits, *, seed: int = 0) -> dict[str, Any]:
    """Adds the tables and the contact sheets to the report, the two-sample test first; returns the figures as plain values."""
    asked = sorted({portrait.label for portrait in judged.made})
    figures: dict[str, Any] = {}
    first = _two_sample_table(judged, asked, seed, figures)
    report.table(first)
    report.table(_movement_table(judged, asked, figures))
    report.table(_judges_table(judged, figures, seed))
    report.table(_kept_table(judged, figures))
    if not judged.anew:
        report.paragraph(
            "dlib is not installed (pip install 'lssl[landmarks]'): the made pictures have their photographs' landmarks, so "
            "movement and identity say nothing."
        )
    for label in asked:
        report.heading(f"Look: {label}")
        report.image(
            portrait_sheet(judged, label), "Photograph, result, the same person's real picture where there is one."
        )
    report.results["portraits"] = figures
    return figures


def _two_sample_table(judged: JudgedPortraits, asked: Sequence[str], seed: int, figures: dict[str, Any]) -> Table:
    rows: list[list[Any]] = []
    for label in asked:
        made = [p for p in judged.made if p.label == label]
        places = [k for k, p in enumerate(judged.real) if p.label == label]
        real, written = ([side[k] for k in places] for side in (judged.real, judged.written))
        people = [p.subject for p in real]
        for region in REGIONS:
            crops = [region_crops(part, region, judged.scale) for part in (real, made, written)]
            test = two_sample_test(crops[0], crops[1], people, [p.subject for p in made], seed=seed)
            rewritten = two_sample_test(crops[0], crops[2], people, people, seed=seed, resamples=0)
            control, error = halves_control(crops[0], crops[2], people, seed=seed)
            rows.append([f"{label}: {region.name}", test.area, f"{test.low:.2f} to {test.high:.2f}", rewritten.area,
                         (control, error), test.made, test.real])  # fmt: skip
            figures.setdefault(label, {}).setdefault("two_sample", {})[region.name] = {
                "area": test.area, "low": test.low, "high": test.high, "rewritten": rewritten.area, "control": control,
            }  # fmt: skip
    note = (
        "A fresh classifier, trained on some people's made and real pictures of the class, tested on others: area under the "
        "curve, 0.5 is perfect. 95% interval over people. Rewritten: the real pictures against themselves after the reading, "
        "resizing, cropping and writing of the made ones. Control: the same of half the people against real ones of the "
        "other half, mean and standard error over 20 halvings. Both must be about 0.5."
    )
    header = ["made or real?", "area", "95% interval", "rewritten", "control", "made", "real"]
    return Table("Two-sample test", header, rows, note)


def _movement_table(judged: JudgedPortraits, asked: Sequence[str], figures: dict[str, Any]) -> Table:
    rows: list[list[Any]] = []
    for label in asked:
        chosen = [k for k, p in enumerate(judged.made) if p.label == label]
        own = {p.subject: p.landmarks for p in judged.real if p.label == label}
        nothing = np.full((68, 2), np.nan, np.float32)
        before, made = (np.stack([side[k].landmarks for k in chosen]) for side in (judged.before, judged.made))
        real = np.stack([own.get(judged.made[k].subject, nothing) for k in chosen])
        for moved in movements(before, made, real, np.stack(list(own.values()))):
            rows.append([f"{label}: {moved.part}", moved.made, moved.real, moved.ratio, moved.people])
            figures[label].setdefault("movement", {})[moved.part] = {
                "made": moved.made, "real": moved.real, "ratio": moved.ratio, "people": moved.people,
            }  # fmt: skip
    note = (
        "Medians over people, in distances between the eyes, by landmarks found anew in every picture. Ratio: median of a "
        "person's made over the same person's real movement, of those who move the part by 0.02 or more; a dash where the "
        "class does not move it."
    )
    return Table("Movement", ["moved", "made", "real", "ratio", "people"], rows, note)


def _judges_table(judged: JudgedPortraits, figures: dict[str, Any], seed: int) -> Table:
    people = len({p.subject for p in judged.real})
    judgements = judge_expressions(judged.real, judged.made, judged.scale, folds=min(5, people), seed=seed)
    rows = [[j.judge, j.made, j.real, j.made_beside, j.real_beside] for j in judgements]
    figures["judges"] = {
        j.judge: {"made": j.made, "real": j.real, "made_beside": j.made_beside, "real_beside": j.real_beside}
        for j in judgements
    }
    note = (
        "Percent recognised as asked, and real ones as what they show, by judges that learnt from other people; the smallest "
        "first. Beside own: counted from the middle of the same person's photographs of every class."
    )
    header = ["judge", "made", "real", "made, beside own", "real, beside own"]
    return Table("Recognised at several sizes", header, rows, note)


def _kept_table(judged: JudgedPortraits, figures: dict[str, Any]) -> Table:
    sharp = sharpness_ratio(judged.made, judged.before)
    off = float(np.median([change_off_face(a, b) for a, b in zip(judged.made, judged.before, strict=True)]))
    rows: list[list[Any]] = [
        ["sharpness away from the mouth, made / photograph (median)", sharp],
        ["change off the face, 0 to 255 (median)", off],
    ]
    figures["kept"] = {"sharpness": sharp, "off_face": off}
    if judged.anew:
        real = {(p.subject, p.label): p for p in judged.real}
        pairs = list(zip(judged.made, judged.before, strict=True))
        pairs = [pairs[k * len(pairs) // min(_IDENTITIES, len(pairs))] for k in range(min(_IDENTITIES, len(pairs)))]
        start = _embeddings([before for _, before in pairs])
        own = [real.get((made.subject, made.label)) for made, _ in pairs]
        known = [k for k, portrait in enumerate(own) if portrait is not None]
        for key, name, portraits, rows_of in (
            (
                "identity",
                "identity distance to the photograph (median)",
                [made for made, _ in pairs],
                range(len(pairs)),
            ),
            ("identity_real", "the same, of the person's real picture of the class", [p for p in own if p], known),
        ):
            if portraits:
                figures["kept"][key] = float(np.median(identity_distance(_embeddings(portraits), start[list(rows_of)])))
                rows.append([name, figures["kept"][key]])
    note = "Sharpness: variance of the Laplacian. Identity: dlib's embedding, under 0.6 usually one person."
    return Table("What must stay", ["measure", "value"], rows, note)


def _embeddings(portraits: Sequence[Portrait]) -> NDArray[np.float32]:
    return np.concatenate([detect.identity_embedding(p.image[None], p.landmarks[None]) for p in portraits])


def portrait_sheet(judged: JudgedPortraits, label: str, *, most: int = SHOWN, close: bool = False) -> NDArray[np.uint8]:
    """Photograph, result, and the person's real picture of the class, at SIDE pixels; people spread over those there are.

    close: the mouths alone, as the two-sample test sees them, four times as large.
    """
    chosen = [k for k, p in enumerate(judged.made) if p.label == label]
    chosen = [chosen[k * len(chosen) // min(most, len(chosen))] for k in range(min(most, len(chosen)))]
    real = {p.subject: p for p in judged.real if p.label == label}
    rows = []
    for k in chosen:
        row = [judged.before[k], judged.made[k], real.get(judged.made[k].subject)]
        if close:
            rows.append([None if p is None else region_crops([p], MOUTH, judged.scale)[0] for p in row])
        else:
            rows.append([None if p is None else p.image for p in row])
    side = 4 * max(rows[0][0].shape[:2]) if close else SIDE  # type: ignore[union-attr]
    return contact_sheet(
        rows, ["photograph", "result", f"real: {label}"], [judged.made[k].subject for k in chosen], side=side
    )

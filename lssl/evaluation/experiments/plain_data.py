"""A stranger's folder for an experiment: pictures and a metadata.csv with `file_name`, `subject` and a class column.

Its pictures are prepared first: found faces are aligned and cropped, with their landmarks. Pictures that are crops of
faces already, and too small or too tight for a face to be found in them, are only resized.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lssl.data import FaceFolderWriter, FaceRow, detect
from lssl.data.folder import DESCRIPTION, METADATA, read_table
from lssl.data.images import read_picture
from lssl.data.prepare import PrepareOptions, list_source, prepare, read_rejected, split_subjects
from lssl.data.readers import Listing
from lssl.data.writer import write_pictures
from lssl.errors import LsslError

#: What the column of the classes may be called, if there are several columns that could be it.
CLASS_NAMES = ("expression", "emotion", "class", "label", "category")
_MOST_CLASSES = 64
_SMALL = 256  # pixels: square pictures of one size up to this are taken for crops of faces


def is_plain(data: Path) -> bool:
    """Whether a folder has a metadata.csv that LSSL did not write."""
    return (data / METADATA).is_file() and not (data / DESCRIPTION).is_file()


def open_plain(
    data: Path,
    out: Path,
    *,
    attribute: str = "",
    size: int = 64,
    folds: int = 0,
    workers: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, str]:
    """Prepares a plain folder to `out`, or resumes that; (the data set folder, the column of its classes).

    attribute: that column; by default the only one that could be it, or one called as in `CLASS_NAMES`.
    size: the side of the pictures. folds: how many are needed, or 0. say: called with what the user should know.
    Raises LsslError, before any work, if the table lacks a column or people; and if most pictures show no face.
    """
    chosen = class_column(data, attribute)
    options = PrepareOptions(size, attributes=(chosen,))
    listing = list_source("folder", data, options)
    _check_people(data, listing, chosen, folds)
    side = _common_side(listing)
    if any(record.needs_detector for record in listing.records) and side and not detect.available():
        say(f"{data}: dlib is not installed, so the {side}x{side} pictures are taken for crops of faces, as they are")
        return write_crops(data, listing, out, chosen, size), chosen
    say(f"{data}: {len(listing.records)} pictures, prepared to {out}")
    try:
        report = prepare("folder", data, out, options, workers=workers, listing=listing)
        usable, refused = report.rows, report.rejected
    except detect.DetectionError:
        raise
    except LsslError:
        usable, refused = 0, read_rejected(out)
        if not refused:
            raise
    if usable < len(listing.records) / 2:
        if not side:
            what, why = refused[0]
            raise LsslError(
                f"{data}: only {usable} of {len(listing.records)} pictures can be used ({what}: {why}); all reasons are in "
                f"{out / 'rejected.csv'}"
            )
        say(f"a face is found in only {usable} of them, so the {side}x{side} pictures are taken for crops, as they are")
        return write_crops(data, listing, out.with_name(f"{out.name}-crops"), chosen, size), chosen
    if refused:
        what, why = refused[0]
        say(f"{len(refused)} pictures are left out ({what}: {why}); see {out / 'rejected.csv'}")
    return out, chosen


def class_column(data: Path, attribute: str = "") -> str:
    """The column of a plain folder's classes. Raises LsslError if there is none or several, or if people have no names."""
    path = data / METADATA
    header, rows = read_table(path)
    columns = {name: [row[name] for _, row in rows] for name in header}
    if "file_name" in header and "subject" not in header:
        likely = [name for name in header if re.search(r"(?i)subject|person|people|identity|actor|^id$|_id$", name)]
        fix = f"rename '{likely[0]}' to it" if likely else "add one that says who each picture shows"
        raise LsslError(
            f"{path} has no column 'subject' (it has: {', '.join(header)}), so nobody can be kept for the test; {fix}"
        )
    if attribute:
        if attribute not in columns:
            raise LsslError(f"{path} has no column '{attribute}'; it has: {', '.join(header)}")
        return attribute
    found = [
        name
        for name, values in columns.items()
        if name not in ("file_name", "subject", "split")
        and 2 <= len(set(values) - {""}) <= min(_MOST_CLASSES, max(2, len(values) // 2))
    ]
    named = [name for name in found if name.strip().lower() in CLASS_NAMES]
    if len(found) == 1 or len(named) == 1:
        return (named or found)[0]
    if not found:
        raise LsslError(
            f"{path} has no column of classes: one with two values or more, each in several rows (it has: "
            f"{', '.join(header)})"
        )
    raise LsslError(f"{path}: which column holds the classes? Add --attribute {' or --attribute '.join(found)}")


def write_crops(data: Path, listing: Listing, out: Path, attribute: str, size: int) -> Path:
    """Writes the pictures of a listing as they are, but for their size, to the folder `out`, and returns it."""
    settings = {"source": "crops", "path": str(data.resolve()), "pictures": len(listing.records), "size": size}
    writer = FaceFolderWriter(out, attributes=[attribute], settings={**settings, "attribute": attribute})
    parts = split_subjects([record.subject for record in listing.records], PrepareOptions.test_fraction, 0)
    if writer.finished:
        return out
    for record in listing.records:
        if record.key in writer:
            continue
        value = record.columns.get(attribute, "")
        try:
            if not value:
                raise LsslError(f"no value in column '{attribute}'")
            picture = Image.fromarray(read_picture(record.path).pixels).resize((size, size), Image.Resampling.LANCZOS)
        except LsslError as error:
            writer.reject(record.key, str(error))
            continue
        split = record.split or parts[record.subject]
        extra = {name: text for name, text in record.columns.items() if name != attribute}
        row = FaceRow(record.key, np.asarray(picture), record.subject, split, {attribute: value}, extra=extra)
        writer.append(write_pictures(writer.root, row, writer.attributes))
    writer.finish(source="crops")
    return out


def _check_people(data: Path, listing: Listing, attribute: str, folds: int) -> None:
    """Raises LsslError if there are fewer people than folds, or a class that one person alone shows."""
    people: dict[str, set[str]] = {}
    for record in listing.records:
        people.setdefault(record.columns.get(attribute, ""), set()).add(record.subject)
    everybody = set().union(*people.values())
    if max(folds, 2) > len(everybody):
        raise LsslError(
            f"{data / METADATA}: {max(folds, 2)} folds of {len(everybody)} subjects: give --folds from 2 to the number of "
            "subjects, of whom there must be two or more"
        )
    for value in sorted(people):
        if value and len(people[value]) < 3:
            raise LsslError(
                f"{data / METADATA}: only {len(people[value])} of {len(everybody)} people show {attribute} '{value}'; three are "
                "needed: two to learn from, one to test"
            )


def _common_side(listing: Listing) -> int:
    """The side of the pictures if all are squares of one small size, else 0."""
    sizes = set()
    for record in listing.records:
        try:
            with Image.open(record.path) as picture:
                sizes.add(picture.size)
        except Exception:  # whatever PIL raises for a damaged file: reading it again names what is wrong
            return 0
        if len(sizes) > 1:
            return 0
    (width, height) = next(iter(sizes), (0, 1))
    return width if width == height and width <= _SMALL else 0

"""What a prepared folder cannot be used for, and what looks wrong in it, in sentences for the user."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.folder import SPLITS, FaceFolder
from lssl.data.landmark_files import unread_file
from lssl.data.readers.source import Listing, SourceRecord

# Patterns for names like 012_happy.jpg, Rafd090_01_Caucasian_happy.jpg, s5.mood1.jpg: the first that fits is proposed.
_PATTERNS = (
    r"([^/]+?)[_ .-][^/_ .-]+\.\w+$",
    r"([^/_ .-]+)[_ .-][^/]*$",
    r"([^/_ .-]+[_ .-][^/_ .-]+)[_ .-][^/]*$",
    r"([A-Za-z]*\d+)[^/]*$",
    r"([^/]+)/[^/]+$",
)
_NO_VALUE = {"nan", "null", "n/a", "#n/a", "<na>"}  # "none" is a class of many columns, as of glasses
_THUMBNAIL = 32
_SAME_PICTURE = (
    0.985  # correlation of thumbnails; of two people at most 0.957 (164 photographs of the London set, 64 pixels)
)


def advice(folder: FaceFolder, listing: Listing, *, asked_for_a_test: bool = True) -> list[str]:
    """Sentences about a folder that `prepare` wrote from a listing: what it lacks for training and evaluation, whether
    its people could be told apart, whether a picture is in both splits, what was done to the pictures' values."""
    lines = [*_missing(folder, asked_for_a_test), *listing.doubts, *_subjects(listing), *_alike_subjects(folder)]
    if both := folder.in_both_splits():
        lines.append(
            f"{len(both)} people ({', '.join(both[:3])}{' ...' if both[3:] else ''}) have pictures in both splits: the "
            "same person is trained on and tested; change the splits of the source"
        )
    elif pairs := same_pictures(folder):
        first, second = pairs[0]
        lines.append(
            f"{len(pairs)} pictures are in both splits, perhaps mirrored ({folder.file_names[first]} and "
            f"{folder.file_names[second]}): the same person is trained on and tested; name people by --subject-pattern"
        )
    lines += _unread_landmarks(listing)
    notes = Counter(note for note in folder.columns.get("note", []) if note)
    lines += [f"{count} pictures: {note}" for note, count in notes.most_common()]
    return lines


def _unread_landmarks(listing: Listing) -> list[str]:
    """A sentence where landmarks seem to lie beside the pictures in files that are not read."""
    bare = [record.path for record in listing.records if record.needs_detector][:20]
    found = next((file for path in bare if (file := unread_file(path)) is not None), None)
    if found is None:
        return []
    return [f"landmarks were found by dlib, and {found.name} was not read: landmarks are read from .pts and .csv files"]


def _missing(folder: FaceFolder, asked_for_a_test: bool) -> list[str]:
    lines = []
    cannot = "`lssl train`, `train-classifier` and `evaluate` cannot use this folder"
    if not folder.varying_attributes():
        single = [f"{name} is '{values[0]}'" for name, values in folder.columns.items() if _is_class(name, values)]
        what = f"all faces are of one class ({', '.join(single)})" if single else "no column distinguishes classes"
        lines.append(f"{what}, so there is nothing to change: {cannot}; `render-frontal` can")
    for name in folder.attributes:
        lines += _alike(name, set(folder.columns[name]))
        lines += _missing_values(name, folder.columns[name])
    subjects = set(folder.subjects)
    empty = [split for split in SPLITS if split not in folder.splits]
    if empty == ["test"] and not asked_for_a_test:
        lines.append("no subject is tested (--test-fraction 0), but `lssl train` and `evaluate` need unseen faces")
    elif empty and len(subjects) == 1:
        lines.append(
            f"only one subject ({min(subjects)}), so split {empty[0]} is empty: {cannot}; add people, or name them "
            "by --subject-pattern or a column 'subject'"
        )
    elif empty:
        lines.append(f"split {empty[0]} is empty: {cannot}; change the column 'split' of the source's metadata.csv")
    for name in folder.varying_attributes() if not empty else ():
        for split in SPLITS:
            there = {folder.columns[name][row] for row in folder.rows_where(split=split)}
            if lacking := sorted(set(folder.columns[name]) - there):
                lines.append(f"split {split} has no face of {name} {', '.join(lacking)}; try another --seed")
    return lines


def _alike(name: str, values: set[str]) -> list[str]:
    """Sentences on values that a reader takes for one and a program for two: Happy and happy."""
    return [
        f"{name} {' and '.join(map(repr, alike))} count as different; give them one spelling if they are one class"
        for alike in _spellings(values)
    ]


def _alike_subjects(folder: FaceFolder) -> list[str]:
    """A sentence on people whose names are written in two ways, as 1 and 01, or 1 and 1.0 in a data frame with gaps."""
    groups = _spellings(set(folder.subjects))
    if not groups:
        return []
    others = f", and {len(groups) - 1} more" if len(groups) > 1 else ""
    return [
        f"subjects {' and '.join(map(repr, groups[0]))}{others} count as different people, who may be both trained on "
        "and tested; give them one spelling if they are one"
    ]


def _spellings(values: set[str]) -> list[list[str]]:
    """Groups of values that differ in capitals, spaces and the zeros of numbers alone."""
    groups: dict[str, list[str]] = {}
    for value in sorted(values):
        plain = unicodedata.normalize("NFKC", " ".join(value.split())).casefold()
        plain = re.sub(r"^(\d+)\.0+$", r"\1", plain)
        groups.setdefault(re.sub(r"(?<![\d.])0+(?=\d)", "", plain), []).append(value)
    return [alike for alike in groups.values() if len(alike) > 1]


def _missing_values(name: str, values: Sequence[str]) -> list[str]:
    """Sentences on classes that a program wrote where it knew none."""
    counted = Counter(value for value in values if value.strip().lower() in _NO_VALUE)
    return [
        f"{name} '{value}' ({count} pictures) is taken for a class; leave the cell empty if it means that none is known"
        for value, count in counted.items()
    ]


def _is_class(name: str, values: Sequence[str]) -> bool:
    return name not in ("source_file", "note") and len(set(values)) == 1 and bool(values[0])


def _subjects(listing: Listing) -> list[str]:
    records = listing.records
    if len(records) < 4 or len({record.subject for record in records}) < len(records):
        return []
    line = (
        f"every picture is a subject of its own ({', '.join(r.subject for r in records[:2])} ...): a person with "
        "several pictures may be both trained on and tested"
    )
    proposed = propose_pattern(records)
    how = f"--subject-pattern '{proposed}' would make {_people(records, proposed)} subjects" if proposed else (
        "say what names the person with --subject-pattern REGEX"
    )  # fmt: skip
    return [f"{line}; {how}"]


def propose_pattern(records: Sequence[SourceRecord]) -> str:
    """A subject pattern under which people have several pictures, of several classes; empty if none is evident."""
    for pattern in _PATTERNS:
        people = [_match(record, pattern) for record in records]
        classes: dict[str, set[str]] = {}
        for person, record in zip(people, records, strict=True):
            if person is not None:
                classes.setdefault(person, set()).add("|".join(record.columns.values()))
        several = sum(len(found) > 1 for found in classes.values())
        if None not in people and 2 <= len(classes) <= 0.75 * len(records) and several >= len(classes) / 2:
            return pattern
    return ""


def _people(records: Sequence[SourceRecord], pattern: str) -> int:
    return len({_match(record, pattern) for record in records})


def _match(record: SourceRecord, pattern: str) -> str | None:
    found = re.search(pattern, "/".join(record.path.parts[-2:]))
    return found[1] if found else None


def same_pictures(folder: FaceFolder) -> list[tuple[int, int]]:
    """(row of train, row of test) of crops that are the same picture, mirrored or not, judging by thumbnails."""
    rows = {split: folder.rows_where(split=split) for split in SPLITS}
    if not all(rows.values()):
        return []
    train, test = (_thumbnails(folder, rows[split]) for split in SPLITS)
    mirrored = test.reshape(-1, _THUMBNAIL, _THUMBNAIL)[:, :, ::-1].reshape(len(test), -1)
    pairs = []
    for start in range(0, len(test), 256):
        likeness = np.maximum(train @ test[start : start + 256].T, train @ mirrored[start : start + 256].T)
        nearest = likeness.argmax(0)
        for k, row in enumerate(nearest):
            if likeness[row, k] > _SAME_PICTURE:
                pairs.append((rows["train"][int(row)], rows["test"][start + k]))
    return pairs


def _thumbnails(folder: FaceFolder, rows: Sequence[int]) -> NDArray[np.float32]:
    """Grey thumbnails (N, 1024) of mean 0 and length 1."""

    def one(row: int) -> NDArray[np.float32]:
        with Image.open(folder.image_path(row)) as image:
            small = image.convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
        values = np.asarray(small, dtype=np.float32).reshape(-1)
        values = values - values.mean()
        length = float(np.linalg.norm(values))
        return values / length if length > 1 else np.zeros_like(values)

    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(one, rows)))

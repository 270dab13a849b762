"""Any folder of pictures: a class a folder, or a table `metadata.csv` with a `file_name` column."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.folder import METADATA, SPLITS
from lssl.data.images import read_image
from lssl.data.landmarks import COUNT
from lssl.data.readers.source import Listing, Loaded, SourceError, SourceRecord, describe, picture_files, slug

EXPECTED = "<class>/*.png (a class a folder), or metadata.csv with a file_name column"
ATTRIBUTES: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownRecord(SourceRecord):
    """A picture of a folder that has a landmarks.npy: row by row as its metadata.csv."""

    points: NDArray[np.float32] | None = None

    def load(self) -> Loaded:
        return super().load() if self.points is None else Loaded(read_image(self.path), self.points)

    def without_landmarks(self) -> SourceRecord:
        return replace(self, landmarks=None, points=None)

    @property
    def needs_detector(self) -> bool:
        return self.points is None and super().needs_detector


def scan(root: Path, *, attribute: str = "class", subject_pattern: str | None = None) -> Listing:
    """Every picture, with the column `attribute` holding its class, or the columns of metadata.csv.

    subject_pattern: a regular expression searched in the picture's path below `root`; its first group (or the whole
        match) names the person. Without it each file name is a person, the same in every class.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    regex = _compile(subject_pattern)
    if (root / METADATA).is_file():
        return _scan_table(root, regex)
    listing = Listing()
    files = picture_files(root)
    for path in files:
        name = path.relative_to(root)
        if len(name.parts) < 2:
            reason = f"lies in no class folder; expected {EXPECTED}"
            listing.rejected.append((name.as_posix(), reason))
            continue
        subject = _subject(name.as_posix(), regex)
        if subject is None:
            reason = f"the subject pattern '{subject_pattern}' is not found in the name"
            listing.rejected.append((name.as_posix(), reason))
            continue
        label = name.parts[0]
        key = slug("_".join([*name.parts[:-1], name.stem]))
        listing.records.append(SourceRecord(key, path, subject, {attribute: label}))
    if not listing.records:
        why = f" ({listing.rejected[0][0]}: {listing.rejected[0][1]})" if listing.rejected else ""
        raise SourceError(f"{root}: expected {EXPECTED}; {describe(root, files)}{why}")
    return listing


def _scan_table(root: Path, regex: re.Pattern[str] | None) -> Listing:
    path = root / METADATA
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restkey="")
        rows = list(reader)
        header = [name.strip() for name in reader.fieldnames or []]
    if "file_name" not in header:
        raise SourceError(f"{path} has no column 'file_name'; it has: {', '.join(header) or 'nothing'}")
    points = _landmarks(root, len(rows))
    listing = Listing()
    for number, raw in enumerate(rows):
        row = {name.strip(): (value or "").strip() for name, value in raw.items() if name}
        name = row.pop("file_name")
        subject = row.pop("subject", "") or _subject(name, regex) or ""
        split = row.pop("split", "") or None
        if split is not None and split not in SPLITS:
            raise SourceError(f"{path}, line {number + 2}: split is '{split}', expected train or test")
        if not name or not subject:
            listing.rejected.append((name or f"line {number + 2}", "no file name or no subject"))
            continue
        listing.records.append(
            KnownRecord(
                slug(str(Path(name).with_suffix("")).removeprefix("images/")),
                root / name,
                subject,
                row,
                split=split,
                points=None if points is None else points[number],
            )
        )
    if not listing.records:
        raise SourceError(f"{path} has no usable rows")
    return listing


def _landmarks(root: Path, rows: int) -> NDArray[np.float32] | None:
    if not (root / "landmarks.npy").is_file():
        return None
    try:
        points = np.load(root / "landmarks.npy", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SourceError(f"{root / 'landmarks.npy'}: not a NumPy array file ({error})") from None
    if points.shape != (rows, COUNT, 2):
        raise SourceError(
            f"{root / 'landmarks.npy'} has shape {points.shape}, but {METADATA} has {rows} rows: expected "
            f"({rows}, {COUNT}, 2)"
        )
    return points.astype(np.float32)


def _subject(name: str, regex: re.Pattern[str] | None) -> str | None:
    if regex is None:
        return Path(name).stem
    match = regex.search(name)
    if match is None:
        return None
    return match[1] if regex.groups else match[0]


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise SourceError(f"'{pattern}' is no regular expression: {error}") from None

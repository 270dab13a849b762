"""Any folder of pictures: one folder per class, or a table `metadata.csv` with a `file_name` column."""

import os
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.file_names import FileNames
from lssl.data.folder import METADATA, SPLITS, as_split, load_array, read_description, read_table
from lssl.data.images import read_picture
from lssl.data.landmarks import COUNT
from lssl.data.picture_files import find_pictures
from lssl.data.portrait import safe_name
from lssl.data.readers.source import Listing, Loaded, Reader, SourceRecord, describe, picture_files, refuse_unreadable
from lssl.data.tables import same_name
from lssl.errors import LsslError

_OTHER_TABLES = {".xlsx", ".xls", ".ods", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".numbers"}
EXPECTED = "<class>/*.png (one folder per class), or metadata.csv with a file_name column"


@dataclass(frozen=True)
class KnownRecord(SourceRecord):
    """A picture of a folder that has a landmarks.npy, whose rows are those of its metadata.csv."""

    points: NDArray[np.float32] | None = None

    def load(self) -> Loaded:
        if self.points is None:
            return super().load()
        if not np.isfinite(self.points).all():
            raise LsslError("landmarks.npy has values that are not finite in its row")
        picture = read_picture(self.path)
        return Loaded(picture.pixels, self.points, orientation=picture.orientation, note=picture.note)

    def without_landmarks(self) -> SourceRecord:
        return replace(self, landmarks=None, points=None)

    @property
    def needs_detector(self) -> bool:
        return self.points is None and super().needs_detector


def scan(root: Path, *, attribute: str = "class", subject_pattern: str | None = None) -> Listing:
    """Every picture, with the column `attribute` holding its class, or the columns of metadata.csv.

    subject_pattern: a regular expression searched in the picture's path below `root`; its first group (or the whole
        match) names the person. Without it each file name is taken for a person, the same one in every class.
    """
    regex = _compile(subject_pattern)
    if (table := _table(root)) is not None:
        return _scan_table(root, table, regex)
    listing = Listing()
    files = picture_files(root)
    refuse_unreadable(listing, root, files)
    split_first = _split_first([path.relative_to(root).parts for path in files.pictures])
    for path in files.pictures:
        name = path.relative_to(root)
        if len(name.parts) < 2 + split_first:
            reason = f"lies in no class folder; expected {EXPECTED}"
            listing.rejected.append((name.as_posix(), reason))
            continue
        subject = _subject(name.as_posix(), regex)
        if subject is None:
            reason = f"the subject pattern '{subject_pattern}' is not found in the name"
            listing.rejected.append((name.as_posix(), reason))
            continue
        label = name.parts[split_first]
        key = safe_name("_".join([*name.parts[:-1], name.stem]))
        split = as_split(name.parts[0]) if split_first else None
        listing.records.append(SourceRecord(key, path, subject, {attribute: same_name(label).strip()}, split=split))
    if not listing.records:
        why = f" ({listing.rejected[0][0]}: {listing.rejected[0][1]})" if listing.rejected else ""
        raise LsslError(f"{root}: expected {EXPECTED}; {describe(root, files)}{why}")
    return listing


def _split_first(names: list[tuple[str, ...]]) -> bool:
    """Whether the folders at the top are train/ and test/ (or val/ ...), and the classes those below them."""
    tops = {parts[0] for parts in names if len(parts) > 1}
    nested = [parts for parts in names if len(parts) > 1]
    return len(tops) > 1 and all(as_split(top) in SPLITS for top in tops) and all(len(parts) > 2 for parts in nested)


def _table(root: Path) -> Path | None:
    """The folder's metadata.csv, perhaps in capitals. Raises LsslError for one in another format."""
    names = sorted(path.name for path in root.iterdir() if path.is_file()) if root.is_dir() else []
    tables = [name for name in names if name.lower() == METADATA]
    if tables:
        return root / (METADATA if METADATA in tables else tables[0])
    for name in names:
        if Path(name).stem.lower() == "metadata" and Path(name).suffix.lower() in _OTHER_TABLES:
            raise LsslError(f"{root / name}: a table in this format is not read; save it as {METADATA} (CSV UTF-8)")
    return None


def _scan_table(root: Path, path: Path, regex: re.Pattern[str] | None) -> Listing:
    header, rows = read_table(path)
    if "file_name" not in header:
        likely = [name for name in header if re.search(r"(?i)file|image|img|path|photo|picture", name)]
        fix = f"; rename '{likely[0]}' to it" if likely else ""
        raise LsslError(f"{path} has no column 'file_name'; it has: {', '.join(header) or 'nothing'}{fix}")
    if not rows:
        raise LsslError(f"{path} has a header but no rows")
    find = FileNames(root)
    seen: dict[str, int] = {}
    points = _landmarks(root, len(rows))
    listing = Listing(attributes=_own_attributes(root, header))
    alone = 0
    for number, (line, row) in enumerate(rows):
        name = row.pop("file_name")
        given = row.pop("subject", "")
        alone += "subject" in header and not given and regex is None
        subject = given or _subject(name, regex) or ""
        split = as_split(row.pop("split", "")) or None
        if split is not None and split not in SPLITS:
            raise LsslError(f"{path}, line {line}: split is '{split}', expected train or test")
        if name in seen:
            listing.rejected.append((f"{name} (line {line})", f"is in line {seen[name]} already"))
            continue
        seen[name] = line
        if not name or not subject:
            listing.rejected.append((name or f"{METADATA}, line {line}", "no file name or no subject"))
            continue
        row = {column: unicodedata.normalize("NFC", value) for column, value in row.items()}
        place = root / find.on_disk(name)
        if not os.path.lexists(place) and (meant := find.meant(name)):
            listing.rejected.append((name, f"no such file; there is {meant}: write that in the column file_name"))
            continue
        listing.records.append(
            KnownRecord(
                safe_name(str(Path(name).with_suffix("")).removeprefix("images/")),
                place,
                same_name(subject),
                row,
                split=split,
                points=None if points is None else points[number],
            )
        )
    if not listing.records:
        why = f" ({listing.rejected[0][0]}: {listing.rejected[0][1]})" if listing.rejected else ""
        raise LsslError(f"{path} has no usable rows{why}")
    if alone:
        listing.doubts.append(f"{alone} rows of {METADATA} have no subject, so each counts as a person of its own")
    _count_unnamed(root, listing)
    return listing


def _own_attributes(root: Path, header: list[str]) -> tuple[str, ...]:
    """The columns that a folder written by lssl calls attributes: its others (`visible`, `note`) are no classes."""
    listed = read_description(root).get("attributes")
    return tuple(name for name in listed if name in header) if isinstance(listed, list) else ()


def _count_unnamed(root: Path, listing: Listing) -> None:
    """Counts the pictures of the folder that no row of its table names, so that they are not dropped silently."""
    named = {os.path.normpath(record.path) for record in listing.records}
    files = find_pictures(root)
    others = [path for path in files.pictures if os.path.normpath(path) not in named]
    kinds = {path.relative_to(root).parts[0] for path in others}
    if kinds - {"masks", "side", "comparisons", "preview.png"}:  # part of a data set folder that lssl wrote
        listing.left_out[f"no row in {METADATA}"] += len(others)
    listing.rejected += [(str(path.relative_to(root)), reason) for path, reason in files.refused if path not in named]


def _landmarks(root: Path, rows: int) -> NDArray[np.float32] | None:
    if not (root / "landmarks.npy").is_file():
        return None
    points = load_array(root / "landmarks.npy")
    if points.shape != (rows, COUNT, 2):
        raise LsslError(
            f"{root / 'landmarks.npy'} has shape {points.shape}, but {METADATA} has {rows} rows: expected "
            f"({rows}, {COUNT}, 2)"
        )
    return points.astype(np.float32)


def _subject(name: str, regex: re.Pattern[str] | None) -> str | None:
    if regex is None:
        return same_name(Path(name).stem)
    match = regex.search(name)
    if match is None:
        return None
    return (match[1] if regex.groups else match[0]) or None


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise LsslError(f"'{pattern}' is not a regular expression: {error}") from None


READER = Reader("folder", scan, "any folder of pictures", EXPECTED, options=("attribute", "subject_pattern"))

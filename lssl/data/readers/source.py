"""What every reader gives: a list of pictures to prepare, and a clear error where the folder is not what was named."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.images import SUFFIXES, read_image
from lssl.data.landmarks import read_landmarks
from lssl.errors import LsslError

#: The eight expressions under one set of names, whatever a database calls them.
EXPRESSIONS = {
    "anger": "angry",
    "angry": "angry",
    "contempt": "contemptuous",
    "contemptuous": "contemptuous",
    "disgust": "disgusted",
    "disgusted": "disgusted",
    "fear": "fearful",
    "fearful": "fearful",
    "happiness": "happy",
    "happy": "happy",
    "smiling": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprised",
    "surprised": "surprised",
}


class SourceError(LsslError):
    """A source folder that is not what its reader expects; says what was expected and what was found."""


@dataclass(frozen=True)
class Loaded:
    """One face as read: the picture, and whatever is known of it, in its pixels."""

    image: NDArray[np.uint8]  # (H, W, 3)
    landmarks: NDArray[np.float32] | None = None  # (68, 2)
    anchors: NDArray[np.float64] | None = None  # (3, 2), where there are no landmarks but the face's place is known
    mask: NDArray[np.uint8] | None = None  # (H, W), see folder.MASK_LABELS


@dataclass(frozen=True)
class SourceRecord:
    """One picture to prepare. `key` is unique and sorts; `columns` holds every attribute that the reader knows."""

    key: str
    path: Path
    subject: str
    columns: Mapping[str, str]
    landmarks: Path | None = None
    split: str | None = None

    def load(self) -> Loaded:
        """Reads the picture. Raises ImageError, LandmarkError or SourceError with the reason for rejecting it."""
        points = None if self.landmarks is None else read_landmarks(self.landmarks)
        return Loaded(read_image(self.path), points)

    def without_landmarks(self) -> "SourceRecord":
        """The same picture, its landmarks to be found by dlib."""
        return replace(self, landmarks=None)

    @property
    def needs_detector(self) -> bool:
        """Whether the face has to be searched for."""
        return self.landmarks is None


@dataclass
class Listing:
    """All records of a source folder; `rejected` names what cannot be read, `left_out` counts what was not asked for."""

    records: list[SourceRecord] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def keep_only(self, column: str, values: Iterable[str]) -> None:
        """Leaves out the records whose `column` is none of `values`, and counts them."""
        wanted = set(values)
        known = sorted({record.columns[column] for record in self.records if column in record.columns})
        if self.records and not known:
            names = ", ".join(sorted({name for record in self.records for name in record.columns}))
            raise SourceError(f"no column '{column}' to choose by; there are: {names}")
        unknown = wanted - set(known)
        if unknown:
            raise SourceError(f"column '{column}' has no value '{min(unknown)}'; it has: {', '.join(known)}")
        kept = [record for record in self.records if record.columns.get(column) in wanted]
        for record in self.records:
            if record.columns.get(column) not in wanted:
                self.left_out[f"{column}={record.columns.get(column, '')}"] += 1
        self.records = kept


def picture_files(root: Path) -> list[Path]:
    """All files under a folder that look like pictures, sorted, hidden ones left out."""
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    files = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(root).parts))


def match_files(root: Path, pattern: str, expected: str) -> tuple[list[tuple[Path, re.Match[str]]], Listing]:
    """The pictures whose path below `root` (with /) ends in `pattern`, and a listing in which the others are rejected.

    Raises SourceError saying what was expected and what is there, where nothing matches.
    """
    regex = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
    hits: list[tuple[Path, re.Match[str]]] = []
    listing = Listing()
    files = picture_files(root)
    for path in files:
        name = (Path(root.resolve().name) / path.relative_to(root)).as_posix()
        match = regex.fullmatch(name)
        if match:
            hits.append((path, match))
        else:
            reason = f"the name is not of the form {expected}"
            listing.rejected.append((path.relative_to(root).as_posix(), reason))
    if not hits:
        raise SourceError(f"{root}: expected {expected}; {describe(root, files)}")
    return hits, listing


def describe(root: Path, files: list[Path]) -> str:
    """What a folder holds, for an error message."""
    if files:
        examples = ", ".join(path.relative_to(root).as_posix() for path in files[:2])
        return f"found {len(files)} pictures, such as {examples}"
    names = sorted(path.name for path in root.iterdir())[:4]
    return f"found no picture in it, but {', '.join(names)}" if names else "it is empty"


def slug(text: str) -> str:
    """A text that can name a file."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text).strip("._") or "face"


def with_unique_keys(records: Iterable[SourceRecord]) -> Iterator[SourceRecord]:
    """The records, with a number added to each key that stands before it already (also in other case)."""
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    for record in records:
        key = record.key
        while key.lower() in taken:
            seen[record.key.lower()] += 1
            key = f"{record.key}_{seen[record.key.lower()] + 1}"
        taken.add(key.lower())
        yield record if key == record.key else replace(record, key=key)


def middle(items: list[Path], count: int) -> list[Path]:
    """The `count` items in the middle of a list."""
    start = max(0, (len(items) - count) // 2)
    return items[start : start + count]

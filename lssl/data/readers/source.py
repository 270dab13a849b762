"""What every reader returns: a list of the pictures to prepare, or a clear error if the folder is something else."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.images import read_picture
from lssl.data.landmark_files import read_landmarks
from lssl.data.picture_files import PictureFiles, find_pictures
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


@dataclass(frozen=True)
class Reader:
    """A database that `lssl prepare` knows: the `READER` of a module of this package.

    name: as on the command line, the module's name with a hyphen for each underscore. scan: lists a folder's pictures.
    expected: what its files are called, for errors. attributes: the columns that are attributes by default.
    only: what is prepared by default. options: the command line's options that `scan` takes.
    """

    name: str
    scan: "Callable[..., Listing]"
    title: str
    expected: str
    attributes: tuple[str, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """One face as read: the picture, and whatever is known of it, in its pixels."""

    image: NDArray[np.uint8]  # (H, W, 3)
    landmarks: NDArray[np.float32] | None = None  # (68, 2)
    anchors: NDArray[np.float64] | None = None  # (3, 2); decides the crop instead of the landmarks
    mask: NDArray[np.uint8] | None = None  # (H, W), see folder.MASK_LABELS
    orientation: int = 1  # see images.Picture, also the note
    note: str = ""


@dataclass(frozen=True)
class SourceRecord:
    """One picture to prepare. `key` is unique and gives the order; `columns` holds every attribute the reader knows."""

    key: str
    path: Path
    subject: str
    columns: Mapping[str, str]
    landmarks: Path | None = None
    split: str | None = None

    def load(self) -> Loaded:
        """Reads the picture. Raises LsslError with the reason for rejecting it."""
        points = None if self.landmarks is None else read_landmarks(self.landmarks)
        picture = read_picture(self.path)
        return Loaded(picture.pixels, points, orientation=picture.orientation, note=picture.note)

    def without_landmarks(self) -> "SourceRecord":
        """The same picture, its landmarks to be found by dlib."""
        return replace(self, landmarks=None)

    @property
    def needs_detector(self) -> bool:
        """Whether the face has to be detected."""
        return self.landmarks is None


@dataclass
class Listing:
    """A source folder's records; `rejected` names what cannot be read, `left_out` counts what was not asked for,
    `attributes` are the columns that the folder itself calls attributes (none: it does not say), `doubts` are sentences
    on what may have been meant otherwise."""

    records: list[SourceRecord] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    attributes: tuple[str, ...] = ()
    doubts: list[str] = field(default_factory=list)

    def keep_only(self, column: str, values: Iterable[str]) -> None:
        """Leaves out the records whose `column` is none of `values`, and counts them."""
        wanted = set(values)
        known = sorted({record.columns[column] for record in self.records if column in record.columns})
        if self.records and not known:
            names = ", ".join(sorted({name for record in self.records for name in record.columns}))
            raise LsslError(f"no column '{column}' to choose by; there are: {names}")
        unknown = wanted - set(known)
        if unknown:
            raise LsslError(f"column '{column}' has no value '{min(unknown)}'; it has: {', '.join(known)}")
        kept = [record for record in self.records if record.columns.get(column) in wanted]
        for record in self.records:
            if record.columns.get(column) not in wanted:
                self.left_out[f"{column}={record.columns.get(column, '')}"] += 1
        self.records = kept


def picture_files(root: Path) -> PictureFiles:
    """The pictures under a folder, and those that cannot be read. Raises LsslError where there is no such folder."""
    if not root.is_dir():
        raise LsslError(f"{root}: {'is a file; give a folder' if root.exists() else 'no such folder'}")
    return find_pictures(root)


def refuse_unreadable(listing: "Listing", root: Path, files: PictureFiles) -> None:
    """Adds to a listing's rejects the files that look like pictures but are not read."""
    listing.rejected += [(_relative(path, root), reason) for path, reason in files.refused]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def match_files(root: Path, pattern: str, expected: str) -> tuple[list[tuple[Path, re.Match[str]]], Listing]:
    """The pictures whose path below `root` (with /) ends in `pattern`, and a listing in which the others are rejected.

    Raises LsslError saying what was expected and what is there, where nothing matches.
    """
    regex = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
    hits: list[tuple[Path, re.Match[str]]] = []
    listing = Listing()
    found = picture_files(root)
    refuse_unreadable(listing, root, found)
    for path in found.pictures:
        name = (Path(root.resolve().name) / path.relative_to(root)).as_posix()
        match = regex.fullmatch(name)
        if match:
            hits.append((path, match))
        else:
            reason = f"the name is not of the form {expected}"
            listing.rejected.append((path.relative_to(root).as_posix(), reason))
    if not hits:
        raise LsslError(f"{root}: expected {expected}; {describe(root, found)}")
    return hits, listing


def describe(root: Path, files: PictureFiles) -> str:
    """What a folder holds, for an error message."""
    if files.pictures:
        examples = ", ".join(_relative(path, root) for path in files.pictures[:2])
        return f"found {len(files.pictures)} pictures, such as {examples}"
    if files.refused:
        path, reason = files.refused[0]
        return f"found {len(files.refused)} files that are not read, such as {_relative(path, root)}: {reason}"
    names = sorted(path.name for path in root.iterdir())[:4]
    return f"found no picture in it, but {', '.join(names)}" if names else "it is empty"


def with_unique_keys(records: Iterable[SourceRecord]) -> Iterator[SourceRecord]:
    """The records, with a number added to each key that an earlier record has (in any case)."""
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    for record in records:
        key = record.key
        while key.casefold() in taken:
            seen[record.key.casefold()] += 1
            key = f"{record.key}_{seen[record.key.casefold()] + 1}"
        taken.add(key.casefold())
        yield record if key == record.key else replace(record, key=key)


def middle(items: list[Path], count: int) -> list[Path]:
    """The `count` items in the middle of a list."""
    start = max(0, (len(items) - count) // 2)
    return items[start : start + count]

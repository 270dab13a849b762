"""Helen with part labels (Smith et al. 2013, after Le et al. 2012): what the paper's face parser is trained on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.images import read_image, unusable
from lssl.data.landmark_files import read_landmarks
from lssl.data.masks import BACKGROUND, EYES, LIPS, SKIN
from lssl.data.picture_files import SUFFIXES
from lssl.data.readers.source import Listing, Loaded, Reader, SourceRecord, describe, picture_files, refuse_unreadable
from lssl.errors import LsslError

EXPECTED = "images/<name>.jpg with labels/<name>/<name>_lbl00.png to _lbl10.png"
_LISTS = {"exemplars.txt": "train", "tuning.txt": "train", "testing.txt": "test"}
# background, skin, left brow, right brow, left eye, right eye, nose, upper lip, inner mouth, lower lip, hair
_PARTS = (BACKGROUND, SKIN, SKIN, SKIN, EYES, EYES, SKIN, LIPS, BACKGROUND, LIPS, BACKGROUND)
_EYE_LABELS, _UPPER_LIP = (4, 5), 7


@dataclass(frozen=True)
class HelenRecord(SourceRecord):
    """A photograph with its folder of label maps, which give the face's position."""

    labels: Path = Path()

    def load(self) -> Loaded:
        image = read_image(self.path)
        parts = self._parts(image.shape[:2])
        mask = np.array(_PARTS, dtype=np.uint8)[parts]
        points = None if self.landmarks is None else read_landmarks(self.landmarks)
        return Loaded(image, points, _anchors(parts), mask)  # the labels place the crop, with or without landmarks

    @property
    def needs_detector(self) -> bool:
        return False

    def _parts(self, size: tuple[int, ...]) -> NDArray[np.uint8]:
        """The most probable of the 11 labels at each pixel."""
        maps = []
        for number in range(len(_PARTS)):
            path = self.labels / f"{self.path.stem}_lbl{number:02d}.png"
            values = read_image(path)[..., 0]
            if values.shape != size:
                raise unusable(path, f"{values.shape[1]}x{values.shape[0]}, but its photograph has another size")
            maps.append(values)
        return np.stack(maps).argmax(0).astype(np.uint8)


def scan(root: Path) -> Listing:
    """Every labelled photograph, each a person of its own; exemplars.txt and tuning.txt train, testing.txt tests."""
    files = picture_files(root)
    split = _read_lists(root)
    listing = Listing()
    refuse_unreadable(listing, root, files)
    for path in sorted(_in_folder(root, "images")):
        labels = root / "labels" / path.stem
        if not labels.is_dir():
            listing.rejected.append((path.relative_to(root).as_posix(), f"no folder labels/{path.stem}"))
            continue
        if split and path.stem not in split:
            listing.rejected.append((path.relative_to(root).as_posix(), f"in none of {', '.join(_LISTS)}"))
            continue
        record = HelenRecord(path.stem, path, path.stem, {}, split=split.get(path.stem), labels=labels)
        listing.records.append(record)
    for name in sorted(set(split) - {record.key for record in listing.records}):
        if not any(name == Path(what).stem for what, _ in listing.rejected):
            listing.rejected.append((f"images/{name}.jpg", "is in a list, but the photograph is missing"))
    if not listing.records:
        raise LsslError(f"{root}: expected {EXPECTED}; {describe(root, files)}")
    return listing


def _in_folder(root: Path, name: str) -> Iterable[Path]:
    folder = root / name
    if not folder.is_dir():
        return []
    return (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_lists(root: Path) -> dict[str, str]:
    """Name to split, from lines such as `12 , 1629243_1`."""
    split = {}
    for file, part in _LISTS.items():
        path = root / file
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                fields = re.split(r"[,\s]+", line.strip())
                if fields[-1]:
                    split[Path(fields[-1]).stem if fields[-1].lower().endswith(".jpg") else fields[-1]] = part
    return split


def _anchors(parts: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The centres of the eyes and the upper lip, (3, 2), from the labels; the eye on the picture's left first."""
    centres = []
    for label, what in ((_EYE_LABELS[0], "eye"), (_EYE_LABELS[1], "eye"), (_UPPER_LIP, "upper lip")):
        rows, columns = np.nonzero(parts == label)
        if len(rows) < 4:
            raise LsslError(f"the labels show no {what}")
        centres.append([columns.mean(), rows.mean()])
    eyes, mouth = sorted(centres[:2]), centres[2]
    return np.array([*eyes, mouth])


READER = Reader("helen", scan, "Helen with part labels", EXPECTED)

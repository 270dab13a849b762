"""The data set folder: reads and checks it; `writer.py` writes it.

images/           pictures, all of one size
metadata.csv      file_name, subject, split (train or test), one column per attribute, further columns
landmarks.npy     float32 (rows of metadata.csv, 68, 2), (x, y) in pixels         optional
masks/            uint8 labels under the picture's name, as .png (see MASK_LABELS) optional
side/             side pictures under the picture's name (pose normalisation)      optional
dataset.json      source, size, seed, which columns are attributes                 optional
"""

import json
import re
import shlex
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data.file_names import FileNames
from lssl.data.landmarks import COUNT
from lssl.data.picture_files import find_pictures
from lssl.data.schema import AttributeSchema
from lssl.data.tables import read_numbered_rows
from lssl.errors import LsslError

METADATA = "metadata.csv"
LANDMARKS = "landmarks.npy"
DESCRIPTION = "dataset.json"
REQUIRED_COLUMNS = ("file_name", "subject", "split")
SPLITS = ("train", "test")
#: What people call the splits. Validation faces are tested on, even beside test faces: nothing here is chosen by them.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "val", "valid", "validation", "dev", "eval", "evaluation"), "test"),
}
MASK_LABELS = ("background", "skin", "lips", "eyes")
_MOST_VALUES = 64
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@dataclass(frozen=True)
class FaceFolder:
    """The rows of a data set folder; the pictures stay on disk. Row numbers are those of this object."""

    root: Path
    file_names: list[str]
    subjects: list[str]
    splits: list[str]
    columns: dict[str, list[str]]
    attributes: tuple[str, ...]
    landmarks: NDArray[np.float32] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.file_names)

    def image_path(self, row: int) -> Path:
        return self.root / self.file_names[row]

    def mask_path(self, row: int) -> Path:
        return self.root / "masks" / (Path(self.file_names[row]).stem + ".png")

    def side_path(self, row: int) -> Path:
        return self.root / "side" / Path(self.file_names[row]).name

    @property
    def has_masks(self) -> bool:
        return len(self) > 0 and all(self.mask_path(row).is_file() for row in range(len(self)))

    def attribute_columns(self) -> dict[str, list[str]]:
        return {name: self.columns[name] for name in self.attributes}

    def schema(self) -> AttributeSchema:
        """The schema of the folder's attribute columns.

        Raises LsslError where there is no such column, and where one has a single value.
        """
        if not self.attributes:
            raise LsslError(
                f"{self.root / METADATA} has no attribute to learn: no column with two values or more "
                f"(columns: {', '.join(self.columns) or 'none'}); it needs faces of at least two classes"
            )
        return AttributeSchema.from_columns(self.attribute_columns())

    def varying_attributes(self) -> tuple[str, ...]:
        """The attribute columns with more than one value: those that something can be learnt about."""
        return tuple(name for name in self.attributes if len(set(self.columns[name])) > 1)

    def rows_where(self, **values: str) -> list[int]:
        """Rows in which `split`, `subject` or a column has the given value."""
        table = {"split": self.splits, "subject": self.subjects, **self.columns}
        for name in values:
            if name not in table:
                raise LsslError(f"{self.root / METADATA} has no column '{name}'; it has: {', '.join(table)}")
        return [row for row in range(len(self)) if all(table[k][row] == v for k, v in values.items())]

    def in_both_splits(self) -> list[str]:
        """The subjects with pictures in split train and in split test, sorted; there should be none."""
        of_split = {split: {self.subjects[row] for row in self.rows_where(split=split)} for split in SPLITS}
        return sorted(set.intersection(*of_split.values()))

    def select(self, rows: Sequence[int]) -> "FaceFolder":
        """The same folder with only these rows, in this order."""
        return replace(
            self,
            file_names=[self.file_names[row] for row in rows],
            subjects=[self.subjects[row] for row in rows],
            splits=[self.splits[row] for row in rows],
            columns={name: [values[row] for row in rows] for name, values in self.columns.items()},
            landmarks=None if self.landmarks is None else self.landmarks[list(rows)],
        )

    def split(self, name: str) -> "FaceFolder":
        """The rows of `train` or `test`. Raises LsslError where there are none."""
        rows = self.rows_where(split=name)
        if not rows:
            raise LsslError(
                f"{self.root / METADATA} has no row with split '{name}'; "
                "prepare the folder again with --test-fraction, or edit the split column"
            )
        return self.select(rows)


def read_metadata(root: str | Path, *, attributes: Sequence[str] | None = None) -> FaceFolder:
    """Reads and checks all of a data set folder but the pixels: columns, splits, landmarks, that every picture exists.

    Args:
        attributes: the columns to use as attributes; else those that dataset.json lists; else every column with 2 to 64
            values, each shared by two rows or more on average.

    Raises LsslError naming the file and what to do.
    """
    root = Path(root)
    table, lines = _read_columns(root)
    count = len(table["file_name"])
    info = read_description(root)
    columns = {name: values for name, values in table.items() if name not in REQUIRED_COLUMNS}
    folder = FaceFolder(
        root,
        file_names=table["file_name"],
        subjects=table["subject"],
        splits=table["split"],
        columns=columns,
        attributes=_choose_attributes(root, columns, attributes, info),
        landmarks=_read_landmarks(root, count),
        info=info,
    )
    _check_rows(folder, lines)
    return folder


def check_images(folder: FaceFolder) -> tuple[int, int]:
    """(height, width) of all pictures, opening each header.

    Raises LsslError for one that is unreadable or of another size.
    """
    from lssl.progress import steps

    size: tuple[int, int] | None = None
    for row in steps(range(len(folder)), f"checking {folder.root}"):
        path = folder.image_path(row)
        try:
            found = _picture_size(path)
        except Exception as error:
            raise LsslError(f"{path}: not a readable picture ({error}); prepare the folder again") from None
        if size is None:
            size = found
        if found != size:
            raise LsslError(
                f"{path} is {found[1]}x{found[0]}, but {folder.file_names[0]} is {size[1]}x{size[0]}: "
                "all pictures must have one size (`lssl prepare folder` makes them so)"
            )
    if size is None:
        raise LsslError(f"{folder.root / METADATA} has no rows")
    return size


def _picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture. Raises whatever the reader raises.

    A PNG, as data set folders hold, says them in its first 33 bytes: three times as fast as opening it, for thousands.
    """
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(33)
        if head.startswith(_PNG) and len(head) == 33 and zlib.crc32(head[12:29]) == int.from_bytes(head[29:], "big"):
            width, height = struct.unpack(">II", head[16:24])
            if width and height:
                return height, width
        file.seek(0)
        with Image.open(file) as image:
            return image.height, image.width


def as_split(text: str) -> str:
    """`train` or `test` for what a user calls a split ("Training", "val"); the text itself where it is neither."""
    return SPLIT_NAMES.get(text.strip().lower(), text)


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a metadata.csv and its rows, each with its line in the file.

    The columns that a data set folder needs may be written with capitals and spaces ("File name"); columns without a
    name (the index that a data frame adds) are left out. Raises LsslError naming the file, the line and the fix.
    """
    rows = read_numbered_rows(path)
    if not rows:
        raise LsslError(f"{path} is empty")
    header = [_column_name(name) for name in rows[0][1]]
    named = [name for name in header if name]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise LsslError(f"{path} has two columns '{twice[0]}'; rename one")
    table = []
    for line, cells in rows[1:]:
        if len(cells) != len(header):
            raise LsslError(f"{path}, line {line}: {len(cells)} values, but the header has {len(header)}")
        table.append((line, {name: cell for name, cell in zip(header, cells, strict=True) if name}))
    return named, table


def _column_name(name: str) -> str:
    plain = re.sub(r"[\s_-]+", "_", name.strip().lower())
    if plain in REQUIRED_COLUMNS:
        return plain
    if plain == "filename":
        return "file_name"
    return "" if re.fullmatch(r"unnamed:_\d+", plain) else name.strip()


def _read_columns(root: Path) -> tuple[dict[str, list[str]], list[int]]:
    """The columns of metadata.csv, and the line of each row in the file (which may have empty lines)."""
    path = root / METADATA
    if not root.is_dir():
        raise LsslError(f"{root}: {'is a file; give a data set folder' if root.exists() else 'no such folder'}")
    if not path.is_file():
        raise LsslError(f"{path} is missing, so {root} is not a data set folder; {_how_to_prepare(root)}")
    header, rows = read_table(path)
    for name in REQUIRED_COLUMNS:
        if name not in header:
            raise LsslError(
                f"{path} has no column '{name}'; it has: {', '.join(header)}. Add it, or let {_prepare_command(root)} "
                "make a folder that has all"
            )
    if not rows:
        raise LsslError(f"{path} has a header but no rows")
    columns = {name: [row[name] for _, row in rows] for name in header}
    find = FileNames(root)
    columns["file_name"] = [find.on_disk(name) for name in columns["file_name"]]
    columns["split"] = [as_split(name) for name in columns["split"]]
    return columns, [line for line, _ in rows]


def _prepared(root: Path) -> Path:
    """The folder that is proposed for the faces of another one: beside it."""
    return (root if root.name not in ("", "..") else root.resolve()).with_name(f"{root.resolve().name}-prepared")


def _prepare_command(root: Path) -> str:
    return f"`{shlex.join(['lssl', 'prepare', 'folder', str(root), str(_prepared(root))])}`"


def _how_to_prepare(root: Path) -> str:
    """The command that makes a data set folder out of a folder without metadata.csv."""
    pictures = find_pictures(root).pictures
    if not pictures:
        return (
            f"it holds no pictures to make one from, either; see `lssl prepare --help` and `lssl generate-faces {root}`"
        )
    out, command = _prepared(root), _prepare_command(root)
    if all(path.parent == root for path in pictures):
        return (
            f"it holds {len(pictures)} pictures side by side: put them into a folder for each class ({root / 'happy'}, "
            f"{root / 'neutral'}), then {command}, and give {out}"
        )
    return f"it holds {len(pictures)} pictures: {command}, and give {out}"


def read_description(root: Path) -> dict[str, Any]:
    """What a folder's dataset.json says; nothing where there is none. Raises LsslError for one that is not JSON."""
    path = root / DESCRIPTION
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise LsslError(f"{path}: not JSON ({error})") from None
    if not isinstance(info, dict):
        raise LsslError(f"{path}: expected a JSON object")
    listed = info.get("attributes", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise LsslError(f"{path}: 'attributes' must be a list of columns' names, such as [\"expression\"]")
    return info


def load_array(path: Path) -> NDArray[Any]:
    """The array of numbers in a .npy file, without running code from it. Raises LsslError for anything else."""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")  # a wrong size in the header allocates nothing
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise ValueError("no array of numbers")
        return np.array(array)
    except Exception as error:  # a damaged header makes NumPy raise almost anything
        raise LsslError(f"{path}: not a NumPy array file ({error})") from None


def _read_landmarks(root: Path, count: int) -> NDArray[np.float32] | None:
    path = root / LANDMARKS
    if not path.is_file():
        return None
    landmarks = load_array(path)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (COUNT, 2):
        raise LsslError(f"{path} has shape {landmarks.shape}, expected (rows, {COUNT}, 2)")
    if len(landmarks) != count:
        raise LsslError(f"{path} has {len(landmarks)} rows but {METADATA} has {count}")
    bad = ~np.isfinite(landmarks).all((1, 2))
    if bad.any():
        raise LsslError(f"{path}: row {int(bad.argmax())} has values that are not finite")
    return np.ascontiguousarray(landmarks, dtype=np.float32)


def _choose_attributes(
    root: Path, columns: dict[str, list[str]], asked: Sequence[str] | None, info: dict[str, Any]
) -> tuple[str, ...]:
    listed = asked if asked is not None else info.get("attributes")
    if listed is not None:
        for name in listed:
            if name not in columns:
                found = ", ".join(columns) or "none"
                raise LsslError(f"{root / METADATA} has no attribute column '{name}'; it has: {found}")
        return tuple(listed)
    chosen = []
    for name, values in columns.items():
        distinct = len(set(values))
        if 2 <= distinct <= _MOST_VALUES and distinct <= max(2, len(values) // 2):
            chosen.append(name)
    return tuple(chosen)


def _check_rows(folder: FaceFolder, lines: Sequence[int]) -> None:
    path = folder.root / METADATA
    seen: dict[str, int] = {}
    for row, (name, line) in enumerate(zip(folder.file_names, lines, strict=True)):
        if name in seen:
            raise LsslError(f"{path}, line {line}: '{name}' is in line {seen[name]} already")
        seen[name] = line
        if not (folder.root / name).is_file():
            raise LsslError(f"{path}, line {line}: {folder.root / name} is missing")
        if folder.splits[row] not in SPLITS:
            raise LsslError(f"{path}, line {line}: split is '{folder.splits[row]}', expected train or test")
        for column in folder.attributes:
            if not folder.columns[column][row]:
                raise LsslError(f"{path}, line {line}: no value in column '{column}'")

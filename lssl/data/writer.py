"""Writes a data set folder row by row: in any order, from several processes, and continuing after an interruption.

Each row's pictures are written first (to a temporary name, then renamed), then one line of a journal. `finish` sorts
the journals' rows by key and writes metadata.csv, landmarks.npy and dataset.json, so that the same rows give the same
bytes whatever the order, the number of processes, and the interruptions.
"""

import contextlib
import csv
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lssl.data.align import framing_of
from lssl.data.folder import DESCRIPTION, LANDMARKS, METADATA, REQUIRED_COLUMNS
from lssl.data.landmarks import COUNT
from lssl.data.lock import check_writable, lock_folder, unlock_folder
from lssl.data.png import png_pieces
from lssl.data.tables import readable
from lssl.errors import LsslError

if TYPE_CHECKING:
    from PIL import Image

FORMAT = "lssl-faces"
VERSION = 1
REJECTED = "rejected.csv"
PREVIEW = "preview.png"
_SETTINGS = ".settings.json"
_TIGHTLY_PACKED = 4_000_000  # pixels


@dataclass
class FaceRow:
    """One picture of a data set folder. `key` is unique, sorts the rows and names the files. split: `train`, `test`, or
    empty if `finish` is to decide it. metadata: of image and side, see `write_image`."""

    key: str
    image: NDArray[np.uint8]
    subject: str
    split: str
    attributes: Mapping[str, str]
    landmarks: NDArray[np.float32] | None = None
    mask: NDArray[np.uint8] | None = None
    side: NDArray[np.uint8] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)


class FaceFolderWriter:
    """Writes a data set folder of `FaceRow`s; used by every command that makes one.

    settings: whatever decides the content (source, size, seed, ...). A folder begun with other settings is refused;
        one begun with the same settings is continued: `key in writer` tells which rows it has.
    rank: the number of the process if several write to one folder. Rank 0 calls `finish` when all are done.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        attributes: Sequence[str],
        settings: Mapping[str, Any],
        rank: int = 0,
        overwrite: bool = False,
    ) -> None:
        self.root = Path(root)
        self.attributes = tuple(attributes)
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self.finished = False
        self._rank = rank
        self._lock = f".lock-{rank:04d}"
        self._journal: io.TextIOWrapper | None = None
        self._begin(overwrite)
        self._rows = self._read_journals()

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """(what, why) of everything rejected so far, by this process and by those before it."""
        rows = [row for _, row in sorted(self._rows.items()) if "rejected" in row]
        return [(row.get("source", row["key"]), row["rejected"]) for row in rows]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The journal entries of the pictures written so far, by key."""
        return [row for _, row in sorted(self._rows.items()) if "rejected" not in row]

    def add(self, row: FaceRow) -> None:
        """Writes one row's pictures, then its journal line."""
        self.append(write_pictures(self.root, row, self.attributes))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Journals what `write_pictures` returned, perhaps in another process."""
        self._rows[entry["key"]] = dict(entry)
        if self._journal is None:
            self._journal = self._open_journal()
        try:
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.root)) from None

    def reject(self, key: str, reason: str) -> None:
        """Records a source that gives no row, and why; `finish` lists it in rejected.csv."""
        self.append({"key": key, "rejected": reason})

    def finish(self, splits: Mapping[str, str] | None = None, **info: Any) -> int:
        """Writes metadata.csv, landmarks.npy, dataset.json and rejected.csv from all journals; returns the row count.

        splits: the split of each subject whose rows have none yet. info: further facts for dataset.json.
        Raises LsslError if no row was written.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._rows.update(self._read_journals())
        rows = self.rows
        self._write_rejected()
        if not rows:
            what, why = self.rejected[0] if self.rejected else ("nothing", "was given")
            listed = f"; all are listed in {self.root / REJECTED}" if self.rejected else ""
            raise LsslError(f"{self.root}: nothing could be used ({what}: {why}){listed}")
        extra = list(dict.fromkeys(name for row in rows for name in row["extra"]))
        header = [*REQUIRED_COLUMNS, *self.attributes, *extra]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(header)
        for row in rows:
            decided = row["split"] or (splits or {}).get(row["subject"], "")
            values = {**row, "split": decided, **row["attributes"], **row["extra"]}
            table.writerow([readable(str(values.get(name, ""))) for name in header])
        landmarks = [row["landmarks"] for row in rows]
        if all(points is not None for points in landmarks):
            buffer = io.BytesIO()
            points = np.array(landmarks, dtype=np.float32)
            np.save(buffer, points)
            write_atomic(self.root / LANDMARKS, buffer.getvalue())
            info = {"alignment": framing_of(points, rows[0]["size"][1]).to_dict(), **info}
        description = {
            "format": FORMAT,
            "version": VERSION,
            "size": rows[0]["size"],
            "attributes": list(self.attributes),
            **info,
            "settings": self.settings,
        }
        write_atomic(self.root / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())
        write_atomic(self.root / METADATA, text.getvalue().encode())
        self._remove_traces()
        self.finished = True
        self.close()
        return len(rows)

    def close(self) -> None:
        """Releases the folder, so that another process can continue it; `finish` does so, too."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        unlock_folder(self.root, self._lock)

    def _begin(self, overwrite: bool) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise LsslError(f"{self.root} is a file; give a folder")
        if self._rank == 0:
            check_writable(self.root)
        begun = self._settings_on_disk()
        filled = self.root.is_dir() and any(map(_is_content, self.root.iterdir()))
        if begun is None and filled and self._rank == 0:
            raise LsslError(f"{self.root} is not empty, and not a data set folder by lssl; choose another folder")
        if begun is not None:
            self._take_lock()
        if overwrite and begun is not None and self._rank == 0:
            self._clear()
            begun = None
        if begun is not None and begun != self.settings:
            names = sorted(set(begun) | set(self.settings))
            other = [name for name in names if begun.get(name) != self.settings.get(name)]
            changes = ", ".join(f"{n}: {begun.get(n)!r} then, {self.settings.get(n)!r} now" for n in other)
            raise LsslError(
                f"{self.root} was made with other settings ({changes}); "
                "repeat them, choose another folder, or use --overwrite"
            )
        self.finished = begun is not None and (self.root / METADATA).is_file()
        if self.finished:
            if self._rank == 0:
                self._remove_traces()
            self.close()
            return
        self.root.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        if begun is None:  # before anything else, so that a run that is killed here can be repeated
            write_atomic(self.root / _SETTINGS, json.dumps(self.settings).encode())
        (self.root / "images").mkdir(exist_ok=True)

    def _remove_traces(self) -> None:
        """Removes what only an unfinished run needs, and files that a killed run left half written."""
        left = [path for name in (".", "images", "masks", "side") for path in (self.root / name).glob(".*.tmp")]
        left += [path for path in self.root.glob(".lock-*") if path.name != self._lock]
        for path in [*self.root.glob(".rows-*.jsonl"), self.root / _SETTINGS, *left]:
            path.unlink(missing_ok=True)

    def _take_lock(self) -> None:
        if not lock_folder(self.root, self._lock):
            raise LsslError(f"{self.root}: another run is writing to it; wait for it, or choose another folder")

    def _settings_on_disk(self) -> dict[str, Any] | None:
        for name in (_SETTINGS, DESCRIPTION):
            try:
                data = json.loads((self.root / name).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if name == DESCRIPTION:
                data = data.get("settings") if data.get("format") == FORMAT else None
            if isinstance(data, dict):
                return data
        return None

    def _clear(self) -> None:
        """Removes what a data set folder holds, and nothing else: first what marks it as complete, and last what marks
        it as a data set folder, so that a run that is killed here can be repeated."""
        for path in [self.root / METADATA, *self.root.glob(".rows-*.jsonl")]:
            path.unlink(missing_ok=True)
        for name in ("images", "masks", "side"):
            folder = self.root / name
            for path in folder.glob("*.png"):
                path.unlink()
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        for name in (LANDMARKS, REJECTED, PREVIEW, _SETTINGS, DESCRIPTION):
            (self.root / name).unlink(missing_ok=True)

    def _read_journals(self) -> dict[str, dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for path in sorted(self.root.glob(".rows-*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    row = json.loads(line)
                    rows[row["key"]] = row
                except (ValueError, TypeError, KeyError):  # the line in which an earlier process was killed
                    continue
        return rows

    def _open_journal(self) -> io.TextIOWrapper:
        path = self.root / f".rows-{self._rank:04d}.jsonl"
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        journal = path.open("a", encoding="utf-8")
        if torn:
            journal.write("\n")
        return journal

    def _write_rejected(self) -> None:
        rejected = self.rejected
        path = self.root / REJECTED
        if not rejected:
            path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["source", "reason"])
        table.writerows([map(readable, line) for line in rejected])
        write_atomic(path, text.getvalue().encode())


def _is_content(path: Path) -> bool:
    """Whether a file or folder is more than what a run leaves that was killed at its start."""
    return not (path.name.startswith(".lock-") or path.name.endswith(".tmp"))


def write_pictures(root: Path, row: FaceRow, attributes: Sequence[str]) -> dict[str, Any]:
    """Writes a row's picture, mask and side picture, each atomically, and returns its journal entry."""
    if not row.key or any(c in row.key for c in "/\\\0") or row.key.startswith("."):
        raise LsslError(f"'{row.key}' cannot be a file name")
    missing = [name for name in attributes if not row.attributes.get(name)]
    if missing:
        raise LsslError(f"{row.key}: no value for attribute '{missing[0]}'")
    if row.image.dtype != np.uint8 or row.image.ndim != 3 or row.image.shape[2] != 3:
        raise LsslError(f"{row.key}: expected a uint8 picture (H, W, 3), got {row.image.shape}")
    points = None
    if row.landmarks is not None:
        if row.landmarks.shape != (COUNT, 2) or not np.isfinite(row.landmarks).all():
            raise LsslError(f"{row.key}: expected ({COUNT}, 2) finite landmarks, got {row.landmarks.shape}")
        points = np.asarray(row.landmarks, dtype=np.float32).round(3).tolist()
    file_name = f"images/{row.key}.png"
    write_image(root / file_name, row.image, row.metadata)
    if row.mask is not None:
        write_image(root / "masks" / f"{row.key}.png", row.mask)
    if row.side is not None:
        write_image(root / "side" / f"{row.key}.png", row.side, row.metadata)
    return {
        "key": row.key,
        "file_name": file_name,
        "subject": row.subject,
        "split": row.split,
        "attributes": {name: row.attributes[name] for name in attributes},
        "extra": dict(row.extra),
        "landmarks": points,
        "size": list(row.image.shape[:2]),
    }


def write_image(path: Path, image: NDArray[np.uint8], metadata: Mapping[str, bytes] | None = None) -> None:
    """Writes a PNG, atomically; (H, W, 3) or (H, W). metadata: `exif` and `icc_profile` to go with it.

    Large photographs are packed less tightly: a quarter of the time for a few percent of the size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.ndim == 3 and image.shape[0] * image.shape[1] > _TIGHTLY_PACKED:
        write_atomic(path, *png_pieces(image, metadata), sync=False)
        return
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4, **(metadata or {}))
    write_atomic(path, buffer.getvalue(), sync=False)


def save_picture(path: Path, picture: "Image.Image", **options: Any) -> None:
    """Writes a picture atomically, as its name's ending says. options: as `Image.save` takes them.

    Raises an OSError that names the file, which `Image.save` on a full disk does not.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    picture.save(buffer, format=Image.registered_extensions()[path.suffix.lower()], **options)
    write_atomic(path, buffer.getvalue(), sync=False)


def write_atomic(path: Path, *data: bytes, sync: bool = True) -> None:
    """Writes a file, from one piece or several, under a temporary name, syncs it and renames it: no half is ever seen.

    Raises an OSError that names the file itself, not the temporary one.
    """
    temporary = path.with_name(f".{zlib.crc32(path.name.encode()):08x}.{os.getpid()}.tmp")  # short, whatever the name
    try:
        with temporary.open("wb") as file:
            file.writelines(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""From a database's folder to a data set folder: each face is found, aligned, cropped and written, or rejected."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data import detect
from lssl.data.align import CROP_SCALE, check_inside, face_anchors, face_similarity, warp, warp_labels
from lssl.data.landmark_check import check_on_face
from lssl.data.landmark_files import check_used, find_landmark_file
from lssl.data.portrait import check_not_blank, check_upright, only_face
from lssl.data.readers import READERS, Listing, SourceRecord
from lssl.data.readers.source import with_unique_keys
from lssl.data.workers import map_in_processes
from lssl.data.writer import REJECTED, FaceFolderWriter, FaceRow, write_pictures
from lssl.errors import LsslError
from lssl.progress import steps

_CHUNK = 7  # pictures that a process takes at a time


@dataclass
class PrepareOptions:
    """What decides the content of the folder that `prepare` writes.

    attributes: columns that become attributes; the reader's own choice if empty.
    only: the values wanted of each column; the other pictures are left out, and counted.
    landmarks_dir: a folder that holds `.pts` or `.csv` files, laid out like the pictures below the source.
    largest_face: take the largest of several faces instead of rejecting the picture.
    crop_scale: the crop's side in distances between the eyes' centres.
    reader: further options of the reader (`frames`, `neutral`, `attribute`, `subject_pattern`).
    """

    size: int = 128
    crop_scale: float = CROP_SCALE
    test_fraction: float = 0.2
    seed: int = 0
    attributes: tuple[str, ...] = ()
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    landmarks_dir: Path | None = None
    redetect: bool = False
    largest_face: bool = False
    reader: dict[str, Any] = field(default_factory=dict)


@dataclass
class PrepareReport:
    """The outcome: rows written, per split; rejected pictures with reasons; what `only` left out; warnings."""

    rows: int
    subjects: int
    splits: dict[str, int]
    rejected: list[tuple[str, str]]
    left_out: Counter[str]
    attributes: dict[str, list[str]]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    """All that a worker process needs for one picture."""

    record: SourceRecord
    root: Path
    attributes: tuple[str, ...]
    size: int
    crop_scale: float
    redetect: bool
    largest_face: bool
    source_name: str


def list_source(source: str, path: Path, options: PrepareOptions) -> Listing:
    """The records to prepare. Raises LsslError if the folder does not hold the database that `source` names."""
    reader = READERS[source]
    listing = reader.scan(path, **options.reader)
    for column, values in {**reader.only, **options.only}.items():
        listing.keep_only(column, values)
    if not listing.records:
        raise LsslError(f"{path}: --only leaves none of {sum(listing.left_out.values())} pictures")
    records = [
        _with_landmarks(record, path, options.landmarks_dir)
        for record in steps(listing.records, "looking for landmarks")
    ]
    check_used(options.landmarks_dir, (record.landmarks for record in records))
    if options.redetect:
        records = [record.without_landmarks() for record in records]
    listing.records = sorted(with_unique_keys(records), key=lambda record: record.key)
    return listing


def choose_attributes(listing: Listing, source: str, options: PrepareOptions) -> tuple[str, ...]:
    """The attribute columns: those asked for, else the folder's or the reader's own that have at least two values here.

    Raises LsslError if a column that was asked for does not exist, or has only one value.
    """
    values: dict[str, set[str]] = {}
    for record in listing.records:
        for name, value in record.columns.items():
            values.setdefault(name, set()).add(value)
    for name in options.attributes:
        if name not in values:
            raise LsslError(f"no column '{name}' to use as an attribute; there are: {', '.join(values) or 'none'}")
        if len(values[name]) < 2:
            raise LsslError(f"attribute '{name}' has one class only ({min(values[name])}); two are needed")
    if options.attributes:
        return options.attributes
    preferred = listing.attributes or READERS[source].attributes or tuple(values)
    most = max(2, len(listing.records) // 2)
    return tuple(name for name in preferred if name in values and 2 <= len(values[name] - {""}) <= most)


def split_subjects(subjects: Iterable[str], test_fraction: float, seed: int) -> dict[str, str]:
    """`train` or `test` for each subject: the same for the same seed, and nearly so when subjects are added.

    If the fraction is above 0 and there are at least two subjects, at least one is tested.
    """
    names = sorted(set(subjects))
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    count = round(test_fraction * len(names))
    if test_fraction > 0 and len(names) > 1:
        count = min(max(count, 1), len(names) - 1)
    tested = set(order[:count])
    return {name: "test" if name in tested else "train" for name in names}


def prepare(
    source: str,
    path: Path,
    out: Path,
    options: PrepareOptions,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[Iterable[Any], int, int], Iterable[Any]] | None = None,
    listing: Listing | None = None,
) -> PrepareReport:
    """Writes the data set folder `out` from a database's folder; the same bytes for any number of workers.

    progress: wraps the iterator of results, given the total and how many are done already.
    An interrupted call (KeyboardInterrupt) keeps what is done, and the next one with the same options continues there.
    The subjects to test are chosen among those with a usable picture.
    Raises LsslError or DetectionError, before work starts wherever the cause can be known by then.
    """
    if out.resolve() == path.resolve():
        raise LsslError(f"{out} is the folder that is read; choose another one for the results")
    if out.resolve().is_relative_to(path.resolve()):
        raise LsslError(f"{out} lies inside {path}, whose pictures it would add to; choose a folder elsewhere")
    listing = listing or list_source(source, path, options)
    attributes = choose_attributes(listing, source, options)
    searched = sum(record.needs_detector for record in listing.records)
    if searched and not detect.available():
        first = next(record for record in listing.records if record.needs_detector)
        raise detect.DetectionError(
            f"{searched} of {len(listing.records)} pictures have no landmark file (the first: {first.path}); "
            + detect.EXTRA_MISSING
        )
    writer = FaceFolderWriter(
        out, attributes=attributes, settings=_settings(source, path, options, listing), overwrite=overwrite
    )
    if not writer.finished:
        for what, why in listing.rejected:
            if what not in writer:
                writer.reject(what, why)
        tasks = _tasks(listing, attributes, path, writer.root, options)
        missing = [task for task in tasks if task.record.key not in writer]
        results: Iterable[Any] = _run(missing, workers)
        if progress is not None:
            results = progress(results, len(tasks), len(tasks) - len(missing))
        for entry in results:
            writer.append(entry)
        writer.finish(_decide_splits(writer, options), source=source)
    return _report(out, listing, options)


def _settings(source: str, path: Path, options: PrepareOptions, listing: Listing) -> dict[str, Any]:
    return {
        "source": source,
        "path": str(path.resolve()),
        "pictures": len(listing.records) + len(listing.rejected),
        "size": options.size,
        "crop_scale": options.crop_scale,
        "test_fraction": options.test_fraction,
        "seed": options.seed,
        "attributes": list(options.attributes),
        "only": {name: list(values) for name, values in options.only.items()},
        "landmarks": None if options.landmarks_dir is None else str(options.landmarks_dir.resolve()),
        "redetect": options.redetect,
        "largest_face": options.largest_face,
        "reader": dict(sorted(options.reader.items())),
    }


def _decide_splits(writer: FaceFolderWriter, options: PrepareOptions) -> dict[str, str]:
    """The split of each subject with a usable picture: the database's own, else chosen by `split_subjects`.

    If the database gives a split for any picture of a subject, it holds for all of them.
    """
    given = {row["subject"]: row["split"] for row in writer.rows if row["split"]}
    undecided = {row["subject"] for row in writer.rows} - set(given)
    return {**split_subjects(undecided, options.test_fraction, options.seed), **given}


def _tasks(
    listing: Listing, attributes: tuple[str, ...], path: Path, out: Path, options: PrepareOptions
) -> list[_Task]:
    return [
        _Task(
            record,
            out,
            attributes,
            options.size,
            options.crop_scale,
            options.redetect,
            options.largest_face,
            record.path.relative_to(path).as_posix() if record.path.is_relative_to(path) else record.path.name,
        )
        for record in listing.records
    ]


def _prepare_one(task: _Task) -> dict[str, Any]:
    """The journal entry of one picture, written or rejected; runs in a worker process."""
    record = task.record
    try:
        row = _crop(task)
    except detect.DetectionError:
        raise  # no picture can be prepared without dlib
    except LsslError as error:
        return {"key": record.key, "rejected": _short(error, record), "source": task.source_name}
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        return {"key": record.key, "rejected": reason, "source": task.source_name}
    return write_pictures(task.root, row, task.attributes)


def _crop(task: _Task) -> FaceRow:
    record = task.record
    if lacking := [name for name in task.attributes if not record.columns.get(name)]:
        raise LsslError(f"no value in column '{lacking[0]}'")
    loaded = record.load()
    points = None if task.redetect else loaded.landmarks
    if points is None and loaded.anchors is None:
        points = only_face(loaded.image, largest_face=task.largest_face)
    if points is not None:
        check_upright(points, loaded.orientation)
        check_inside(points, *loaded.image.shape[:2])
        if points is loaded.landmarks:
            check_on_face(points, loaded.image, "" if record.landmarks is None else record.landmarks.name)
    anchors = loaded.anchors if loaded.anchors is not None else face_anchors(_required(points))
    similarity = face_similarity(anchors, task.size, task.crop_scale)
    crop = warp(loaded.image, similarity, task.size)
    check_not_blank(crop)
    return FaceRow(
        record.key,
        crop,
        record.subject,
        record.split or "",
        {name: record.columns[name] for name in task.attributes if name in record.columns},
        landmarks=None if points is None else similarity.apply(points),
        mask=None if loaded.mask is None else warp_labels(loaded.mask, similarity, task.size),
        extra={
            **{name: value for name, value in record.columns.items() if name not in task.attributes},
            "source_file": task.source_name,
            **({"note": loaded.note} if loaded.note else {}),
        },
    )


def _required(points: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if points is None:
        raise LsslError("no face found")
    return points


def _short(error: Exception, record: SourceRecord) -> str:
    """The reason without the picture's own path, which is listed next to it, and its landmark file by its name."""
    reason = str(error).removeprefix(f"{record.path}: ")
    return reason if record.landmarks is None else reason.replace(str(record.landmarks), record.landmarks.name)


def _run(tasks: Sequence[_Task], workers: int) -> Iterator[dict[str, Any]]:
    """Yields results as they come."""
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_prepare_one, tasks)
        return
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    for entries in map_in_processes(_prepare_chunk, chunks, workers):
        yield from entries


def _prepare_chunk(tasks: Sequence[_Task]) -> list[dict[str, Any]]:
    return [_prepare_one(task) for task in tasks]


def _with_landmarks(record: SourceRecord, root: Path, landmarks_dir: Path | None) -> SourceRecord:
    """The record with its landmark file: in `landmarks_dir` by its path below the source, else next to the picture."""
    if record.landmarks is not None or (not record.needs_detector and landmarks_dir is None):
        return record
    below = record.path.relative_to(root) if record.path.is_relative_to(root) else Path(record.path.name)
    found = find_landmark_file(record.path, landmarks_dir, below)
    return record if found is None else replace(record, landmarks=found)


def _report(out: Path, listing: Listing, options: PrepareOptions) -> PrepareReport:
    from lssl.data.advice import advice
    from lssl.data.folder import read_metadata
    from lssl.data.schema import sorted_values

    folder = read_metadata(out)
    return PrepareReport(
        rows=len(folder),
        subjects=len(set(folder.subjects)),
        splits=dict(Counter(folder.splits)),
        rejected=read_rejected(out),
        left_out=+listing.left_out,
        attributes={name: sorted_values(folder.columns[name]) for name in folder.attributes},
        warnings=advice(folder, listing, asked_for_a_test=options.test_fraction > 0),
    )


def read_rejected(out: Path) -> list[tuple[str, str]]:
    """(source, reason) of a folder's rejected.csv; empty where there is none."""
    import csv

    path = out / REJECTED
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [(row[0], row[1]) for row in list(csv.reader(file))[1:]]

"""A labelled data set folder of synthesized faces: `lssl augment` (paper Table 1, Fig. 8)."""

import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lssl.data import FaceFolder, FaceFolderWriter, FaceRow, detect
from lssl.data.fingerprint import weights_fingerprint
from lssl.data.images import read_image
from lssl.data.landmarks import flip_landmarks
from lssl.data.portrait import unique_names
from lssl.data.writer import write_pictures
from lssl.errors import LsslError
from lssl.inference.synthesis import InputFace, Target, check_folder, translate_batch
from lssl.models.export import TrainedGenerator
from lssl.training.distributed import Processes

#: Faces are translated in fixed groups of this size, so that a picture has the same bits on any number of processes.
GROUP = 16


@dataclass(frozen=True)
class AugmentOptions:
    """What decides the content of the folder.

    attribute: the group whose values are the classes; the model's first if empty.
    intensity: range from which each face's is drawn, 1 is the training's.
    landmarks: `none`, or `dlib` to find them in each result; one in which no face is found is then rejected.
    """

    per_class: int = 1000
    attribute: str = ""
    intensity: tuple[float, float] = (0.8, 1.2)
    split: str = "train"
    seed: int = 0
    landmarks: str = "none"


@dataclass(frozen=True)
class Order:
    """One face to make: which row of the data, mirrored or not, to which value, how strongly."""

    key: str
    row: int
    mirrored: bool
    value: str
    intensity: float


def plan(folder: FaceFolder, values: Iterable[str], attribute: str, options: AugmentOptions) -> list[Order]:
    """The faces to make, sorted by key: for each value, faces of other values by turns, each first plain, then mirrored.

    Raises LsslError where no face of another value is there to start from.
    """
    orders = []
    values = list(values)
    for value, name in zip(values, unique_names(values), strict=True):
        rows = [row for row, own in enumerate(folder.columns[attribute]) if own != value]
        if not rows:
            raise LsslError(f"{folder.root}: every face has {attribute} '{value}', so none can be changed to it")
        chance = np.random.default_rng([options.seed, zlib.crc32(value.encode())])
        once = np.concatenate([chance.permutation(len(rows)), chance.permutation(len(rows)) + len(rows)])
        low, high = options.intensity
        strengths = chance.uniform(low, high, options.per_class)
        for number in range(options.per_class):
            pick = int(once[number % len(once)])
            key = f"{name}_{number:06d}"
            orders.append(
                Order(key, rows[pick % len(rows)], pick >= len(rows), value, round(float(strengths[number]), 3))
            )
    return sorted(orders, key=lambda order: order.key)


def augment_folder(
    model: TrainedGenerator,
    folder: FaceFolder,
    out: Path,
    options: AugmentOptions,
    *,
    model_name: str = "",
    processes: Processes | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Callable[[int], None]] | None = None,
) -> int | None:
    """Writes the folder and returns its rows (None on processes other than the first).

    Goes on where an earlier call stopped. progress(total, done) gives a function that is called with each advance.
    Raises LsslError before work starts.
    """
    processes = processes or Processes()
    check_folder(folder, model)
    group = model.schema.group(options.attribute) if options.attribute else model.schema.groups[0]
    data = folder if options.split == "all" else folder.split(options.split)
    orders = plan(data, group.values, group.name, options)
    names = [g.name for g in model.schema.groups]
    settings = {
        "source": "augment",
        "model": model_name,
        "model_weights": weights_fingerprint(model.network),
        "data": folder.root.name,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in vars(options).items()},
    }
    if not processes.first:
        processes.wait()  # until the first has made the folder
    writer = FaceFolderWriter(
        out, attributes=names, settings=settings, rank=processes.rank, overwrite=overwrite and processes.first
    )
    if processes.first:
        processes.wait()
    if not writer.finished:
        groups = [orders[start : start + GROUP] for start in range(0, len(orders), GROUP)]
        own = groups[processes.rank :: processes.world_size]
        advance = progress(len(orders), len(writer)) if progress is not None and processes.first else None
        with ThreadPoolExecutor(2) as pool:
            for chunk in own:
                if all(order.key in writer for order in chunk):
                    continue
                rows = _make(model, data, chunk, group.name, options)
                for entry in pool.map(lambda row: _write(writer, row, names), rows):
                    if entry["key"] not in writer:
                        writer.append(entry)
                if advance is not None:
                    advance(len(chunk) * processes.world_size)
    processes.wait()
    if not processes.first:
        return None
    return len(orders) if writer.finished else writer.finish(source="augment")


def _make(
    model: TrainedGenerator, data: FaceFolder, chunk: list[Order], attribute: str, options: AugmentOptions
) -> list[FaceRow | tuple[str, str]]:
    """The rows of one group of orders, or (key, reason) for a rejected one."""
    faces = [_input(data, order, model) for order in chunk]
    targets = [Target({attribute: order.value}, order.intensity, order.value) for order in chunk]
    pictures = translate_batch(model, faces, targets)
    rows: list[FaceRow | tuple[str, str]] = []
    for order, face, picture in zip(chunk, faces, pictures, strict=True):
        landmarks = None
        if options.landmarks == "dlib":
            landmarks = detect.detect_landmarks(picture)
            if landmarks is None:
                rows.append((order.key, "no face found in the synthesized picture"))
                continue
        rows.append(
            FaceRow(
                order.key,
                picture,
                data.subjects[order.row],
                "train",
                {**face.source, attribute: order.value},
                landmarks=landmarks,
                extra={
                    "made_from": data.file_names[order.row],
                    "was": data.columns[attribute][order.row],
                    "mirrored": str(int(order.mirrored)),
                    "intensity": f"{order.intensity:g}",
                },
            )
        )
    return rows


def _input(data: FaceFolder, order: Order, model: TrainedGenerator) -> InputFace:
    image = read_image(data.image_path(order.row))
    points = None if data.landmarks is None else data.landmarks[order.row]
    if order.mirrored:
        image = image[:, ::-1].copy()
        points = None if points is None else flip_landmarks(points, image.shape[1])
    source = {group.name: data.columns[group.name][order.row] for group in model.schema.groups}
    return InputFace(order.key, image, points, source)


def _write(writer: FaceFolderWriter, row: FaceRow | tuple[str, str], names: list[str]) -> dict[str, Any]:
    if isinstance(row, tuple):
        return {"key": row[0], "rejected": row[1]}
    return write_pictures(writer.root, row, names)

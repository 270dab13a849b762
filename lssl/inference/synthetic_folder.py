"""A labelled data set folder of synthesized faces: `lssl augment` (paper Table 1, Fig. 8)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lssl.data import AttributeGroup, FaceFolder, FaceFolderWriter, FaceRow, detect
from lssl.data.fingerprint import weights_fingerprint
from lssl.data.writer import write_pictures
from lssl.errors import LsslError
from lssl.inference.face_orders import Made, Order, Synthesizer
from lssl.inference.synthesizers import GeneratorSynthesizer
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator
from lssl.training.distributed import Processes

#: Faces are translated in fixed groups of this size, so that a picture has the same bits on any number of processes.
GROUP = 16


@dataclass(frozen=True)
class AugmentOptions:
    """What the content of the folder depends on.

    attribute: the group whose values are the classes; the model's first if empty.
    intensity: range from which each face's intensity is drawn; 1 is that of training.
    landmarks: `none`, or `dlib` to find them in each result; a result without a detectable face is then rejected.
    agreement: the least probability, 0 to 1, that a teacher must give a face's class.
    """

    per_class: int = 1000
    attribute: str = ""
    intensity: tuple[float, float] = (0.8, 1.2)
    split: str = "train"
    seed: int = 0
    landmarks: str = "none"
    agreement: float = 0.5


def augment_folder(
    model: TrainedGenerator | Synthesizer,
    folder: FaceFolder,
    out: Path,
    options: AugmentOptions,
    *,
    model_name: str = "",
    teacher: TrainedClassifier | None = None,
    processes: Processes | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Callable[[int], None]] | None = None,
) -> int | None:
    """Writes the folder and returns the number of its rows (None on processes other than the first).

    model: a trained generator, named model_name, or another synthesizer.
    teacher: a classifier of the same classes; faces whose class it gives less than options.agreement are rejected. It must
        not have seen anybody on whom a classifier is to be tested.
    progress: progress(total, done) returns a function that is called with each advance.
    Continues where an earlier call stopped. Raises LsslError before work starts if the folder or the teacher does not fit.
    """
    processes = processes or Processes()
    maker = GeneratorSynthesizer(model, model_name) if isinstance(model, TrainedGenerator) else model
    group = maker.group(folder, options.attribute)
    if teacher is not None and teacher.classes != group.values:
        raise LsslError(
            f"the teacher has the classes {', '.join(teacher.classes)}, but {group.name} has {', '.join(group.values)}"
        )
    data = folder if options.split == "all" else folder.split(options.split)
    orders = maker.plan(data, group, options.per_class, options.intensity, options.seed)
    names = maker.attributes(data)
    settings = {
        "source": "augment",
        **maker.settings(),
        "data": folder.root.name,
        "teacher": None if teacher is None else weights_fingerprint(teacher.network),
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
        advance = progress(len(orders), len(writer)) if progress is not None and processes.first else None

        def make(chunk: list[Order]) -> list[FaceRow | tuple[str, str]]:
            return _make(maker, data, chunk, group, options, teacher)

        _write_own(writer, orders, make, names, processes, advance)
    processes.wait()
    if not processes.first:
        return None
    return len(orders) if writer.finished else writer.finish(source="augment")


def _write_own(
    writer: FaceFolderWriter,
    orders: list[Order],
    make: Callable[[list[Order]], list[FaceRow | tuple[str, str]]],
    names: list[str],
    processes: Processes,
    advance: Callable[[int], None] | None,
) -> None:
    """Makes and writes this process's share of the orders, less what is there already."""
    groups = [orders[start : start + GROUP] for start in range(0, len(orders), GROUP)]
    with ThreadPoolExecutor(2) as pool:
        for chunk in groups[processes.rank :: processes.world_size]:
            if all(order.key in writer for order in chunk):
                continue
            for entry in pool.map(lambda row: _write(writer, row, names), make(chunk)):
                if entry["key"] not in writer:
                    writer.append(entry)
            if advance is not None:
                advance(len(chunk) * processes.world_size)


def _make(
    maker: Synthesizer,
    data: FaceFolder,
    chunk: list[Order],
    group: AttributeGroup,
    options: AugmentOptions,
    teacher: TrainedClassifier | None,
) -> list[FaceRow | tuple[str, str]]:
    """The rows of one group of orders, or (key, reason) for a rejected one."""
    made = maker.make(data, chunk, group.name)
    agreed = _agreement(teacher, made, chunk, group)
    rows: list[FaceRow | tuple[str, str]] = []
    for order, face, agreement in zip(chunk, made, agreed, strict=True):
        if isinstance(face, str):
            rows.append((order.key, face))
            continue
        if agreement is not None and agreement[0] < options.agreement:
            rows.append((order.key, f"the teacher takes it for {agreement[1]} ({order.value}: {agreement[0]:.2f})"))
            continue
        landmarks = face.landmarks
        if options.landmarks == "dlib":
            landmarks = detect.detect_landmarks(face.picture)
            if landmarks is None:
                rows.append((order.key, "no face found in the synthesized picture"))
                continue
        extra = {
            "made_from": data.file_names[order.row],
            "was": data.columns[group.name][order.row],
            "mirrored": str(int(order.mirrored)),
            "intensity": f"{order.intensity:g}",
            **face.extra,
            **({} if agreement is None else {"agreement": f"{agreement[0]:.3f}"}),
        }
        values = {**face.source, group.name: order.value}
        rows.append(
            FaceRow(
                order.key, face.picture, data.subjects[order.row], "train", values, landmarks=landmarks, extra=extra
            )
        )
    return rows


def _agreement(
    teacher: TrainedClassifier | None, made: list[Made | str], orders: list[Order], group: AttributeGroup
) -> list[tuple[float, str] | None]:
    """For each face (the probability that the teacher gives its class, the class that it predicts); None without a teacher."""
    faces = [face.picture for face in made if not isinstance(face, str)]
    if teacher is None or not faces:
        return [None] * len(made)
    shares = iter(teacher.predict(torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2)))
    found: list[tuple[float, str] | None] = []
    for face, order in zip(made, orders, strict=True):
        share = None if isinstance(face, str) else next(shares)
        given = None if share is None else float(share[group.index(order.value)])
        found.append(None if given is None or share is None else (given, group.values[int(share.argmax())]))
    return found


def _write(writer: FaceFolderWriter, row: FaceRow | tuple[str, str], names: list[str]) -> dict[str, Any]:
    if isinstance(row, tuple):
        return {"key": row[0], "rejected": row[1]}
    return write_pictures(writer.root, row, names)

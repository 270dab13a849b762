"""Which photographs give which frontal face: loose photographs with their landmark files, or a data set folder's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data import detect
from lssl.data.folder import FaceFolder
from lssl.data.landmark_files import check_used, find_landmark_file
from lssl.data.portrait import safe_name, unique_names
from lssl.errors import LsslError

POSE_ATTRIBUTE = "yaw"  # of the photograph: the drawn face has another


@dataclass(frozen=True)
class Job:
    """Photographs of one subject that give one frontal face. landmarks: a file a photograph, None to find them.

    attributes: those of the drawn face. notes: what else metadata.csv shall say of it.
    """

    key: str
    photographs: tuple[str, ...]
    landmarks: tuple[str | None, ...]
    subject: str
    split: str = "train"
    attributes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    points: tuple[NDArray[np.float32], ...] | None = None


def photograph_jobs(
    photographs: Sequence[Path], *, landmarks: Path | None = None, one_subject: bool = False
) -> list[Job]:
    """Jobs for loose photographs: one each, or one of all of them (views of one subject).

    landmarks: a .pts or .csv file for a single photograph, or a folder of them; see `find_landmark_file`. Results are
    named by the photographs, numbered where two have one name. Raises LsslError for one file of several photographs.
    """
    if landmarks is not None and landmarks.is_file() and len(photographs) > 1:
        raise LsslError(
            f"{landmarks} is one file, but there are {len(photographs)} photographs; give a folder of files"
        )
    found = [find_landmark_file(path, landmarks) for path in photographs]
    check_used(landmarks, found)
    files = [None if file is None else str(file) for file in found]
    if one_subject:
        name = safe_name(photographs[0].stem)
        return [Job(name, tuple(map(str, photographs)), tuple(files), subject=name)]
    names = unique_names([path.stem for path in photographs])
    return [Job(n, (str(p),), (f,), subject=n) for n, p, f in zip(names, photographs, files, strict=True)]


def folder_jobs(folder: FaceFolder, *, one_subject: bool = False, expression: str | None = None) -> list[Job]:
    """A job for each face of a data set folder, named by its file.

    one_subject: a job for all faces of a subject whose attributes agree, but for their yaw: views of one face.
    expression: the expression that will be drawn, which the `expression` attribute then is.
    An attribute `yaw` is the photograph's, not the drawn face's: it becomes the column `photograph_yaw`.
    Raises LsslError where the folder has no landmarks.
    """
    if folder.landmarks is None:
        raise LsslError(f"{folder.root} has no landmarks.npy; prepare it with `lssl prepare`")
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in range(len(folder)):
        values = [folder.columns[name][row] for name in folder.attributes if name != POSE_ATTRIBUTE]
        key = (folder.subjects[row], *values) if one_subject else (folder.file_names[row],)
        groups.setdefault(key, []).append(row)
    jobs = []
    for rows in groups.values():
        first = rows[0]
        attributes = {name: folder.columns[name][first] for name in folder.attributes}
        notes = {}
        if attributes.pop(POSE_ATTRIBUTE, None) is not None:
            notes["photograph_yaw"] = " ".join(folder.columns[POSE_ATTRIBUTE][row] for row in rows)
        if expression is not None and "expression" in attributes:
            notes["photograph_expression"] = attributes["expression"]
            attributes["expression"] = expression
        jobs.append(
            Job(
                Path(folder.file_names[first]).stem,
                tuple(str(folder.image_path(row)) for row in rows),
                (None,) * len(rows),
                subject=folder.subjects[first],
                split=folder.splits[first],
                attributes=attributes,
                notes=notes,
                points=tuple(folder.landmarks[row] for row in rows),
            )
        )
    return jobs


def check_landmarks_can_be_had(jobs: Sequence[Job]) -> None:
    """Raises LsslError where a photograph has no landmarks and nothing is installed to find them."""
    for job in jobs:
        if job.points is None and None in job.landmarks and not detect.available():
            raise LsslError(f"{job.photographs[job.landmarks.index(None)]} has no landmarks: {detect.EXTRA_MISSING}")

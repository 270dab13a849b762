"""Which photographs make which frontal face: loose photographs with their landmark files, or a data set folder's faces."""

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
from lssl.progress import steps

POSE_ATTRIBUTE = "yaw"  # describes the photograph, not the frontal face drawn from it


@dataclass(frozen=True)
class Job:
    """Photographs of one subject from which one frontal face is drawn.

    key: the drawn face's file name, without suffix. landmarks: one file per photograph; None to detect them.
    attributes: those of the drawn face. notes: its further columns in metadata.csv.
    points: known landmarks, (68, 2) per photograph, in pixels; these take precedence over `landmarks`.
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
    """Jobs for loose photographs: one each or, with `one_subject`, one for all of them as views of one subject.

    landmarks: a .pts or .csv file for a single photograph, or a folder of them; see `find_landmark_file`. Results are
    named after the photographs, and numbered if two have the same name. Raises LsslError for a single landmark file with
    several photographs.
    """
    if landmarks is not None and landmarks.is_file() and len(photographs) > 1:
        raise LsslError(
            f"{landmarks} is one file, but there are {len(photographs)} photographs; give a folder of files"
        )
    found = [find_landmark_file(path, landmarks) for path in steps(photographs, "looking for landmarks")]
    check_used(landmarks, found)
    files = [None if file is None else str(file) for file in found]
    if one_subject:
        name = safe_name(photographs[0].stem)
        return [Job(name, tuple(map(str, photographs)), tuple(files), subject=name)]
    names = unique_names([path.stem for path in photographs])
    return [Job(n, (str(p),), (f,), subject=n) for n, p, f in zip(names, photographs, files, strict=True)]


def folder_jobs(folder: FaceFolder, *, one_subject: bool = False, expression: str | None = None) -> list[Job]:
    """A job for each face of a data set folder, named after its file.

    one_subject: one job for all faces of a subject whose attributes agree except for yaw: views of one face.
    expression: the expression that will be drawn, which becomes the attribute `expression`.
    The attribute `yaw` describes the photograph, not the drawn face: it becomes the column `photograph_yaw`.
    Raises LsslError if the folder has no landmarks.
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
    """Raises LsslError if a photograph has no landmarks and no detector is installed to find them."""
    for job in jobs:
        if job.points is None and None in job.landmarks and not detect.available():
            raise LsslError(f"{job.photographs[job.landmarks.index(None)]} has no landmarks: {detect.EXTRA_MISSING}")

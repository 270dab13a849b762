"""Photographs in, frontal faces out: landmarks, fit, frontal rendering, and the files that a user gets."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.images import read_picture
from lssl.data.portrait import Portrait, check_face, read_portrait
from lssl.data.workers import map_in_processes
from lssl.data.writer import FaceRow, write_atomic, write_pictures
from lssl.errors import LsslError
from lssl.face3d.builtin import load_face_model
from lssl.face3d.fitting.fit import FaceFit, fit_landmarks
from lssl.face3d.frontal.draw import draw_face
from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.frontal.textured_mesh import textured_mesh, write_mesh
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.inference.frontal_jobs import Job

_TURNTABLE = (*range(-40, 41, 5), *range(35, -40, -5))  # degrees of yaw
DISTANCE = 150.0  # centimetres; faces are photographed from 80 to 300
FIT_COLUMNS = ("yaw", "pitch", "roll", "error", "doubt", "views", "weights_file")


@dataclass(frozen=True)
class Options:
    """What to draw; see `render_frontal`. model: a face model's file, None for the embedded one. distance: of the
    camera, centimetres (see `fit_landmarks`)."""

    model: str | None = None
    size: int = 128
    background: str = "plain"
    expression: str | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    remove_light: bool = False
    distance: float = DISTANCE
    largest_face: bool = False
    mesh: str | None = None
    turntable: bool = False
    keep_doubtful: bool = False


@cache
def load_model(path: str | None) -> BilinearFaceModel:
    """The face model of a file, or the embedded one; read once a process. Raises ValueError naming the file."""
    return load_face_model("embedded" if path is None else path)


def frontalize(job: Job, options: Options, out: Path) -> dict[str, Any]:
    """Does one job: writes its pictures into the data set folder `out` and returns the writer's journal entry.

    Raises LsslError saying what is wrong.
    """
    model = load_model(options.model)
    portraits = [_portrait(job, index, options) for index in range(len(job.photographs))]
    images, points = [p.image for p in portraits], [p.landmarks for p in portraits]
    fit = fit_landmarks(model, torch.from_numpy(np.stack(points))[None], distance=options.distance)
    for path, reason in zip(job.photographs, fit.reasons, strict=True):
        if reason and not options.keep_doubtful:
            raise LsslError(_named(job, path, f"the fit is not to be trusted: {reason}"))
    expression = None if options.expression is None else model.expression(options.expression)
    painter = FacePainter(model, fit, images, size=options.size, remove_light=options.remove_light)
    drawn = partial(draw_face, painter, options.size, expression=expression)
    face = drawn(yaw=options.yaw, pitch=options.pitch, background=options.background)
    weights = f"fits/{job.key}.npz"
    crops = [portrait.crop(options.size)[0] for portrait in portraits]
    row = FaceRow(
        job.key,
        face.image,
        job.subject,
        job.split,
        job.attributes,
        landmarks=face.landmarks,
        side=crops[0],
        extra={**job.notes, **_fit_columns(fit, face.doubts, weights, job.photographs)},
    )
    _write_weights(out / weights, fit)
    _write_png(out / "comparisons" / f"{job.key}.png", np.concatenate([*crops, face.image], axis=1))
    if options.mesh:
        width = int(np.clip(8 * options.size, 512, 2048))
        fine = FacePainter(model, fit, images, size=width // 8, remove_light=options.remove_light)
        write_mesh(out / "meshes" / f"{job.key}.{options.mesh}", textured_mesh(fine, width, expression))
    if options.turntable:
        _write_turntable(out / "turntables" / f"{job.key}.gif", [drawn(yaw=float(yaw)).image for yaw in _TURNTABLE])
    return write_pictures(out, row, tuple(job.attributes))


def _named(job: Job, path: str, message: str) -> str:
    """The message with the photograph's name where the job has several."""
    return f"{Path(path).name}: {message}" if len(job.photographs) > 1 else message


def _fit_columns(fit: FaceFit, doubts: Sequence[str], weights: str, photographs: Sequence[str]) -> dict[str, str]:
    """What metadata.csv says of a fit: a number a view, with spaces between; degrees, and eye distances; and why the
    face is doubtful, '' where it is not."""

    def text(values: torch.Tensor, digits: int) -> str:
        return " ".join(f"{value:.{digits}f}" for value in values.tolist())

    values = {
        "yaw": text(fit.camera.yaw, 2),
        "pitch": text(fit.camera.pitch, 2),
        "roll": text(fit.camera.roll, 2),
        "error": text(fit.error, 4),
        "doubt": "; ".join([*(reason for reason in fit.reasons if reason), *doubts]),
        "views": str(fit.views),
        "weights_file": weights,
    }
    return {
        **{name: values[name] for name in FIT_COLUMNS},
        "source_file": " ".join(Path(path).name for path in photographs),
    }


def _portrait(job: Job, index: int, options: Options) -> Portrait:
    path, file = Path(job.photographs[index]), job.landmarks[index]
    try:
        if job.points is None:
            landmarks = None if file is None else Path(file)
            return read_portrait(path, landmarks=landmarks, largest_face=options.largest_face)
        picture = read_picture(path)
        check_face(job.points[index], picture)
        return Portrait(picture.pixels, job.points[index], picture.note)
    except LsslError as error:
        raise LsslError(_named(job, str(path), str(error).removeprefix(f"{path}: "))) from None


def clear_extras(out: Path) -> None:
    """Removes what `frontalize` wrote into a data set folder beside the data set."""
    for pattern in ("comparisons/*.png", "fits/*.npz", "meshes/*.*", "turntables/*.gif", "fits.csv"):
        for path in out.glob(pattern):
            path.unlink()


def frontalize_all(
    jobs: Sequence[Job], options: Options, out: Path, workers: int
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job with the writer's journal entry, as they come; a failed one's entry holds `rejected`, the reason."""
    load_model(options.model)
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, _try(job, options, out)
        return
    yield from map_in_processes(partial(_try_named, options=options, out=out), jobs, workers)


def _try_named(job: Job, *, options: Options, out: Path) -> tuple[Job, dict[str, Any]]:
    return job, _try(job, options, out)


def _try(job: Job, options: Options, out: Path) -> dict[str, Any]:
    try:
        return frontalize(job, options, out)
    except OSError:  # a full disk stops all of them
        raise
    except Exception as error:
        known = isinstance(error, ValueError | detect.DetectionError)  # and all the readers' errors
        reason = str(error) if known else f"unexpected {type(error).__name__}: {error}"
        return {"key": job.key, "source": " ".join(job.photographs), "rejected": reason}


def _write_weights(path: Path, fit: FaceFit) -> None:
    buffer = io.BytesIO()
    camera = fit.camera
    pose = torch.stack([camera.yaw, camera.pitch, camera.roll, camera.scale, camera.x, camera.y], -1)
    np.savez(
        buffer,
        identity=fit.identity[0].numpy(),
        expression=fit.expression.numpy(),
        pose=pose.numpy(),
        landmarks=fit.landmarks.numpy(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _write_turntable(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    frames = [Image.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=60, loop=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())

"""From photographs to frontal faces: landmarks, fit, frontal rendering, and the files that a user gets."""

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
from lssl.data.images import colour_profile, read_picture
from lssl.data.portrait import Portrait, check_face, read_portrait
from lssl.data.workers import map_in_processes
from lssl.data.writer import FaceRow, write_atomic, write_pictures
from lssl.errors import LsslError
from lssl.face3d.builtin import load_face_model
from lssl.face3d.fitting.fit import FaceFit, fit_landmarks
from lssl.face3d.frontal.draw import BACKGROUNDS, FrontalFace, draw_face
from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.frontal.textured_mesh import textured_mesh, write_mesh
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.inference.frontal_jobs import Job
from lssl.inference.pictures import Detector, GivenPicture, find_portraits, given_pictures

_TURNTABLE = (*range(-40, 41, 5), *range(35, -40, -5))  # degrees of yaw
DISTANCE = 150.0  # centimetres; most faces are photographed from 80 to 300
FIT_COLUMNS = ("yaw", "pitch", "roll", "error", "doubt", "views", "weights_file")


@dataclass(frozen=True)
class Options:
    """What to draw; see `frontal` below for most of these.

    model: a face model's file; None for the embedded one. distance: of the camera, in centimetres (see `fit_landmarks`).
    largest_face: take the largest of several faces, instead of raising. mesh: suffix of the mesh file to write, if any.
    turntable: write an animated view. keep_doubtful: draw faces with an unreliable fit, too.
    """

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
    """A face model from its file, or the embedded one; read once per process. Raises ValueError naming the file."""
    return load_face_model("embedded" if path is None else path)


def frontalize(job: Job, options: Options, out: Path) -> dict[str, Any]:
    """Does one job: writes its pictures into the data set folder `out` and returns the writer's journal entry.

    Raises LsslError for photographs that cannot be read or used, and for an unreliable fit.
    """
    portraits = [_portrait(job, index, options) for index in range(len(job.photographs))]
    fit, painter, face = draw_frontal(portraits, options, [Path(path).name for path in job.photographs])
    drawn = partial(draw_face, painter, options.size, expression=_expression(options))
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
        extra={**job.notes, **_fit_columns(fit, face.doubts, weights, job.photographs), **_note(portraits)},
        metadata=colour_profile(portraits[0].metadata),
    )
    _write_weights(out / weights, fit)
    _write_png(out / "comparisons" / f"{job.key}.png", np.concatenate([*crops, face.image], axis=1))
    if options.mesh:
        width = int(np.clip(8 * options.size, 512, 2048))
        images = [portrait.image for portrait in portraits]
        fine = FacePainter(painter.model, fit, images, size=width // 8, remove_light=options.remove_light)
        write_mesh(out / "meshes" / f"{job.key}.{options.mesh}", textured_mesh(fine, width, _expression(options)))
    if options.turntable:
        _write_turntable(out / "turntables" / f"{job.key}.gif", [drawn(yaw=float(yaw)).image for yaw in _TURNTABLE])
    return write_pictures(out, row, tuple(job.attributes))


def draw_frontal(
    portraits: Sequence[Portrait], options: Options, names: Sequence[str]
) -> tuple[FaceFit, FacePainter, FrontalFace]:
    """The face in one or more photographs of one person, fitted, and drawn as the options say.

    names: of the photographs, for messages. Raises LsslError for an unreliable fit, unless doubtful ones are kept.
    """
    model = load_model(options.model)
    images, points = [p.image for p in portraits], [p.landmarks for p in portraits]
    fit = fit_landmarks(model, torch.from_numpy(np.stack(points))[None], distance=options.distance)
    for name, reason in zip(names, fit.reasons, strict=True):
        if reason and not options.keep_doubtful:
            which = f"{name}: " if len(names) > 1 else ""
            raise LsslError(f"{which}the fit is not reliable: {reason}")
    painter = FacePainter(model, fit, images, size=options.size, remove_light=options.remove_light)
    face = draw_face(
        painter,
        options.size,
        expression=_expression(options),
        yaw=options.yaw,
        pitch=options.pitch,
        background=options.background,
    )
    return fit, painter, face


def _expression(options: Options) -> torch.Tensor | None:
    return None if options.expression is None else load_model(options.model).expression(options.expression)


def frontal(
    image: Any,
    *,
    size: int = 256,
    background: str = "plain",
    expression: str | None = None,
    yaw: float = 0.0,
    pitch: float = 0.0,
    remove_light: bool = False,
    distance: float = DISTANCE,
    model: str | None = None,
    landmarks: Any = None,
    detector: Detector | None = None,
    keep_doubtful: bool = False,
) -> Any:
    """The face of a photograph seen from the front, as `lssl render-frontal` draws it: square, and the same kind of object as
    was given.

    Args:
        image: a PIL image, a file's path, a uint8 array, a tensor, or several, as `FaceEditor.edit` takes them; if a
            picture shows several faces, the largest is drawn.
        size: side of the result in pixels, 32 to 2048.
        background: "plain" (grey), "original" (the photograph's surroundings, bent to meet the face), or "blur".
        expression: an expression of the model, such as "neutral", instead of the photograph's own.
        yaw, pitch: degrees; positive turns the face to the picture's right, and lowers the chin.
        remove_light: even light instead of the photograph's.
        distance: of the camera, in centimetres, such as 40 for a selfie; inf: weak perspective.
        model: "embedded" (the same as None), "ict", or a face model's file.
        landmarks: (68, 2), in pixels of the picture as it is seen; for several pictures one such array each.
        detector: finds faces if no landmarks are given, see `lssl.inference.pictures.Detector`; by default dlib.
        keep_doubtful: draw faces with an unreliable fit, too.

    Raises LsslError if there is no face, the fit is not reliable, or an argument is wrong.
    """
    if not 32 <= size <= 2048:
        raise LsslError(f"size={size}: expected 32 to 2048 pixels")
    if background not in BACKGROUNDS:
        raise LsslError(f"background={background!r}: expected one of {', '.join(BACKGROUNDS)}")
    known = load_model(model).expressions
    if expression is not None and expression not in known:
        raise LsslError(f"expression={expression!r}: the model has {', '.join(known)}")
    options = Options(
        model=model, size=size, background=background, expression=expression, yaw=yaw, pitch=pitch,
        remove_light=remove_light, distance=distance, keep_doubtful=keep_doubtful,
    )  # fmt: skip

    def drawn(picture: GivenPicture, marks: Any) -> Any:
        portraits = find_portraits(picture, "largest", marks, detector)
        return picture.fresh(draw_frontal(portraits, options, ["the photograph"])[2].image)

    return given_pictures(image).each(drawn, landmarks)


def _named(job: Job, path: str, message: str) -> str:
    """The message, with the photograph's name in front if the job has several."""
    return f"{Path(path).name}: {message}" if len(job.photographs) > 1 else message


def _fit_columns(fit: FaceFit, doubts: Sequence[str], weights: str, photographs: Sequence[str]) -> dict[str, str]:
    """A fit's columns of metadata.csv: one number per view, separated by spaces, angles in degrees, the error in eye
    distances; and why the face is doubtful ('' if it is not)."""

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


def _note(portraits: Sequence[Portrait]) -> dict[str, str]:
    """The column `note`: what was done to the photographs' values that a user should know; none where nothing was."""
    notes = dict.fromkeys(portrait.note for portrait in portraits if portrait.note)
    return {"note": "; ".join(notes)} if notes else {}


def _portrait(job: Job, index: int, options: Options) -> Portrait:
    path, file = Path(job.photographs[index]), job.landmarks[index]
    try:
        if job.points is None:
            landmarks = None if file is None else Path(file)
            return read_portrait(path, landmarks=landmarks, largest_face=options.largest_face)
        picture = read_picture(path)
        check_face(job.points[index], picture)
        return Portrait(picture.pixels, job.points[index], picture.note, picture.metadata)
    except LsslError as error:
        raise LsslError(_named(job, str(path), str(error).removeprefix(f"{path}: "))) from None


def clear_extras(out: Path) -> None:
    """Removes what `frontalize` wrote into a data set folder in addition to the data set."""
    for pattern in ("comparisons/*.png", "fits/*.npz", "meshes/*.*", "turntables/*.gif", "fits.csv"):
        for path in out.glob(pattern):
            path.unlink()


def frontalize_all(
    jobs: Sequence[Job], options: Options, out: Path, workers: int
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yields each job with the writer's journal entry, as jobs finish; a failed job's entry has the reason as `rejected`."""
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
    except OSError:  # such as a full disk, which stops all jobs
        raise
    except Exception as error:
        known = isinstance(
            error, ValueError | detect.DetectionError
        )  # LsslError, which all readers raise, is a ValueError
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

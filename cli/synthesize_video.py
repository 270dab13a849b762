"""Videos and animations for `lssl synthesize`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import Output

if TYPE_CHECKING:
    from lssl.inference.model_edit import ModelEditor
    from lssl.inference.synthesis import Target
    from lssl.inference.video.synthesis import ClipReport
    from lssl.models.export import TrainedGenerator


def write_videos(
    model: "TrainedGenerator | ModelEditor",
    paths: Sequence[Path],
    wanted: "Sequence[Target]",
    out: Path,
    output: Output,
    *,
    source: dict[str, str],
    largest_face: bool,
    ease: float,
    every_frame: bool,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Writes each moving picture with each target; returns a report of each, and (path, reason) for what failed.

    out: a folder, or, with a single moving picture and target, a file. Raises KeyboardInterrupt after Ctrl-C, once the file
    is closed.
    """
    if not paths:
        return [], []
    from lssl.data.detect import DetectionError
    from lssl.data.portrait import unique_names
    from lssl.errors import LsslError
    from lssl.inference.video.face_edits import face_edits
    from lssl.inference.video.frames import is_camera

    cameras = [path for path in paths if is_camera(path)]
    if cameras and len(paths) * len(wanted) > 1:
        raise click.UsageError(f"{cameras[0]} records until it is stopped: give it alone, with a single value")
    names = unique_names([f"{_stem(path)}_{target.file_name}" for path in paths for target in wanted])
    done, failed = [], []
    for number, path in enumerate(paths):
        for place, target in enumerate(wanted):
            file = _file(out, names[number * len(wanted) + place], len(paths) * len(wanted))
            try:
                report = _write(
                    path, file, file == out, face_edits(model, target, source), output,
                    largest_only=largest_face, ease=ease, every_frame=every_frame,
                )  # fmt: skip
            except DetectionError:
                raise
            except LsslError as error:
                failed.append((str(path), str(error).removeprefix(f"{path}: ")))
                break
            done.append(_said(path, target.name, report))
            _tell(path, report, output)
            if report.stopped:
                raise KeyboardInterrupt
    return done, failed


def _stem(path: Path) -> str:
    from lssl.inference.video.frames import is_camera

    return "camera" if is_camera(path) else path.stem


def _file(out: Path, name: str, count: int) -> Path:
    """The file for a moving picture; without a suffix until its format is known."""
    from lssl.inference.video.frames import ANIMATION_SUFFIXES, VIDEO_SUFFIXES

    if out.suffix.lower() in (*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES) and not out.is_dir():
        if count > 1:
            raise click.UsageError(f"-o {out} is one file, but {count} are to be written: name a folder")
        return out
    return out / name  # the clip's suffix is added later


def _write(path: Path, file: Path, named: bool, edits: Any, output: Output, **options: Any) -> "ClipReport":
    from lssl.data.portrait import check_not_over
    from lssl.inference.video.frames import open_clip
    from lssl.inference.video.pipeline import stopped_by_user
    from lssl.inference.video.synthesis import synthesize_clip
    from lssl.progress import tqdm

    clip = open_clip(path)
    if not named:
        file = file.with_name(file.name + clip.suffix)
        check_not_over([file], [path])
    if clip.path is None:
        output.say("Recording; Ctrl-C ends it")
    with (
        stopped_by_user() as stop,
        tqdm(total=clip.count, desc=clip.name, unit="frame", disable=output.quiet) as bar,
    ):
        return synthesize_clip(clip, file, edits, progress=lambda: bar.update(), stop=stop, **options)


def _tell(path: Path, report: "ClipReport", output: Output) -> None:
    pace = report.frames / max(report.seconds, 1e-3)
    faces = f", {report.faces} faces" if report.faces > 1 else ""
    output.say(f"{report.path}: {report.frames} frames at {pace:.1f} per second{faces}")
    if report.frames and not report.edited:
        reason = f" ({'; '.join(report.refused)})" if report.refused else ": no face was found"
        output.warn(f"{path}: nothing was changed{reason}")
    elif report.without:
        spans = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in report.without[:5])
        more = f" and {len(report.without) - 5} more" if len(report.without) > 5 else ""
        output.warn(f"{path}: no face was found, and nothing changed, from {spans}{more}")


def _said(path: Path, target: str, report: "ClipReport") -> dict[str, Any]:
    return {
        "input": str(path),
        "target": target,
        "file": str(report.path),
        "frames": report.frames,
        "edited": report.edited,
        "faces": report.faces,
        "without_face": report.without,
        "frames_a_second": round(report.frames / max(report.seconds, 1e-3), 1),
    }

"""Changes the faces of a video or animation: `lssl synthesize MODEL clip.mp4`."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from lssl.data.threads import in_order, processors
from lssl.inference.video.face_edits import FaceEdits
from lssl.inference.video.frames import Clip, Frame
from lssl.inference.video.key_frames import EditedFrame, KeyFrame, between_keys, keys_ahead
from lssl.inference.video.pipeline import read_ahead
from lssl.inference.video.tracking import FaceTracker, FollowedFace, eased, follow
from lssl.inference.video.writing import ClipFile

_AHEAD = 12  # frames read ahead
_BEGUN = 8  # frames begun ahead: about two key frames' worth


@dataclass
class ClipReport:
    """The outcome for a clip.

    path: the file; `stopped`: whether the run was stopped before the clip's end. frames: how many were written; edited: how
    many with a changed face. faces: how many were tracked; searches: of whole frames. without: spans without an edited
    face, (from, to) in seconds. refused: why tracked faces were left as they are. seconds: how long it took.
    """

    path: Path
    frames: int = 0
    edited: int = 0
    faces: int = 0
    searches: int = 0
    without: list[tuple[float, float]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False


def synthesize_clip(
    clip: Clip,
    out: Path,
    edits: FaceEdits,
    *,
    largest_only: bool = False,
    every_frame: bool = False,
    ease: float = 0.0,
    workers: int | None = None,
    progress: Callable[[], None] | None = None,
    stop: Event | None = None,
) -> ClipReport:
    """Writes the clip with every face changed, at its own size and times, with its sound; frames without a face stay as
    they are.

    Args:
        out: the file; its format (.mp4, .gif ...) may differ from the clip's. `ClipFile` says what a stopped run leaves.
        edits: see `face_edits`.
        largest_only: change only the largest of several faces.
        every_frame: run the network on every frame, not only when a face has changed its shape.
        ease: seconds over which the change grows at the beginning.
        workers: threads that edit; by default as many as there are processors.
        progress: called after each frame.
        stop: an event that ends the run after the frames in progress.

    Raises LsslError for a format that cannot be written or a clip that cannot be decoded.
    """
    began = time.monotonic()
    tracker = FaceTracker(largest_only=largest_only)
    stop = stop or Event()
    spans = _Spans(clip.rate)
    with ClipFile(out, clip) as file:
        report = ClipReport(out)
        followed = follow(_until(clip.frames, stop), tracker, clip.rate)
        planned = keys_ahead(between_keys(read_ahead(followed, _AHEAD), edits, every_frame=every_frame))
        for done in in_order(lambda job: _done(edits, job, ease), planned, workers or processors(), ahead=_BEGUN):
            if done is None:
                continue
            frame, changed, reasons = done
            file.write(frame)
            report.frames += 1
            report.edited += changed
            report.refused += [reason for reason in reasons if reason not in report.refused]
            spans.add(frame.time, changed)
            if progress is not None:
                progress()
        if stop.is_set() and clip.path is not None:
            file.stop()
            report.path, report.stopped = file.partial, True
    report.without, report.faces, report.searches = spans.closed(), tracker.count, tracker.searches
    report.seconds = time.monotonic() - began
    return report


def _until(frames: Iterable[Frame], stop: Event) -> Iterator[Frame]:
    for frame in frames:
        if stop.is_set():
            return
        yield frame


def _done(edits: FaceEdits, job: KeyFrame | EditedFrame, ease: float) -> tuple[Frame, bool, list[str]] | None:
    if isinstance(job, KeyFrame):
        job.found()
        return None
    return _edit(edits, job, ease)


def _edit(edits: FaceEdits, job: EditedFrame, ease: float) -> tuple[Frame, bool, list[str]]:
    """The frame with its faces changed, whether any was, and why others were not."""
    image: NDArray[np.uint8] = job.frame.image
    before = job.before.found()
    after = job.after.found() if any(job.shares.values()) else before
    growing = eased(float(job.frame.time) / ease) if ease > 0 else 1.0
    changed = False
    for face in job.faces:
        key, share = _nearest(face, job, before, after)
        strength = face.strength * growing
        if key is None or strength <= 0:
            continue
        image = edits.apply(image, face.landmarks, key[0], key[1], share, strength)
        changed = True
    reasons = [*job.before.refused.values(), *job.after.refused.values()]
    return Frame(image, job.frame.time, job.frame.alpha), changed, reasons


def _nearest(
    face: FollowedFace, job: EditedFrame, before: dict[int, object], after: dict[int, object]
) -> tuple[tuple[object, object] | None, float]:
    """What to interpolate for a face, and how far; if one key frame has no edit of it, the other's is used unchanged."""
    first, second = before.get(face.number), after.get(face.number)
    if first is not None and second is not None:
        return (first, second), job.shares.get(face.number, 0.0)
    known = first if first is not None else second
    return (None if known is None else (known, known)), 0.0


class _Spans:
    """Collects the spans of time without an edited face."""

    def __init__(self, rate: Fraction) -> None:
        self.step = float(1 / rate)
        self.spans: list[tuple[float, float]] = []

    def add(self, moment: Fraction, changed: bool) -> None:
        if changed:
            return
        now = float(moment)
        if self.spans and now - self.spans[-1][1] < 0.5 * self.step:
            self.spans[-1] = (self.spans[-1][0], now + self.step)
        else:
            self.spans.append((now, now + self.step))

    def closed(self) -> list[tuple[float, float]]:
        return [(round(start, 3), round(end, 3)) for start, end in self.spans]

"""Which frames are key frames: those in which a face's shape has changed, or before which some time has passed."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.data.landmarks import eye_centres
from lssl.errors import LsslError
from lssl.inference.video.face_edits import FaceEdits
from lssl.inference.video.frames import Frame
from lssl.inference.video.tracking import FollowedFace

CHANGED = 0.02  # change of shape, in eye distances (root mean square over the landmarks), that needs a new key frame
LONGEST = 0.14  # most seconds between key frames, since light changes, too
_EVEN = 0.2 * CHANGED  # the weight of time, next to the change of shape, in interpolation


class KeyFrame:
    """A frame whose faces' edits are computed in full, once, by whichever thread needs them first."""

    def __init__(self, edits: FaceEdits, frame: Frame, faces: list[FollowedFace]) -> None:
        self.frame, self.faces = frame, faces
        self._edits, self._lock = edits, threading.Lock()
        self._found: dict[int, Any] | None = None
        self.refused: dict[int, str] = {}
        self.shapes = {face.number: _shape(face.landmarks) for face in faces}

    def found(self) -> dict[int, Any]:
        """What `FaceEdits.key` returned for each face, by its number; faces that cannot be edited are in `refused`."""
        with self._lock:
            if self._found is None:
                self._found = {}
                for face in self.faces:
                    try:
                        self._found[face.number] = self._edits.key(self.frame.image, face.landmarks)
                    except LsslError as error:
                        self.refused[face.number] = str(error)
            return self._found


@dataclass(frozen=True)
class EditedFrame:
    """A frame between two key frames. shares: for each face, how far it is from the first to the second, 0 to 1."""

    frame: Frame
    faces: list[FollowedFace]
    before: KeyFrame
    after: KeyFrame
    shares: dict[int, float]


def between_keys(
    frames: Iterable[tuple[Frame, list[FollowedFace]]], edits: FaceEdits, *, every_frame: bool = False
) -> Iterator[EditedFrame]:
    """Each frame with the key frames before and after it. every_frame: make every frame a key frame."""
    key: KeyFrame | None = None
    waiting: list[tuple[Frame, list[FollowedFace]]] = []
    for frame, faces in frames:
        shapes = {face.number: _shape(face.landmarks) for face in faces}
        if key is not None and shapes.keys() != key.shapes.keys():
            yield from _closed(key, waiting, edits)
            key, waiting = None, []
        if key is None:
            key = KeyFrame(edits, frame, faces)
            yield EditedFrame(frame, faces, key, key, {})
            continue
        gone = frame.time - key.frame.time
        changed = max((_distance(shapes[n], key.shapes[n]) for n in shapes), default=0.0)
        waiting.append((frame, faces))
        if every_frame or changed > CHANGED or gone >= Fraction(LONGEST):
            after = KeyFrame(edits, frame, faces)
            yield from _between(key, after, waiting)
            key, waiting = after, []
    if key is not None:
        yield from _closed(key, waiting, edits)


def keys_ahead(frames: Iterable[EditedFrame]) -> Iterator[KeyFrame | EditedFrame]:
    """The frames, and every key frame before the frames that end at the key frame before it.

    A thread then computes the next key frame while others edit frames whose key frames are ready: otherwise all of them
    would wait for the same one.
    """
    newest: KeyFrame | None = None
    waiting: list[EditedFrame] = []
    for frame in frames:
        if frame.after is not newest:
            newest = frame.after
            yield newest
            yield from waiting
            waiting = []
        waiting.append(frame)
    yield from waiting


def _closed(key: KeyFrame, waiting: list[tuple[Frame, list[FollowedFace]]], edits: FaceEdits) -> Iterator[EditedFrame]:
    """The frames after the last key frame; the last of them becomes one."""
    if waiting:
        yield from _between(key, KeyFrame(edits, *waiting[-1]), waiting)


def _between(
    before: KeyFrame, after: KeyFrame, waiting: list[tuple[Frame, list[FollowedFace]]]
) -> Iterator[EditedFrame]:
    whole = float(after.frame.time - before.frame.time)
    for frame, faces in waiting:
        time = float(frame.time - before.frame.time) / whole if whole > 0 else 1.0
        shares = {}
        for face in faces:
            shape = _shape(face.landmarks)
            come = _distance(shape, before.shapes[face.number]) + _EVEN * time
            left = _distance(shape, after.shapes[face.number]) + _EVEN * (1 - time)
            shares[face.number] = come / max(come + left, 1e-9)
        yield EditedFrame(frame, faces, before, after, shares)


def _shape(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Landmarks (68, 2) without the face's position, size and tilt, in eye distances."""
    left, right = eye_centres(landmarks)
    across = (right - left).astype(np.float64)
    unit = max(float(np.hypot(*across)), 1e-6)
    cosine, sine = across / unit
    turned: NDArray[np.float64] = (landmarks - landmarks.mean(0)) @ np.array([[cosine, -sine], [sine, cosine]]) / unit
    return turned


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.sqrt(((one - other) ** 2).sum(-1).mean()))

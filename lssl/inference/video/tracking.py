"""Tracks faces from frame to frame by their landmarks; the whole frame is searched only now and then.

dlib's landmark trees (Kazemi and Sullivan 2014) start from where the face was in the frame before. They do not say whether
there is a face, so now and then dlib's detector checks a crop of the face, turned upright and shrunk to a size at which it
is fast.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect
from lssl.data.align import Similarity, face_anchors, face_similarity
from lssl.data.landmarks import eye_centres
from lssl.errors import LsslError
from lssl.inference.video.frames import Frame
from lssl.inference.video.smoothing import OneEuro

Points = NDArray[np.float32]

_PATCH = 256  # side, in pixels, of the upright crop of a face in which landmarks are found
_FRAMING = 4.0, 0.435  # the crop's side in eye distances, and the height of the eyes in it
_BOX = np.array([0.2, 0.28, 0.8, 0.88])  # where the detector would frame the face in the crop
_STARTS = (
    (-0.01, -0.006),
    (0.01, 0.006),
)  # shifts of the box, as shares of the crop; averaging their results reduces jitter
_SEEN_AT = 144  # side of the crop for the detector: the face then has 86 pixels, the least that it detects
_SCORE = -0.4  # the detector's score below which there is no face. Faces score 0.5 to 3; turned by 35 degrees, 0 to 0.5
_MISSES = 3  # successive checks without the face, one a frame, after which it is lost
_CHECKED = 0.12  # seconds between checks by the detector while it sees the face
_STAYS = 0.06  # how far, in eye distances, a face may move before the search starts from its new place
_JUMP = 0.6  # movement per frame, in eye distances, that no head makes: the scene was cut
_NEW_SCORE = 0.2  # the detector's least score for a face that is not tracked yet
_SEARCH_FOLLOWING, _SEARCH_LOST, _SEARCH_HARD = 1.0, 0.2, 2.0  # seconds between searches
_FADE = 0.25  # seconds over which the edit of a face that appears or disappears fades in or out
_SHARE_OF_LARGEST = 0.25  # share of the largest face's area below which faces are taken for passers-by


@dataclass(frozen=True)
class FollowedFace:
    """A face in a frame. number: the same in all frames. landmarks: (68, 2) in pixels, smoothed. strength: how much of an
    edit to show, 0 to 1."""

    number: int
    landmarks: Points
    strength: float = 1.0


@dataclass
class _Track:
    number: int
    landmarks: Points
    start: Points  # where it is looked for; kept while the face stays, so that a still face gives the same result again
    time: Fraction
    checked: Fraction  # when the detector last looked for it
    smoothing: "_Smoothing" = field(default_factory=lambda: _Smoothing())
    smooth: Points | None = None
    misses: int = 0


class _Smoothing:
    """Smooths a face's position and shape separately: the mean of 68 landmarks jitters little, so it may follow at once."""

    def __init__(self) -> None:
        self.place = OneEuro(slowest=2.5, gain=60.0, derivative=2.0)
        self.shape = OneEuro(slowest=1.5, gain=14.0, derivative=1.5)

    def __call__(self, points: Points, seconds: float) -> Points:
        unit = max(_unit(points), 1.0)
        centre = points.mean(0, keepdims=True)
        shape = self.shape(points - centre, seconds, unit)
        return (self.place(centre, seconds, unit) + shape).astype(np.float32)


class FaceTracker:
    """Called with one frame after another, returns the faces in each.

    largest_only: track only the largest of several faces. Raises DetectionError if dlib is not installed.
    """

    def __init__(self, *, largest_only: bool = False) -> None:
        detect.import_dlib()
        self.largest_only = largest_only
        self.searches = 0  # of whole frames
        self._tracks: list[_Track] = []
        self.count = 0
        self._searched: Fraction | None = None
        self._searched_hard: Fraction | None = None

    def __call__(self, image: NDArray[np.uint8], time: Fraction) -> tuple[list[FollowedFace], set[int]]:
        """The faces of a frame, and the numbers of those that the detector did not confirm in it."""
        cut = False
        for track in list(self._tracks):
            step = self._follow(track, image, time)
            cut |= step > _JUMP
            if step > _JUMP or track.misses >= _MISSES:
                self._tracks.remove(track)
        if cut or self._due(time):
            self._search(image, time)
        faces = [FollowedFace(track.number, track.smooth) for track in self._tracks if track.smooth is not None]
        return faces, {track.number for track in self._tracks if track.misses or track.checked < time}

    def _due(self, time: Fraction) -> bool:
        if self._searched is None:
            return True
        following = self._tracks and not any(track.misses for track in self._tracks)
        return time - self._searched >= (_SEARCH_FOLLOWING if following else _SEARCH_LOST)

    def _follow(self, track: _Track, image: NDArray[np.uint8], time: Fraction) -> float:
        """Finds the track's face again; returns how far it moved, in eye distances."""
        check = track.misses > 0 or time - track.checked >= _CHECKED
        found = find_again(image, track.start, check=check)
        if found is None:
            track.misses = _MISSES
            return 0.0
        points, seen = found
        unit = _unit(points)
        step = float(np.linalg.norm(points.mean(0) - track.landmarks.mean(0))) / max(unit, 1.0)
        if check:
            track.misses, track.checked = 0 if seen else track.misses + 1, time
        track.smooth = track.smoothing(points, float(time - track.time))
        track.landmarks, track.time = points, time
        if float(np.abs(face_anchors(points) - face_anchors(track.start)).max()) > _STAYS * unit:
            track.start = points
        return step

    def _search(self, image: NDArray[np.uint8], time: Fraction) -> None:
        self.searches += 1
        hard = self._searched_hard is None or (not self._tracks and time - self._searched_hard >= _SEARCH_HARD)
        self._searched = time
        if hard:
            self._searched_hard = time
            found = [face.landmarks for face in detect.find_faces(image)]
        else:
            found = _searched(image)
        followed = [track.landmarks for track in self._tracks]
        for marks in found:
            largest = max(map(_unit, [*followed, *found]))
            known = any(_same_place(marks, other) for other in followed)
            if not known and _unit(marks) ** 2 >= _SHARE_OF_LARGEST * largest**2:
                self._begin(image, marks, time)
        if self.largest_only and len(self._tracks) > 1:
            self._tracks = [max(self._tracks, key=lambda track: _unit(track.landmarks))]

    def _begin(self, image: NDArray[np.uint8], marks: Points, time: Fraction) -> None:
        first = find_again(image, marks)
        again = None if first is None else find_again(image, first[0])
        if first is None or again is None:
            return
        track = _Track(self.count, again[0], first[0], time, time)
        self.count += 1
        track.smooth = track.smoothing(again[0], 0.0)
        self._tracks.append(track)


def find_again(image: NDArray[np.uint8], landmarks: Points, *, check: bool = True) -> tuple[Points, bool] | None:
    """The landmarks (68, 2) of a face that was at `landmarks` in the last frame, and whether the detector sees it there.

    check: False to leave the detector out, and take it that it sees the face. None if the old landmarks are no face or too
    small, or if the face has left the picture.
    """
    try:
        similarity = face_similarity(face_anchors(landmarks), _PATCH, *_FRAMING)
    except LsslError:
        return None
    height, width = image.shape[:2]
    centre = landmarks.mean(0)
    if not (0 <= centre[0] < width and 0 <= centre[1] < height):
        return None
    patch = upright(image, similarity)
    found = []
    for dx, dy in _STARTS:
        left, top, right, bottom = (float(v) for v in (_BOX + [dx, dy, dx, dy]) * _PATCH - 0.5)
        found.append(detect.landmarks_in_box(patch, (left, top, right, bottom)))
    points = np.mean(found, axis=0)
    if not check:
        return similarity.inverse().apply(points), True
    small = np.asarray(Image.fromarray(patch).resize((_SEEN_AT, _SEEN_AT), Image.Resampling.BILINEAR))
    middle = (points[17:].mean(0) + 0.5) * _SEEN_AT / _PATCH - 0.5
    seen = any(
        left <= middle[0] <= right and top <= middle[1] <= bottom
        for (left, top, right, bottom), _ in detect.search_once(small, threshold=_SCORE)
    )
    return similarity.inverse().apply(points), seen


def upright(image: NDArray[np.uint8], similarity: Similarity, size: int = _PATCH) -> NDArray[np.uint8]:
    """The square crop (size, size, 3) that a similarity maps to, black outside the image: faster than `align.warp`, and as
    good for landmarks."""
    back = similarity.inverse()
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    there = corners @ back.matrix.T + back.offset
    extent = image.shape[1::-1]
    low = np.clip(np.floor(there.min(0)).astype(int) - 2, 0, extent)
    high = np.clip(np.ceil(there.max(0)).astype(int) + 3, low + 1, extent)
    low = np.minimum(low, high - 1)
    picture = Image.fromarray(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]))
    fewer = max(1, int(1 / similarity.scale))
    if fewer > 1:
        picture = picture.reduce(fewer)
    # In Pillow's coordinates pixel centres lie at halves: q = matrix (p - 0.5) + offset + 0.5 - low, then reduced.
    offset = (back.offset - back.matrix @ [0.5, 0.5] + 0.5 - low) / fewer
    matrix = back.matrix / fewer
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    return np.asarray(
        picture.transform(
            (size, size), Image.Transform.AFFINE, tuple(map(float, coefficients)), Image.Resampling.BILINEAR
        )
    )


def follow(
    frames: Iterable[Frame], tracker: FaceTracker, rate: Fraction, *, fade: float = _FADE
) -> Iterator[tuple[Frame, list[FollowedFace]]]:
    """Each frame with its faces, a few frames late, so that a new face fades in and one that will be lost fades out.

    A face that is lost is also left out of the last frames in which the detector did not confirm it.
    """
    ahead = max(_MISSES + math.ceil(_CHECKED * rate), round(fade * rate))
    waiting: deque[tuple[Frame, dict[int, FollowedFace], set[int]]] = deque()
    begun: dict[int, Fraction | None] = {}
    for frame in frames:
        faces, surmised = tracker(frame.image, frame.time)
        for face in faces:
            begun.setdefault(face.number, frame.time if waiting or begun else None)
        waiting.append((frame, {face.number: face for face in faces}, surmised))
        if len(waiting) > ahead:
            yield _released(waiting, begun, fade)
    while waiting:
        yield _released(waiting, begun, fade)


def _released(
    waiting: deque[tuple[Frame, dict[int, FollowedFace], set[int]]],
    begun: dict[int, Fraction | None],
    fade: float,
) -> tuple[Frame, list[FollowedFace]]:
    frame, faces, _ = waiting[0]
    shown = []
    for number, face in faces.items():
        strength = 1.0
        start = begun[number]
        if start is not None and fade > 0:
            strength = min(1.0, (float(frame.time - start) + 1e-9) / fade)
        gone = next((k for k, (_, others, _) in enumerate(waiting) if number not in others), None)
        if gone is not None:
            seen = [k for k in range(gone) if number not in waiting[k][2]]
            if not seen:
                continue
            left = float(waiting[min(seen[-1] + 1, gone)][0].time - frame.time)
            strength = min(strength, left / fade if fade > 0 else 1.0)
        shown.append(replace(face, strength=eased(strength)))
    waiting.popleft()
    return frame, shown


def eased(t: float) -> float:
    """From 0 to 1, smoothly at both ends (smoothstep)."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _searched(image: NDArray[np.uint8]) -> list[Points]:
    """The landmarks (68, 2) of the faces that a single detector pass finds."""
    scale = detect.working_scale(image)
    small = image
    if scale != 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        small = np.asarray(picture)
    found = []
    for box, _ in detect.search_once(small, threshold=_NEW_SCORE):
        left, top, right, bottom = ((edge + 0.5) / scale - 0.5 for edge in box)
        found.append(detect.landmarks_in_box(image, (left, top, right, bottom)))
    return found


def _unit(points: Points) -> float:
    left, right = eye_centres(points)
    return float(np.hypot(*(right - left)))


def _same_place(one: Points, other: Points) -> bool:
    return float(np.linalg.norm(one.mean(0) - other.mean(0))) < max(_unit(one), _unit(other))

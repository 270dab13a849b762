"""Where a fitted face's surface lies in its photograph before and after its expression changes."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from lssl.data.landmarks import eye_centres
from lssl.face3d.editing.surface import EditableFace, editable
from lssl.face3d.fitting.fit import fit_landmarks
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.scene.camera import Camera

DISTANCE = 150.0  # centimetres from camera to head; faces are photographed from 80 to 300
_UPPER, _LOWER = (61, 62, 63), (67, 66, 65)
CLOSED = 0.035  # of the eyes' distance: an expression that parts the lips by less keeps them closed
_TOUCHING = 0.055  # lips with a smaller gap between landmarks are taken to touch: full lips are marked that far apart
_LOWER_SHARE = 0.6  # the lower lip's share of the way by which lips close


@dataclass(frozen=True)
class PlacedFace:
    """A face model in a photograph.

    camera, identity (1, I), expression (E,): of one fit. landmarks (68, 2): the photograph's, pixels. correction
    (V, 2): what brings the projected surface onto the landmarks, pixels. unit: the distance of the eyes' centres,
    pixels. doubt: why the fit cannot be trusted, '' if it can.
    """

    face: EditableFace
    camera: Camera
    identity: Tensor
    expression: Tensor
    landmarks: Tensor
    correction: Tensor
    unit: float
    doubt: str = ""

    @property
    def gap(self) -> Tensor:
        """(3,) pixels down from the upper to the lower inner lip, at three positions."""
        return _gap(self.landmarks)

    @property
    def closed(self) -> bool:
        return bool(self.gap.mean() < _TOUCHING * self.unit)

    def zoomed(self, factor: float) -> "PlacedFace":
        """The same face in the photograph sampled `factor` times as finely, see `Camera.zoom`."""
        if factor == 1:
            return self
        marks = zoomed_points(self.landmarks, factor)
        return replace(
            self,
            camera=self.camera.zoom(factor),
            landmarks=marks,
            correction=self.correction * factor,
            unit=self.unit * factor,
        )

    def vertices(self, expression: Tensor) -> Tensor:
        """(V, 3) centimetres, for expression weights (E,)."""
        return self.face.vertices(self.identity, expression[None])[0]

    def project(self, vertices: Tensor) -> Tensor:
        """(V, 3): pixel x, pixel y of the photograph, depth in centimetres."""
        projected = self.camera.project(vertices)[0]
        return torch.cat([projected[:, :2] + self.correction, projected[:, 2:]], 1)


@dataclass(frozen=True)
class Movement:
    """A surface before and after: vertices (V, 3) in centimetres and projected (V, 3) as `PlacedFace.project`."""

    placed: PlacedFace
    vertices_before: Tensor
    vertices_after: Tensor
    before: Tensor
    after: Tensor

    def zoomed(self, factor: float) -> "Movement":
        """The same movement in the photograph sampled `factor` times as finely."""
        if factor == 1:
            return self
        before, after = (zoomed_points(points, factor) for points in (self.before, self.after))
        return Movement(self.placed.zoomed(factor), self.vertices_before, self.vertices_after, before, after)


def zoomed_points(points: Tensor, factor: float) -> Tensor:
    """Points (..., 2 or 3), x and y in pixels, of a photograph sampled `factor` times as finely; see `Camera.zoom`."""
    return torch.cat([(points[..., :2] + 0.5) * factor - 0.5, points[..., 2:]], -1)


def place_face(model: BilinearFaceModel, landmarks: Tensor) -> PlacedFace:
    """Fits the model to landmarks (68, 2), pixels, and brings its surface onto them."""
    return place_faces(model, landmarks[None])[0]


def place_faces(model: BilinearFaceModel, landmarks: Tensor) -> list[PlacedFace]:
    """As `place_face`, for the landmarks (N, 68, 2) of many faces; they are fitted together, which is faster."""
    face = editable(model)
    points = landmarks.detach().float().cpu()
    fit = fit_landmarks(model, points, distance=DISTANCE)
    placed = []
    for k, marks in enumerate(points):
        camera, identity, expression = fit.camera[k : k + 1], fit.identity[k : k + 1], fit.expression[k]
        at = face.place[fit.indices[k]]
        vertices = face.vertices(identity, expression[None])[0, at]
        correction = face.spread(at, marks - camera.project(vertices)[0, :, :2])
        placed.append(PlacedFace(face, camera, identity, expression, marks, correction, _unit(marks), fit.reasons[k]))
    return placed


def place_between(before: PlacedFace, after: PlacedFace, share: float, landmarks: Tensor) -> PlacedFace:
    """The face in a frame `share` of the way between two in which it was placed, on the frame's landmarks (68, 2)."""
    face = before.face

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return torch.lerp(a, b, share) if bool((a != b).any()) else a

    camera = Camera(*(mixed(getattr(before.camera, f.name), getattr(after.camera, f.name)) for f in fields(Camera)))
    marks = landmarks.detach().float().cpu()
    beside = marks - mixed(before.landmarks, after.landmarks)
    correction = mixed(before.correction, after.correction) + face.spread(face.landmarks[17:], beside[17:])
    identity, expression = mixed(before.identity, after.identity), mixed(before.expression, after.expression)
    return PlacedFace(face, camera, identity, expression, marks, correction, _unit(marks), before.doubt or after.doubt)


def known_face(model: BilinearFaceModel, identity: Tensor, expression: Tensor, camera: Camera) -> PlacedFace:
    """A face whose weights, (I,) and (E,), and camera (of one picture) are known, such as a rendered one."""
    face = editable(model)
    vertices = model.vertices(identity[None], expression[None])
    marks = model.landmarks(camera.project(vertices))[0, :, :2]
    correction = torch.zeros(len(face.vertex), 2)
    return PlacedFace(face, camera, identity[None], expression, marks, correction, _unit(marks))


def move(placed: PlacedFace, step: Tensor, *, closing: float = 0.0) -> Movement:
    """The surface before and after a step (E,) of the expression weights.

    closing in [0, 1]: how far the lips are to be closed afterwards, whatever the step does to them.
    """
    expression = placed.expression
    before = placed.vertices(expression)
    hold = placed.face.hold[:, None]
    after = before + hold * (placed.vertices(expression + step) - before)
    seen_before, seen_after = placed.project(before), placed.project(after)
    if closing > 0:
        seen_after = torch.cat([seen_after[:, :2] + _seal(placed, seen_after, closing), seen_after[:, 2:]], 1)
    return Movement(placed, before, after, seen_before, seen_after)


def _seal(placed: PlacedFace, after: Tensor, closing: float) -> Tensor:
    """(V, 2) pixels that bring the inner lips together."""
    marks = after[placed.face.landmarks, :2]
    down = _down(marks)
    now = _gap(marks)
    resting = placed.gap.clamp(max=0.01 * placed.unit)
    wanted = (1 - closing) * placed.gap + closing * resting
    excess = (now - wanted)[:, None] * down
    moved = marks.new_zeros(68, 2)
    moved[list(_UPPER)] = (1 - _LOWER_SHARE) * excess
    moved[list(_LOWER)] = -_LOWER_SHARE * excess
    # The outer edges of the lips follow, so that lips that meet are not thicker than they were.
    moved[[50, 51, 52]] = 0.7 * moved[list(_UPPER)]
    moved[[58, 57, 56]] = 0.7 * moved[list(_LOWER)]
    return placed.face.spread(placed.face.landmarks[17:], moved[17:])


def _down(marks: Tensor) -> Tensor:
    """Unit vector (2,) from the brows towards the chin: across the mouth."""
    along = marks[54] - marks[48]
    along = along / along.norm().clamp(min=1e-6)
    return torch.stack([-along[1], along[0]])


def _gap(marks: Tensor) -> Tensor:
    return (marks[list(_LOWER)] - marks[list(_UPPER)]) @ _down(marks)


def _unit(marks: Tensor) -> float:
    left, right = eye_centres(marks.numpy())
    return float(np.hypot(*(right - left)))

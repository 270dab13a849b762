"""Fitting the bilinear face to 68 landmarks of one or several views (paper 3.2; Vlasic et al. 2005, section 5)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.face3d.fitting.gauss_newton import Problem, State
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.scene.camera import Camera, euler_angles


@dataclass(frozen=True)
class FaceFit:
    """Fits of S subjects in V views each; view tensors are flat, N = S V, subject by subject.

    camera: N cameras (degrees, pixels). identity (S, I), expression (N, E): the model's weights.
    landmarks (N, 68, 2): the fitted model's, pixels. indices (N, 68): the model vertex of each.
    error (N,): mean distance of visible landmarks over the distance of the model's outer eye corners as seen from the
        front; good fits of hand-placed or dlib landmarks have 0.02 to 0.05.
    trusted (N,) bool; reasons: why a fit is not trusted, '' if it is.
    """

    camera: Camera
    identity: Tensor
    expression: Tensor
    landmarks: Tensor
    indices: Tensor
    error: Tensor
    trusted: Tensor
    reasons: list[str]

    @property
    def views(self) -> int:
        return len(self.camera) // len(self.identity)


def fit_landmarks(
    model: BilinearFaceModel,
    landmarks: Tensor,
    *,
    visible: Tensor | None = None,
    distance: float = float("inf"),
    landmark_noise: float = 0.025,
    iterations: int = 20,
    trust_below: float = 0.07,
) -> FaceFit:
    """Pose, identity and expression that explain landmarks, by joint Gauss-Newton with Gaussian priors.

    Args:
        model: any bilinear face model with 68 landmark vertices.
        landmarks: (N, 68, 2) for single views, or (S, V, 68, 2) for V views of each of S subjects (identity shared);
            pixels, x right, y down, iBUG order.
        visible: bool, landmarks' shape without the last axis; False leaves a landmark out. Landmarks that are not
            finite are left out too.
        distance: camera to head in centimetres; infinite is weak perspective.
        landmark_noise: standard deviation of a landmark, in inter-ocular distances; larger trusts the priors more.
        iterations: the most Gauss-Newton steps; it stops early once every fit has settled.
        trust_below: error (see FaceFit) above which a fit is not trusted.

    Outliers weigh less (Huber), jaw landmarks slide along the silhouette as the head turns, and landmarks that the head
    hides count little. Raises ValueError if shapes disagree or landmark_noise is not positive.
    """
    if landmarks.ndim == 3:
        landmarks = landmarks[:, None]
    if landmarks.ndim != 4 or landmarks.shape[2:] != (68, 2):
        raise ValueError(f"landmarks: expected (N, 68, 2) or (S, V, 68, 2), got {tuple(landmarks.shape)}")
    if landmark_noise <= 0:
        raise ValueError(f"landmark_noise: expected a positive number, got {landmark_noise}")
    points = landmarks.detach().to(model.device, torch.float64)
    seen = points.isfinite().all(-1)
    if visible is not None:
        if visible.numel() != seen.numel():
            raise ValueError(f"visible: expected {tuple(seen.shape)}, got {tuple(visible.shape)}")
        seen &= visible.to(model.device).bool().reshape(seen.shape)
    points = points.nan_to_num(0.0, 0.0, 0.0)
    problem = Problem(model, points.flatten(0, 1), seen.flatten(0, 1), points.shape[1], distance, landmark_noise)
    state = problem.initial()
    # Pose alone first: a turned head must not be explained by a strange face.
    for _ in range(6):
        state = problem.step(state, pose_only=True)
    settled = 0
    damping = torch.full((points.shape[0],), 1e-3, dtype=torch.float64, device=model.device)
    cost = problem.cost(state)
    for _ in range(iterations):
        trial = problem.step(state, damping=damping)
        trial_cost = problem.cost(trial)
        better = trial_cost < cost
        state = problem.choose(better, trial, state)
        gain = torch.where(better, (cost - trial_cost) / cost.clamp(min=1e-12), 0.0)
        cost = torch.where(better, trial_cost, cost)
        damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e6)
        settled = settled + 1 if bool((gain < 1e-4).all()) else 0
        if settled >= 2:
            break
    return _result(problem, state, trust_below)


def _result(problem: Problem, state: State, trust_below: float) -> FaceFit:
    q_all = problem.camera_points(state)
    rows = problem.choose_vertices(q_all)
    projected = problem.project(state, q_all.gather(1, rows[..., None].expand(-1, -1, 3)))
    scale = state.log_scale.exp()
    distances = (projected - problem.points).norm(dim=-1) * problem.seen
    error = distances.sum(1) / problem.seen.sum(1).clamp(min=1) / (scale * problem.eye_distance)
    yaw, pitch, roll = euler_angles(state.rotation)
    fields = (yaw, pitch, roll, scale, state.shift[:, 0], state.shift[:, 1], torch.full_like(yaw, problem.distance))
    identity = problem.id_mean + problem.id_std * state.identity
    expression = problem.ex_mean + problem.ex_std * state.expression
    spread = state.identity.abs().amax(1).repeat_interleave(problem.views)
    reasons = [
        _reason(*values, trust_below)
        for values in zip(
            error.tolist(), problem.seen.sum(1).tolist(), yaw.tolist(), pitch.tolist(), spread.tolist(), strict=True
        )
    ]
    return FaceFit(
        camera=Camera(*(f.float() for f in fields)),
        identity=identity.float(),
        expression=expression.float(),
        landmarks=projected.float(),
        indices=problem.vertex[rows],
        error=error.float(),
        trusted=torch.tensor([not reason for reason in reasons], device=error.device),
        reasons=reasons,
    )


def _reason(error: float, seen: int, yaw: float, pitch: float, spread: float, limit: float) -> str:
    if seen < 20:
        return f"only {seen} landmarks are usable; at least 20 are needed"
    if not math.isfinite(error):
        return "the fit did not converge"
    if error > limit:
        return f"landmarks are off by {error:.1%} of the eye distance (limit {limit:.1%}): no face or misplaced points"
    if abs(yaw) > 75 or abs(pitch) > 45:
        return f"the head is turned too far (yaw {yaw:.0f}, pitch {pitch:.0f} degrees)"
    if spread > 5:
        return f"the face is not plausible (an identity weight {spread:.1f} standard deviations from the mean)"
    return ""

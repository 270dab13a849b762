"""The fit as a least-squares problem: residuals of landmarks, their Jacobian, and Gauss-Newton steps."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.normals import vertex_normals

# Landmarks that tell most about pose and least about identity and expression: brow ends, nose, eye and mouth corners.
_RIGID = (17, 21, 22, 26, 27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45, 48, 54)
_OUTER_EYE_CORNERS = (36, 45)
_HUBER = 2.0  # standard deviations up to which a residual counts in full
_HIDDEN_WEIGHT = 0.15  # of a landmark that the head itself hides: detectors only guess such landmarks


@dataclass(frozen=True)
class State:
    """The unknowns of S subjects in N views."""

    rotation: Tensor  # (N, 3, 3)
    log_scale: Tensor  # (N,)
    shift: Tensor  # (N, 2)
    identity: Tensor  # (S, I), standard deviations from the prior's mean
    expression: Tensor  # (N, E), likewise


class Problem:
    """Residuals and Gauss-Newton steps for a batch; everything in float64."""

    def __init__(
        self, model: BilinearFaceModel, points: Tensor, seen: Tensor, views: int, distance: float, noise: float
    ) -> None:
        self.model, self.points, self.seen, self.views, self.distance = model, points, seen, views, distance
        device = points.device
        topology = model.topology
        jaw = torch.from_numpy(topology.jaw_contours).long()
        inner = torch.from_numpy(topology.landmarks).long()[17:]
        # Vertices that the fit can use: the jaw's candidates, then the 51 others.
        self.candidates = jaw.shape[1]
        self.vertex = torch.cat([jaw.flatten(), inner]).to(device)
        self.basis = model.basis[self.vertex].double()
        self.core = model.core.double()
        self.id_mean, self.id_std = model.identity_mean.double(), model.identity_std.double()
        self.ex_mean, self.ex_std = model.expression_mean.double(), model.expression_std.double()
        self.normals = vertex_normals(model.mean_face().double(), model.faces)[self.vertex]
        mean = model.mean_face().double()
        corners = mean[torch.from_numpy(topology.landmarks).long()[list(_OUTER_EYE_CORNERS)].to(device)]
        self.eye_distance = float((corners[0] - corners[1]).norm())  # centimetres
        self.noise = noise

    def weights(self, state: State) -> tuple[Tensor, Tensor]:
        identity = (self.id_mean + self.id_std * state.identity).repeat_interleave(self.views, dim=0)
        return identity, self.ex_mean + self.ex_std * state.expression

    def camera_points(self, state: State) -> Tensor:
        """All vertices that the fit can use, in camera space, (N, 17 C + 51, 3)."""
        identity, expression = self.weights(state)
        coefficients = torch.einsum("rie,ni,ne->nr", self.core, identity, expression)
        return torch.einsum("vcr,nr->nvc", self.basis, coefficients) @ state.rotation.transpose(1, 2)

    def choose_vertices(self, q: Tensor) -> Tensor:
        """Row of `self.vertex` for each of 68 landmarks, (N, 68): jaw landmarks go to the silhouette."""
        n, c = len(q), self.candidates
        x = q[:, : 17 * c, 0].reshape(n, 17, c) * self.magnification(q)[:, : 17 * c].reshape(n, 17, c)
        side = torch.tensor([-1.0] * 8 + [0.0] + [1.0] * 8, dtype=q.dtype, device=q.device)[:, None]
        jaw = (x * side).argmax(-1)
        jaw[:, 8] = 0
        rows = jaw + torch.arange(17, device=q.device) * c
        inner = torch.arange(17 * c, 17 * c + 51, device=q.device).expand(n, -1)
        return torch.cat([rows, inner], 1)

    def magnification(self, q: Tensor) -> Tensor:
        if math.isinf(self.distance):
            return torch.ones_like(q[..., 2])
        return 1.0 / (1.0 - q[..., 2] / self.distance)

    def project(self, state: State, q: Tensor) -> Tensor:
        scale = (state.log_scale.exp()[:, None] * self.magnification(q))[..., None]
        flip = torch.tensor([1.0, -1.0], dtype=q.dtype, device=q.device)
        return state.shift[:, None] + scale * flip * q[..., :2]

    def landmark_weights(self, state: State, rows: Tensor, residual: Tensor) -> Tensor:
        """Weight of each landmark's squared residual, (N, 68): 1 / sigma^2, times Huber's and that of hidden ones."""
        sigma = self.noise * self.eye_distance * state.log_scale.exp()
        normal_z = (self.normals @ state.rotation.transpose(1, 2))[..., 2].gather(1, rows)
        hidden = torch.where(normal_z[:, 17:] < -0.05, _HIDDEN_WEIGHT, 1.0)
        # A silhouette is where the surface turns away: the jaw is never hidden in that sense, but it is inexact.
        facing = torch.cat([torch.full_like(normal_z[:, :17], 0.5), hidden], 1)
        distance = residual.norm(dim=-1) / sigma[:, None]
        huber = (_HUBER / distance.clamp(min=1e-9)).clamp(max=1.0)
        # Half of a landmark's error is the model's own and the same in every view.
        independent = 2 / (1 + self.views)
        return independent * self.seen * facing * huber / sigma[:, None] ** 2

    def initial(self) -> State:
        """Pose of the mean face by least squares under scaled orthography (first step of DeMenthon & Davis 1995)."""
        n, device = len(self.points), self.points.device
        s = n // self.views
        zeros = State(
            torch.eye(3, dtype=torch.float64, device=device).expand(n, 3, 3),
            torch.zeros(n, dtype=torch.float64, device=device),
            torch.zeros(n, 2, dtype=torch.float64, device=device),
            torch.zeros(s, len(self.id_mean), dtype=torch.float64, device=device),
            torch.zeros(n, len(self.ex_mean), dtype=torch.float64, device=device),
        )
        q = self.camera_points(zeros)
        rows = self.choose_vertices(q)[:, list(_RIGID)]
        x = q.gather(1, rows[..., None].expand(-1, -1, 3))
        p = self.points[:, list(_RIGID)] * torch.tensor([1.0, -1.0], dtype=q.dtype, device=device)
        w = self.seen[:, list(_RIGID)].double()[..., None] + 1e-9
        x_mean, p_mean = (x * w).sum(1) / w.sum(1), (p * w).sum(1) / w.sum(1)
        xc, pc = (x - x_mean[:, None]) * w, p - p_mean[:, None]
        normal = xc.transpose(1, 2) @ (x - x_mean[:, None]) + 1e-6 * torch.eye(3, dtype=q.dtype, device=device)
        rows_2 = torch.linalg.solve(normal, xc.transpose(1, 2) @ pc).transpose(1, 2)  # (N, 2, 3): s R's first rows
        scale = rows_2.norm(dim=-1).mean(1).clamp(min=1e-6)
        u, _, v = torch.linalg.svd(rows_2, full_matrices=False)
        first = u @ v
        rotation = torch.cat([first, torch.linalg.cross(first[:, 0], first[:, 1])[:, None]], 1)
        shift = p_mean - scale[:, None] * (first @ x_mean[..., None])[..., 0]
        flip = torch.tensor([1.0, -1.0], dtype=q.dtype, device=device)
        return State(rotation, scale.log(), shift * flip, zeros.identity, zeros.expression)

    def step(self, state: State, *, pose_only: bool = False, damping: Tensor | None = None) -> State:
        """One damped Gauss-Newton step of all subjects at once."""
        q_all = self.camera_points(state)
        rows = self.choose_vertices(q_all)
        q = q_all.gather(1, rows[..., None].expand(-1, -1, 3))
        residual = self.points - self.project(state, q)
        weight = self.landmark_weights(state, rows, residual)
        to_pixels = self._pixels_per_camera_move(state, q)  # (N, 68, 2, 3)
        jacobian = [self._pose_jacobian(state, q, to_pixels)]
        if not pose_only:
            identity, expression = self.weights(state)
            turned = torch.einsum("nab,nkbr->nkar", state.rotation, self.basis[rows])
            moves = torch.einsum("nkpa,nkar->nkpr", to_pixels, turned)
            jacobian.append(torch.einsum("nkpr,rie,ni->nkpe", moves, self.core, identity) * self.ex_std)
            shared = torch.einsum("nkpr,rie,ne->nkpi", moves, self.core, expression) * self.id_std
        own = torch.cat(jacobian, -1)
        if pose_only:
            delta = self._solve_pose(own, residual, weight)
            return self._moved(state, delta, None)
        delta, identity_step = self._solve_joint(state, own, shared, residual, weight, damping)
        return self._moved(state, delta, identity_step)

    def _pixels_per_camera_move(self, state: State, q: Tensor) -> Tensor:
        m = self.magnification(q)
        s = state.log_scale.exp()[:, None] * m
        zero = torch.zeros_like(s)
        depth = zero if math.isinf(self.distance) else s * m / self.distance
        x = torch.stack([s, zero, depth * q[..., 0]], -1)
        y = torch.stack([zero, -s, -depth * q[..., 1]], -1)
        return torch.stack([x, y], -2)

    def _pose_jacobian(self, state: State, q: Tensor, to_pixels: Tensor) -> Tensor:
        """(N, 68, 2, 6): rotation vector (left), log scale, shift."""
        zero = torch.zeros_like(q[..., 0])
        x, y, z = q.unbind(-1)
        turn = torch.stack(  # d(w x q)/dw
            [torch.stack([zero, z, -y], -1), torch.stack([-z, zero, x], -1), torch.stack([y, -x, zero], -1)], -2
        )
        scale = (self.project(state, q) - state.shift[:, None])[..., None]
        shift = torch.eye(2, dtype=q.dtype, device=q.device).expand(*q.shape[:2], 2, 2)
        return torch.cat([to_pixels @ turn, scale, shift], -1)

    def _solve_pose(self, own: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
        j = own.flatten(1, 2)
        wj = j * weight.repeat_interleave(2, 1)[..., None]
        normal = wj.transpose(1, 2) @ j
        ridge = 1e-6 * normal.diagonal(dim1=1, dim2=2) + 1e-9
        return torch.linalg.solve(
            normal + torch.diag_embed(ridge), wj.transpose(1, 2) @ residual.flatten(1)[..., None]
        )[..., 0]

    def _solve_joint(
        self, state: State, own: Tensor, shared: Tensor, residual: Tensor, weight: Tensor, damping: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Solves each subject's normal equations for [V x (pose, expression), identity], with unit Gaussian priors."""
        v, s = self.views, len(state.identity)
        n_own, n_id = own.shape[-1], shared.shape[-1]
        size = v * n_own + n_id
        j_own = own.flatten(1, 2).unflatten(0, (s, v))
        j_id = shared.flatten(1, 2).unflatten(0, (s, v))
        w = weight.repeat_interleave(2, 1).unflatten(0, (s, v))[..., None]
        r = residual.flatten(1).unflatten(0, (s, v))[..., None]
        normal = own.new_zeros(s, size, size)
        right = own.new_zeros(s, size)
        for view in range(v):
            a, b = view * n_own, (view + 1) * n_own
            jo, ji = j_own[:, view], j_id[:, view]
            wo, wi = (jo * w[:, view]).transpose(1, 2), (ji * w[:, view]).transpose(1, 2)
            normal[:, a:b, a:b] += wo @ jo
            normal[:, a:b, -n_id:] += wo @ ji
            normal[:, -n_id:, -n_id:] += wi @ ji
            right[:, a:b] += (wo @ r[:, view])[..., 0]
            right[:, -n_id:] += (wi @ r[:, view])[..., 0]
            right[:, a + 6 : b] -= state.expression.unflatten(0, (s, v))[:, view]
        normal[:, -n_id:, : v * n_own] = normal[:, : v * n_own, -n_id:].transpose(1, 2)
        right[:, -n_id:] -= state.identity
        prior = own.new_zeros(size)
        prior[-n_id:] = 1.0
        for view in range(v):
            prior[view * n_own + 6 : (view + 1) * n_own] = 1.0
        diagonal = normal.diagonal(dim1=1, dim2=2)
        ridge = prior + 1e-9
        if damping is not None:
            ridge = ridge + damping[:, None] * diagonal
        delta = torch.linalg.solve(normal + torch.diag_embed(ridge.expand(s, -1)), right[..., None])[..., 0]
        return delta[:, : v * n_own].reshape(s * v, n_own), delta[:, -n_id:]

    def _moved(self, state: State, delta: Tensor, identity: Tensor | None) -> State:
        turn = torch.linalg.matrix_exp(_skew(delta[:, :3].clamp(-0.5, 0.5)))
        rotation = turn @ state.rotation
        u, _, v = torch.linalg.svd(rotation)  # rounding must not accumulate
        return State(
            u @ v,
            state.log_scale + delta[:, 3].clamp(-0.5, 0.5),
            state.shift + delta[:, 4:6],
            state.identity if identity is None else state.identity + identity,
            state.expression if identity is None else state.expression + delta[:, 6:],
        )

    def cost(self, state: State) -> Tensor:
        """Negative log posterior of each subject, (S,)."""
        q_all = self.camera_points(state)
        rows = self.choose_vertices(q_all)
        q = q_all.gather(1, rows[..., None].expand(-1, -1, 3))
        residual = self.points - self.project(state, q)
        sigma = self.noise * self.eye_distance * state.log_scale.exp()
        distance = residual.norm(dim=-1) / sigma[:, None]
        weight = self.landmark_weights(state, rows, torch.zeros_like(residual)) * sigma[:, None] ** 2
        huber = torch.where(distance <= _HUBER, distance**2, 2 * _HUBER * distance - _HUBER**2)
        views = (weight * huber).sum(1) + state.expression.square().sum(1)
        return views.unflatten(0, (-1, self.views)).sum(1) + state.identity.square().sum(1)

    def choose(self, better: Tensor, new: State, old: State) -> State:
        views = better.repeat_interleave(self.views)
        return State(
            torch.where(views[:, None, None], new.rotation, old.rotation),
            torch.where(views, new.log_scale, old.log_scale),
            torch.where(views[:, None], new.shift, old.shift),
            torch.where(better[:, None], new.identity, old.identity),
            torch.where(views[:, None], new.expression, old.expression),
        )


def _skew(w: Tensor) -> Tensor:
    zero = torch.zeros_like(w[:, 0])
    x, y, z = w.unbind(-1)
    rows = [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)]
    return torch.stack(rows, -2)

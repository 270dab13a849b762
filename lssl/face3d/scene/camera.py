"""The 3D conventions, in one place, and the camera.

Model space: right-handed, centimetres, x to the right as the viewer sees a frontal face, y up, z towards the viewer.
Pose: R = Rz(roll) Rx(pitch) Ry(yaw), degrees, about the model's origin. Positive yaw turns the face to the image's
right, positive pitch lowers the chin (looks down), positive roll turns it counter-clockwise in the image.
Image: pixel centres at integer coordinates, x right, y down (as in lssl/data/landmarks.py); depth smaller is nearer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

Scalars = Tensor | float | Sequence[float]


def rotation_matrix(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """R = Rz(roll) Rx(pitch) Ry(yaw), (N, 3, 3), from degrees (N,). Differentiable."""
    (sy, cy), (sp, cp), (sr, cr) = ((torch.sin(a), torch.cos(a)) for a in map(torch.deg2rad, (yaw, pitch, roll)))
    rows = [
        torch.stack([cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy], -1),
        torch.stack([sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy], -1),
        torch.stack([-cp * sy, sp, cp * cy], -1),
    ]
    return torch.stack(rows, -2)


def euler_angles(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """yaw, pitch, roll in degrees (N,) of rotations (N, 3, 3); inverse of `rotation_matrix` for |pitch| < 90."""
    pitch = torch.asin(rotation[:, 2, 1].clamp(-1, 1))
    yaw = torch.atan2(-rotation[:, 2, 0], rotation[:, 2, 2])
    roll = torch.atan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    return torch.rad2deg(yaw), torch.rad2deg(pitch), torch.rad2deg(roll)


@dataclass(frozen=True)
class Camera:
    """N cameras, each looking along -z at a posed head.

    yaw, pitch, roll (N,): the head's pose, degrees. scale (N,): pixels per centimetre at the origin's depth.
    x, y (N,): the pixel of the head's origin. distance (N,): from camera to origin, centimetres; infinite is weak
    perspective, finite is full perspective (magnification distance / (distance - z)).
    """

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    scale: Tensor
    x: Tensor
    y: Tensor
    distance: Tensor

    @classmethod
    def create(
        cls,
        *,
        yaw: Scalars = 0.0,
        pitch: Scalars = 0.0,
        roll: Scalars = 0.0,
        scale: Scalars = 1.0,
        x: Scalars = 0.0,
        y: Scalars = 0.0,
        distance: Scalars = float("inf"),
    ) -> Self:
        """Cameras from numbers, sequences or tensors, broadcast to one length."""
        values = [
            torch.as_tensor(v, dtype=torch.float32).reshape(-1) for v in (yaw, pitch, roll, scale, x, y, distance)
        ]
        return cls(*torch.broadcast_tensors(*values))

    def __len__(self) -> int:
        return len(self.yaw)

    def __getitem__(self, index: slice | Tensor) -> "Camera":
        return Camera(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device | str) -> "Camera":
        return Camera(*(getattr(self, f.name).to(device) for f in fields(self)))

    @property
    def rotation(self) -> Tensor:
        """Rotations (N, 3, 3) from head space to camera space."""
        return rotation_matrix(self.yaw, self.pitch, self.roll)

    def rotate(self, points: Tensor) -> Tensor:
        """Head space to camera space, (N, V, 3) or (V, 3) -> (N, V, 3): only the rotation about the origin."""
        return points @ self.rotation.to(points.dtype).transpose(-1, -2)

    def project(self, points: Tensor) -> Tensor:
        """Points (N, V, 3) or (V, 3), centimetres -> (N, V, 3): pixel x, pixel y, depth (centimetres).

        Depth is -z times the magnification, so that a plane of the scene is linear in pixel x and y, as the
        rasteriser assumes. Differentiable in points and in the camera. A point at or behind the camera gives
        coordinates that are not finite or flipped: keep `distance` above the head's radius.
        """
        rotated = self.rotate(points)
        magnification = 1.0 / (1.0 - rotated[..., 2] / self.distance[:, None])
        pixels = self.scale[:, None] * magnification
        return torch.stack(
            [
                self.x[:, None] + rotated[..., 0] * pixels,
                self.y[:, None] - rotated[..., 1] * pixels,
                -rotated[..., 2] * magnification,
            ],
            -1,
        )

    def zoom(self, factor: float) -> "Camera":
        """The same view sampled `factor` times as finely: pixel p of the old image covers the new pixels factor * p to
        factor * p + factor - 1 (pixel centres are at integers, so the origin moves by (factor - 1) / 2)."""
        shift = (factor - 1) / 2
        return replace(self, scale=self.scale * factor, x=self.x * factor + shift, y=self.y * factor + shift)

"""Cameras for portraits: the crop of lssl/data/align.py for a frontal face, and roughly that for a turned one."""

import torch
from torch import Tensor

from lssl.data.align import CROP_SCALE, EYE_LINE, UPPER_LIP
from lssl.data.landmarks import LEFT_EYE, RIGHT_EYE
from lssl.face3d.scene.camera import Camera, Scalars

# A turned head's face leaves the middle; the camera follows it this much of the way, as a photographer does.
_FOLLOW = 0.5


def portrait_camera(
    landmarks: Tensor,
    size: int,
    *,
    yaw: Scalars = 0.0,
    pitch: Scalars = 0.0,
    roll: Scalars = 0.0,
    distance: Scalars = float("inf"),
    crop_scale: float = CROP_SCALE,
) -> Camera:
    """N cameras for square pictures of `size` pixels, from the neutral face's 3D landmarks (N, 68, 3), centimetres.

    At pose 0 the eyes and the upper lip are where `face_similarity` puts them. Pose in degrees and distance in
    centimetres as in `Camera`; crop_scale as in `face_similarity`.
    """
    groups = [list(LEFT_EYE), list(RIGHT_EYE), list(UPPER_LIP)]
    points = torch.stack([landmarks[:, group].mean(1) for group in groups], 1)
    count = len(points)
    turned = Camera.create(yaw=yaw, pitch=pitch, roll=roll, scale=1.0, distance=distance)
    turned = Camera.create(
        yaw=turned.yaw.expand(count),
        pitch=turned.pitch.expand(count),
        roll=turned.roll.expand(count),
        scale=1.0,
        distance=turned.distance.expand(count),
    )
    zero = torch.zeros(count)
    frontal = Camera(zero, zero, zero, turned.scale, zero, zero, turned.distance).project(points)[..., :2]
    left, right, lip = frontal.unbind(1)
    eyes = (left + right) / 2
    scale = size / crop_scale / (right - left).norm(dim=-1)
    # As the crop places the face: the eyes at their height, eyes and lip centred on the middle column.
    anchor = torch.stack([(eyes[:, 0] + lip[:, 0]) / 2, eyes[:, 1]], -1)
    target = torch.tensor([(size - 1) / 2, EYE_LINE * size - 0.5])
    drift = turned.project(points)[..., :2].mean(1) - frontal.mean(1)
    place = target - scale[:, None] * (anchor + _FOLLOW * drift)
    return Camera(turned.yaw, turned.pitch, turned.roll, scale, place[:, 0], place[:, 1], turned.distance)

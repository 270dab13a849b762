"""Cameras that take a portrait: the crop of lssl/data/align.py for a frontal face, and about it for a turned one."""

import torch
from torch import Tensor

from lssl.data.align import CROP_SCALE, crop_anchors
from lssl.data.landmarks import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from lssl.face3d.camera import Camera, Scalars

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

    At pose 0 the eyes and the mouth stand where `crop_anchors` puts them (least squares, no rotation). Pose in degrees
    and distance in centimetres as in `Camera`.
    """
    groups = [list(LEFT_EYE), list(RIGHT_EYE), list(MOUTH_CORNERS)]
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
    anchors = torch.from_numpy(crop_anchors(size, crop_scale)).to(points.dtype)
    middle, target = frontal.mean(1), anchors.mean(0)
    offset = frontal - middle[:, None]
    scale = (offset * (anchors - target)).sum((1, 2)) / (offset**2).sum((1, 2))
    drift = turned.project(points)[..., :2].mean(1) - middle
    place = target - scale[:, None] * (middle + _FOLLOW * drift)
    return Camera(turned.yaw, turned.pitch, turned.roll, scale, place[:, 0], place[:, 1], turned.distance)

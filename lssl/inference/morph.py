"""New people with a known label: photographs of two people with the same label, mixed in shape and colour.

Each photograph is warped so that its landmarks lie between the two faces' (by a thin plate spline, Bookstein 1989, Principal
Warps); then the two are blended. The mixture shows what both show, so its label is as right as theirs, but it is a new person.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_STIFFNESS = 1e-3  # landmarks are accurate to a pixel or so; a spline that followed such errors would crumple the face
_KNOTS = 24  # places along a side at which the spline is evaluated
_BORDER = torch.tensor([(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0) if (x, y) != (0.0, 0.0)])


def morph_faces(
    first: Tensor, second: Tensor, points: Tensor, other_points: Tensor, shape: Tensor, colour: Tensor
) -> tuple[Tensor, Tensor]:
    """Mixtures of N pairs of faces.

    first, second: (N, 3, H, W) float. points, other_points: their landmarks (N, K, 2) in half-sides of the picture, see
    `lssl.data.landmarks.half_sides`. shape, colour: (N,), the second face's share, 0 to 1.
    Returns the pictures (N, 3, H, W) and their landmarks (N, K, 2) in half-sides.
    """
    landmarks = torch.lerp(points, other_points, shape[:, None, None])
    bent = bend_images(first, points, landmarks)
    other = bend_images(second, other_points, landmarks)
    return torch.lerp(bent, other, colour[:, None, None, None]), landmarks


def bend_images(images: Tensor, points: Tensor, goals: Tensor) -> Tensor:
    """Pictures (N, C, H, W) warped so that points (N, K, 2) come to lie at goals (N, K, 2), both in half-sides.

    The picture's border stays where it is, to within a pixel.
    """
    border = _BORDER.to(points).expand(len(points), -1, -1)
    places, values = torch.cat([goals, border], 1), torch.cat([points, border], 1)
    height, width = images.shape[-2:]
    here = F.affine_grid(torch.eye(2, 3)[None].to(points), [1, 1, height, width], align_corners=False)
    # The spline is smooth, so it is evaluated at few places and interpolated in between.
    coarse = [min(side, _KNOTS) for side in (height, width)]
    knots = F.affine_grid(torch.eye(2, 3)[None].to(points), [1, 1, *coarse], align_corners=True)
    steps = spline(places, values - places, knots.reshape(1, -1, 2).expand(len(points), -1, -1))
    steps = steps.reshape(len(points), *coarse, 2).permute(0, 3, 1, 2)
    dense = F.grid_sample(steps, here.expand(len(points), -1, -1, -1), mode="bicubic", align_corners=True)
    return F.grid_sample(images, here + dense.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def spline(places: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """A smoothed thin plate spline through values (N, K, D) at places (N, K, 2), evaluated at `at` (N, M, 2): (N, M, D)."""
    count = places.shape[1]
    plane = torch.cat([torch.ones_like(places[..., :1]), places], 2)
    bending = _kernel(torch.cdist(places, places)) + _STIFFNESS * torch.eye(count, device=places.device)
    system = torch.cat(
        [
            torch.cat([bending, plane], 2),
            torch.cat([plane.transpose(1, 2), plane.new_zeros(len(plane), 3, 3)], 2),
        ],
        1,
    )
    known = torch.cat([values, values.new_zeros(len(values), 3, values.shape[2])], 1)
    weights = torch.linalg.solve(system, known)
    here = torch.cat([torch.ones_like(at[..., :1]), at], 2)
    return _kernel(torch.cdist(at, places)) @ weights[:, :count] + here @ weights[:, count:]


def _kernel(distance: Tensor) -> Tensor:
    return torch.xlogy(distance.square(), distance)

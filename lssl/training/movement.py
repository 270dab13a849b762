"""What a data set says about how faces move from one set of attributes to another.

Beyond the paper. The generator's flow is taught where landmarks go: to where they are in the subject's own picture with the
attributes asked for, if the folder has one ("paired"), else by the difference of the classes' mean shapes. Shapes are
compared in the aligned frame of the crops, in half-sides of the picture: (0, 0) is its middle, x right, y down, the border
at 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data import FaceDataset
from lssl.data.landmarks import flip_landmarks, half_sides

#: (68,) Mouth and eyes carry the expression; the contour and the nose are located less exactly, and move with the head.
LANDMARK_WEIGHTS = torch.tensor([0.5] * 17 + [1.0] * 10 + [0.5] * 9 + [1.5] * 12 + [2.0] * 20)
#: (68,) How far each landmark lies in front of the eyes, in units of the distance between them; from the mean face of the
#: built-in model `ict`.
_HALF_CONTOUR, _HALF_BROW, _EYE = [0.0, 0.3, 0.9, 1.5, 2.5, 3.7, 5.1, 6.6], [4.3, 5.3, 6.2, 6.8, 7.1], [4.9, 5.7, 5.9]
_LIPS = [6.5, 7.6, 8.1, 8.2, 8.1, 7.6, 6.5, 7.2, 7.7, 7.9, 7.7, 7.2, 6.5, 7.4, 7.6, 7.4, 6.5, 7.4, 7.6, 7.4]
LANDMARK_DEPTH = (
    torch.tensor(
        [*_HALF_CONTOUR, 6.8, *_HALF_CONTOUR[::-1], *_HALF_BROW, *_HALF_BROW[::-1]]
        + [7.1, 7.9, 8.6, 9.4, 7.2, 7.8, 7.9, 7.8, 7.2]
        + [*_EYE, 5.5, 5.8, 5.6, 5.5, 5.9, 5.7, 4.9, 5.6, 5.8]
        + _LIPS
    )
    - 5.6
) / 6.6
_PLANE = float(LANDMARK_DEPTH[48:].mean()) / 2  # between eyes and mouth
# The head's pose is read off what expressions hardly move: the contour next to the ears, the nose, the corners of the eyes.
_STABLE = [0, 1, 2, 14, 15, 16, *range(27, 36), 36, 39, 42, 45]


@dataclass(frozen=True)
class Targets:
    """The sets of attributes that may be asked for in a data set (its classes), and what the data set knows about each.

    y: (C, A), the distinct sets of attributes that its faces have. of_row: (N,), which of them each face has.
    shapes: (C, 68, 2), their mean landmarks in half-sides, symmetric if faces are mirrored; None without landmarks.
    partner: (N, C), a row of the same subject with those attributes; -1: there is none.
    pose: (N, C, POSE), the change of pose that gives the partner's head the pose wanted of the result (`with_pose`); 0
        without a partner or landmarks.
    """

    y: Tensor
    of_row: Tensor
    shapes: Tensor | None
    partner: Tensor
    pose: Tensor

    @property
    def known_share(self) -> float:
        """Share of (face, class) combinations for which the subject has a picture; the face itself counts."""
        return float((self.partner >= 0).float().mean())


def targets_of(dataset: FaceDataset, *, mirrored: bool, pairs: bool = True) -> Targets:
    """The targets of a data set. mirrored: faces are mirrored at random. pairs: look for a subject's other pictures, too."""
    y, of_row = torch.unique(dataset.y, dim=0, return_inverse=True)
    subject = dataset.subject_index
    partner = torch.full((len(of_row), len(y)), -1)
    partner[torch.arange(len(of_row)), of_row] = torch.arange(len(of_row))
    if pairs:
        rows = {(int(s), int(c)): k for k, (s, c) in enumerate(zip(subject, of_row, strict=True))}
        for k, s in enumerate(subject.tolist()):
            for c in range(len(y)):
                if partner[k, c] < 0:
                    partner[k, c] = rows.get((s, c), -1)
    shapes = None
    if dataset.landmarks is not None:
        points = half_sides(dataset.landmarks, dataset.size)
        if mirrored:
            points = (points + half_sides(flip_landmarks(dataset.landmarks, dataset.size[1]), dataset.size)) / 2
        shapes = torch.stack([points[of_row == c].mean(0) for c in range(len(y))])
    pose = torch.zeros(len(of_row), len(y), POSE)
    if shapes is not None and dataset.landmarks is not None:
        points = half_sides(dataset.landmarks, dataset.size).cpu()
        for c in range(len(y)):
            known = partner[:, c] >= 0
            pose[known, c] = pose_between(
                points[partner[known, c]], points[known] + (shapes[c] - shapes[of_row[known]]).cpu()
            )
    return Targets(y, of_row, shapes, partner, pose)


POSE = 6  #: numbers that describe a change of a head's pose: turn and scale (2), shift (2), yaw and pitch


def pose_between(points: Tensor, wanted: Tensor) -> Tensor:
    """(M, POSE): the change of pose that brings landmarks `points` closest to `wanted`, both (M, 68, 2) in half-sides.

    Least squares over the landmarks that expressions hardly move. Nobody holds their head alike in two photographs, and no
    generator can know the difference.
    """
    columns = _pose_columns(points, LANDMARK_DEPTH)[:, _STABLE].flatten(1, 2)
    missed = (wanted - points)[:, _STABLE].flatten(1)
    square = columns.transpose(1, 2) @ columns + 1e-6 * torch.eye(POSE)
    return torch.linalg.solve(square, (columns.transpose(1, 2) @ missed[..., None]))[..., 0]


def with_pose(points: Tensor, pose: Tensor, depth: Tensor) -> Tensor:
    """Landmarks (N, 68, 2) after a change of pose (N, POSE); depth: LANDMARK_DEPTH on their device."""
    return points + (_pose_columns(points, depth) @ pose[:, None, :, None])[..., 0]


def mirrored_pose(pose: Tensor) -> Tensor:
    """The same change of pose (N, POSE) for mirrored faces."""
    return pose * pose.new_tensor([1, -1, -1, 1, -1, 1])


def pose_affine(pose: Tensor) -> Tensor:
    """Affine maps (N, 2, 3) for `move_images` that approximate a change of pose (N, POSE): exact at one depth, halfway
    between the eyes and the mouth."""
    a, b = 1 + pose[:, 0], pose[:, 1]
    shift = pose[:, 2:4] + _PLANE * pose[:, 4:]
    inverse = torch.stack([a, b, -b, a], 1).reshape(-1, 2, 2) / (a * a + b * b)[:, None, None]
    return torch.cat([inverse, -inverse @ shift[..., None]], 2)


def _pose_columns(points: Tensor, depth: Tensor) -> Tensor:
    """(N, 68, 2, POSE): the derivative of each landmark's x and y by each number of the pose."""
    x, y = points.unbind(-1)
    one, none, depth = torch.ones_like(x), torch.zeros_like(x), depth.expand_as(x)
    across = torch.stack([x, -y, one, none, depth, none], -1)
    down = torch.stack([y, x, none, one, none, depth], -1)
    return torch.stack([across, down], -2)


def balanced_rows(of_row: Tensor, count: int, step: int, generator: torch.Generator) -> Tensor:
    """`count` random rows, int64 (count,), with the classes of `of_row` (N,) occurring equally often, give or take one.

    A classifier that begins with unequal batches first learns how often each class occurs in each, and overshoots.
    """
    classes = int(of_row.max()) + 1
    first = torch.randperm(classes, generator=generator)
    wanted = [int(first[(step * count + k) % classes]) for k in range(count)]
    rows = []
    for c in wanted:
        members = torch.nonzero(of_row == c)[:, 0]
        rows.append(members[int(torch.randint(len(members), (1,), generator=generator))])
    return torch.stack(rows)


def movement_error(
    flow: Tensor, before: Tensor, after: Tensor, weights: Tensor, of_face: Tensor | None = None
) -> Tensor:
    """How far the flow (N, 2, g, g) misses: at each landmark's new place `after` it should point back to `before`.

    before, after: (N, 68, 2) in half-sides. Returns the mean of |dx| + |dy|, weighted by `weights` (68,), such as
    LANDMARK_WEIGHTS, and by `of_face` (N,) if that is given.
    """
    there = F.grid_sample(flow, after[:, :, None].float(), padding_mode="border", align_corners=False)[..., 0]
    missed = (there.transpose(1, 2) - (before - after)).abs().sum(2)
    missed = missed * weights
    return (missed if of_face is None else missed * of_face[:, None]).mean()


def way_gone(flow: Tensor, before: Tensor, asked: Tensor, weights: Tensor) -> float:
    """How much of the asked movement a flow (N, 2, g, g) makes: 0 if it moves nothing, 1 if it moves as far as asked in
    that direction. before, asked: (N, 68, 2), landmarks and the displacements asked of them, in half-sides."""
    there = F.grid_sample(flow, (before + asked)[:, :, None].float(), padding_mode="border", align_corners=False)[
        ..., 0
    ]
    done = (-there.transpose(1, 2) * asked * weights[:, None]).sum()
    return float(done / (asked.square() * weights[:, None]).sum().clamp(min=1e-9))


def roughness(flow: Tensor) -> Tensor:
    """Mean absolute second difference of a flow (N, 2, g, g) along both axes."""
    # The sum of three neighbours, as their mean times three, less three times the middle one: few operations, for a GPU.
    across = F.avg_pool2d(flow, (1, 3), 1) - flow[..., 1:-1]
    down = F.avg_pool2d(flow, (3, 1), 1) - flow[..., 1:-1, :]
    return 3 * (across.abs().mean() + down.abs().mean())

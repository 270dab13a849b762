"""What is round a frontal face: the photograph's hair, ears, neck and background, bent to meet the drawn face."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.frontal.paint import FacePainter, blurred
from lssl.face3d.frontal.texture import belongs, smooth_step
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.scene.camera import Camera
from lssl.ops import interpolate, rasterize

_FACING = 0.25  # cosine from which on the photograph shows a point of the head
_STILL, _TURNED = 10.0, 22.0  # degrees
_MIRROR = 0.15  # of the way between them: from there on mirror images stand for what is hidden
_FADE = 0.35  # of the picture's side: distance over which the bending fades away
_SMOOTH, _SEAM, _MIXED, _CORE = 0.02, 0.008, 0.05, 0.05  # of the picture's side

Places = NDArray[np.float64]  # (side, side, 2): where a pixel looks up the photograph


def surroundings(painter: FacePainter, mesh: Tensor, camera: Camera, painted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first photograph as seen round the drawn face, (side, side, 3) in [0, 1] (after Zhu et al. 2015, section 3.3),
    how little it knows of the drawn head there, and how surely it shows hair over the face, (side, side) in [0, 1].

    mesh (V, 3) and camera: as drawn; painted (side, side, 3): the drawn head's colours. A pixel of the drawn head looks
    up the photograph where that point of the head is, or where its mirror image is if a turn hides it; behind the head,
    what was beside the photograph's head stands beside the drawn one.
    """
    fit, first, side = painter.fit, painter.first, len(painted)
    drawn = camera.project(mesh)
    marks = drawn[0, fit.indices[first], :2].double().numpy()
    matrix, shift = _similarity(marks, fit.landmarks[first].double().numpy())
    base = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float64) @ matrix.T + shift
    head, own, mirrored, face = _head_in_photograph(painter, drawn, side)
    outline = _silhouette(painter, matrix, shift, side)
    # A head that hardly turns keeps its hair, wherever that is: all that is not face bends as one.
    turn = _turned_by(fit.camera[first : first + 1].rotation[0], camera.rotation[0])
    bent = _extended(_Part(own.places, face), base)
    places = bent + turn * (_extended(own, base) - bent)
    behind = bent + turn * (_beside(head, outline, base, matrix) - bent)
    image, step = painter.images[0], float(np.sqrt(abs(np.linalg.det(matrix))))
    hidden = (own.facing < 2 * _FACING) & (own.facing < mirrored.facing - _FACING)
    mirror = float(smooth_step(torch.tensor(turn / _MIRROR)))
    share = mirror * blurred(torch.from_numpy(hidden.astype(np.float32)), 2 * _SEAM * side)[..., None]
    inside = _look_up(image, places, step) * (1 - share) + _look_up(image, _extended(mirrored, base), step) * share
    # Beyond the frame, and behind the photograph's head, nothing is known.
    size = np.array([image.shape[1], image.shape[0]])
    known = np.logical_and.reduce((behind > -0.5) & (behind < size - 0.5), axis=-1)
    if turn > 0.5:
        known &= ~head & ~_within(outline, behind, matrix, shift)
    outside = _filled(_look_up(image, behind, step), known)
    cover = blurred(torch.from_numpy(head.astype(np.float32)), _SEAM * side)[..., None]
    # A skull, or a neck, that is smaller than the model's has background where the fitted head is, and mixed colours beside.
    like_head = torch.minimum((inside - painted).norm(dim=-1), _from_usual(inside, head & (face < 0.5), marks))
    missed = 1 - belongs((inside - outside).norm(dim=-1), like_head)
    missed = torch.from_numpy(ndimage.maximum_filter(missed.numpy(), round(_MIXED * side)))
    # Turned to the side further than the photograph, a head shows what hair had covered: the fitted head stands for it.
    averted = torch.from_numpy((head & (np.maximum(own.facing, mirrored.facing) < _FACING)).astype(np.float32))
    away = _turned_by(camera.rotation[0], torch.eye(3))
    far = float(smooth_step(torch.tensor(2 * turn - 1)))
    unknown = torch.maximum(
        mirror * blurred(missed, _SEAM * side), far * blurred(averted, _SEAM * side).clamp(min=away)
    )
    return inside * cover + outside * (1 - cover), unknown, _hair(inside, painted, head, face, marks)


def _hair(
    inside: Tensor, painted: Tensor, head: NDArray[np.bool_], face: NDArray[np.float64], marks: NDArray[np.float64]
) -> Tensor:
    """(side, side): how surely hair hangs over the face's upper border, by colours rather like the scalp's than like the
    skin's. Brows and eyes are not asked."""
    side = len(painted)
    skin, scalp = face > 0.9, head & (face < 0.1) & (np.arange(side)[:, None] < marks[17:27, 1].min())
    if not skin.any() or not scalp.any():
        return torch.zeros(side, side)
    from_skin, from_scalp = (
        (inside - colours[torch.from_numpy(part)].median(0).values).norm(dim=-1)
        for colours, part in ((painted, skin), (inside, scalp))
    )
    alike = smooth_step(from_skin / (from_scalp + 0.02) - 1)
    features = marks[ConvexHull(marks[17:48]).vertices + 17]
    core = polygon2mask((side, side), features[:, ::-1])
    beyond = smooth_step(torch.from_numpy(ndimage.distance_transform_edt(~core) / (_CORE * side)).float() - 0.5)
    above = smooth_step(torch.from_numpy((marks[30, 1] - np.arange(side)) / (_CORE * side)).float())[:, None]
    return blurred(alike * beyond * above, _SEAM * side)


def _from_usual(picture: Tensor, beyond: NDArray[np.bool_], marks: NDArray[np.float64]) -> Tensor:
    """Distance (H, W) of a picture's colours (H, W, 3) from the usual one of the head beyond the face, in its half:
    above the middle of the landmarks (hair), or below (neck)."""
    upper = np.arange(len(picture))[:, None] < marks[:, 1].mean()
    distance = torch.zeros(picture.shape[:2])
    for half in (upper, ~upper):
        part = torch.from_numpy(beyond & half)
        if part.any():
            usual = picture[part].median(0).values
            distance = torch.where(torch.from_numpy(half), (picture - usual).norm(dim=-1), distance)
    return distance


def _turned_by(first: Tensor, second: Tensor) -> float:
    """0 where heads of two rotations (3, 3) are seen from sides `_STILL` degrees apart or less, 1 from `_TURNED` on.

    Tilt in the picture does not count: the similarity has it.
    """
    angle = float(torch.rad2deg(torch.acos((first[2] @ second[2]).clamp(-1, 1))))
    return float(smooth_step(torch.tensor((angle - _STILL) / (_TURNED - _STILL))))


@dataclass(frozen=True)
class _Part:
    """Where the photograph has each pixel's point of the head, (side, side, 2), and the cosine at which it sees it,
    (side, side); -1 where there is no head."""

    places: Places
    facing: NDArray[np.float64]


def _head_in_photograph(
    painter: FacePainter, drawn: Tensor, side: int
) -> tuple[NDArray[np.bool_], _Part, _Part, NDArray[np.float64]]:
    """The drawn head's pixels (side, side), with drawn (1, V, 3) its vertices; what the first photograph has of each and
    of its mirror image on the head; and how much each is face (see `face_region`)."""
    model, source = painter.model, painter.mesh()
    photo = painter.fit.camera[painter.first : painter.first + 1]
    triangle, barycentric, _ = rasterize(drawn.contiguous(), model.faces, side, side)
    head = (triangle[0] >= 0).numpy()
    facing = photo.rotate(vertex_normals(source, model.faces, model.topology.weld))[..., 2:]
    attributes = torch.cat([photo.project(source)[..., :2], facing, face_region(model)[None, :, None]], -1)
    own, mirrored = (
        interpolate(triangle, barycentric, model.faces, part.contiguous())[0].double().numpy()
        for part in (attributes, attributes[:, painter.mirror])
    )
    parts = (_Part(values[..., :2], np.where(head, values[..., 2], -1.0)) for values in (own, mirrored))
    return head, *parts, own[..., 3] * head


def _extended(part: _Part, base: Places) -> Places:
    """Places that go on smoothly from where the photograph shows a point, by their offset from `base`."""
    shown = part.facing > _FACING
    if not shown.any():
        return base
    side = len(base)
    distance, index = ndimage.distance_transform_edt(~shown, return_distances=True, return_indices=True)
    offset = (part.places - base)[index[0], index[1]]
    offset = ndimage.gaussian_filter(offset, (_SMOOTH * side, _SMOOTH * side, 0), mode="nearest")
    return base + offset * np.exp(-distance / (_FADE * side))[..., None]


def _within(
    outline: NDArray[np.bool_], places: Places, matrix: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether places lie well within the photograph's head (see `_silhouette`)."""
    side = len(outline)
    inner = ndimage.binary_erosion(outline, iterations=max(1, round(_SMOOTH * side)))
    at = np.rint((places - shift) @ np.linalg.inv(matrix).T).astype(int)
    column, row = at[..., 0] + side // 2, at[..., 1]
    inside = (column >= 0) & (column < 2 * side) & (row >= 0) & (row < side)
    return inside & inner[row.clip(0, side - 1), column.clip(0, 2 * side - 1)]


def _filled(picture: Tensor, known: NDArray[np.bool_]) -> Tensor:
    """The picture (H, W, 3) with what is not known blurred over from what is, near by where possible."""
    side = len(known)
    weight = torch.from_numpy(known.astype(np.float32))
    filled = picture.mean((0, 1)).expand_as(picture)
    for sigma in (0.5, 0.15, 0.04):
        total = blurred(weight, sigma * side)[..., None]
        near = blurred(picture * weight[..., None], sigma * side) / total.clamp(min=1e-6)
        trust = smooth_step(total / 0.1)
        filled = near * trust + filled * (1 - trust)
    own = blurred(weight, _SEAM * side)[..., None] * weight[..., None]
    return picture * own + filled * (1 - own)


def _silhouette(
    painter: FacePainter, matrix: NDArray[np.float64], shift: NDArray[np.float64], side: int
) -> NDArray[np.bool_]:
    """(side, 2 side) the photograph's head in the drawn picture's frame, half a picture more on the left and right."""
    photo = painter.fit.camera[painter.first : painter.first + 1].project(painter.mesh())
    placed = (photo[0, :, :2].double() - torch.from_numpy(shift)) @ torch.from_numpy(np.linalg.inv(matrix).T)
    placed[:, 0] += side // 2
    vertices = torch.cat([placed.float(), photo[0, :, 2:]], -1)[None].contiguous()
    triangle, _, _ = rasterize(vertices, painter.model.faces, side, 2 * side)
    covered: NDArray[np.bool_] = (triangle[0] >= 0).numpy()
    return covered


def _beside(head: NDArray[np.bool_], outline: NDArray[np.bool_], base: Places, matrix: NDArray[np.float64]) -> Places:
    """Places for what is behind the head: each row's left and right end of the drawn head meet the photograph head's."""
    side = len(head)
    columns = np.arange(side)
    ends, targets = _ends(head), _ends(outline) - side // 2
    both = head.any(1) & outline.any(1)
    if not both.any():
        return base
    nearest = ndimage.distance_transform_edt(~both, return_distances=False, return_indices=True)[0]
    gap = np.abs(np.arange(side) - nearest)
    moves = (targets - ends)[nearest] * np.exp(-gap / (_FADE * side))[:, None]
    moves = ndimage.gaussian_filter1d(moves, 2 * _SMOOTH * side, axis=0, mode="nearest")
    middle = ends[nearest].mean(1)[:, None]
    away = np.abs(columns - ends[nearest][:, :1]), np.abs(columns - ends[nearest][:, 1:])
    left = columns[None] < middle
    move = np.where(left, moves[:, :1], moves[:, 1:]) * np.exp(-np.where(left, *away) / side)
    # And so do their tops, more so the nearer to it.
    top, bottom = np.flatnonzero(head.any(1))[[0, -1]]
    rise = float(np.flatnonzero(outline.any(1))[0] - top) if top > 0 and outline[0].sum() == 0 else 0.0
    near_top = np.clip((0.5 * (top + bottom) - np.arange(side)) / max(0.5 * (bottom - top), 1), 0, 1)[:, None, None]
    return base + move[..., None] * matrix[:, 0] + rise * near_top * matrix[:, 1]


def _ends(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, 2): first and last column of each row of a mask (H, W)."""
    width = mask.shape[1]
    return np.stack([mask.argmax(1), width - 1 - mask[:, ::-1].argmax(1)], -1).astype(np.float64)


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """matrix (2, 2) and shift (2,) with source @ matrix.T + shift nearest to target, both (K, 2)."""
    a, b = source - source.mean(0), target - target.mean(0)
    power = (a**2).sum()
    c, s = (a * b).sum() / power, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    matrix = np.array([[c, -s], [s, c]])
    return matrix, target.mean(0) - source.mean(0) @ matrix.T


def _look_up(image: NDArray[np.uint8], places: NDArray[np.float64], step: float) -> Tensor:
    """The photograph at places (H, W, 2), which lie `step` pixels apart; outside, its mirror image."""
    sides = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(places.min((0, 1))) - 4 * step, 0, sides - 2).astype(int)
    high = np.clip(np.ceil(places.max((0, 1))) + 4 * step, low + 2, sides).astype(int)
    piece = np.array(image[low[1] : high[1], low[0] : high[0]])
    photograph = torch.from_numpy(piece).permute(2, 0, 1)[None].float() / 255
    h, w = piece.shape[:2]
    if step > 1.5:  # shrink first, so that no pixel is skipped
        smaller = (max(2, round(h / step)), max(2, round(w / step)))
        photograph = F.interpolate(photograph, size=smaller, mode="bilinear", antialias=True, align_corners=False)
    look = torch.from_numpy((places - low + 0.5) * 2 / (w, h) - 1).float()[None]
    found = F.grid_sample(photograph, look, mode="bilinear", padding_mode="reflection", align_corners=False)
    return found[0].permute(1, 2, 0)

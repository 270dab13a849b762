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

from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.curtain import hanging_hair, hanging_places
from lssl.face3d.frontal.paint import FacePainter, blurred
from lssl.face3d.frontal.texture import smooth_step
from lssl.face3d.frontal.walls import wall
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.scene.camera import Camera
from lssl.ops import interpolate, rasterize

_FACING = 0.25  # cosine from which on the photograph shows a point of the head
_STILL, _TURNED = 10.0, 22.0  # degrees
_MIRROR_FROM, _MIRROR_TO = 10.0, 13.0  # degrees of yaw from which on mirror images stand for what is hidden
_FADE = 0.35  # of the picture's side: distance over which the bending fades away
_SMOOTH, _SEAM, _CORE, _MIRRORED_WIDTH = 0.02, 0.008, 0.05, 0.12  # of the picture's side
_STRAND = 0.02  # of the picture's side: no more hair than this covers what the photograph does not show
_LOOSE = 0.08  # of the picture's side inside the fitted head's outline: as far in, a photograph may show what is behind
_STRETCH = 0.4  # of the usual pace, at which hair goes on over what the photograph does not show
_HARDLY = 0.1  # face (see `face_region`): less is skull, ears and neck
_BROWS = slice(17, 27)  # landmarks
_LOBES = [2, 14]  # landmarks on the jaw about as low as the ears reach
_MIDLINE = [8, 27, 28, 29, 30, 33, 51, 57]  # landmarks

Places = NDArray[np.float64]  # (side, side, 2): where a pixel looks up the photograph


def surroundings(painter: FacePainter, mesh: Tensor, camera: Camera, side: int) -> tuple[Tensor, Tensor]:
    """The first photograph as seen round the drawn face, (side, side, 3) in [0, 1] (after Zhu et al. 2015, section 3.3),
    and how surely it shows hair over the face, (side, side) in [0, 1].

    mesh (V, 3) and camera: as drawn, `side` pixels wide. A pixel of the drawn head looks up the photograph where that
    point of the head is, or where its mirror image is if a turn hides it; behind the head, what was beside the
    photograph's head stands beside the drawn one. Nothing is drawn that the photograph has not: where it shows neither a
    point nor its mirror image, it goes on from the nearest that it shows.
    """
    fit, first = painter.fit, painter.first
    drawn = camera.project(mesh)
    marks = drawn[0, fit.indices[first], :2].double().numpy()
    matrix, shift = _similarity(marks, fit.landmarks[first].double().numpy())
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float64)
    middle = float(marks[_MIDLINE, 0].mean())
    base, flipped = (places @ matrix.T + shift for places in (grid, _flipped(grid, middle)))
    head, own, mirrored, face = _head_in_photograph(painter, drawn, side)
    outline = _silhouette(painter, matrix, shift, side)
    image, step = painter.images[0], float(np.sqrt(abs(np.linalg.det(matrix))))
    behind = wall(_look_up(image, base, step), outline[:, side // 2 : side // 2 + side], painter.views[0].usual)
    sure = []
    for part in (own, mirrored):
        row, column = _in_frame(part.places, matrix, shift, side)
        off = behind.shows(_look_up(image, part.places, step), row, column) & (face < _HARDLY)
        sure.append(_Part(part.places, np.where(off, np.minimum(part.facing, 0), part.facing)))
    # A head that hardly turns keeps its hair, wherever that is: all that is not face bends as one.
    turn = _turned_by(fit.camera[first : first + 1].rotation[0], camera.rotation[0])
    bent = _extended(_Part(own.places, face), base)
    places = bent + turn * (_extended(_completed(sure[0], sure[1], matrix), base) - bent)
    # Where the photograph does not see the head's edge, the crown of a raised head, its hair goes on over it.
    unseen = _near_unseen(head, np.maximum(own.facing, mirrored.facing))
    beside = unseen * places + (1 - unseen) * (bent + turn * (_beside(head, outline, base, matrix) - bent))
    # Beyond the frame, and behind the photograph's head, nothing is known.
    known = _framed(beside, image)
    if turn > 0.5:
        known &= (~head & ~_within(outline, beside, matrix, shift)) | (unseen[..., 0] > 0.5)
    found = _look_up(image, beside, step)
    hanging = None
    if turn > 0.5:  # the skin of a skull that is larger than the fitted one
        crown = np.arange(side)[:, None] < marks[_BROWS, 1].min()
        known &= ~(behind.skin_before(found) & crown)
        lobes = int(marks[_LOBES, 1].mean())
        aside = hanging_places(head, own.places, own.facing, base, lobes)
        if aside is not None:
            strands = _look_up(image, aside, step)
            hang = hanging_hair(strands, _framed(aside, image), behind, *_in_frame(aside, matrix, shift, side), lobes)
            hanging = strands, hang * (1 - behind.usual.hairlike(found) * torch.from_numpy(known))[..., None]
    outside = _filled(found, known)
    if hanging is not None:
        outside = outside * (1 - hanging[1]) + hanging[0] * hanging[1]
    sideways = abs(float(fit.camera.yaw[first] - camera.yaw[0]))
    mirror = float(smooth_step(torch.tensor((sideways - _MIRROR_FROM) / (_MIRROR_TO - _MIRROR_FROM))))
    hidden = (own.facing < 2 * _FACING) & (own.facing < mirrored.facing - _FACING)
    # No landmark holds the skull: near its outline a fitted one has the wall on it, and the near half is the surer one.
    loose = _depth_within(outline, own.places, matrix, shift) < _LOOSE * side
    hidden |= loose & (own.facing < mirrored.facing) & (face < _HARDLY)
    share = mirror * blurred(torch.from_numpy(hidden.astype(np.float32)), 2 * _SEAM * side)[..., None]
    mirrored_places = _extended(_completed(sure[1], sure[0], matrix), flipped)
    inside = _look_up(image, places, step) * (1 - share) + _look_up(image, mirrored_places, step) * share
    away = mirror * _beside_hidden(head, hidden)[..., None]
    outside = outside * (1 - away) + _look_up_flipped(outside, middle) * away
    cover = blurred(torch.from_numpy(head.astype(np.float32)), _SEAM * side)[..., None]
    return inside * cover + outside * (1 - cover), _hair(painter.views[0].usual, inside, marks)


def _framed(places: Places, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): which places (H, W, 2) lie within a photograph."""
    sides = np.array([image.shape[1], image.shape[0]])
    inside: NDArray[np.bool_] = np.logical_and.reduce((places > -0.5) & (places < sides - 0.5), axis=-1)
    return inside


def _flipped(grid: Places, middle: float) -> Places:
    """Pixels (side, side, 2) seen in a mirror that stands upright at column `middle`."""
    return np.stack([2 * middle - grid[..., 0], grid[..., 1]], -1)


def _look_up_flipped(picture: Tensor, middle: float) -> Tensor:
    """A picture (H, W, 3) seen in that mirror; its border goes on outside."""
    columns = (2 * middle - torch.arange(picture.shape[1])).round().long().clamp(0, picture.shape[1] - 1)
    return picture[:, columns]


def _completed(part: "_Part", other: "_Part", matrix: NDArray[np.float64]) -> "_Part":
    """A part with the head's pixels that neither it nor the other shows: from the nearest that it shows it goes on, at
    `_STRETCH` of the usual pace and ever slower, so that what is left of the hair reaches over them."""
    shown = part.facing > _FACING
    lost = (part.facing > -1) & (np.maximum(part.facing, other.facing) <= _FACING)
    if not shown.any() or not lost.any():
        return part
    distance, (row, column) = ndimage.distance_transform_edt(~shown, return_indices=True)
    rows, columns = np.indices(shown.shape)
    reach = _STRAND * len(shown)
    pace = reach * (1 - np.exp(-_STRETCH * distance / reach)) / np.maximum(distance, 1e-9)
    on = (pace[..., None] * np.stack([columns - column, rows - row], -1)) @ matrix.T
    places = np.where(lost[..., None], part.places[row, column] + on, part.places)
    return _Part(places, np.where(lost, 1.0, part.facing))


def _near_unseen(head: NDArray[np.bool_], facing: NDArray[np.float64]) -> NDArray[np.float64]:
    """(side, side, 1): 1 on what borders on a part of the head that the photograph does not show, 0 elsewhere."""
    if not head.any():
        return np.zeros((*head.shape, 1))
    nearest = ndimage.distance_transform_edt(~head, return_distances=False, return_indices=True)
    lost = (head & (facing <= _FACING))[nearest[0], nearest[1]].astype(np.float64)
    near: NDArray[np.float64] = ndimage.gaussian_filter(lost, 2 * _SMOOTH * len(head), mode="nearest")[..., None]
    return near


def _beside_hidden(head: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> Tensor:
    """(side, side): 1 on what borders on the head's hidden side, less further away: what stands beside the other."""
    side = len(head)
    if not head.any():
        return torch.zeros(side, side)
    distance, nearest = ndimage.distance_transform_edt(~head, return_indices=True)
    near = ndimage.gaussian_filter(
        hidden[nearest[0], nearest[1]].astype(np.float32), 2 * _SMOOTH * side, mode="nearest"
    )
    return torch.from_numpy(near) * smooth_step(2 - torch.from_numpy(distance).float() / (_MIRRORED_WIDTH * side))


def _hair(usual: HeadColours, inside: Tensor, marks: NDArray[np.float64]) -> Tensor:
    """(side, side): how surely hair hangs over the face's upper border. Brows and eyes are not asked."""
    side = len(inside)
    features = marks[ConvexHull(marks[17:48]).vertices + 17]
    core = polygon2mask((side, side), features[:, ::-1])
    beyond = smooth_step(torch.from_numpy(ndimage.distance_transform_edt(~core) / (_CORE * side)).float() - 0.5)
    above = smooth_step(torch.from_numpy((marks[30, 1] - np.arange(side)) / (_CORE * side)).float())[:, None]
    return blurred(usual.hairlike(inside) * beyond * above, _SEAM * side)


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


def _in_frame(
    places: Places, matrix: NDArray[np.float64], shift: NDArray[np.float64], side: int
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Row and column of the drawn picture's frame, each (side, side), nearest to places of the photograph."""
    at = np.rint((places - shift) @ np.linalg.inv(matrix).T).astype(int).clip(0, side - 1)
    return at[..., 1], at[..., 0]


def _depth_within(
    outline: NDArray[np.bool_], places: Places, matrix: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many pixels of the drawn picture places (side, side, 2) lie inside the photograph's head (see `_silhouette`)."""
    side = len(outline)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(outline)
    at = np.rint((places - shift) @ np.linalg.inv(matrix).T).astype(int)
    return depth[at[..., 1].clip(0, side - 1), (at[..., 0] + side // 2).clip(0, 2 * side - 1)]


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

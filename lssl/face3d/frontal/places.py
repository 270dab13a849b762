"""The positions in the photograph that the pixels of a drawn frontal head, and of what is next to it, show.

`Places` are (side, side, 2): for each pixel of the drawn picture, x and y in the photograph.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.normals import vertex_normals
from lssl.ops import interpolate, rasterize

FACING = 0.25  # least cosine at which the photograph counts as showing a point of the head
WITHIN = (
    0.02  # of its radius: how far inside the outline of its head a photograph is looked up, for what is at the edge
)
SMOOTH = 0.02  # of the picture's side
_SLACK = 1.5  # centimetres of depth by which a point may lie behind what the photograph shows there
_FADE = 0.35  # of the picture's side: the distance over which the warp fades away
_STRAND = 0.02  # of the picture's side: the most hair that is extended over what the photograph does not show
_STRETCH = 0.4  # the pace, relative to the usual, at which hair is extended over what the photograph does not show

Places = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The drawn picture, `side` pixels wide, laid over the photograph, at pixel @ matrix.T + shift."""

    matrix: NDArray[np.float64]  # (2, 2), a rotation and a scale
    shift: NDArray[np.float64]  # (2,)
    side: int

    @property
    def inverse(self) -> NDArray[np.float64]:
        return np.linalg.inv(self.matrix).astype(np.float64)

    @property
    def step(self) -> float:
        """The distance between neighbouring pixels of the drawn picture, in pixels of the photograph."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def grid(self) -> Places:
        """x and y of each pixel of the drawn picture, (side, side, 2)."""
        line = np.arange(self.side)
        return np.stack(np.meshgrid(line, line), -1).astype(np.float64)

    def places(self, pixels: Places) -> Places:
        """The positions in the photograph of pixels (..., 2) of the drawn picture."""
        return pixels @ self.matrix.T + self.shift

    def pixels(self, places: Places) -> NDArray[np.int_]:
        """The pixels (..., 2) of the drawn picture, x and y, nearest to positions in the photograph, or outside it."""
        return np.rint((places - self.shift) @ self.inverse.T).astype(int)

    def rows_and_columns(self, places: Places) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """The same as rows and columns, each (side, side), clamped to the drawn picture."""
        at = self.pixels(places).clip(0, self.side - 1)
        return at[..., 1], at[..., 0]


def frame_between(source: NDArray[np.float64], target: NDArray[np.float64], side: int) -> Frame:
    """The frame under which drawn points `source` (K, 2) are nearest to `target` (K, 2) in the photograph."""
    a, b = source - source.mean(0), target - target.mean(0)
    power = (a**2).sum()
    c, s = (a * b).sum() / power, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / power
    matrix = np.array([[c, -s], [s, c]])
    return Frame(matrix, target.mean(0) - source.mean(0) @ matrix.T, side)


@dataclass(frozen=True)
class Part:
    """Where the photograph has each pixel's point of the head, (side, side, 2), and the cosine at which it shows it,
    (side, side); -1 where there is no head."""

    places: Places
    facing: NDArray[np.float64]


def head_in_photograph(
    painter: FacePainter, drawn: Tensor, frame: Frame, nearest: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], Part, Part, NDArray[np.float64]]:
    """The drawn head's pixels (side, side), from its projected vertices `drawn` (1, V, 3); where the first photograph
    has each of them and its mirror image on the head; and how much each is face (see `face_region`).

    nearest: the photograph's depths (see `silhouette`): what lies behind them, such as a far ear, is not shown.
    """
    side = frame.side
    model, source = painter.model, painter.skull.head(painter.mesh(), WITHIN)
    photo = painter.fit.camera[painter.first : painter.first + 1]
    triangle, barycentric, _ = rasterize(drawn.contiguous(), model.faces, side, side)
    head = (triangle[0] >= 0).numpy()
    facing = photo.rotate(vertex_normals(source, model.faces, model.topology.weld))[..., 2:]
    projected = photo.project(source)
    held = face_region(model)[None, :, None]
    attributes = torch.cat([projected[..., :2], facing, held, projected[..., 2:]], -1)
    own, mirrored = (
        interpolate(triangle, barycentric, model.faces, part.contiguous())[0].double().numpy()
        for part in (attributes, attributes[:, painter.mirror])
    )
    parts = []
    for values in (own, mirrored):
        row, column = _in_wide(frame, values[..., :2])
        behind = values[..., 4] > nearest[row, column] + _SLACK
        shown = np.where(behind, np.minimum(values[..., 2], 0.0), values[..., 2])
        parts.append(Part(values[..., :2], np.where(head, shown, -1.0)))
    return head, parts[0], parts[1], own[..., 3] * head


def _in_wide(frame: Frame, places: Places) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows and columns of positions (side, side, 2) in a picture such as `silhouette`'s, clamped to it."""
    at = frame.pixels(places)
    return at[..., 1].clip(0, frame.side - 1), (at[..., 0] + frame.side // 2).clip(0, 2 * frame.side - 1)


def extended(part: Part, base: Places) -> Places:
    """Positions extended smoothly, by their offset from `base`, from where the photograph shows a point."""
    shown = part.facing > FACING
    if not shown.any():
        return base
    side = len(base)
    distance, index = ndimage.distance_transform_edt(~shown, return_distances=True, return_indices=True)
    offset = (part.places - base)[index[0], index[1]]
    offset = ndimage.gaussian_filter(offset, (SMOOTH * side, SMOOTH * side, 0), mode="nearest")
    return base + offset * np.exp(-distance / (_FADE * side))[..., None]


def completed(part: Part, other: Part, frame: Frame) -> Part:
    """A part completed by the head's pixels that neither it nor the other shows: they extend the nearest that it shows,
    at `_STRETCH` of the usual pace and ever slower, so that the rest of the hair reaches over them."""
    shown = part.facing > FACING
    lost = (part.facing > -1) & (np.maximum(part.facing, other.facing) <= FACING)
    if not shown.any() or not lost.any():
        return part
    distance, (row, column) = ndimage.distance_transform_edt(~shown, return_indices=True)
    rows, columns = np.indices(shown.shape)
    reach = _STRAND * len(shown)
    pace = reach * (1 - np.exp(-_STRETCH * distance / reach)) / np.maximum(distance, 1e-9)
    on = (pace[..., None] * np.stack([columns - column, rows - row], -1)) @ frame.matrix.T
    places = np.where(lost[..., None], part.places[row, column] + on, part.places)
    return Part(places, np.where(lost, 1.0, part.facing))


def beside(head: NDArray[np.bool_], outline: NDArray[np.bool_], base: Places, frame: Frame) -> Places:
    """Positions of what is behind the head: each row's ends of the drawn head meet those of the photograph's head."""
    side = len(head)
    columns = np.arange(side)
    ends, targets = _ends(head), _ends(outline) - side // 2
    both = head.any(1) & outline.any(1)
    if not both.any():
        return base
    nearest = ndimage.distance_transform_edt(~both, return_distances=False, return_indices=True)[0]
    gap = np.abs(np.arange(side) - nearest)
    moves = (targets - ends)[nearest] * np.exp(-gap / (_FADE * side))[:, None]
    moves = ndimage.gaussian_filter1d(moves, 2 * SMOOTH * side, axis=0, mode="nearest")
    middle = ends[nearest].mean(1)[:, None]
    away = np.abs(columns - ends[nearest][:, :1]), np.abs(columns - ends[nearest][:, 1:])
    left = columns[None] < middle
    move = np.where(left, moves[:, :1], moves[:, 1:]) * np.exp(-np.where(left, *away) / side)
    # The tops meet, too; the shift grows towards them.
    top, bottom = np.flatnonzero(head.any(1))[[0, -1]]
    rise = float(np.flatnonzero(outline.any(1))[0] - top) if top > 0 and outline[0].sum() == 0 else 0.0
    near_top = np.clip((0.5 * (top + bottom) - np.arange(side)) / max(0.5 * (bottom - top), 1), 0, 1)[:, None, None]
    return base + move[..., None] * frame.matrix[:, 0] + rise * near_top * frame.matrix[:, 1]


def _ends(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, 2): first and last column of each row of a mask (H, W)."""
    width = mask.shape[1]
    return np.stack([mask.argmax(1), width - 1 - mask[:, ::-1].argmax(1)], -1).astype(np.float64)


def silhouette(painter: FacePainter, frame: Frame) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(side, 2 side): the photograph's head in the drawn picture's frame, wider by half a picture on either side; and its
    depth, infinite where there is no head."""
    side = frame.side
    photo = painter.fit.camera[painter.first : painter.first + 1].project(painter.skull.head(painter.mesh()))
    placed = (photo[0, :, :2].double() - torch.from_numpy(frame.shift)) @ torch.from_numpy(frame.inverse).T
    placed[:, 0] += side // 2
    vertices = torch.cat([placed.float(), photo[0, :, 2:]], -1)[None].contiguous()
    triangle, _, depth = rasterize(vertices, painter.model.faces, side, 2 * side)
    covered: NDArray[np.bool_] = (triangle[0] >= 0).numpy()
    return covered, np.where(covered, depth[0].double().numpy(), np.inf)


def within(outline: NDArray[np.bool_], places: Places, frame: Frame) -> NDArray[np.bool_]:
    """Whether positions lie well within the photograph's head (see `silhouette`)."""
    side = frame.side
    inner = ndimage.binary_erosion(outline, iterations=max(1, round(SMOOTH * side)))
    at = frame.pixels(places)
    column, row = at[..., 0] + side // 2, at[..., 1]
    inside = (column >= 0) & (column < 2 * side) & (row >= 0) & (row < side)
    return inside & inner[row.clip(0, side - 1), column.clip(0, 2 * side - 1)]


def depth_within(outline: NDArray[np.bool_], places: Places, frame: Frame) -> NDArray[np.float64]:
    """How deep positions (side, side, 2) lie inside the photograph's head (see `silhouette`), in drawn pixels."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(outline)
    return depth[_in_wide(frame, places)]

"""Hair and hats for any face model: a shell over its head, cut to a style."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import FaceTopology, Part

Array = NDArray[np.float64]

HAIR_STYLES = ("model", "none", "short", "long", "fringe", "sweep", "hat")
_COLUMNS, _ROWS = 72, 30
_NEIGHBOURS = 4
_FALL = 0.15  # centimetres that hair hangs down for each degree of its edge beyond 90
# Parts that tell how far out a head reaches; ears and inner parts do not.
_SKULL = (Part.SKIN, Part.NOSE, Part.BROWS, Part.NECK)


@dataclass(frozen=True)
class _Cut:
    """How a style is cut.

    edge: rows of (azimuth from the front, degrees; where the hair ends on that meridian, degrees from the crown; beyond
    90 it hangs, see `_FALL`). swept: the same for one side, if that differs. thickness: centimetres off the skull at
    the crown. inward: centimetres by which hanging hair approaches the neck per centimetre that it falls.
    """

    edge: tuple[tuple[float, float], ...]
    swept: tuple[tuple[float, float], ...] = ()
    thickness: float = 1.3
    inward: float = 0.0
    part: Part = Part.HAIR


_SHORT = ((62, 72), (74, 100), (82, 106), (90, 86), (108, 86), (122, 112), (142, 138), (180, 142))
_LONG = ((54, 74), (66, 104), (72, 205), (90, 235), (180, 245))
_CUTS = {
    "short": _Cut(((0, 61), (34, 63), *_SHORT), inward=0.3),
    "long": _Cut(((0, 58), (30, 62), *_LONG), thickness=1.9),
    "fringe": _Cut(((0, 87), (34, 89), (48, 92), (60, 100), (70, 170), (90, 190), (180, 195)), thickness=1.4),
    "sweep": _Cut(
        ((0, 76), (16, 64), (34, 63), *_SHORT),
        swept=((0, 74), (4, 92), (9, 121), (38, 127), (50, 114), (64, 106), *_SHORT[2:]),
        thickness=1.4,
        inward=0.3,
    ),
    "hat": _Cut(((0, 68), (50, 74), (76, 88), (112, 92), (140, 104), (180, 108)), thickness=2.2, part=Part.CLOTHES),
}


@dataclass(frozen=True)
class Wig:
    """The shell of a style, any of `HAIR_STYLES` except "model", for a model's heads.

    side: -1 or 1, which eye a sweep covers (by the sign of its x). seed: for the small irregularity of strands. Raises
    LsslError for an unknown style.
    """

    model: BilinearFaceModel
    style: str
    side: int = 1
    seed: int = 0
    _cut: _Cut | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.style not in HAIR_STYLES[1:]:
            raise LsslError(f"unknown hair {self.style!r}; known: {', '.join(HAIR_STYLES)}")
        object.__setattr__(self, "_cut", _CUTS.get(self.style))

    @cached_property
    def topology(self) -> FaceTopology:
        """The model's, without its own hair, followed by the shell; the head's landmarks and mirror map stay."""
        base = self.model.topology
        kept = base.select_faces(base.face_parts != Part.HAIR)
        if self._cut is None:
            return kept
        count, more = base.num_vertices, _COLUMNS * _ROWS
        faces = _grid_faces() + count
        return FaceTopology(
            faces=np.concatenate([kept.faces, faces]).astype(np.int32),
            vertex_parts=np.concatenate([kept.vertex_parts, np.full(more, self._cut.part)]),
            face_parts=np.concatenate([kept.face_parts, np.full(len(faces), self._cut.part)]),
            landmarks=kept.landmarks,
            jaw_contours=kept.jaw_contours,
            mirror=np.concatenate([kept.mirror, np.arange(count, count + more)]),
            weld=np.concatenate([kept.weld, np.arange(count, count + more)]),
        )

    @cached_property
    def covers(self) -> NDArray[np.bool_]:
        """(F,): the topology's triangles that are hair or hat."""
        return np.arange(len(self.topology.faces)) >= len(self.topology.faces) - self._shell_faces

    @property
    def _shell_faces(self) -> int:
        return 0 if self._cut is None else len(_grid_faces())

    def vertices(self, head: Tensor) -> Tensor:
        """Heads (N, V, 3), centimetres, followed by the shell's vertices: (N, V + H, 3)."""
        if self._cut is None:
            return head
        outward, drop, lift = self._shape
        centre = _centre(self.model, head)
        reach = (head[:, self._nearest] - centre[:, None, None]).norm(dim=-1)
        radius = (reach * self._nearness).sum(-1) + lift
        points = centre[:, None] + radius[..., None] * outward
        points[..., 1] -= drop
        shrink = 1 - self._cut.inward * drop / radius.clamp(min=1.0)
        points[..., [0, 2]] = centre[:, None, [0, 2]] + (points - centre[:, None])[..., [0, 2]] * shrink[..., None]
        return torch.cat([head, points], 1)

    def albedo(self, head: Tensor, colour: Tensor) -> Tensor:
        """Colours (N, V, 3) of heads followed by those of the shell, close to colour (N, 3); encoded, 0 to 1."""
        if self._cut is None:
            return head
        rng = np.random.default_rng([self.seed, 1])
        streak = 1 + 0.16 * rng.standard_normal((1, _COLUMNS)) + 0.05 * rng.standard_normal((_ROWS, _COLUMNS))
        if self._cut.part != Part.HAIR:
            streak = 1 + 0.04 * rng.standard_normal((_ROWS, _COLUMNS))
        shades = torch.from_numpy(streak.clip(0.55, 1.5).reshape(1, -1, 1)).to(head)
        return torch.cat([head, (colour[:, None] * shades).clamp(0, 1)], 1)

    @cached_property
    def _shape(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each vertex of the shell: the direction from the head's centre (H, 3) at which it leaves the skull, how
        far it hangs below that (H,), and how far off the skull it is (H,); centimetres."""
        assert self._cut is not None
        rng = np.random.default_rng([self.seed, 0])
        azimuth = np.linspace(-180, 180, _COLUMNS, endpoint=False) + 180 / _COLUMNS
        edge = np.interp(np.abs(azimuth), *np.array(self._cut.edge).T)
        if self._cut.swept:
            swept = np.interp(np.abs(azimuth), *np.array(self._cut.swept).T)
            edge = np.where(np.sign(azimuth) == self.side, swept, edge)
        ragged = 0.0 if self._cut.part != Part.HAIR else 1.6
        edge = edge + ragged * np.where(edge > 150, 4.0, 1.0) * rng.standard_normal(_COLUMNS)
        along = np.linspace(0.02, 1, _ROWS)[:, None] ** 0.9
        polar = along * edge
        drop = np.maximum(polar - 90, 0) * _FALL
        theta, phi = np.radians(np.minimum(polar, 90)), np.radians(azimuth)[None]
        outward = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], -1)
        hangs = np.clip((edge - 88) / 20, 0, 1)  # an edge on the skin is tucked into it
        taper = np.interp(along[:, 0], [0, 0.7, 0.93, 1], [1, 0.85, 0.6, -0.15])[:, None]
        lift = self._cut.thickness * (taper * (1 - hangs) + hangs * np.interp(along, [0, 0.8, 1], [1, 0.9, 0.6]))
        lift = lift + 0.07 * rng.standard_normal((1, _COLUMNS)) * along
        tensors = (torch.from_numpy(values.reshape(_COLUMNS * _ROWS, -1)).float() for values in (outward, drop, lift))
        direction, fall, off = tensors
        return direction, fall[:, 0], off[:, 0]

    @cached_property
    def _neighbours(self) -> tuple[Tensor, Tensor]:
        """The head's vertices (H, K) nearest to each of the shell's on the mean face, and their weights (H, K)."""
        from scipy.spatial import cKDTree

        mean = self.model.mean_face()
        away = (mean - _centre(self.model, mean[None])[0]).double().numpy()
        skull = np.flatnonzero(np.isin(self.model.topology.vertex_parts, _SKULL) & (away[:, 1] > -3.0))
        directions = away[skull] / np.linalg.norm(away[skull], axis=1, keepdims=True)
        distance, nearest = cKDTree(directions).query(self._shape[0].double().numpy(), k=_NEIGHBOURS)
        weights = 1 / (distance + 0.05)
        weights /= weights.sum(1, keepdims=True)
        return torch.from_numpy(skull[nearest]), torch.from_numpy(weights).float()

    @property
    def _nearest(self) -> Tensor:
        return self._neighbours[0]

    @property
    def _nearness(self) -> Tensor:
        return self._neighbours[1]


def hair_colour(model: BilinearFaceModel, albedo: Tensor) -> Tensor:
    """(N, 3): a hair colour for people with vertex colours (N, V, 3): that of the model's own hair, else of its brows,
    else a darkened mean."""
    for part in (Part.HAIR, Part.BROWS):
        own = torch.from_numpy(model.topology.vertex_parts == part)
        if own.any():
            return albedo[:, own].mean(1)
    return albedo.mean(1) * 0.4


def _centre(model: BilinearFaceModel, heads: Tensor) -> Tensor:
    """(N, 3): the middle of heads (N, V, 3), level with their brows and as deep as their ears."""
    marks = heads[:, torch.from_numpy(model.topology.landmarks).long()]
    ears = marks[:, [0, 16]].mean(1)
    return torch.stack([ears[:, 0], marks[:, 17:27, 1].mean(1), ears[:, 2] - 1.0], -1)


def _grid_faces() -> NDArray[np.int64]:
    """Triangles of the shell's rows and columns, closed around the head; counter-clockwise seen from outside."""
    number = np.arange(_ROWS * _COLUMNS).reshape(_ROWS, _COLUMNS)
    right = np.roll(number, -1, 1)
    a, b, c, d = number[:-1], right[:-1], right[1:], number[1:]
    triangles = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)], -2).reshape(-1, 3)
    top = np.stack([number[0, 1:-1], number[0, 2:], np.full(_COLUMNS - 2, number[0, 0])], -1)
    return np.concatenate([triangles, top[:, ::-1]])

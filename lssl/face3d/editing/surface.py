"""What an edit needs of a face model, found once per model: which vertices move, how freely, and on which lip."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import EYEBALL_PARTS, Part

EYE_PARTS = EYEBALL_PARTS
MOUTH_PARTS = (Part.INNER_MOUTH, Part.TEETH, Part.TONGUE)

# The face moves freely up to the first number and not at all beyond the second: heights above the brows, in distances
# from the brows down to the nose; centimetres behind the first jaw landmark, and below the chin.
_FOREHEAD = (0.55, 1.05)
_TEMPLE = (0.3, 2.3)
_NECK = (0.2, 4.7)
_LIDS = (0.9, 2.2)  # centimetres from the lids' edges
_RIDGE = 0.3  # regularises the correction: the larger, the further a landmark may be missed


@dataclass(frozen=True, eq=False)
class EditableFace:
    """The part of a face model that shows in a portrait and moves, V vertices.

    model: the whole model. basis (R, 3 V): its basis, of this part only. vertex (V,): indices in the whole model;
    place: the inverse, -1 for other vertices. faces (F, 3) int32, face_parts (F,), vertex_parts (V,): of this part.
    open (V, 3): vertices in centimetres with lips and lids apart, so that interpolation does not mix the two lips.
    hold (V,) in [0, 1]: how much of its movement a vertex makes. shaded (V,) in [0, 1]: how much of a change of light
    it shows; lids fold too finely for the mesh, and lips are wet. lower (V,): True on the lower lip's side. landmarks
    (68,): indices of vertices of this part. neighbours (V, V): sparse, each row the mean over a vertex and its
    neighbours. eye_distance: centimetres.
    """

    model: BilinearFaceModel
    basis: Tensor
    vertex: Tensor
    faces: Tensor
    face_parts: NDArray[np.uint8]
    vertex_parts: NDArray[np.uint8]
    open: Tensor
    hold: Tensor
    shaded: Tensor
    lower: Tensor
    landmarks: Tensor
    place: Tensor
    neighbours: sparse.csr_matrix
    eye_distance: float

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        """(N, V, 3) centimetres, as `BilinearFaceModel.vertices`."""
        coefficients = torch.einsum("rie,ni,ne->nr", self.model.core, identity, expression)
        return (coefficients @ self.basis).unflatten(1, (-1, 3))

    def spread(self, at: Tensor, values: Tensor) -> Tensor:
        """(V, C) smooth values that are nearly `values` (K, C) at the vertices `at` (K,) of the part.

        Interpolates with the biharmonic kernel in space, on the opened face; linear far away.
        """
        count = len(at)
        places = self.open[at]
        system = places.new_zeros(count + 4, count + 4)
        system[:count, :count] = _RIDGE * torch.eye(count) - torch.cdist(places, places)
        affine = torch.cat([torch.ones(count, 1), places], 1)
        system[:count, count:], system[count:, :count] = affine, affine.T
        right = torch.cat([values, values.new_zeros(4, values.shape[1])])
        weights = torch.linalg.solve(system.double(), right.double()).to(values.dtype)
        smooth = self.open @ weights[count + 1 :] + weights[count]
        return smooth - torch.cdist(self.open, places) @ weights[:count]

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit normals (V, 3) of vertices (V, 3), area-weighted."""
        corners = self.faces.long()
        a, b, c = (vertices[corners[:, i]] for i in range(3))
        normal = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(vertices)
        for i in range(3):
            total.index_add_(0, corners[:, i], normal)
        return torch.nn.functional.normalize(total, dim=-1)


@lru_cache(maxsize=4)
def editable(model: BilinearFaceModel) -> EditableFace:
    """The model prepared for edits; cached, since it takes a tenth of a second."""
    topology = model.topology
    mean = model.mean_face()
    hold = _hold(mean.numpy(), topology.landmarks)
    parts = topology.vertex_parts
    never = np.isin(parts, (Part.CLOTHES,))
    inner = np.isin(topology.face_parts, (*EYE_PARTS, *MOUTH_PARTS))
    moving = (hold[topology.faces].max(1) > 0) & ~never[topology.faces].any(1)
    kept = inner | moving
    vertex = np.unique(
        np.concatenate([topology.faces[kept].ravel(), topology.landmarks, topology.jaw_contours.ravel()])
    )
    place = np.full(topology.num_vertices, -1)
    place[vertex] = np.arange(len(vertex))
    faces = place[topology.faces[kept]].astype(np.int32)
    opened = model.mean_face("surprised")[torch.from_numpy(vertex).long()]
    marks = torch.from_numpy(place[topology.landmarks]).long()
    upper, lower = (
        (opened[:, None] - opened[marks[rows]]).norm(dim=-1).amin(1) for rows in ([61, 62, 63], [65, 66, 67])
    )
    eyes = mean[torch.from_numpy(topology.landmarks).long()]
    return EditableFace(
        model=model,
        basis=model.basis[torch.from_numpy(vertex).long()].flatten(0, 1).T.contiguous(),
        vertex=torch.from_numpy(vertex).long(),
        faces=torch.from_numpy(faces),
        face_parts=topology.face_parts[kept],
        vertex_parts=parts[vertex],
        open=opened,
        hold=torch.from_numpy(hold[vertex]).float(),
        shaded=torch.from_numpy(hold[vertex]).float() * _shaded(opened, marks, parts[vertex]),
        lower=lower < upper,
        landmarks=marks,
        place=torch.from_numpy(place),
        neighbours=_neighbours(faces[~inner[kept]], len(vertex)),
        eye_distance=float((eyes[42:48].mean(0) - eyes[36:42].mean(0)).norm()),
    )


def _hold(mean: NDArray[np.float32], landmarks: NDArray[np.int32]) -> NDArray[np.float32]:
    points = mean[landmarks]
    brows, nose = points[17:27, 1].mean(), points[33, 1]
    up = _falling((mean[:, 1] - brows) / (brows - nose), *_FOREHEAD)
    back = _falling(points[[0, 16], 2].mean() - mean[:, 2], *_TEMPLE)
    down = _falling(points[8, 1] - mean[:, 1], *_NECK)
    hold: NDArray[np.float32] = (up * back * down).astype(np.float32)
    return hold


def _shaded(opened: Tensor, marks: Tensor, parts: NDArray[np.uint8]) -> Tensor:
    distance = torch.cdist(opened, opened[marks[36:48]]).amin(1).numpy()
    share = (1 - _falling(distance, *_LIDS)) * np.where(parts == Part.LIPS, 0.4, 1.0)
    return torch.from_numpy(share.astype(np.float32))


def _falling(values: NDArray[np.floating], start: float, end: float) -> NDArray[np.floating]:
    t = np.clip((end - values) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _neighbours(faces: NDArray[np.int32], count: int) -> sparse.csr_matrix:
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1], np.arange(count).repeat(2).reshape(-1, 2)])
    links = sparse.coo_matrix((np.ones(len(edges), np.float32), edges.T), (count, count)).tocsr()
    links.data[:] = 1
    return (sparse.diags((1 / links.sum(1)).A1 if hasattr(links.sum(1), "A1") else 1 / links.sum(1)) @ links).tocsr()

"""ICT-FaceKit (Li et al. 2020, Learning Formation of Physically-Based Face Attributes; MIT licence).

v = generic + sum_i a_i (identity_i - generic) + sum_j b_j (expression_j - generic), which is bilinear in the weights
(1, a) and (1, b), with a core that is zero for pairs of a and b.
"""

import lzma
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.model.colours import part_colours
from lssl.face3d.model.decomposition import CONSTANT_STD
from lssl.face3d.model.importers.ict_parts import JAW_TURNED, LANDMARKS, label_parts
from lssl.face3d.model.marks import head_pivot, turned_jaw
from lssl.face3d.model.topology import FaceTopology, jaw_paths, mirror_by_position, vertex_parts_to_faces
from lssl.progress import tqdm

_VERTICES = 26719
_GENERIC = "generic_neutral_mesh.obj"
_FOLDER = "FaceXModel"

# Materials that are transparent, or that represent hairs too fine for triangles, are left out.
_TRANSPARENT = ("M_EyeOcclusion", "M_LacrimalFluid", "M_EyeBlend", "M_EyeLashes", "M_IrisLeft", "M_IrisRight")

# Named expressions from FACS-like shapes, after EMFACS (Friesen and Ekman 1983), on both sides unless one is named.
# They are as strong as people show on request: the weights of "happy" explain 47 open smiles of the Face Research Lab
# London Set.
_COMPOSED: dict[str, dict[str, float]] = {
    "neutral": {},
    "angry": {"browDown": 1.2, "eyeSquint": 0.45, "noseSneer": 0.35, "mouthUpperUp": -0.25, "mouthFrown": 0.4,
              "mouthPucker": 0.2, "mouthPress": 0.4, "cheekSquint": 0.2},
    "contemptuous": {"mouthSmile_L": 0.65, "mouthDimple_L": 0.4, "cheekSquint_L": 0.35, "browDown_R": 0.4,
                     "browOuterUp_L": 0.4, "eyeSquint": 0.25},
    "disgusted": {"noseSneer": 0.85, "mouthUpperUp": 0.12, "browDown": 0.55, "cheekSquint": 0.5, "eyeSquint": 0.4,
                  "mouthFrown": 0.35, "jawOpen": -0.03},
    "fearful": {"browInnerUp": 0.85, "browOuterUp": 0.35, "browDown": 0.15, "eyeWide": 0.8, "mouthStretch": 0.8,
                "jawOpen": 0.2, "mouthFrown": 0.15},
    "happy": {"mouthSmile": 0.75, "cheekSquint": 0.3, "eyeSquint": 0.17, "mouthUpperUp": 0.14, "jawOpen": 0.17,
              "noseSneer": -0.1},
    "sad": {"browInnerUp": 0.95, "browDown": 0.2, "mouthFrown": 0.95, "eyeSquint": 0.2, "eyeBlink": 0.13,
            "mouthPucker": 0.1, "mouthShrugLower": 0.4},
    "surprised": {"browInnerUp": 0.7, "browOuterUp": 0.7, "eyeWide": 0.5, "jawOpen": 0.45, "mouthPucker": 0.1},
}  # fmt: skip


def import_ict(path: str | Path, progress: bool = False) -> BilinearFaceModel:
    """The bilinear model of an ICT-FaceKit folder (`FaceXModel`, or a folder that holds it) or of its .tar(.xz) file.

    Any number of identity and expression shapes; the eight named expressions need at least the brow, lid, jaw and
    mouth-corner shapes. Raises LsslError naming the file and the fix.
    """
    shapes = _Shapes(Path(path))
    vertices, polygons, materials = _read_generic(shapes)
    identities = shapes.names(lambda name: name.startswith("identity"))
    expressions = shapes.names(lambda name: not name.startswith(("identity", "generic")))
    if not identities or not expressions:
        raise LsslError(
            f"{path}: {len(identities)} identity and {len(expressions)} expression shapes; expected identity000.obj "
            "... and browDown_L.obj ... next to the generic mesh: unpack the whole model"
        )
    named = {name: _compose(name, expressions, Path(path)) for name in EXPRESSIONS}
    deltas = []
    for name in tqdm([*identities, *expressions], desc="Reading shapes", disable=not progress):
        deltas.append(_vertices(shapes.read(f"{name}.obj"), shapes.describe(f"{name}.obj")) - vertices)

    opaque = ~np.isin(materials, _TRANSPARENT)
    topology, shares = _topology(vertices, polygons[opaque], materials[opaque])
    used = np.unique(np.concatenate([topology.faces.reshape(-1), topology.jaw_contours.reshape(-1)]))
    topology, shares = _compact(topology, used, vertices), shares[used]
    origin = head_pivot(vertices, np.array(LANDMARKS))
    basis = np.stack([vertices - origin, *deltas], -1)[used]
    core = torch.zeros(basis.shape[-1], 1 + len(identities), 1 + len(expressions))
    core[0, 0, 0] = 1.0
    for i in range(len(identities)):
        core[1 + i, 1 + i, 0] = 1.0
    for e in range(len(expressions)):
        core[1 + len(identities) + e, 0, 1 + e] = 1.0

    mean, modes, std = part_colours(topology.vertex_parts, topology.faces, shares)
    identity_std = torch.ones(1 + len(identities))
    expression_std = torch.full((1 + len(expressions),), 0.4)  # shapes are activated from 0 to 1
    identity_std[0] = expression_std[0] = CONSTANT_STD
    return BilinearFaceModel(
        basis=torch.from_numpy(basis).float().contiguous(),
        core=core,
        identity_mean=torch.eye(1 + len(identities))[0],
        identity_std=identity_std,
        expression_mean=torch.eye(1 + len(expressions))[0],
        expression_std=expression_std,
        expressions={name: torch.from_numpy(weights).float() for name, weights in named.items()},
        albedo_mean=torch.from_numpy(mean).float(),
        albedo_modes=torch.from_numpy(modes).float(),
        albedo_std=torch.from_numpy(std).float(),
        topology=topology,
        name=f"ICT-FaceKit ({len(identities)} identities, {len(expressions)} expression shapes)",
    )


class _Shapes:
    """The model's files, in a folder or in a tar archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._texts: dict[str, bytes] = {}
        self._files: dict[str, Path] = {}
        if path.is_dir():
            found = sorted(path.rglob(_GENERIC))
            self._files = {p.name: p for p in found[0].parent.glob("*.obj")} if found else {}
        elif path.is_file():
            try:
                with tarfile.open(path) as archive:
                    for member in archive:
                        if member.isfile() and member.name.endswith(".obj"):
                            file = archive.extractfile(member)
                            assert file is not None
                            self._texts[PurePosixPath(member.name).name] = file.read()
            except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
                raise LsslError(
                    f"{path}: not a complete tar archive ({error}); download it again, or give the unpacked folder"
                ) from error
        else:
            raise LsslError(f"{path}: no such file or folder")
        if _GENERIC not in self._texts and _GENERIC not in self._files:
            raise LsslError(f"{path}: no {_GENERIC}; give the {_FOLDER} folder of ICT-FaceKit")

    def names(self, wanted: "object") -> list[str]:
        assert callable(wanted)
        return sorted(stem for name in (self._texts or self._files) if wanted(stem := name.removesuffix(".obj")))

    def read(self, name: str) -> bytes:
        return self._texts[name] if self._texts else self._files[name].read_bytes()

    def describe(self, name: str) -> str:
        return f"{self.path}:{name}" if self._texts else str(self._files[name])


def _vertices(data: bytes, name: str) -> NDArray[np.float64]:
    lines = [line[2:] for line in data.split(b"\n") if line.startswith(b"v ")]
    if len(lines) != _VERTICES:
        raise LsslError(
            f"{name}: {len(lines)} vertices, expected {_VERTICES}; the file is truncated or from another model"
        )
    try:
        vertices = np.array(b" ".join(lines).split(), np.float64).reshape(len(lines), 3)
    except ValueError as error:
        raise LsslError(f"{name}: vertices are not three numbers each; the file is damaged") from error
    if not np.isfinite(vertices).all():
        raise LsslError(f"{name}: has coordinates that are not finite; the file is damaged")
    return vertices


def _read_generic(shapes: _Shapes) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.str_]]:
    """Vertices (V, 3), triangles (F, 3) and each triangle's material."""
    data, name = shapes.read(_GENERIC), shapes.describe(_GENERIC)
    vertices = _vertices(data, name)
    faces, materials, material = [], [], ""
    for line in data.split(b"\n"):
        if line.startswith(b"usemtl "):
            material = line[7:].strip().decode()
        elif line.startswith(b"f "):
            corners = [int(word.split(b"/")[0]) - 1 for word in line[2:].split()]
            for k in range(1, len(corners) - 1):
                faces.append((corners[0], corners[k], corners[k + 1]))
                materials.append(material)
    triangles = np.array(faces, np.int32)
    if len(triangles) < 40000 or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise LsslError(f"{name}: its faces are cut short or name vertices that do not exist; download it again")
    return vertices, triangles, np.array(materials)


def _compose(name: str, shapes: list[str], path: Path) -> NDArray[np.float64]:
    """Weights (1 + shapes) of a named expression. Missing shapes are left out; raises LsslError if half are missing."""
    weights = np.zeros(1 + len(shapes))
    weights[0] = 1.0
    missing = 0.0
    recipe = _COMPOSED[name]
    for shape, amount in recipe.items():
        sides = [shape] if shape in shapes or shape.endswith(("_L", "_R")) else [f"{shape}_L", f"{shape}_R"]
        found = [side for side in sides if side in shapes]
        missing += abs(amount) * (1 - len(found) / len(sides))
        for side in found:
            weights[1 + shapes.index(side)] += amount
    if recipe and missing > 0.5 * sum(map(abs, recipe.values())):
        raise LsslError(f"{path}: too few expression shapes to compose '{name}'; unpack the whole model")
    return weights


def _topology(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], materials: NDArray[np.str_]
) -> tuple[FaceTopology, NDArray[np.float64]]:
    parts, shares = label_parts(vertices, faces, materials)
    topology = FaceTopology(
        faces=faces,
        vertex_parts=parts,
        face_parts=vertex_parts_to_faces(faces, parts),
        landmarks=np.array(LANDMARKS),
        jaw_contours=_jaw_contours(vertices, faces),
        mirror=np.arange(len(vertices), dtype=np.int32),
    )
    return topology, shares


def _jaw_contours(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The candidates for each jaw landmark (17, C). On the far side of a turned head the outline is on the cheek; on
    the near side it is the jaw's own line, further back (the model's `JAW_TURNED`). A landmark may slide both ways."""
    jaw = np.array(LANDMARKS[:17])
    back = np.array([*JAW_TURNED[:8], LANDMARKS[8], *JAW_TURNED[8:]])
    # A vertex further out than the landmark would be on the outline of the frontal face, too.
    back = np.where(np.abs(vertices[back, 0]) < np.abs(vertices[jaw, 0]), back, jaw)
    forward = jaw_paths(vertices, faces, jaw, turned_jaw(vertices, jaw))
    return np.concatenate([forward, jaw_paths(vertices, faces, jaw, back)[:, 1:]], 1)


def _compact(topology: FaceTopology, used: NDArray[np.int32], vertices: NDArray[np.float64]) -> FaceTopology:
    """Only the vertices `used`, renumbered, with their mirror map."""
    new = np.full(topology.num_vertices, -1, np.int32)
    new[used] = np.arange(len(used))
    return FaceTopology(
        faces=new[topology.faces],
        vertex_parts=topology.vertex_parts[used],
        face_parts=topology.face_parts,
        landmarks=new[topology.landmarks],
        jaw_contours=new[topology.jaw_contours],
        mirror=mirror_by_position(vertices[used], tolerance=0.05),
    )

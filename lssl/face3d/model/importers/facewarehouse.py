"""FaceWarehouse (Cao et al. 2014): 46 blendshapes and a neutral face of 150 people, made bilinear by HOSVD.

`Tester_<n>/Blendshape/shape.bs`: int32 numbers of shapes, vertices and faces, then float32 vertices of each shape,
neutral first. The triangles come from the person's OBJ meshes (`Tester_<n>/TrainingPose/pose_0.obj`); landmarks are not
included.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.colours import part_colours
from lssl.face3d.model.decomposition import BuildReport, build_model
from lssl.face3d.model.importers.naming import name_expressions
from lssl.face3d.model.marks import head_pivot, read_landmark_vertices, scan_topology
from lssl.face3d.model.meshes import read_mesh
from lssl.progress import tqdm

EYE_DISTANCE = 8.9  # centimetres between outer eye corners; the files' unit is not stated
_MOST = 10_000_000  # vertices times shapes: with more, the bytes are not a header


def read_shape_bs(path: str | Path) -> NDArray[np.float32]:
    """Shapes (S, V, 3) of a `shape.bs`, the neutral face first, in the file's unit.

    Raises LsslError if the header makes no sense or the file is shorter or longer than it says.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LsslError(f"{path}: {error.strerror or error}") from None
    if len(data) < 12:
        raise LsslError(f"{path}: {len(data)} bytes, too short for a header; copy it again")
    shapes, vertices, _ = np.frombuffer(data, "<i4", 3).tolist()
    if shapes < 2 or vertices < 68 or shapes * vertices > _MOST:
        raise LsslError(f"{path}: its header says {shapes} shapes of {vertices} vertices; not a FaceWarehouse shape.bs")
    expected = 12 + 12 * shapes * vertices
    if len(data) != expected:
        raise LsslError(
            f"{path}: {len(data)} bytes, but {shapes} shapes of {vertices} vertices take {expected}; copy it again"
        )
    values = np.frombuffer(data, "<f4", offset=12).reshape(shapes, vertices, 3)
    if not np.isfinite(values).all():
        raise LsslError(f"{path}: has coordinates that are not finite; copy it again")
    return values


def import_facewarehouse(
    path: str | Path,
    landmarks: str | Path | None,
    *,
    variance: float = 0.9995,
    max_identity: int = 60,
    progress: bool = False,
) -> tuple[BilinearFaceModel, BuildReport]:
    """The bilinear model of a FaceWarehouse folder, and what the decomposition kept.

    landmarks: a text file of 68 vertex numbers (lssl/face3d/model/marks.py). Sizes are converted to centimetres by the
    distance between the outer eye corners. Named expressions: lssl/face3d/model/importers/naming.py.
    Raises LsslError naming the file and the fix.
    """
    path = Path(path)
    files = sorted(path.rglob("shape.bs"), key=_person) if path.is_dir() else []
    if not files:
        raise LsslError(f"{path}: no Tester_*/Blendshape/shape.bs in it; give the folder that holds Tester_1 ...")
    if landmarks is None:
        raise LsslError(
            "FaceWarehouse has no landmarks: give --landmarks, a text file of 68 vertex numbers (iBUG order)"
        )
    marks = read_landmark_vertices(landmarks)
    meshes = sorted(path.rglob("pose_0.obj"), key=_person) or sorted(path.rglob("*.obj"), key=_person)
    if not meshes:
        raise LsslError(f"{path}: no OBJ mesh, which holds the triangles; keep Tester_*/TrainingPose/pose_0.obj")
    faces = read_mesh(meshes[0]).faces
    scans = _read_scans(files, progress)
    if faces.max() >= scans.shape[2] or marks.max() >= scans.shape[2]:
        raise LsslError(
            f"{meshes[0] if faces.max() >= scans.shape[2] else landmarks}: names vertices beyond the {scans.shape[2]} "
            f"of {files[0]}"
        )
    neutral = scans[:, 0].mean(0, dtype=np.float64)
    scans *= EYE_DISTANCE / np.linalg.norm(neutral[marks[45]] - neutral[marks[36]])
    neutral = scans[:, 0].mean(0, dtype=np.float64)
    scans -= head_pivot(neutral, marks).astype(np.float32)

    topology = scan_topology(scans[:, 0].mean(0), faces, marks)
    names = ["neutral", *(f"shape{number:02d}" for number in range(1, scans.shape[1]))]
    try:
        model, report = build_model(
            scans,
            names,
            topology,
            variance=variance,
            max_identity=max_identity,
            name=f"FaceWarehouse ({len(files)} people)",
            progress=progress,
        )
    except ValueError as error:
        raise LsslError(f"{path}: {error}") from error
    mean = scans[:, :, topology.landmarks].mean(0, dtype=np.float64)
    model = replace(model, expressions=_named(model, names, mean))
    return model.with_albedo(*part_colours(topology.vertex_parts, topology.faces)), report


def _read_scans(files: Sequence[Path], progress: bool) -> NDArray[np.float32]:
    """The shapes (I, S, V, 3) of all people, in the files' unit."""
    first = read_shape_bs(files[0])
    scans = np.empty((len(files), *first.shape), np.float32)
    for number, file in enumerate(tqdm(files, desc="Reading shapes", disable=not progress)):
        shapes = read_shape_bs(file)
        if shapes.shape != first.shape:
            raise LsslError(f"{file}: {shapes.shape[0]} shapes of {shapes.shape[1]} vertices, unlike {files[0]}")
        scans[number] = shapes
    return scans


def _named(model: BilinearFaceModel, names: Sequence[str], landmarks: NDArray[np.float64]) -> dict[str, torch.Tensor]:
    """Weights of the expressions that have names, from those of the shapes; landmarks (S, 68, 3): the shapes' means."""
    rows = torch.stack([model.expressions[name] for name in names])
    activations = name_expressions(landmarks[0], landmarks[1:])
    return {
        name: rows[0] + torch.from_numpy(amounts).float() @ (rows[1:] - rows[0])
        for name, amounts in activations.items()
    }


def _person(path: Path) -> tuple[int, str]:
    numbers = re.findall(r"Tester_(\d+)", str(path))
    return (int(numbers[-1]) if numbers else 0, str(path))

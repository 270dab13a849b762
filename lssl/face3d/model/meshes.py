"""Reading meshes, with their vertices in the order of the file, and folders of registered scans."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lssl.errors import LsslError

SUFFIXES = (".obj", ".ply")


class MeshError(LsslError):
    """A mesh file that cannot be used; the message names the file and the fix."""


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3) float64 in the file's order and unit; triangles (F, 3) int32; colours (V, 3) in [0, 1] or None."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colours: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Scans:
    """Registered scans: vertices (I, E, V, 3), present (I, E), names of both modes, the triangles they share."""

    vertices: NDArray[np.float32]
    present: NDArray[np.bool_]
    identities: list[str]
    expressions: list[str]
    faces: NDArray[np.int32]
    colours: NDArray[np.float64] | None


def read_mesh(path: str | Path) -> Mesh:
    """An OBJ or PLY mesh; polygons become triangles. No vertex is merged, dropped or moved in the order.

    Raises MeshError where the file is missing, is no mesh, is truncated, or has coordinates that are not finite.
    """
    import trimesh

    path = Path(path)
    kind = path.suffix[1:].lower()
    if path.suffix.lower() not in SUFFIXES:
        raise MeshError(f"{path}: expected {' or '.join(SUFFIXES)}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MeshError(f"{path}: {error.strerror or error}") from None
    if kind == "obj":
        data = _geometry_lines(path, data)
    try:
        loaded: Any = trimesh.load(io.BytesIO(data), file_type=kind, force="mesh", process=False, maintain_order=True)
    except Exception as error:
        raise MeshError(f"{path}: not a readable {kind.upper()} mesh ({error}); export it again") from error
    vertices = np.asarray(getattr(loaded, "vertices", np.zeros((0, 3))), np.float64)
    faces = np.asarray(getattr(loaded, "faces", np.zeros((0, 3))), np.int32)
    if len(vertices) == 0 or len(faces) == 0:
        raise MeshError(f"{path}: no vertices or no faces; the file is empty, truncated, or not a mesh")
    if not np.isfinite(vertices).all():
        raise MeshError(f"{path}: has coordinates that are not finite; export it again")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"{path}: a face names a vertex that is not there; the file is truncated, export it again")
    colours = None
    if getattr(getattr(loaded, "visual", None), "kind", None) == "vertex":
        colours = np.asarray(loaded.visual.vertex_colors, np.float64)[:, :3] / 255
    return Mesh(vertices, faces, colours)


def scan_paths(sources: Iterable[str | Path]) -> dict[tuple[str, str], Path]:
    """(identity, expression) -> file, from files and folders of `<identity>_<expression>.obj` or `.ply`.

    Raises MeshError for another name, for one scan given twice, and where there is none.
    """
    files: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            files += sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        elif source.is_file():
            files.append(source)
        else:
            raise MeshError(f"{source}: no such file or folder")
    scans: dict[tuple[str, str], Path] = {}
    for path in files:
        identity, separator, expression = path.stem.rpartition("_")
        if not separator or not identity or not expression:
            raise MeshError(f"{path}: expected <identity>_<expression>{path.suffix}, as in 001_happy{path.suffix}")
        key = (identity, expression.lower())
        if key in scans:
            raise MeshError(f"{path}: {identity} {expression} is also in {scans[key]}; keep one")
        scans[key] = path
    if not scans:
        raise MeshError(f"{', '.join(map(str, sources))}: no <identity>_<expression>.obj or .ply")
    return scans


def read_scans(sources: Iterable[str | Path], progress: bool = False) -> Scans:
    """All scans of files and folders, checked to be in correspondence (same triangles in the same order).

    Raises MeshError naming the file that differs.
    """
    paths = scan_paths(list(sources))
    identities = sorted({identity for identity, _ in paths})
    expressions = sorted({expression for _, expression in paths}, key=lambda name: (name != "neutral", name))
    if "neutral" not in expressions:
        raise MeshError(f"no <identity>_neutral scan; the expressions found are {', '.join(expressions)}")
    first: Mesh | None = None
    first_path = Path()
    coloured: dict[int, list[NDArray[np.float64]]] = {}
    vertices = np.zeros(0, np.float32)
    present = np.zeros((len(identities), len(expressions)), bool)
    for (identity, expression), path in tqdm(paths.items(), desc="Reading scans", disable=not progress):
        mesh = read_mesh(path)
        if first is None:
            first, first_path = mesh, path
            vertices = np.zeros((*present.shape, len(mesh.vertices), 3), np.float32)
        if len(mesh.vertices) != len(first.vertices):
            raise MeshError(
                f"{path}: {len(mesh.vertices)} vertices, but {first_path} has {len(first.vertices)}; "
                "scans must be registered to one template"
            )
        if not np.array_equal(mesh.faces, first.faces):
            raise MeshError(f"{path}: other triangles than {first_path}; scans must be registered to one template")
        i, e = identities.index(identity), expressions.index(expression)
        vertices[i, e], present[i, e] = mesh.vertices, True
        if mesh.colours is not None:
            coloured.setdefault(i, []).append(mesh.colours)
    assert first is not None
    colours = None
    if len(coloured) == len(identities):
        colours = np.stack([np.mean(coloured[i], axis=0) for i in range(len(identities))])
    return Scans(vertices, present, identities, expressions, first.faces, colours)


def _geometry_lines(path: Path, data: bytes) -> bytes:
    """An OBJ's vertices and faces alone: a reader that sees texture coordinates, normals or materials splits vertices
    along their seams, and scans lose their correspondence."""
    lines = []
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        if len(words) < 4:
            raise MeshError(f"{path}, line {number}: fewer than three values; the file is truncated, export it again")
        lines.append(line.strip() if words[0] == b"v" else b"f " + b" ".join(w.split(b"/")[0] for w in words[1:]))
    return b"\n".join([*lines, b""])

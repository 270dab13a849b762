"""Reads meshes, keeping their vertices in the order of the file, and folders of registered scans."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.errors import LsslError
from lssl.face3d.model.obj_file import read_obj
from lssl.face3d.model.ply_file import read_ply
from lssl.progress import tqdm

SUFFIXES = (".obj", ".ply")
_NOT_READ = (".stl", ".off", ".fbx", ".glb", ".gltf", ".dae", ".3ds", ".vtk", ".wrl", ".blend", ".abc", ".x3d")


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3) float64 in the file's order and unit; faces (F, 3) int32; colours (V, 3) in [0, 1] or None."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colours: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Scans:
    """Registered scans: vertices (I, E, V, 3), present (I, E), the names of both modes, the triangles they share."""

    vertices: NDArray[np.float32]
    present: NDArray[np.bool_]
    identities: list[str]
    expressions: list[str]
    faces: NDArray[np.int32]
    colours: NDArray[np.float64] | None


def read_mesh(path: str | Path) -> Mesh:
    """Reads an OBJ or PLY mesh; polygons become triangles. No vertex is merged, dropped or reordered.

    Raises LsslError if the file is missing, not a mesh, truncated, or has coordinates that are not finite.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    if path.suffix.lower() not in SUFFIXES:
        what = f"{path.suffix} is not read" if path.suffix.lower() in _NOT_READ else "not a mesh that is read"
        raise LsslError(f"{path}: {what}; export it as {' or '.join(SUFFIXES)}, its vertices in the template's order")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LsslError(f"{path}: {error.strerror or error}") from None
    try:
        vertices, faces, colours = read_obj(data) if kind == "obj" else read_ply(data)
    except LsslError as error:
        raise LsslError(f"{path}: not a readable {kind.upper()} mesh ({error}); export it again") from error
    if len(vertices) and len(faces) == 0:
        raise LsslError(f"{path}: {len(vertices)} vertices but no faces: a cloud of points; export it with its faces")
    if len(vertices) == 0:
        raise LsslError(f"{path}: no vertices or no faces; the file is empty, truncated, or not a mesh")
    if not np.isfinite(vertices).all():
        raise LsslError(f"{path}: has coordinates that are not finite; export it again")
    if faces.max() >= len(vertices):
        raise LsslError(f"{path}: a face names a vertex that does not exist; the file is truncated, export it again")
    return Mesh(vertices, faces.astype(np.int32), colours)


def scan_paths(sources: Iterable[str | Path]) -> dict[tuple[str, str], Path]:
    """(identity, expression) -> file, from files and folders of `<identity>_<expression>.obj` or `.ply`.

    Raises LsslError for any other name, for a scan given twice, and if there is none.
    """
    files: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            if others := sorted(p.name for p in source.iterdir() if p.suffix.lower() in _NOT_READ):
                raise LsslError(
                    f"{source / others[0]}: {Path(others[0]).suffix} is not read; export it as .obj or .ply"
                )
            files += sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
        elif source.is_file():
            files.append(source)
        else:
            raise LsslError(f"{source}: no such file or folder")
    scans: dict[tuple[str, str], Path] = {}
    for path in files:
        identity, separator, expression = path.stem.rpartition("_")
        if not separator or not identity or not expression:
            raise LsslError(f"{path}: expected <identity>_<expression>{path.suffix}, as in 001_happy{path.suffix}")
        key = (identity, expression.lower())
        if key in scans:
            raise LsslError(f"{path}: {identity} {expression} is also in {scans[key]}; keep one")
        scans[key] = path
    if not scans:
        raise LsslError(f"{', '.join(map(str, sources))}: no <identity>_<expression>.obj or .ply")
    return scans


def read_scans(sources: Iterable[str | Path], progress: bool = False) -> Scans:
    """All scans of files and folders, checked to be in correspondence (same triangles in the same order).

    Raises LsslError naming the file that differs.
    """
    paths = scan_paths(list(sources))
    identities = sorted({identity for identity, _ in paths})
    expressions = sorted({expression for _, expression in paths}, key=lambda name: (name != "neutral", name))
    if "neutral" not in expressions:
        raise LsslError(f"no <identity>_neutral scan; the expressions found are {', '.join(expressions)}")
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
            raise LsslError(
                f"{path}: {len(mesh.vertices)} vertices, but {first_path} has {len(first.vertices)}; "
                "scans must be registered to one template"
            )
        if not np.array_equal(mesh.faces, first.faces):
            raise LsslError(f"{path}: not the triangles of {first_path}; scans must be registered to one template")
        i, e = identities.index(identity), expressions.index(expression)
        vertices[i, e], present[i, e] = mesh.vertices, True
        if mesh.colours is not None:
            coloured.setdefault(i, []).append(mesh.colours)
    assert first is not None
    _check_sizes(vertices, [(path, identities.index(i), expressions.index(e)) for (i, e), path in paths.items()])
    colours = None
    if len(coloured) == len(identities):
        colours = np.stack([np.mean(coloured[i], axis=0) for i in range(len(identities))])
    return Scans(vertices, present, identities, expressions, first.faces, colours)


def _check_sizes(vertices: NDArray[np.float32], places: list[tuple[Path, int, int]]) -> None:
    """Raises LsslError naming a scan of (path, identity, expression) that is far larger or smaller than the others:
    heads differ by a fifth, units by a factor of ten."""
    sizes = [float(np.ptp(vertices[i, e], axis=0).max()) for _, i, e in places]
    usual = float(np.median(sizes))
    for (path, _, _), size in zip(places, sizes, strict=True):
        if size > 2 * usual or 2 * size < usual:
            raise LsslError(
                f"{path}: {size:.4g} units from end to end, where most scans have {usual:.4g}; give all in one unit"
            )

"""Reads a textured face mesh from a VRML 2.0 file (`.wrl`), as BU-3DFE stores its scans."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.errors import LsslError

_NUMBERS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with a texture coordinate at each corner; (0, 0) of the texture is the picture's bottom left."""

    vertices: NDArray[np.float32]  # (V, 3)
    faces: NDArray[np.int32]  # (F, 3) into vertices
    uv: NDArray[np.float32]  # (T, 2)
    uv_faces: NDArray[np.int32]  # (F, 3) into uv
    texture: str | None  # the picture's file name, where the mesh names one


def read_vrml(path: Path) -> TexturedMesh:
    """The first textured IndexedFaceSet of a VRML 2.0 file; polygons are cut into fans of triangles.

    Raises LsslError for a file that is not VRML, is truncated, or has indices out of range.
    """
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise LsslError(f"{path}: {error.strerror or error}") from None
    if not text.lstrip().startswith("#VRML V2"):
        raise LsslError(f"{path}: does not start with #VRML V2.0, so this is not a VRML mesh")
    text = re.sub(r"#[^\n]*", "", text)
    vertices = _numbers(path, text, r"\bcoord\b[^{]*\{\s*point\s*", 3)
    uv = _numbers(path, text, r"\btexCoord\b[^{]*\{\s*point\s*", 2)
    polygons = _polygons(path, text, "coordIndex")
    uv_polygons = _polygons(path, text, "texCoordIndex") if "texCoordIndex" in text else polygons
    if [len(p) for p in polygons] != [len(p) for p in uv_polygons]:
        raise LsslError(f"{path}: coordIndex and texCoordIndex do not list the same polygons")
    faces, uv_faces = _fans(polygons), _fans(uv_polygons)
    for indices, count, what in ((faces, len(vertices), "coordIndex"), (uv_faces, len(uv), "texCoordIndex")):
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= count:
            raise LsslError(f"{path}: {what} is empty or goes beyond its {count} points; the file is damaged")
    url = re.search(r"ImageTexture\s*\{[^}]*?url\s*\[?\s*\"([^\"]+)\"", text)
    return TexturedMesh(vertices, faces, uv, uv_faces, None if url is None else url[1])


def _block(path: Path, text: str, before: str) -> str:
    match = re.search(before + r"\[", text)
    if match is None:
        name = re.sub(r"\\\w|[^A-Za-z]+", " ", before).split()
        raise LsslError(f"{path}: has no {' '.join(name[:1])} [ ... ] block, so no textured mesh")
    end = text.find("]", match.end())
    if end < 0:
        raise LsslError(f"{path}: the file is truncated")
    return text[match.end() : end]


def _numbers(path: Path, text: str, before: str, width: int) -> NDArray[np.float32]:
    values = np.array(_NUMBERS.findall(_block(path, text, before)), dtype=np.float32)
    if len(values) == 0 or len(values) % width or not np.isfinite(values).all():
        raise LsslError(f"{path}: has {len(values)} coordinates, not a multiple of {width}")
    return values.reshape(-1, width)


def _polygons(path: Path, text: str, name: str) -> list[list[int]]:
    polygons: list[list[int]] = [[]]
    for token in _block(path, text, rf"\b{name}\s*").replace(",", " ").split():
        if token == "-1":
            polygons.append([])
        else:
            polygons[-1].append(int(token))
    return [polygon for polygon in polygons if len(polygon) >= 3]


def _fans(polygons: list[list[int]]) -> NDArray[np.int32]:
    triangles = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    return np.array(triangles, dtype=np.int32).reshape(-1, 3)

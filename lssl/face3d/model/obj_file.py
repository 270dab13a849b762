"""Wavefront OBJ: its vertices and faces in the order of the file (Wavefront's Advanced Visualizer manual, appendix B1).

Texture coordinates, normals, materials, groups and lines are ignored: a reader that uses them splits vertices along
their seams, and scans lose their correspondence.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lssl.errors import LsslError

_MOST = 2**31  # vertices


def read_obj(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64] | None]:
    """(vertices (V, 3), triangles (F, 3), colours (V, 3) in [0, 1] or None); polygons become fans of triangles.

    A negative number counts back from the last vertex above the face; a line that ends in a backslash continues in the
    next one. Raises LsslError for a vertex 0 (OBJ counts from 1), a vertex that does not exist, and text that is not a
    number.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode()
    vertices: list[list[bytes]] = []
    places: list[int] = []
    triangles: list[tuple[int, int, int]] = []
    owners: list[int] = []
    for number, words in _statements(data.removeprefix(b"\xef\xbb\xbf")):
        if words[0] == b"v":
            if len(words) < 4:
                raise LsslError(f"line {number}: a vertex of fewer than three values; the file is truncated")
            vertices.append(words[1:])
            places.append(number)
        elif words[0] in (b"f", b"fo"):
            corners = [_corner(word, len(vertices), number) for word in words[1:]]
            if len(corners) < 3:
                raise LsslError(f"line {number}: a face of fewer than three vertices; the file is truncated")
            for k in range(1, len(corners) - 1):
                triangles.append((corners[0], corners[k], corners[k + 1]))
                owners.append(number)
    faces = np.array(triangles, np.int64).reshape(-1, 3)
    if len(faces) and faces.max() >= len(vertices):
        row = int((faces >= len(vertices)).any(1).argmax())
        raise LsslError(
            f"line {owners[row]}: a face names vertex {int(faces[row].max()) + 1}, but there are {len(vertices)}; "
            "the file is truncated"
        )
    return _points(vertices, places), faces, _colours(vertices)


def _statements(data: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """(line number, words) of each statement, continued lines joined, comments removed."""
    begun, words = 0, []
    for number, line in enumerate(data.splitlines(), start=1):
        line = line.partition(b"#")[0].rstrip()
        goes_on = line.endswith(b"\\")
        begun = begun or number
        words += line.rstrip(b"\\").split()
        if not goes_on:
            if words:
                yield begun, words
            begun, words = 0, []
    if words:
        yield begun, words


def _corner(word: bytes, count: int, line: int) -> int:
    """The vertex, from 0, of a face's corner such as 7, 7/1/3, 7//3 or -1."""
    text = word.partition(b"/")[0]
    try:
        number = int(text)
    except ValueError:
        raise LsslError(f"line {line}: '{word.decode(errors='replace')}' is not a vertex of a face") from None
    if number == 0:
        raise LsslError(f"line {line}: a face names vertex 0, but OBJ counts from 1")
    if abs(number) > _MOST:
        raise LsslError(f"line {line}: a face names vertex {text.decode()[:30]}; the file is damaged")
    if number < 0:
        number += count + 1
        if number < 1:
            raise LsslError(f"line {line}: a face counts back {-int(text)} vertices, but {count} stand above it")
    return number - 1


def _points(rows: list[list[bytes]], places: list[int]) -> NDArray[np.float64]:
    try:
        return np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)
    except ValueError:
        pass
    for row, line in zip(rows, places, strict=True):
        try:
            [float(value) for value in row[:3]]
        except ValueError as error:
            hint = "; write a decimal point, not a comma" if any(b"," in value for value in row[:3]) else ""
            raise LsslError(f"line {line}: {error}{hint}") from None
    raise LsslError("the vertices are not numbers")


def _colours(rows: list[list[bytes]]) -> NDArray[np.float64] | None:
    """The colours that follow the vertices' coordinates, in [0, 1] or 0 to 255; None unless all vertices have one.

    Of four values after the coordinates, one is no colour: an opacity at the end, or else a weight at the beginning.
    """
    if not rows or len(widths := set(map(len, rows))) > 1 or not widths <= {6, 7}:
        return None
    try:
        values = np.array([row[3:] for row in rows], dtype=np.float64)
    except ValueError:
        return None
    if not np.isfinite(values).all():
        return None
    opaque = bool((values[:, -1] == values[0, -1]).all())
    colours = values[:, :3] if values.shape[1] == 3 or opaque else values[:, 1:]
    return np.clip(colours / (255 if colours.max() > 1 else 1), 0, 1)

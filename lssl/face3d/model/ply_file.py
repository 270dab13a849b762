"""PLY, the Stanford polygon format (Turk 1994): vertices and faces, from text and both binary kinds."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lssl.errors import LsslError

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32", "long"), "i4"),
    **dict.fromkeys(("uint", "uint32", "ulong"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


@dataclass
class _Property:
    name: str
    kind: str  # NumPy's, without the byte order
    count_kind: str = ""  # of a list's length; empty for a single value


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property]


Columns = dict[str, Any]  # one array per property, or for a list property one list of arrays


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64] | None]:
    """(vertices (V, 3), triangles (F, 3), colours (V, 3) in [0, 1] or None); polygons of any size become fans.

    Raises LsslError for data that is not PLY, is truncated, or has a negative vertex number.
    """
    order, elements, body = _header(data)
    reader = _TextReader(body) if not order else _BinaryReader(body, order)
    tables = {element.name: reader.read(element) for element in elements}
    vertex = tables.get("vertex", {})
    if not all(axis in vertex for axis in "xyz"):
        raise LsslError("no vertices with x, y and z")
    points = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], 1)
    if "tristrips" in tables:
        return points, _strips(tables["tristrips"]), _vertex_colours(vertex)
    face = tables.get("face", {})
    lists = face.get("vertex_indices", face.get("vertex_index"))
    return points, _fans([] if lists is None else lists), _vertex_colours(vertex)


def _header(data: bytes) -> tuple[str, list[_Element], bytes]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    ending = re.search(rb"[\r\n]end_header[ \t]*(\r\n|\r|\n|$)", data[: 1 << 20])  # a comment may speak of it, too
    if not data.startswith(b"ply") or ending is None:
        raise LsslError(
            "no header that begins with 'ply' and ends with 'end_header'; the file is truncated, or not PLY"
        )
    body = data[ending.end() :]
    order, elements = None, []
    for line in data[: ending.start()].decode("ascii", errors="replace").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = _FORMATS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1].lower(), int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append(_Property(words[4].lower(), _TYPES[words[3]], _TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append(_Property(words[2].lower(), _TYPES[words[1]]))
        except (KeyError, IndexError, ValueError):
            raise LsslError(f"the header's line '{line.strip()}' is not understood") from None
    if order is None or any(element.count < 0 for element in elements):
        raise LsslError("the header has no format, or a negative count")
    return order, elements, body


class _TextReader:
    def __init__(self, body: bytes) -> None:
        self.words = body.split()
        self.place = 0

    def read(self, element: _Element) -> Columns:
        if not any(p.count_kind for p in element.properties):
            width = len(element.properties)
            values = self._take(element.count * width).reshape(element.count, width)
            return {p.name: values[:, k] for k, p in enumerate(element.properties)}
        columns: Columns = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                count = _length(self._take(1)[0]) if p.count_kind else 1
                values = self._take(count)
                columns[p.name].append(values if p.count_kind else values[0])
        return columns

    def _take(self, count: int) -> NDArray[np.float64]:
        words = self.words[self.place : self.place + count]
        if len(words) < count:
            raise LsslError("fewer values than the header says; the file is truncated")
        self.place += count
        try:
            return np.array(words, dtype=np.float64)
        except ValueError as error:
            raise LsslError(str(error)) from None


class _BinaryReader:
    def __init__(self, body: bytes, order: str) -> None:
        self.body, self.order = body, order
        self.place = 0

    def read(self, element: _Element) -> Columns:
        if not any(p.count_kind for p in element.properties):
            return self._rows(element, {})
        uniform = self._uniform(element)
        if uniform is not None:
            return uniform
        columns: Columns = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                count = _length(self._take(p.count_kind, 1)[0]) if p.count_kind else 1
                values = self._take(p.kind, count)
                columns[p.name].append(values if p.count_kind else values[0])
        return columns

    def _rows(self, element: _Element, lengths: dict[str, int]) -> Columns:
        kinds: list[Any] = []
        for k, p in enumerate(element.properties):
            if p.count_kind:
                kinds.append((f"n{k}", self.order + p.count_kind))
            kinds.append((f"v{k}", self.order + p.kind, (lengths[p.name],) if p.count_kind else ()))
        kind = np.dtype(kinds)
        if kind.itemsize * element.count > len(self.body) - self.place:
            raise LsslError("fewer values than the header says; the file is truncated")
        rows = np.frombuffer(self.body, kind, element.count, self.place)
        for k, p in enumerate(element.properties):
            if p.count_kind and (rows[f"n{k}"] != lengths[p.name]).any():
                return {}
        self.place += kind.itemsize * element.count
        return {p.name: rows[f"v{k}"] for k, p in enumerate(element.properties)}

    def _uniform(self, element: _Element) -> Columns | None:
        """The element's columns if all of its lists are as long as the first row's, else None."""
        if not element.count:
            return {p.name: [] for p in element.properties}
        start, lengths = self.place, {}
        try:
            for p in element.properties:
                count = _length(self._take(p.count_kind, 1)[0]) if p.count_kind else 1
                if p.count_kind:
                    lengths[p.name] = count
                self._take(p.kind, count)
            self.place = start
            return self._rows(element, lengths) or None
        except ValueError:
            self.place = start
            return None

    def _take(self, kind: str, count: int) -> NDArray[Any]:
        size = np.dtype(kind).itemsize
        if count < 0 or size * count > len(self.body) - self.place:
            raise LsslError("fewer values than the header says; the file is truncated")
        values = np.frombuffer(self.body, self.order + kind, count, self.place)
        self.place += size * count
        return values


def _length(value: Any) -> int:
    if not 0 <= value < 2**31 or value != int(value):
        raise LsslError(f"a list of length {value}")
    return int(value)


def _fans(lists: Any) -> NDArray[np.int64]:
    if isinstance(lists, np.ndarray) and lists.ndim == 2:  # polygons of one size
        polygons = _whole(lists)
        if polygons.shape[1] < 3:
            raise LsslError("a face of fewer than three vertices")
        fans = [polygons[:, [0, k, k + 1]] for k in range(1, polygons.shape[1] - 1)]
        return np.stack(fans, 1).reshape(-1, 3)
    triangles = []
    for corners in lists:
        polygon = _whole(corners)
        if len(polygon) < 3:
            raise LsslError("a face of fewer than three vertices")
        triangles += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
    return np.array(triangles, np.int64).reshape(-1, 3)


def _strips(table: Columns) -> NDArray[np.int64]:
    """Triangles of strips: each vertex forms one with the two before it, every second one reversed; -1 ends a strip."""
    triangles: list[tuple[int, int, int]] = []
    lists = table.get("vertex_indices", table.get("vertex_index"))
    for row in () if lists is None else lists:
        strip: list[int] = []
        for corner in [*np.asarray(row, np.int64).tolist(), -1]:
            if corner < 0:
                for k in range(len(strip) - 2):
                    a, b, c = strip[k : k + 3]
                    triangles.append((b, a, c) if k % 2 else (a, b, c))
                strip = []
            else:
                strip.append(corner)
    return np.array(triangles, np.int64).reshape(-1, 3)


def _whole(corners: NDArray[Any]) -> NDArray[np.int64]:
    numbers = np.asarray(corners)
    with np.errstate(invalid="ignore"):
        whole = numbers.astype(np.int64)
    if (whole != numbers).any() or (whole < 0).any():
        raise LsslError("a face names a vertex that is not a whole number from 0")
    return whole


def _vertex_colours(vertex: Columns) -> NDArray[np.float64] | None:
    for names in _COLOURS:
        if all(name in vertex for name in names):
            colours = np.stack([np.asarray(vertex[name], np.float64) for name in names], 1)
            if not np.isfinite(colours).all():
                return None
            top = colours.max(initial=0)
            return np.clip(colours / (1 if top <= 1 else 255 if top <= 255 else 65535), 0, 1)
    return None

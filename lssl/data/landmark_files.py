"""Files of 68 landmarks, read and written: iBUG `.pts` and tables `.csv`.

A `.pts` file counts pixels from 1 (it comes from Matlab), and so 1 is subtracted; a table counts from 0, as this
project does. In a table the header's names say which columns are x and y.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.landmarks import COUNT
from lssl.data.tables import read_rows, read_text, same_name
from lssl.errors import LsslError

SUFFIXES = (".pts", ".csv")
#: What other programs keep landmarks in, beside pictures.
_OTHER_FILES = (".json", ".npy", ".npz", ".mat", ".xml", ".lms", ".land", ".asf", ".fcsv")
_OTHER_COUNTS = {
    5: "as MTCNN's", 21: "as AFLW's", 29: "as COFW's", 51: "the 68 without the jaw's outline", 98: "as WFLW's",
    106: "as JD's", 194: "as Helen's", 468: "as MediaPipe's", 478: "as MediaPipe's",
}  # fmt: skip
_INDEX_NAMES = {"", "#", "i", "n", "id", "idx", "index", "no", "nr", "number", "point", "landmark", "unnamed"}


def read_landmarks(path: str | Path) -> NDArray[np.float32]:
    """The (68, 2) landmarks of a `.pts` or `.csv` file, in pixels counted from 0 (see landmarks.py).

    .pts: iBUG's `{ ... }` block of "x y" lines, counted from 1.
    .csv: 68 rows; with a header, its columns `x` and `y`, or one row with `x_0` ... `x_67` and `y_0` ... `y_67`
        (OpenFace); without one, x and y, with or without a counting column before them. Comma, semicolon or tab;
        decimal commas where those are not the delimiter.
    Raises LsslError naming the file for a wrong count, text that is not a number, a value that is not finite, and
    columns of which it is unclear which are x and y.
    """
    path = Path(path)
    if path.suffix.lower() in _OTHER_FILES:
        raise LsslError(f"{path}: landmarks are read from .pts and .csv; save the 68 rows of x,y as CSV")
    try:
        if path.suffix.lower() == ".pts":
            points = _pts_points(path, read_text(path, "UTF-8"))
        else:
            points = _table_points(path, read_rows(path))
    except LsslError as error:
        raise LsslError(str(error)) from None
    _check_none_missing(path, points)
    if path.suffix.lower() == ".pts":
        points -= 1
    if points.shape != (COUNT, 2):
        known = f", {_OTHER_COUNTS[len(points)]}" if len(points) in _OTHER_COUNTS else ""
        fix = "; remove the file, and dlib will find the 68" if known else ""
        raise LsslError(f"{path}: has {len(points)} landmarks{known}, expected {COUNT} (iBUG 68-point order){fix}")
    if not np.isfinite(points).all() or np.abs(points).max() > 1e7:
        raise LsslError(f"{path}: has landmarks that are not finite")
    if np.ptp(points, axis=0).max() == 0:
        raise LsslError(f"{path}: all landmarks lie at one point: no face was found when they were made")
    if np.ptp(points, axis=0).max() <= 1.5 and np.abs(points).max() <= 2:
        if points.min() < -0.25:
            raise LsslError(f"{path}: the landmarks lie between -1 and 1; write (value + 1) / 2 x the picture's pixels")
        raise LsslError(f"{path}: the landmarks are shares of the picture's size; multiply them by its pixels")
    return points.astype(np.float32)


def _check_none_missing(path: Path, points: NDArray[np.float64]) -> None:
    """Raises LsslError for points that a program did not find, and wrote as (0, 0) or (-1, -1)."""
    for value in (0, -1):
        if 0 < (count := int((points == value).all(axis=1).sum())) < len(points):
            raise LsslError(
                f"{path}: {count} landmarks lie at ({value}, {value}), as points do that were not found; "
                "remove the file, and dlib will find the 68"
            )


def unread_file(photograph: Path) -> Path | None:
    """A file beside a photograph that may hold its landmarks, but in a format that is not read."""
    for suffix in (*_OTHER_FILES, ".tsv", ".txt"):
        path = photograph.with_suffix(suffix)
        if path.is_file() and (suffix in _OTHER_FILES or _looks_like_numbers(path)):
            return path
    return None


def _looks_like_numbers(path: Path) -> bool:
    with path.open("rb") as file:
        words = re.split(rb"[\s,;]+", file.read(200).strip())[:-1]
    return len(words) > 3 and all(_is_number(word.decode("latin-1")) for word in words[2:])


def write_pts(path: str | Path, landmarks: NDArray[np.float32]) -> None:
    """Writes (68, 2) landmarks, counted from 0, as an iBUG `.pts` file, which counts from 1."""
    lines = [f"{x + 1:.3f} {y + 1:.3f}" for x, y in landmarks]
    text = "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])
    Path(path).write_text(text, encoding="utf-8")


def find_landmark_file(photograph: Path, landmarks: Path | None = None, below: Path | None = None) -> Path | None:
    """A photograph's `.pts` or `.csv` file, or None.

    landmarks: the file itself; or a folder, searched for the photograph's path `below` the source and for its name.
        Last, or without `landmarks`, the photograph's own folder is searched. A file is named by the photograph's stem
        (`a.pts`) or whole name (`a.jpg.pts`), its letters composed or decomposed, its suffix in any case.
    """
    if landmarks is not None and landmarks.is_file():
        return landmarks
    folders = [photograph.parent]
    if landmarks is not None:
        folders = [landmarks / below.parent, landmarks] if below is not None else [landmarks]
        folders.append(photograph.parent)
    for folder in folders:
        if found := _beside(folder, photograph):
            return found
    return None


def check_used(landmarks: Path | None, files: Iterable[Path | None]) -> None:
    """Raises LsslError if a folder of landmark files was given, but none of the files found lies in it."""
    if landmarks is None or not landmarks.is_dir():
        return
    files = list(files)
    if files and not any(file is not None and file.is_relative_to(landmarks) for file in files):
        there = sorted(path.name for path in landmarks.iterdir() if not path.name.startswith("."))[:3]
        raise LsslError(
            f"{landmarks}: no landmark file for any of the {len(files)} pictures (a.pts or a.csv for a.jpg); it holds "
            f"{', '.join(there) or 'nothing'}"
        )


def _beside(folder: Path, photograph: Path) -> Path | None:
    for suffix in SUFFIXES:
        plain = folder / (photograph.stem + suffix)
        if plain.is_file():
            return plain
    names = _names(folder)
    for suffix in SUFFIXES:
        for name in (photograph.stem, photograph.name):
            if found := names.get(same_name(name) + suffix):
                return folder / found
    return None


def _names(folder: Path) -> dict[str, str]:
    """The landmark files of a folder, by their composed names with the suffix in lower case."""
    key = (str(folder), folder.stat().st_mtime_ns if folder.is_dir() else 0)
    if key not in _LISTED:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if key[1] else []
        _LISTED.clear()
        _LISTED[key] = {same_name(p.stem) + p.suffix.lower(): p.name for p in files}
    return _LISTED[key]


_LISTED: dict[tuple[str, int], dict[str, str]] = {}  # the last folder: thousands of pictures ask for the same one


def _pts_points(path: Path, text: str) -> NDArray[np.float64]:
    start, end = text.find("{"), text.find("}")
    if start < 0:
        raise LsslError(f"{path}: no {{ ... }} block of points, so this is not an iBUG .pts file")
    if end < start:
        raise LsslError(f"{path}: the block of points does not end; the file is truncated")
    if "{" in text[end:]:
        raise LsslError(f"{path}: has several blocks of points; write one file per face")
    rows = [_pair(line) for line in text[start + 1 : end].splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise LsslError(f"{path}: a line of the block is not 'x y'; expected {COUNT} of them")
    counted = re.search(r"n_points\s*:\s*(\d+)", text[:start])
    if counted and int(counted[1]) != len(rows):
        raise LsslError(f"{path}: has {len(rows)} landmarks, expected {COUNT} (it says n_points: {counted[1]})")
    return _numbers(path, rows)


def _pair(line: str) -> list[str]:
    """The numbers of a line "x y", "x, y" or, with decimal commas, "1,5 2,5"."""
    words = [word.strip(",") for word in line.split()]
    return words if len(words) == 2 else line.replace(",", " ").split()


def _table_points(path: Path, rows: list[list[str]]) -> NDArray[np.float64]:
    rows = _cells(rows)
    if not rows:
        raise LsslError(f"{path}: is empty")
    header, body = _header(rows)
    if header is not None:
        if (wide := _wide(path, header, body)) is not None:
            return wide
        body = _columns_by_name(path, header, body)
    if len({len(row) for row in body}) > 1:
        raise LsslError(f"{path}: its rows have different numbers of columns, expected two: x,y")
    if not body:
        return np.zeros((0, 2))
    width = len(body[0])
    if width == 3 and (order := _numbering(body, 0)) is not None:
        body = [body[k][1:] for k in order]
    elif len(body) == 1 and width == 2 * COUNT:
        raise LsslError(f"{path}: one row of {width} numbers; write {COUNT} rows of x,y")
    elif width != 2:
        raise LsslError(
            f"{path}: has {width} columns without names, so it is not clear which are x and y; "
            "write two columns, or a header that names them"
        )
    return _numbers(path, body)


def _cells(rows: list[list[str]]) -> list[list[str]]:
    """The rows without comments and empty last columns; divided at spaces where nothing else divides them."""
    while len(rows) > 1 and rows[0][0].startswith("# ") and rows[1][0].startswith("# "):
        rows = rows[1:]  # comments of several lines, of which the last may name the columns
    rows = [[_bare(cell) for cell in row] for row in rows]
    if rows and rows[0][0].startswith("#") and len(rows[0][0]) > 1:  # numpy.savetxt's header
        first = [rows[0][0].lstrip("# "), *rows[0][1:]]
        named = [_axis(cell) for cell in (first[0].split() if len(first) == 1 else first)]
        rows = [first, *rows[1:]] if "x" in named and "y" in named else rows[1:]
    rows = [row for k, row in enumerate(rows) if k == 0 or not row[0].startswith("#")]
    if rows and all(len(row) == 1 for row in rows) and len(rows[-1][0].split()) > 1:
        rows = [row[0].split() for row in rows]
    while rows and all(len(row) > 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    return rows


def _bare(cell: str) -> str:
    """A number without the brackets of a pair "(1.5, 2.5)"; any other cell as it is."""
    inner = cell.strip("()[] ")
    return inner if _is_number(inner) else cell


def _header(rows: list[list[str]]) -> tuple[list[str] | None, list[list[str]]]:
    """(names of the columns or None, the rows below); a data frame saved without names has the header 0, 1."""
    first = rows[0]
    named = any(cell and not _is_number(cell) for cell in first)
    if named or (not first[0] and len(first) > 2):
        return first, rows[1:]
    numbered = [cell for cell in first if cell == str(first.index(cell))]
    if len(rows) == COUNT + 1 and len(numbered) == len(first):
        return None, rows[1:]
    return None, rows


def _columns_by_name(path: Path, header: list[str], body: list[list[str]]) -> list[list[str]]:
    """The columns x and y by the header's names; by position if it names neither and there are two columns."""
    axes = [_axis(name) for name in header]
    if any(len(row) != len(header) for row in body):
        raise LsslError(f"{path}: its rows do not have as many columns as its header ({_listed(header)})")
    if axes.count("x") == 1 and axes.count("y") == 1:
        indices = [k for k, name in enumerate(header) if name.strip().lower() in _INDEX_NAMES]
        order = (_numbering(body, indices[0]) if indices else None) or range(len(body))
        if indices:
            _check_numbered_once(path, header[indices[0]], [row[indices[0]] for row in body])
        return [[body[k][axes.index("x")], body[k][axes.index("y")]] for k in order]
    kept = [k for k, name in enumerate(header) if re.split(r"[:.\s]", name.lower())[0] not in _INDEX_NAMES]
    if not any(axes) and len(kept) == 2 and all(header[k].isdigit() for k in kept):
        return [[row[k] for k in kept] for row in body]
    raise LsslError(
        f"{path}: the header ({_listed(header)}) does not say which column is x and which y; name them x and y"
    )


def _listed(header: list[str]) -> str:
    text = ", ".join(name or "unnamed" for name in header)
    return text if len(text) < 80 else text[:70] + " ..."


def _axis(name: str) -> str:
    """x or y where a column's name says so ("x", "X (px)", "landmark_y", "pos.x", "col"), else an empty text."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    found = {"x" if word in ("x", "col", "column", "u") else "y" for word in words if word in _AXIS_WORDS}
    return found.pop() if len(found) == 1 else ""


_AXIS_WORDS = {"x", "y", "col", "column", "row", "u", "v"}


def _wide(path: Path, header: list[str], body: list[list[str]]) -> NDArray[np.float64] | None:
    """One row with a column per coordinate (x_0 ... y_67, or x1 ... y68), as OpenFace writes; None for other tables.

    OpenFace adds further sets, the eyes' points (eye_lmk_x_0) and those in space (X_0 Y_0 Z_0): the plain one is taken.
    """
    sets: dict[tuple[str, bool], dict[tuple[str, int], int]] = {}
    for column, name in enumerate(header):
        match = re.fullmatch(r"((?:\w*[ _])?)([xyXY])[_ ]?(\d+)", name.strip())
        if match:
            kind = (match[1], match[2].isupper())
            sets.setdefault(kind, {})[match[2].lower(), int(match[3])] = column
    places = next((sets[kind] for kind in (("", False), *sets) if len(sets.get(kind, ())) == 2 * COUNT), None)
    places = places or max(sets.values(), key=len, default={})
    numbers = sorted({number for _, number in places})
    if len(places) < 10:
        return None
    expected = [numbers[0] + k for k in range(COUNT)]
    if numbers != expected or len(places) != 2 * COUNT:
        raise LsslError(f"{path}: its header names {len(places) / 2:g} landmarks, expected {COUNT}")
    if len(body) != 1:
        raise LsslError(f"{path}: has {len(body)} rows of landmarks; write one file per picture")
    row = body[0]
    if len(row) != len(header):
        raise LsslError(f"{path}: its row has {len(row)} values, but the header has {len(header)}")
    return _numbers(path, [[row[places["x", n]], row[places["y", n]]] for n in numbers])


def _numbering(body: list[list[str]], column: int) -> list[int] | None:
    """The rows in the order of a column that numbers them from 0 or 1; None where it does not."""
    try:
        numbers = [float(row[column]) for row in body]
    except ValueError:
        return None
    order = sorted(range(len(numbers)), key=lambda k: numbers[k])
    first = numbers[order[0]] if order else -1
    counts = first in (0, 1) and [numbers[k] for k in order] == [first + k for k in range(len(order))]
    return order if counts else None


def _check_numbered_once(path: Path, name: str, cells: list[str]) -> None:
    """Raises LsslError if a column that numbers the points has a number twice."""
    if 1 < len(set(cells)) < len(cells) and all(cell.isdigit() for cell in cells):
        twice = next(cell for k, cell in enumerate(cells) if cell in cells[:k])
        raise LsslError(
            f"{path}: its column '{name}' has the number {twice} twice, so it is not clear which point is which"
        )


def _numbers(path: Path, rows: list[list[str]]) -> NDArray[np.float64]:
    try:
        return np.array([[float(_point(cell)) for cell in row] for row in rows], dtype=np.float64).reshape(-1, 2)
    except ValueError as error:
        raise LsslError(f"{path}: not a table of x, y numbers ({error})") from None


def _point(cell: str) -> str:
    """A number's text, with a decimal point in place of a decimal comma."""
    return cell.replace(",", ".") if re.fullmatch(r"[+-]?\d+,\d+", cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(_point(text))
    except ValueError:
        return False
    return True

import unicodedata

import numpy as np
import pytest

from lssl.data.landmark_files import find_landmark_file, read_landmarks, unread_file, write_pts
from lssl.errors import LsslError

POINTS = np.stack([np.linspace(1, 60, 68), np.linspace(50, 5, 68) ** 1.2], 1).round(2).astype(np.float32)


def rows(form: str = "{x},{y}", first: int = 0) -> str:
    return "".join(form.format(k=k + first, x=x, y=y) + "\n" for k, (x, y) in enumerate(POINTS.tolist()))


def comma(x: float) -> str:
    return f"{x:.2f}".replace(".", ",")


def wide(first: int) -> str:
    names = [f" {axis}_{k + first}" for axis in "xy" for k in range(68)]
    values = [f"{v:.2f}" for v in POINTS.T.reshape(-1)]
    return ",".join(["frame", " confidence", *names]) + "\n" + ", ".join(["1", "0.98", *values]) + "\n"


def full_openface() -> str:
    """A row as OpenFace's -2Dfp -3Dfp -gaze give it: the eyes' points, the 68 in the picture, the 68 in space."""
    names = [f"eye_lmk_{axis}_{k}" for axis in "xy" for k in range(56)]
    names += [f"{axis}_{k}" for axis in ("x", "y", "X", "Y", "Z") for k in range(68)]
    values = [7.0] * 112 + POINTS.T.reshape(-1).tolist() + [3.0 * k for k in range(3 * 68)]
    return ", ".join(names) + "\n" + ", ".join(f"{v:.2f}" for v in values) + "\n"


def turned_over() -> list[str]:
    """Numbered rows, the last first."""
    return rows("{k},{x},{y}").splitlines()[::-1]


CSV = {
    "OpenFace with eyes and space": full_openface(),
    "numbered rows in another order": "\n".join(turned_over()),
    "numbered rows in another order, with a header": "\n".join(["id,x,y", *turned_over()]),
    "plain": rows(),
    "header": "x,y\n" + rows(),
    "header in capitals": "X,Y\n" + rows(),
    "header with units": "x (px),y (px)\n" + rows(),
    "y before x": "y,x\n" + rows("{y},{x}"),
    "y before x and z": "landmark_y,landmark_x,landmark_z\n" + rows("{y},{x},7"),
    "pandas": ",x,y\n" + rows("{k},{x},{y}"),
    "pandas, y before x": ",y,x\n" + rows("{k},{y},{x}"),
    "pandas without names": ",0,1\n" + rows("{k},{x},{y}"),
    "pandas without names and index": "0,1\n" + rows(),
    "index column with a name": "point,x,y\n" + rows("{k},{x},{y}"),
    "index column last": "x,y,index\n" + rows("{x},{y},{k}"),
    "index without header": rows("{k},{x},{y}"),
    "index from 1 without header": rows("{k},{x},{y}", first=1),
    "index of floats": rows("{k}.0,{x},{y}"),
    "names of points": "name,x,y\n" + rows("jaw{k},{x},{y}"),
    "visibility": "x,y,visible\n" + rows("{x},{y},1"),
    "row and column": "row,col\n" + rows("{y},{x}"),
    "semicolons": "x;y\n" + rows("{x};{y}"),
    "German": "x;y\n" + "".join(f"{comma(x)};{comma(y)}\n" for x, y in POINTS),
    "Excel's mark": "sep=;\nx;y\n" + rows("{x};{y}"),
    "tabs": "x\ty\n" + rows("{x}\t{y}"),
    "spaces": rows("{x} {y}"),
    "spaces after commas": "x, y\n" + rows("{x}, {y}"),
    "quotes": '"x","y"\n' + rows('"{x}","{y}"'),
    "comma at the end": rows("{x},{y},"),
    "Windows lines": ("x,y\n" + rows()).replace("\n", "\r\n"),
    "old Mac lines": ("x,y\n" + rows()).replace("\n", "\r"),
    "empty lines": "\n\nx,y\n\n" + rows().replace("\n", "\n\n"),
    "numpy's header": "# x,y\n" + rows(),
    "numpy's header, y before x": "# y,x\n" + rows("{y},{x}"),
    "remarks of two lines": "# drawn by hand\n# in 2026\nx,y\n" + rows(),
    "brackets": rows("({x}, {y})"),
    "a remark": "# drawn by hand\n" + rows(),
    "exponents": rows("{x:.6e},{y:.6e}"),
    "OpenFace": wide(0),
    "wide, from 1": wide(1),
}


@pytest.mark.parametrize("name", CSV)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_as_people_save_it(tmp_path, name, encoding) -> None:
    (tmp_path / "a.csv").write_bytes(CSV[name].encode(encoding))
    assert np.abs(read_landmarks(tmp_path / "a.csv") - POINTS).max() < 1e-3


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nn_points: 68\n{\n%s}\n",
        "version: 1.0\r\nn_points:  68\r\n{\r\n%s}\r\n",
        "n_points: 68\n{\n%s\n}",
        "{%s}",
    ],
)
def test_pts_count_from_1(tmp_path, text) -> None:
    (tmp_path / "a.pts").write_text(text % "".join(f"{x + 1} {y + 1}\n" for x, y in POINTS))
    assert np.abs(read_landmarks(tmp_path / "a.pts") - POINTS).max() < 1e-3
    write_pts(tmp_path / "b.PTS", POINTS)
    assert "2.000 " in (tmp_path / "b.PTS").read_text()
    assert np.abs(read_landmarks(tmp_path / "b.PTS") - POINTS).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.pts", "version: 1\nn_points: 68\n{\n1 2\n}\n", "has 1 landmarks, expected 68"),
        ("a.pts", "version: 1\nn_points: 68\n{\n1 2\n", "truncated"),
        ("a.pts", "1 2\n3 4\n", "no { ... } block"),
        ("a.pts", "{\n" + "1 x\n" * 68 + "}", "not a table of x, y numbers"),
        ("a.pts", "{\n" + "1 nan\n" * 68 + "}", "not finite"),
        ("a.pts", "{\n" + "1\n" * 68 + "}", "expected 68"),
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y\n", "has 0 landmarks, expected 68"),
        ("a.csv", "x,y\n" + "1,2\n" * 98, "has 98 landmarks, as WFLW's, expected 68"),
        ("a.csv", "x,y\n" + "0,0\n" * 68, "all landmarks lie at one point"),
        (
            "a.csv",
            "-1,-1\n" * 4 + rows().split("\n", 4)[4],
            "4 landmarks lie at (-1, -1), as points do that were not found",
        ),
        ("a.pts", "{\n0 0\n" + rows("{x} {y}").split("\n", 1)[1] + "}", "1 landmarks lie at (0, 0)"),
        ("a.pts", 2 * ("{\n" + rows("{x} {y}") + "}\n"), "several blocks of points; write one file per face"),
        ("a.json", "[[1, 2]]", "landmarks are read from .pts and .csv; save the 68 rows of x,y as CSV"),
        ("a.csv", "a,b\n" + rows(), "the header (a, b) does not say which column is x and which y"),
        ("a.csv", "x,x\n" + rows(), "does not say which column is x"),
        ("a.csv", rows("{x},{y},{k}"), "3 columns without names, so it is not clear which are x and y"),
        ("a.csv", rows("{x},{y},0.5"), "3 columns without names"),
        ("a.csv", ",".join("1" * 136), "one row of 136 numbers; write 68 rows of x,y"),
        ("a.csv", rows().replace("\n", ",9\n", 1), "different numbers of columns"),
        ("a.csv", 'x,y\n"1,2\n' + rows(), "line 2: a quotation mark that begins in this row is not closed"),
        ("a.csv", "".join(f"{x / 60},{y / 120}\n" for x, y in POINTS), "shares of the picture's size"),
        (
            "a.csv",
            "".join(f"{x / 60 - 0.9},{y / 120 - 0.5}\n" for x, y in POINTS),
            "lie between -1 and 1; write (value + 1)",
        ),
        ("a.csv", "x,y\n" + "1,2\n" * 51, "has 51 landmarks, the 68 without the jaw's outline, expected 68"),
        ("a.csv", wide(0).replace(" y_67", " z"), "its header names 67.5 landmarks, expected 68"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path, name, text, message) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LsslError) as error:
        read_landmarks(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(("encoding", "message"), [("latin-1", "is not UTF-8"), ("utf-16-le", "UTF-16 without its")])
def test_another_encoding_is_named(tmp_path, encoding, message) -> None:
    (tmp_path / "a.csv").write_bytes(("größe,x,y\n" + rows("{k},{x},{y}")).encode(encoding))
    with pytest.raises(LsslError, match=f"{message}.*save it as CSV UTF-8"):
        read_landmarks(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "name", ["ä b.pts", "ä b.PTS", "ä b.Csv", "ä b.jpg.pts", unicodedata.normalize("NFD", "ä b.pts")]
)
def test_the_file_beside_a_photograph_is_found(tmp_path, name) -> None:
    for folder in (tmp_path, tmp_path / "points" / "happy"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        (folder / "other.csv").touch()
    photograph = tmp_path / "ä b.jpg"
    assert find_landmark_file(photograph) == tmp_path / name
    assert find_landmark_file(tmp_path / "c.jpg") is None
    below = find_landmark_file(
        photograph, tmp_path / "points", photograph.relative_to(tmp_path).parent / "happy/ä b.jpg"
    )
    assert below == tmp_path / "points" / "happy" / name
    assert find_landmark_file(photograph, tmp_path / "points") == tmp_path / name  # not in the folder: beside it
    assert find_landmark_file(photograph, tmp_path / name) == tmp_path / name


@pytest.mark.parametrize("form", ["{x}, {y}", "{x},{y}", "{dx} {dy}"])
def test_pts_with_commas(tmp_path, form) -> None:
    lines = [form.format(x=f"{x + 1:.2f}", y=f"{y + 1:.2f}", dx=comma(x + 1), dy=comma(y + 1)) for x, y in POINTS]
    (tmp_path / "a.pts").write_text("{\n" + "\n".join(lines) + "\n}\n")
    assert np.abs(read_landmarks(tmp_path / "a.pts") - POINTS).max() < 0.01


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [("a.json", "[]", True), ("a.txt", "1.5 2.5\n3 4\n" * 9, True), ("a.txt", "a photo of a man, 3 years", False)],
)
def test_a_landmark_file_in_another_format_is_noticed(tmp_path, name, text, unread) -> None:
    (tmp_path / name).write_text(text)
    assert unread_file(tmp_path / "a.jpg") == (tmp_path / name if unread else None)


def test_a_point_that_is_numbered_twice_is_refused(tmp_path):
    lines = rows("{k},{x},{y}").splitlines()
    lines[9] = lines[9].replace("9,", "8,", 1)
    path = tmp_path / "twice.csv"
    path.write_text("\n".join(["id,x,y", *lines]))
    with pytest.raises(LsslError, match=r"twice\.csv: its column 'id' has the number 8 twice"):
        read_landmarks(path)
    path.write_text("\n".join(["n,x,y", *(f"4,{line.split(',', 1)[1]}" for line in lines)]))  # the picture's number
    assert np.array_equal(read_landmarks(path), POINTS)

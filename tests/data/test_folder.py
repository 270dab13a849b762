import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from lssl.data import FaceDataset, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.folder import check_images
from lssl.errors import LsslError


@pytest.fixture(scope="module")
def made(tmp_path_factory, faces):
    return faces.write_folder(tmp_path_factory.mktemp("made") / "data", masks=True)


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


def edit_table(folder, change):
    path = folder / "metadata.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_what_was_written_is_read(folder) -> None:
    data = read_metadata(folder)
    assert len(data) == 10
    assert data.attributes == ("expression",)
    assert data.schema().names == ["neutral", "happy"]
    assert data.landmarks is not None
    assert data.landmarks.shape == (10, 68, 2)
    assert data.has_masks
    assert check_images(data) == (32, 32)
    assert len(data.split("train")) == 8
    assert set(data.split("test").subjects) == {"s4"}
    assert data.select([3, 1]).file_names == [data.file_names[3], data.file_names[1]]
    with Image.open(data.image_path(9)) as image:
        assert np.array(image)[0, 0, 0] == 40


def test_without_a_description_columns_that_repeat_are_attributes(folder) -> None:
    (folder / "dataset.json").unlink()

    def more(rows):
        for number, row in enumerate(rows):
            row += ["note", "constant"] if number == 0 else [f"row {number}", "same"]

    edit_table(folder, more)
    assert read_metadata(folder).attributes == ("expression",)
    assert read_metadata(folder, attributes=["note"]).attributes == ("note",)


def drop_column(rows, name):
    k = rows[0].index(name)
    for row in rows:
        del row[k]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "metadata.csv").unlink(), r"metadata.csv is missing.*lssl prepare folder"),
        (lambda f: (f / "metadata.csv").write_text(""), "is empty"),
        (lambda f: edit_table(f, lambda r: r.__delitem__(slice(1, None))), "has a header but no rows"),
        (lambda f: edit_table(f, lambda r: drop_column(r, "subject")), "has no column 'subject'; it has: file_name"),
        (lambda f: edit_table(f, lambda r: drop_column(r, "expression")), "no attribute column 'expression'"),
        (lambda f: edit_table(f, lambda r: r[2].pop()), "line 3: 3 values, but the header has 4"),
        (
            lambda f: edit_table(f, lambda r: r[4].__setitem__(2, "holdout")),
            "line 5: split is 'holdout', expected train",
        ),
        (lambda f: edit_table(f, lambda r: r[4].__setitem__(3, "")), "line 5: no value in column 'expression'"),
        (lambda f: edit_table(f, lambda r: r.__setitem__(2, r[1])), "line 3: .* is in line 2 already"),
        (lambda f: edit_table(f, lambda r: r.pop()), "landmarks.npy has 10 rows but metadata.csv has 9"),
        (lambda f: (f / "images" / "002_happy.png").unlink(), "002_happy.png is missing"),
        (lambda f: np.save(f / "landmarks.npy", np.zeros((10, 5, 2))), r"shape \(10, 5, 2\), expected \(rows, 68"),
        (lambda f: np.save(f / "landmarks.npy", np.full((10, 68, 2), np.nan)), "row 0 has values that are not finite"),
        (lambda f: (f / "landmarks.npy").write_bytes(b"no"), "not a NumPy array file"),
        (lambda f: (f / "dataset.json").write_text("{"), "not JSON"),
    ],
)
def test_each_damage_is_named(folder, damage, message) -> None:
    damage(folder)
    with pytest.raises(LsslError, match=message):
        read_metadata(folder)


def test_lines_are_those_of_the_file(folder) -> None:
    path = folder / "metadata.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([header, "", "", *rows[:3], "", rows[3].replace(",train,", ",holdout,"), *rows[4:]]) + "\n"
    )
    with pytest.raises(LsslError, match=r"metadata\.csv, line 8: split is 'holdout'"):
        read_metadata(folder)


def test_attributes_of_the_description_are_a_list_of_names(folder) -> None:
    path = folder / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as Windows' editors save it
    assert read_metadata(folder).attributes == ("expression",)
    for listed in (5, "expression", [5], None):
        path.write_text(json.dumps({"attributes": listed}))
        with pytest.raises(LsslError, match=r"dataset\.json: 'attributes' must be a list of columns' names"):
            read_metadata(folder)


def test_an_open_quote_is_found_where_it_begins(folder) -> None:
    path = folder / "metadata.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows[:2], f'"{rows[2]}', *rows[3:]]) + "\n")
    with pytest.raises(LsslError, match=r"metadata\.csv, line 4: a quotation mark .* is not closed"):
        read_metadata(folder)


def test_pictures_are_checked_before_training(folder) -> None:
    Image.new("RGB", (16, 32)).save(folder / "images" / "003_happy.png")
    with pytest.raises(LsslError, match=r"003_happy.png is 16x32, but images/000_happy.png is 32x32"):
        FaceDataset(folder)
    (folder / "images" / "003_happy.png").write_bytes(b"\x89PNG but not")
    with pytest.raises(LsslError, match=r"003_happy.png: not a readable picture"):
        FaceDataset(folder)


def test_one_class_is_refused(folder) -> None:
    edit_table(folder, lambda rows: [row.__setitem__(3, "happy") for row in rows[1:]])
    with pytest.raises(LsslError, match="'expression' has one class only"):
        FaceDataset(folder)


def test_a_split_that_is_not_there_is_refused(folder) -> None:
    edit_table(folder, lambda rows: [row.__setitem__(2, "train") for row in rows[1:]])
    with pytest.raises(LsslError, match="no row with split 'test'"):
        read_metadata(folder).split("test")


def row(key, value=0, **more):
    image = np.full((8, 8, 3), value, np.uint8)
    return FaceRow(key, image, f"s{key}", "train", {"e": "ab"[value % 2]}, **more)


def files_of(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_order_ranks_and_interruptions_leave_no_trace(tmp_path) -> None:
    keys = [f"{k:02d}" for k in range(6)]
    straight = FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={"seed": 1})
    for k, key in enumerate(keys):
        straight.add(row(key, k))
    straight.reject("99", "no face")
    assert straight.finish() == 6

    first = FaceFolderWriter(tmp_path / "b", attributes=["e"], settings={"seed": 1})
    other = FaceFolderWriter(tmp_path / "b", attributes=["e"], settings={"seed": 1}, rank=1)
    first.add(row(keys[4], 4))
    other.add(row(keys[1], 1))
    first.reject("99", "no face")
    journal = tmp_path / "b" / ".rows-0000.jsonl"
    with journal.open("a") as file:
        file.write('{"key": "00", "file_na')  # killed while writing
    again = FaceFolderWriter(tmp_path / "b", attributes=["e"], settings={"seed": 1})
    assert keys[4] in again
    assert keys[1] in again
    assert keys[0] not in again
    for k in (5, 0, 3, 2):
        again.add(row(keys[k], k))
    assert again.finish() == 6
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert again.rejected == [("99", "no face")]


def test_other_settings_and_foreign_folders_are_refused(tmp_path) -> None:
    writer = FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={"size": 8})
    writer.add(row("0"))
    for finish in (False, True):
        if finish:
            writer.finish()
        with pytest.raises(LsslError, match=r"made with other settings \(size: 8 then, 16 now\)"):
            FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={"size": 16})
    assert FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={"size": 8}).finished
    fresh = FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={"size": 16}, overwrite=True)
    assert not fresh.finished
    assert not list((tmp_path / "a" / "images").iterdir())

    mine = tmp_path / "mine"
    (mine / "images").mkdir(parents=True)
    (mine / "images" / "me.png").write_bytes(b"photograph")
    for overwrite in (False, True):
        with pytest.raises(LsslError, match="is not empty"):
            FaceFolderWriter(mine, attributes=["e"], settings={}, overwrite=overwrite)
    assert (mine / "images" / "me.png").exists()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("a/b"), "cannot be a file name"),
        (row("a", landmarks=np.zeros((5, 2), np.float32)), r"expected \(68, 2\)"),
        (FaceRow("a", np.zeros((8, 8), np.uint8), "s", "train", {"e": "a"}), "expected a uint8 picture"),
        (FaceRow("a", np.zeros((8, 8, 3), np.uint8), "s", "train", {}), "no value for attribute 'e'"),
    ],
)
def test_bad_rows_are_refused(tmp_path, bad, message) -> None:
    with pytest.raises(LsslError, match=message):
        FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={}).add(bad)


def test_nothing_usable_is_an_error_that_points_to_the_reasons(tmp_path) -> None:
    writer = FaceFolderWriter(tmp_path / "a", attributes=["e"], settings={})
    writer.reject("x.jpg", "no face found")
    with pytest.raises(
        LsslError, match=r"nothing could be used \(x\.jpg: no face found\); all are listed in .*rejected\.csv"
    ):
        writer.finish()
    assert "x.jpg,no face found" in (tmp_path / "a" / "rejected.csv").read_text()


def test_description_says_what_made_it(folder) -> None:
    info = json.loads((folder / "dataset.json").read_text())
    assert info["format"] == "lssl-faces"
    assert info["size"] == [32, 32]
    assert info["settings"] == {"made": "by a test"}

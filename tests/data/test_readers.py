"""Each reader on a small tree with its database's own file names."""

import numpy as np
import pytest
from PIL import Image

from lssl.data.readers import READERS
from lssl.errors import LsslError

PICTURE = Image.new("RGB", (20, 20), (90, 80, 70))


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(path)


def columns(listing, *names):
    return [tuple(record.columns[name] for name in names) for record in listing.records]


def test_london_full_set_and_the_reduced_one(tmp_path) -> None:
    full, small = tmp_path / "full", tmp_path / "small"
    touch(full, "neutral_front/001_03.jpg", "smiling_front/001_08.jpg", "neutral_left_profile/001_01.jpg")
    touch(small, "neutral/001.jpg", "smiling/001.jpg", "smiling/002.jpg")
    listing = READERS["london"].scan(full)
    assert sorted(columns(listing, "expression", "view")) == [
        ("happy", "front"),
        ("neutral", "front"),
        ("neutral", "left_profile"),
    ]
    listing = READERS["london"].scan(small)
    assert [(r.key, r.subject) for r in listing.records] == [
        ("001_neutral", "001"),
        ("001_happy", "001"),
        ("002_happy", "002"),
    ]


def test_rafd(tmp_path) -> None:
    touch(
        tmp_path,
        "Rafd090_01_Caucasian_female_angry_frontal.jpg",
        "Rafd045_01_Caucasian_female_contemptuous_left.jpg",
        "Rafd135_61_Moroccan_male_surprised_right.jpg",
        "thumbs.jpg",
    )
    listing = READERS["rafd"].scan(tmp_path)
    assert columns(listing, "expression", "camera", "gaze", "gender", "ethnicity") == [
        ("contemptuous", "45", "left", "female", "caucasian"),
        ("angry", "90", "frontal", "female", "caucasian"),
        ("surprised", "135", "right", "male", "moroccan"),
    ]
    assert [record.subject for record in listing.records] == ["01", "01", "61"]
    assert listing.rejected == [
        ("thumbs.jpg", f"the name is not of the form {READERS['rafd'].expected}"),
    ]


def test_oulu_casia_takes_the_peak_and_the_first_frame(tmp_path) -> None:
    for light in ("Strong", "Dark"):
        touch(tmp_path, *(f"VL/{light}/P001/Anger/{k:03d}.jpeg" for k in range(6)))
    touch(tmp_path, *(f"NI/Weak/P080/Happiness/{k:03d}.jpeg" for k in range(2)))
    listing = READERS["oulu-casia"].scan(tmp_path, frames=3, neutral=False)
    assert len(listing.records) == 8
    assert listing.left_out["frames between neutral and peak"] == 6
    listing = READERS["oulu-casia"].scan(tmp_path, frames=3, neutral=True)
    strong = [r for r in listing.records if r.columns["lighting"] == "normal"]
    assert [(r.columns["expression"], r.columns["frame"]) for r in strong] == [
        ("neutral", "0"),
        ("angry", "3"),
        ("angry", "4"),
        ("angry", "5"),
    ]
    infrared = [r for r in listing.records if r.columns["modality"] == "ni"]
    assert {(r.columns["expression"], r.columns["lighting"], r.subject) for r in infrared} == {
        ("happy", "weak", "P080")
    }


def test_mug_takes_the_middle_of_each_take(tmp_path) -> None:
    touch(tmp_path, *(f"subjects3/001/anger/take000/img_{k:04d}.jpg" for k in range(7)))
    touch(tmp_path, *(f"subjects3/002/neutral/take001/img_{k:04d}.jpg" for k in range(2)))
    listing = READERS["mug"].scan(tmp_path / "subjects3", frames=3)
    assert [(r.subject, r.columns["expression"], r.columns["frame"]) for r in listing.records] == [
        ("001", "angry", "2"),
        ("001", "angry", "3"),
        ("001", "angry", "4"),
        ("002", "neutral", "0"),
        ("002", "neutral", "1"),
    ]
    assert listing.left_out["frames of onset and offset"] == 4


def helen(root, name, size=(40, 40), parts=True):
    touch(root, f"images/{name}.jpg")
    Image.new("RGB", size[::-1], (100, 90, 80)).save(root / "images" / f"{name}.jpg")
    maps = np.zeros((11, *size), np.uint8)
    maps[0] = 128
    maps[1, 8:36, 8:32] = 200
    if parts:
        maps[4, 14:17, 12:17], maps[5, 14:17, 23:28] = 255, 255
        maps[7, 26:28, 14:26], maps[8, 28:30, 16:24], maps[9, 30:32, 14:26] = 255, 255, 255
    folder = root / "labels" / name
    folder.mkdir(parents=True)
    for k, values in enumerate(maps):
        Image.fromarray(values).save(folder / f"{name}_lbl{k:02d}.png")


def test_helen_reads_labels_and_lists(tmp_path) -> None:
    for name in ("10_1", "11_1", "12_1"):
        helen(tmp_path, name)
    helen(tmp_path, "13_1", parts=False)
    touch(tmp_path, "images/99_1.jpg")
    (tmp_path / "exemplars.txt").write_text("1 , 10_1\n2 , 13_1\n")
    (tmp_path / "tuning.txt").write_text("1 , 11_1\n")
    (tmp_path / "testing.txt").write_text("1 , 12_1\n2 , 98_1\n")
    listing = READERS["helen"].scan(tmp_path)
    assert {r.key: r.split for r in listing.records} == {
        "10_1": "train",
        "13_1": "train",
        "11_1": "train",
        "12_1": "test",
    }
    assert dict(listing.rejected) == {
        "images/99_1.jpg": "no folder labels/99_1",
        "images/98_1.jpg": "is in a list, but the photograph is missing",
    }
    loaded = listing.records[0].load()
    assert loaded.mask is not None
    assert [int(loaded.mask[y, x]) for y, x in ((15, 14), (27, 20), (29, 20), (31, 20), (22, 20), (2, 2))] == [
        3,
        2,
        0,
        2,
        1,
        0,
    ]
    assert loaded.anchors is not None
    assert np.abs(loaded.anchors - [[14, 15], [25, 15], [19.5, 26.5]]).max() < 1e-6
    blank = next(r for r in listing.records if r.key == "13_1")
    with pytest.raises(LsslError, match="show no eye"):
        blank.load()
    (tmp_path / "labels" / "11_1" / "11_1_lbl07.png").unlink()
    with pytest.raises(ValueError, match=r"11_1_lbl07.png: no such file"):
        next(r for r in listing.records if r.key == "11_1").load()


def test_folder_a_class_a_folder(tmp_path) -> None:
    touch(tmp_path, "happy/ann_1.png", "happy/bob_1.PNG", "sad/ann_2.png", "loose.png", ".hidden/x.png")
    listing = READERS["folder"].scan(tmp_path, subject_pattern=r"([a-z]+)_\d", attribute="mood")
    assert [(r.subject, r.columns["mood"]) for r in listing.records] == [
        ("ann", "happy"),
        ("bob", "happy"),
        ("ann", "sad"),
    ]
    assert [name for name, _ in listing.rejected] == ["loose.png"]
    plain = READERS["folder"].scan(tmp_path)
    assert [r.subject for r in plain.records] == ["ann_1", "bob_1", "ann_2"]
    with pytest.raises(LsslError, match="not a regular expression"):
        READERS["folder"].scan(tmp_path, subject_pattern="(")


def test_folder_with_a_table_and_landmarks(tmp_path) -> None:
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_text("file_name,subject,mood\na.png,s1,sad\nb.png,s2,happy\n")
    np.save(tmp_path / "landmarks.npy", np.ones((2, 68, 2), np.float32))
    listing = READERS["folder"].scan(tmp_path)
    assert [(r.subject, r.columns["mood"], r.needs_detector) for r in listing.records] == [
        ("s1", "sad", False),
        ("s2", "happy", False),
    ]
    assert all(r.without_landmarks().needs_detector for r in listing.records)
    np.save(tmp_path / "landmarks.npy", np.ones((3, 68, 2), np.float32))
    with pytest.raises(LsslError, match=r"shape \(3, 68, 2\), but metadata.csv has 2 rows"):
        READERS["folder"].scan(tmp_path)
    (tmp_path / "metadata.csv").write_text("name,mood\na.png,sad\n")
    with pytest.raises(LsslError, match="has no column 'file_name'; it has: name, mood"):
        READERS["folder"].scan(tmp_path)


@pytest.mark.parametrize("source", sorted(READERS))
def test_the_wrong_folder_gets_what_was_expected_and_what_was_found(tmp_path, source) -> None:
    with pytest.raises(LsslError, match="no such folder"):
        READERS[source].scan(tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LsslError, match="expected"):
        READERS[source].scan(empty)
    touch(tmp_path, "holiday.jpg")
    with pytest.raises(LsslError) as error:
        READERS[source].scan(tmp_path)
    assert READERS[source].expected.split()[0] in str(error.value)
    assert source == "bu3dfe" or "found 1 pictures, such as holiday.jpg" in str(error.value)


def test_keep_only(tmp_path) -> None:
    touch(tmp_path, *(f"Rafd{a}_01_Caucasian_female_{e}_frontal.jpg" for a in ("000", "090") for e in ("sad", "happy")))
    listing = READERS["rafd"].scan(tmp_path)
    with pytest.raises(LsslError, match="no value '91'; it has: 0, 90"):
        listing.keep_only("camera", ["91"])
    with pytest.raises(LsslError, match="no column 'angle'"):
        listing.keep_only("angle", ["0"])
    listing.keep_only("camera", ["90"])
    assert len(listing.records) == 2
    assert listing.left_out == {"camera=0": 2}


def test_the_command_line_knows_every_reader() -> None:
    """By its file's name, without importing it."""
    from lssl.cli.prepare import _sources

    assert _sources() == sorted(READERS)

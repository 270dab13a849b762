"""Folders as people have them: what `prepare` writes and reports."""

import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.data.folder import read_metadata
from lssl.data.prepare import PrepareOptions, prepare
from lssl.errors import LsslError

OPTIONS = PrepareOptions(size=32)


def write(faces, root, names, moods=("happy", "neutral"), shades=None):
    for number, name in enumerate(names):
        for mood in moods:
            path = root / mood / f"{name.format(mood=mood)}.png"
            shade = 120 + 90 * number // max(1, len(names)) if shades is None else shades
            centre = (250 + 7 * (number % 3), 240 - 5 * (number % 4))
            faces.write_photograph(path, centre=centre, shade=shade)
            image = np.array(Image.open(path))
            spots = np.random.default_rng(number).integers(0, 160, (8, 8, 3)).astype(np.uint8)  # no two people alike
            spots = np.asarray(Image.fromarray(spots).resize(image.shape[1::-1], Image.Resampling.BILINEAR))
            Image.fromarray((image // 2 + spots // 2).astype(np.uint8)).save(path)
    return root


def said(report):
    return " | ".join(report.warnings)


def test_the_split_is_of_those_that_are_left(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3", "p4", "p5"])
    everybody = prepare("folder", root, tmp_path / "all", OPTIONS)
    tested = set(read_metadata(tmp_path / "all").split("test").subjects)
    assert everybody.splits == {"train": 8, "test": 2}
    for mood in ("happy", "neutral"):
        (root / mood / f"{min(tested)}.pts").write_text("{\n}")  # the people of the test split
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert report.splits == {"train": 6, "test": 2}
    assert len(report.rejected) == 2
    assert not report.warnings


def test_one_subject_or_one_class_is_said(faces, tmp_path) -> None:
    one = prepare("folder", write(faces, tmp_path / "a", ["p1"]), tmp_path / "one", OPTIONS)
    assert "only one subject (p1), so split test is empty" in said(one)
    root = write(faces, tmp_path / "b", ["p1", "p2", "p3"], moods=("happy",))
    alike = prepare("folder", root, tmp_path / "alike", OPTIONS)
    assert "all faces are of one class (class is 'happy')" in said(alike)
    with pytest.raises(LsslError, match=r"metadata\.csv has no attribute to learn: no column with two values"):
        read_metadata(tmp_path / "alike").schema()
    none = prepare("folder", tmp_path / "b", tmp_path / "none", PrepareOptions(size=32, test_fraction=0))
    assert "no subject is tested (--test-fraction 0)" in said(none)


@pytest.mark.parametrize(
    ("name", "people", "pattern"),
    [
        ("{k:02d}_{mood}", 4, r"([^/]+?)[_ .-][^/_ .-]+\.\w+$"),
        ("Rafd090_{k:02d}_Caucasian_male_{mood}_frontal", 4, r"([^/_ .-]+[_ .-][^/_ .-]+)[_ .-][^/]*$"),
        ("s{k}x{mood}", 4, r"([A-Za-z]*\d+)[^/]*$"),
    ],
)
def test_one_subject_per_picture_is_doubted_and_a_pattern_proposed(faces, tmp_path, name, people, pattern) -> None:
    root = write(faces, tmp_path / "in", [name.replace("{k:02d}", f"{k:02d}").replace("{k}", str(k)) for k in range(4)])
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert "every picture is a subject of its own" in said(report)
    assert f"--subject-pattern '{pattern}' would make {people} subjects" in said(report)
    options = PrepareOptions(size=32, reader={"subject_pattern": pattern})
    again = prepare("folder", root, tmp_path / "again", options)
    assert again.subjects == people
    assert not again.warnings


def test_one_picture_in_both_splits_is_found_also_mirrored(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3", "p4"])
    prepare("folder", root, tmp_path / "out", OPTIONS)
    folder = read_metadata(tmp_path / "out")
    train, test = (folder.split(name).subjects[0] for name in ("train", "test"))
    from lssl.data.landmark_files import read_landmarks, write_pts
    from lssl.data.landmarks import flip_landmarks

    image = Image.open(root / "happy" / f"{train}.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "happy" / f"{test}.png")
    write_pts(
        root / "happy" / f"{test}.pts", flip_landmarks(read_landmarks(root / "happy" / f"{train}.pts"), image.width)
    )
    report = prepare("folder", root, tmp_path / "again", OPTIONS)
    assert f"1 pictures are in both splits, perhaps mirrored (images/happy_{train}.png" in said(report)


@pytest.mark.parametrize(
    "names", [["n/a", "up"], ["../up", "b"], ["a,b", "c"], ["x+y", "k=v"], ["müller", "LIKE"], ["a\nb", "c d"]]
)
def test_any_class_name_survives_the_way_through_the_folder(faces, tmp_path, names) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"], moods=("m0", "m1"))
    import csv

    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "subject", "mood"])
        table.writerows([f"m{k}/p{n}.png", f"p{n}", name] for k, name in enumerate(names) for n in (1, 2, 3))
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert sorted(report.attributes["mood"]) == sorted(names)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_dir() and path.name != "images"]


def test_long_and_decomposed_names(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["a" * 240, "a" * 239 + "b", unicodedata.normalize("NFD", "Müller"), "p4"])
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert (report.rows, report.rejected) == (8, [])
    table = root / "metadata.csv"
    table.write_text("file_name,subject,mood\nhappy/Müller.png,m,happy\nneutral\\p4.PNG,p,sad\n", encoding="utf-8")
    report = prepare("folder", root, tmp_path / "table", OPTIONS)
    assert (report.rows, report.rejected) == (2, [])
    assert report.left_out == {"no row in metadata.csv": 6}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_metadata_table_as_people_save_it(faces, tmp_path, encoding, delimiter) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"])
    rows = [["", "File name", "SUBJECT", "mood", "Unnamed: 4"]]
    rows += [[str(k), f"{mood}/p{k}.png", f"p{k}", mood + "ß", "x"] for k in (1, 2, 3) for mood in ("happy", "neutral")]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (root / "metadata.csv").write_bytes(text.encode(encoding))
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert (report.rows, report.attributes) == (6, {"mood": ["happyß", "neutralß"]})
    (tmp_path / "out" / "metadata.csv").write_bytes(
        (tmp_path / "out" / "metadata.csv").read_text("utf-8").encode(encoding)
    )
    assert read_metadata(tmp_path / "out").columns["mood"][0] == "happyß"


def test_a_metadata_table_in_latin_1_is_named_with_the_fix(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2"])
    (root / "metadata.csv").write_bytes("file_name,subject,mood\nhappy/p1.png,müller,glücklich\n".encode("latin-1"))
    with pytest.raises(LsslError, match=r"metadata\.csv is not UTF-8.*: save it as CSV UTF-8"):
        prepare("folder", root, tmp_path / "out", OPTIONS)
    with pytest.raises(LsslError, match=r"metadata\.csv is not UTF-8.*: save it as CSV UTF-8"):
        read_metadata(root)


def test_unreadable_pictures_are_rejected_with_the_fix_and_others_read(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"])
    (root / "happy" / "clip.MP4").write_bytes(b"\0\0\0\x20ftypisom")
    (root / "happy" / "IMG_1").write_bytes(b"\xff\xd8\xff" + bytes(30))
    Image.open(root / "happy" / "p1.png").save(root / "happy" / "p1.jfif", "JPEG")
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
    frames[0].save(root / "happy" / "moving.gif", save_all=True, append_images=frames[1:])
    (root / "happy" / "moving.pts").write_text((root / "happy" / "p1.pts").read_text())
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert report.rows == 7
    reasons = dict(report.rejected)
    assert "ffmpeg" in reasons["happy/clip.MP4"]
    assert "suffix .jpeg" in reasons["happy/IMG_1"]
    assert "a stack of 2 frames" in reasons["happy/moving.gif"]


def test_few_bits_are_stretched_and_said(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2"])
    grey = np.asarray(Image.open(root / "happy" / "p1.png").convert("L")).astype(np.uint16)
    Image.fromarray(grey * 4).save(root / "happy" / "p1.png")
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert "1 pictures: 10 bits per value stretched to 8" in said(report)
    folder = read_metadata(tmp_path / "out")
    assert folder.columns["note"].count("") == 3
    row = folder.file_names.index("images/happy_p1.png")
    assert np.asarray(Image.open(folder.image_path(row))).mean() > 60


def test_a_folder_inside_its_source_is_refused(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2"])
    with pytest.raises(LsslError, match="lies inside"):
        prepare("folder", root, root / "out", OPTIONS)


@pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")
def test_a_small_a_dark_and_a_tight_face_are_found() -> None:
    astronaut = pytest.importorskip("skimage.data").astronaut()
    points = detect.find_faces(astronaut)[0].landmarks
    unit = float(np.linalg.norm(points[36] - points[45]))
    large = np.full((2000, 2600, 3), 120, np.uint8)
    half = np.asarray(Image.fromarray(astronaut).resize((320, 320)))
    large[300:620, 1500:1820] = half
    dark = np.clip(astronaut * 0.04 + np.random.default_rng(0).normal(0, 0.7, astronaut.shape), 0, 255)
    left, top, right, bottom = (int(v) for v in (*points.min(0), *points.max(0)))
    for image, expected in (
        (large, (points + 0.5) * 320 / 512 - 0.5 + [1500, 300]),
        (dark.astype(np.uint8), points),
        (np.ascontiguousarray(astronaut[top:bottom, left:right]), points - [left, top]),
    ):
        found = detect.find_faces(image)
        assert len(found) == 1
        assert np.linalg.norm(found[0].landmarks - expected, axis=1).mean() < 0.08 * unit
    assert detect.find_faces(np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)) == []


def test_folders_of_splits_are_splits_and_not_classes(faces, tmp_path) -> None:
    write(faces, tmp_path / "in" / "Training", ["p1", "p2"])
    write(faces, tmp_path / "in" / "val", ["q1"])
    report = prepare("folder", tmp_path / "in", tmp_path / "out", OPTIONS)
    assert report.attributes == {"class": ["neutral", "happy"]}
    assert report.splits == {"train": 4, "test": 2}
    assert set(read_metadata(tmp_path / "out").split("test").subjects) == {"q1"}


def test_a_person_whom_the_source_puts_into_both_splits_is_named(faces, tmp_path) -> None:
    write(faces, tmp_path / "in" / "train", ["p1", "p2"])
    write(faces, tmp_path / "in" / "test", ["p2", "p3"])
    report = prepare("folder", tmp_path / "in", tmp_path / "out", OPTIONS)
    assert "1 people (p2) have pictures in both splits" in said(report)


def test_classes_that_differ_in_capitals_alone_are_doubted(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"], moods=("Happy", "happy", "happy "))
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert report.attributes == {"class": ["Happy", "happy"]}
    assert report.rows == 9
    assert "class 'Happy' and 'happy' count as different" in said(report)


def table(faces, root, text, count=4):
    write(faces, root / "x", [f"p{k}" for k in range(count)], moods=("m",))
    for path in sorted((root / "x" / "m").iterdir()):
        path.rename(root / path.name)
    (root / "metadata.csv").write_text(text)
    return root


def test_a_table_with_gaps_and_repetitions_gives_what_it_can(faces, tmp_path) -> None:
    rows = [
        "p0.png,a,happy,Train",
        "p1.png,b,sad,TEST",
        "p2.png,c,,training",
        "p3.png,d,sad,valid",
        "p0.png,a,happy,train",
    ]
    root = table(faces, tmp_path / "in", "\n".join(["file_name,subject,mood,split", *rows, ""]))
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert report.attributes == {"mood": ["happy", "sad"]}
    assert report.splits == {"train": 1, "test": 2}
    assert sorted(report.rejected) == [
        ("p0.png (line 6)", "is in line 2 already"),
        ("p2.png", "no value in column 'mood'"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.xlsx", b"PK\3\4", "a table in this format is not read; save it as metadata.csv"),
        ("metadata.csv", b"PK\3\4\0\0\0", "is a spreadsheet or an archive, not text: save it as CSV UTF-8"),
        ("metadata.csv", b"image,id\na.png,1\n", "has no column 'file_name'; it has: image, id; rename 'image' to it"),
        ("Metadata.CSV", b"image,id\na.png,1\n", "has no column 'file_name'"),
    ],
)
def test_other_tables_are_named_and_not_passed_over(faces, tmp_path, name, content, message) -> None:
    root = write(faces, tmp_path / "in", ["p1"])
    (root / name).write_bytes(content)
    with pytest.raises(LsslError, match=message):
        prepare("folder", root, tmp_path / "out", OPTIONS)


def test_a_folder_of_landmarks_that_fits_no_picture_is_refused(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1"])
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "p1.json").write_text("[]")
    options = PrepareOptions(size=32, landmarks_dir=tmp_path / "points")
    with pytest.raises(LsslError, match=r"points: no landmark file for any of the 2 pictures.* it holds p1\.json"):
        prepare("folder", root, tmp_path / "out", options)


def test_a_blank_picture_gives_no_face(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"])
    Image.new("RGB", Image.open(root / "happy" / "p1.png").size, (9, 9, 9)).save(root / "happy" / "p1.png")
    clear = Image.open(root / "neutral" / "p2.png").convert("RGBA")
    clear.putalpha(0)
    clear.save(root / "neutral" / "p2.png")
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    reasons = dict(report.rejected)
    assert reasons["happy/p1.png"].startswith("nothing but one colour where the face should be")
    assert reasons["neutral/p2.png"] == "every pixel is transparent: save it without transparency"
    assert report.rows == 4


def test_where_nothing_can_be_used_the_first_reason_is_said(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1"], moods=("happy",))
    (root / "happy" / "p1.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    message = (
        r"nothing could be used \(happy/p1\.png: a Git LFS pointer, not the picture: git lfs pull\); all are listed"
    )
    with pytest.raises(LsslError, match=message):
        prepare("folder", root, tmp_path / "out", OPTIONS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not text")
def test_names_that_are_not_utf8_are_read_as_latin_1(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "photographs", ["a", "b", "c"])
    named = os.fsencode(root)
    os.rename(named + b"/happy", named + b"/fr\xf6hlich")
    for suffix in (b".png", b".pts"):
        os.rename(named + b"/neutral/a" + suffix, named + b"/neutral/ren\xe9" + suffix)
    open(named + b"/neutral/z\xfcge.png", "wb").close()
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert report.attributes == {"class": ["neutral", "fröhlich"]}  # neutral is always first
    assert "rené" in read_metadata(tmp_path / "out").subjects
    assert report.rejected == [("neutral/züge.png", "the file is empty")]


def test_a_folder_that_lssl_wrote_keeps_its_attributes(faces, tmp_path) -> None:
    """`visible`, `note` and the like stand in the table of such a folder and are no classes."""
    root = faces.write_folder(tmp_path / "in")
    path = root / "metadata.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},visible", *(f"{row},{'vh'[k % 2]}" for k, row in enumerate(rows))]) + "\n")
    prepare("folder", root, tmp_path / "out", OPTIONS)
    made = read_metadata(tmp_path / "out")
    assert made.attributes == ("expression",)
    assert set(made.columns["visible"]) == {"v", "h"}


def test_a_row_of_landmarks_that_are_no_numbers_is_rejected(faces, tmp_path) -> None:
    root = faces.write_folder(tmp_path / "in")
    points = np.load(root / "landmarks.npy")
    points[3] = np.nan
    np.save(root / "landmarks.npy", points)
    report = prepare("folder", root, tmp_path / "out", OPTIONS)
    assert [reason for _, reason in report.rejected] == ["landmarks.npy has values that are not finite in its row"]
    assert report.rows == len(points) - 1


def test_one_person_under_two_spellings_is_doubted(faces, tmp_path) -> None:
    text = "file_name,subject,mood\np0.png,1,sad\np1.png,01,happy\np2.png,2,sad\np3.png,2.0,happy\n"
    report = prepare("folder", table(faces, tmp_path / "in", text), tmp_path / "out", OPTIONS)
    assert "subjects '01' and '1', and 1 more count as different people" in said(report)
    assert report.subjects == 4
    text = "file_name,subject,mood\np0.png,s3,sad\np1.png,S03,happy\np2.png,s30,sad\np3.png,s300,happy\n"
    (tmp_path / "in" / "metadata.csv").write_text(text)
    report = prepare("folder", tmp_path / "in", tmp_path / "other", OPTIONS)
    assert "subjects 'S03' and 's3' count as different people" in said(report)


def test_cells_that_look_alike_are_one_class_and_missing_values_are_doubted(faces, tmp_path) -> None:
    text = "file_name,subject,mood\np0.png,a,caf\u00e9\np1.png,b,cafe\u0301\u200b\np2.png,c,NaN\np3.png,,sad\n"
    root = table(faces, tmp_path / "in", "")
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    report = prepare("folder", root, tmp_path / "out", PrepareOptions(size=32, attributes=("mood",)))
    assert read_metadata(tmp_path / "out").columns["mood"] == ["caf\u00e9", "caf\u00e9", "NaN", "sad"]
    assert "mood 'NaN' (1 pictures) is taken for a class; leave the cell empty" in said(report)
    assert "1 rows of metadata.csv have no subject" in said(report)


def test_a_name_that_is_not_there_says_which_file_is(faces, tmp_path) -> None:
    text = (
        "file_name,subject,mood\nC:\\data\\p0.png,a,happy\np1,b,sad\n/home/me/P2.PNG,c,sad\np3.png,d,happy\nq,e,sad\n"
    )
    report = prepare("folder", table(faces, tmp_path / "in", text), tmp_path / "out", OPTIONS)
    assert report.rows == 1
    why = "no such file; there is {}: write that in the column file_name"
    assert dict(report.rejected) == {
        "C:\\data\\p0.png": why.format("p0.png"),
        "p1": why.format("p1.png"),
        "/home/me/P2.PNG": why.format("p2.png"),
        "q": "no such file",
    }


def test_what_lssl_wrote_below_the_source_is_not_taken_for_photographs(faces, tmp_path) -> None:
    root = write(faces, tmp_path / "in", ["p1", "p2", "p3"])
    prepare("folder", root, tmp_path / "out", OPTIONS)
    (tmp_path / "out").rename(root / "happy" / "results")
    report = prepare("folder", root, tmp_path / "again", OPTIONS)
    assert report.rows == 6
    assert report.rejected == [("happy/results", "a data set folder that lssl wrote: its pictures are not taken again")]
    with pytest.raises(LsslError, match=r"in is the folder that is read; choose another one"):
        prepare("folder", root, root, OPTIONS)

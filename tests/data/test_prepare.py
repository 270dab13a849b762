import multiprocessing

import numpy as np
import pytest
from PIL import Image

from lssl.data import FaceDataset, read_metadata
from lssl.data import detect as detection
from lssl.data.prepare import PrepareOptions, list_source, prepare, read_rejected, split_subjects
from lssl.data.preview import contact_sheet
from lssl.errors import LsslError


def files_of(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def london(tmp_path_factory, faces):
    root = tmp_path_factory.mktemp("london")
    for subject in range(1, 7):
        for expression in ("neutral", "smiling"):
            path = root / expression / f"{subject:03d}.jpg"
            faces.write_photograph(path, centre=(250 + 3 * subject, 240), shade=140 + 15 * subject)
    return root


def test_photographs_become_a_data_set_folder(london, tmp_path) -> None:
    report = prepare("london", london, tmp_path / "out", PrepareOptions(size=48, test_fraction=0.3))
    assert (report.rows, report.subjects, report.splits) == (12, 6, {"train": 8, "test": 4})
    assert report.attributes == {"expression": ["neutral", "happy"]}
    assert report.rejected == []
    data = FaceDataset(tmp_path / "out", side_channels=3)
    assert data.size == (48, 48)
    by_split = {name: set(data.folder.split(name).subjects) for name in ("train", "test")}
    assert not by_split["train"] & by_split["test"]
    batch = data.batch(list(range(12)))
    # every crop is the same face at the same place
    assert (batch.landmarks - batch.landmarks[0]).abs().max() < 0.3
    x, y = batch.landmarks[0][36:42].mean(0).round().long().tolist()
    assert (batch.image[:, :, y, x] > 0.5).all()
    sheet = contact_sheet(data.folder)
    assert sheet.width > 8 * 160
    assert np.array(sheet).std() > 20


def test_same_bytes_for_any_number_of_processes_and_after_an_interruption(london, tmp_path) -> None:
    options = PrepareOptions(size=32)
    prepare("london", london, tmp_path / "one", options)
    prepare("london", london, tmp_path / "three", options, workers=3)

    def stop_after(results, total, done):
        for number, entry in enumerate(results):
            if number == 5:
                raise KeyboardInterrupt
            yield entry

    with pytest.raises(KeyboardInterrupt):
        prepare("london", london, tmp_path / "torn", options, workers=2, progress=stop_after)
    assert not (tmp_path / "torn" / "metadata.csv").exists()
    seen = {}

    def note(results, total, done):
        seen.update(total=total, done=done)
        return results

    prepare("london", london, tmp_path / "torn", options, progress=note)
    assert seen == {"total": 12, "done": 5}
    expected = files_of(tmp_path / "one")
    assert files_of(tmp_path / "three") == expected
    assert files_of(tmp_path / "torn") == expected
    assert not multiprocessing.active_children()

    seen.clear()
    assert prepare("london", london, tmp_path / "one", options, progress=note).rows == 12
    assert not seen  # finished: nothing is done again
    with pytest.raises(LsslError, match="size: 32 then, 64 now"):
        prepare("london", london, tmp_path / "one", PrepareOptions(size=64))


def test_everything_unusable_is_listed_with_its_reason(tmp_path, faces) -> None:
    root = tmp_path / "faces"
    for name in ("a", "b"):
        for mood in ("happy", "sad"):
            faces.write_photograph(root / mood / f"{name}.png")
    faces.write_photograph(root / "sad" / "truncated.jpg")
    data = (root / "sad" / "truncated.jpg").read_bytes()
    (root / "sad" / "truncated.jpg").write_bytes(data[: len(data) // 2])
    faces.write_photograph(root / "sad" / "few.png")
    (root / "sad" / "few.pts").write_text("version: 1\n{\n1 2\n}\n")
    faces.write_photograph(root / "sad" / "edge.png", centre=(5, 240))
    faces.write_photograph(root / "sad" / "tiny.png", width=10)
    faces.write_photograph(root / "sad" / "text.png")
    (root / "sad" / "text.png").write_text("hello")
    Image.new("RGB", (50, 50)).save(root / "loose.png")

    report = prepare("folder", root, tmp_path / "out", PrepareOptions(size=32), workers=2)
    assert report.rows == 4
    reasons = dict(report.rejected)
    assert reasons["sad/truncated.jpg"] == "the file is truncated"
    assert reasons["sad/few.png"].endswith("has 1 landmarks, expected 68 (iBUG 68-point order)")
    assert "the face is cut off" in reasons["sad/edge.png"]
    assert "too small" in reasons["sad/tiny.png"]
    assert "not a picture" in reasons["sad/text.png"]
    assert "lies in no class folder" in reasons["loose.png"]
    assert len(reasons) == 6
    assert read_rejected(tmp_path / "out") == report.rejected


def test_landmarks_may_lie_in_a_folder_of_their_own(tmp_path, faces) -> None:
    root, points = tmp_path / "faces", tmp_path / "points"
    for mood in ("happy", "sad"):
        for name in "ab":
            faces.write_photograph(root / mood / f"{name}.png")
            (points / mood).mkdir(parents=True, exist_ok=True)
            (root / mood / f"{name}.pts").rename(points / mood / f"{name}.pts")
    options = PrepareOptions(size=32, landmarks_dir=points)
    listing = list_source("folder", root, options)
    assert not any(record.needs_detector for record in listing.records)
    assert prepare("folder", root, tmp_path / "out", options).rows == 4


def test_without_dlib_the_error_comes_before_the_work(tmp_path, faces, monkeypatch) -> None:
    faces.write_photograph(tmp_path / "faces" / "sad" / "a.png")
    (tmp_path / "faces" / "sad" / "a.pts").unlink()
    monkeypatch.setattr(detection, "available", lambda: False)
    with pytest.raises(detection.DetectionError, match=r"1 of 1 pictures have no landmark file.*pip install"):
        prepare("folder", tmp_path / "faces", tmp_path / "out", PrepareOptions())
    assert not (tmp_path / "out").exists()


def test_an_attribute_must_be_there_and_have_two_values(london, tmp_path) -> None:
    with pytest.raises(LsslError, match="no column 'age' to use as an attribute; there are: expression, view"):
        prepare("london", london, tmp_path / "out", PrepareOptions(attributes=("age",)))
    with pytest.raises(LsslError, match="'view' has one class only"):
        prepare("london", london, tmp_path / "out", PrepareOptions(attributes=("view",)))


def test_split_is_deterministic_by_subject_and_stable() -> None:
    subjects = [f"s{k}" for k in range(50)]
    split = split_subjects(subjects, 0.2, 0)
    assert sum(part == "test" for part in split.values()) == 10
    assert split == split_subjects(reversed(subjects * 2), 0.2, 0)
    assert split != split_subjects(subjects, 0.2, 1)
    more = split_subjects([*subjects, "new"], 0.2, 0)
    assert sum(more[name] != split[name] for name in subjects) <= 1
    assert set(split_subjects(subjects, 0, 0).values()) == {"train"}
    assert sorted(split_subjects(["a", "b"], 0.01, 0).values()) == ["test", "train"]


def test_helen_crops_masks_with_the_pictures(tmp_path) -> None:
    root = tmp_path / "helen"
    for name in ("1_1", "2_1"):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "labels" / name).mkdir(parents=True)
        maps = np.zeros((11, 200, 200), np.uint8)
        maps[0] = 100
        maps[1, 30:180, 40:160] = 200
        maps[4, 70:78, 60:84], maps[5, 70:78, 116:140] = 255, 255
        maps[7, 120:128, 80:120], maps[9, 128:140, 80:120] = 255, 255
        for k, values in enumerate(maps):
            Image.fromarray(values).save(root / "labels" / name / f"{name}_lbl{k:02d}.png")
        picture = np.where((maps[4] + maps[5] > 0)[..., None], [10, 20, 250], [200, 160, 130]).astype(np.uint8)
        Image.fromarray(picture).save(root / "images" / f"{name}.jpg", quality=95)
    report = prepare("helen", root, tmp_path / "out", PrepareOptions(size=64, test_fraction=0.5))
    assert report.rows == 2
    folder = read_metadata(tmp_path / "out")
    assert folder.has_masks
    assert folder.landmarks is None
    with Image.open(folder.image_path(0)) as image, Image.open(folder.mask_path(0)) as mask:
        blue = np.array(image)[..., 2] > 200
        assert (blue == (np.array(mask) == 3)).mean() > 0.99
        assert (np.array(mask) == 2).any()

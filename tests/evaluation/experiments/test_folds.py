"""Folds are by subject, the same for a seed; a folder that cannot be evaluated is refused before any work."""

import re

import pytest
from PIL import Image

from lssl.data import read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments.folds import (
    check_faces,
    choose_folds,
    given_split,
    limit_subjects,
    rows_of,
    subject_folds,
)


def test_each_subject_is_tested_once_and_never_where_it_is_trained_on():
    names = [f"p{k}" for k in range(23)]
    folds = subject_folds(names * 3, 5, seed=4)
    assert sorted(name for fold in folds for name in fold.test) == sorted(names)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert sorted(fold.train + fold.test) == sorted(names)
        assert len(fold.test) in (4, 5)
    assert folds == subject_folds(reversed(names), 5, seed=4)
    assert folds != subject_folds(names, 5, seed=5)


def test_too_few_subjects_for_the_folds():
    with pytest.raises(LsslError, match="5 folds of 3 subjects"):
        subject_folds(["a", "b", "c"], 5, seed=0)


def test_fewer_people_leave_the_tested_ones_alone():
    fold = subject_folds([f"p{k}" for k in range(20)], 4, seed=0)[1]
    few = limit_subjects(fold, 5)
    assert few.test == fold.test
    assert len(few.train) == 5
    assert set(few.train) < set(limit_subjects(fold, 9).train) < set(fold.train)
    assert limit_subjects(fold, 0) == fold


def test_one_fold_is_the_folders_split(folder):
    (fold,) = choose_folds(folder, 1, seed=0)
    assert fold.test == ("s06", "s07")
    part = rows_of(folder, fold.test, "test")
    assert set(part.subjects) == {"s06", "s07"}
    assert set(part.splits) == {"test"}


def edited(faces, tmp_path, edit):
    import shutil

    root = tmp_path / "edited"
    shutil.copytree(faces, root)
    path = root / "metadata.csv"
    path.write_text(edit(path.read_text()))
    return root


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda text: text.replace(",test,", ",train,"), LsslError, "no row with split 'test'"),
        (lambda text: text.replace("s07,test,sad", "s07,train,sad"), LsslError, "'s07' is in split train and in"),
        (lambda text: re.sub(r",s\d\d,", ",,", text), LsslError, "has no subject|in split train and in split test"),
        (lambda text: text.replace(",happy", ",neutral").replace(",sad", ",neutral"), LsslError, "one class only"),
        (lambda text: re.sub(r"train,sad", "train,happy", text), LsslError, "training subjects of fold 0 none has"),
    ],
)
def test_what_is_wrong_is_named(faces, tmp_path, edit, error, message):
    root = edited(faces, tmp_path, edit)
    folder = read_metadata(root, attributes=["expression"])
    with pytest.raises(error, match=message):
        check_faces(folder, "expression", choose_folds(folder, 1, seed=0))


def test_a_row_without_a_subject_is_named(faces, tmp_path):
    root = edited(faces, tmp_path, lambda text: text.replace("s00,train,happy", ",train,happy"))
    folder = read_metadata(root)
    with pytest.raises(LsslError, match=r"metadata\.csv: images/\w+\.png has no subject \(1 such rows\)"):
        check_faces(folder, "expression", subject_folds(folder.subjects, 2, 0))


def test_a_missing_column_and_an_unreadable_picture_are_named(faces, tmp_path):
    root = edited(faces, tmp_path, lambda text: text)
    folder = read_metadata(root)
    with pytest.raises(LsslError, match="no column 'age'; it has: expression"):
        check_faces(folder, "age", [given_split(folder)])
    whole = (root / "images" / "03_sad.png").read_bytes()
    (root / "images" / "03_sad.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LsslError, match=r"03_sad\.png"):
        check_faces(folder, "expression", [given_split(folder)])
    Image.new("RGB", (16, 32)).save(root / "images" / "03_sad.png")
    with pytest.raises(LsslError, match=r"03_sad\.png is 16x32"):
        check_faces(folder, "expression", [given_split(folder)])

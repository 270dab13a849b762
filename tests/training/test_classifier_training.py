"""The classifier learns what can be learnt, nothing from shuffled labels, and the same for equal seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data import read_metadata
from lssl.errors import LsslError
from lssl.training.classifier_training import (
    ClassifierConfig,
    labelled_faces,
    predict_faces,
    subject_split,
    train_classifier,
)

CONFIG = ClassifierConfig(iterations=40, batch_size=16, jitter=0.2)


def write_faces(root, subjects=12, column="expression"):
    """Noisy squares, a bright bar high (happy) or low (neutral)."""
    chance = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows = [f"file_name,subject,split,{column}"]
    for subject in range(subjects):
        for k, value in enumerate(("neutral", "happy")):
            pixels = chance.integers(0, 160, (32, 32, 3), dtype=np.uint8)
            pixels[6 + 14 * k : 11 + 14 * k, 6:26] = 250
            name = f"images/{subject}_{k}.png"
            Image.fromarray(pixels).save(root / name)
            rows.append(f"{name},s{subject},{'test' if subject >= subjects - 4 else 'train'},{value}")
    (root / "metadata.csv").write_text("\n".join(rows) + "\n")
    return read_metadata(root, attributes=[column])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("classifier") / "faces")


def accuracy(result, faces):
    true, predicted = predict_faces(result.classifier, faces)
    return float((true == predicted).float().mean())


def test_it_recognises_people_it_has_not_seen(folder):
    train, test = subject_split(folder)
    assert not set(train.subjects) & set(test.subjects)
    learn = labelled_faces(train, "expression")
    result = train_classifier(learn, CONFIG)
    assert result.classifier.classes == ("neutral", "happy")
    assert accuracy(result, labelled_faces(test, "expression", group=learn.schema.groups[0])) == 1


def test_shuffled_labels_teach_nothing(folder):
    train, test = subject_split(folder)
    chance = np.random.default_rng(2)
    right = []
    for _ in range(3):
        order = chance.permutation(len(train))
        shuffled = replace(train, columns={"expression": [train.columns["expression"][k] for k in order]})
        learn = labelled_faces(shuffled, "expression")
        result = train_classifier(learn, CONFIG)
        right.append(accuracy(result, labelled_faces(test, "expression", group=learn.schema.groups[0])))
    assert 0.2 < np.mean(right) < 0.8


def test_same_seed_same_weights_and_the_callers_randomness_is_untouched(folder):
    faces = labelled_faces(folder, "expression")
    config = replace(CONFIG, iterations=4)
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    first = train_classifier(faces, config).classifier.state_dict()
    assert torch.equal(before, torch.rand(1))
    second = train_classifier(faces, config).classifier.state_dict()
    other = train_classifier(faces, replace(config, seed=5)).classifier.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_synthesized_faces_fill_their_share_of_each_batch(folder, monkeypatch):
    faces, synthetic = labelled_faces(folder, "expression"), labelled_faces(folder, "expression")
    drawn = {"real": 0, "synthetic": 0}
    for name, data in (("real", faces), ("synthetic", synthetic)):

        def counted(rows, *, flip=None, name=name, batch=data.batch):
            drawn[name] += len(rows)
            return batch(rows, flip=flip)

        monkeypatch.setattr(data, "batch", counted)
    train_classifier(faces, replace(CONFIG, iterations=3, synthetic_share=0.25), synthetic=synthetic)
    assert drawn == {"real": 36, "synthetic": 12}


@pytest.mark.parametrize(("column", "mirrored"), [("expression", True), ("yaw", False)])
def test_only_what_a_mirror_leaves_is_mirrored(tmp_path, column, mirrored):
    faces = labelled_faces(write_faces(tmp_path / "faces", 4, column), column)
    asked = []
    batch = faces.batch
    faces.batch = lambda rows, *, flip=None: (asked.append(flip), batch(rows, flip=flip))[1]
    train_classifier(faces, replace(CONFIG, iterations=2))
    assert all((flip is not None) == mirrored for flip in asked)


def test_what_is_wrong_is_named(folder):
    with pytest.raises(LsslError, match="no column 'age'; it has: expression"):
        labelled_faces(folder, "age")
    train, test = subject_split(folder)
    group = labelled_faces(train, "expression").schema.groups[0]
    with pytest.raises(LsslError, match="one class only"):
        labelled_faces(train.select(train.rows_where(expression="happy")), "expression")
    happy = labelled_faces(train.select(train.rows_where(expression="happy")), "expression", group=group)
    with pytest.raises(LsslError, match="no training face has expression 'neutral'"):
        train_classifier(happy, CONFIG)
    mixed = replace(folder, splits=["train", "test"] * (len(folder) // 2))
    with pytest.raises(LsslError, match="is in split train and in split test"):
        subject_split(mixed)


def test_without_a_test_split_people_are_held_out(folder):
    train, test = subject_split(replace(folder, splits=["train"] * len(folder)))
    assert len(set(test.subjects)) == 2
    assert not set(train.subjects) & set(test.subjects)

"""Neutral photographs moved to every class: what is made of whom, and that nobody tested is among them."""

from dataclasses import replace

import numpy as np
import pytest

from lssl.data import AttributeGroup, read_metadata
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.evaluation.experiments import domain_adaptation, moved_people
from lssl.evaluation.experiments.domain_adaptation_report import evaluate_domain_adaptation
from lssl.evaluation.experiments.moved_people import MOVED, check_moved, write_moved
from lssl.face3d.builtin import load_face_model, model_stamp
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.inference.model_edit import ModelEditor
from lssl.training.config import TrainConfig

from .test_domain_adaptation import TINY

CLASSES = AttributeGroup("expression", ("happy", "neutral"))


@pytest.fixture(scope="module")
def editor():
    return ModelEditor.load()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("moved") / "faces"
    config = GenerateConfig(4, CLASSES.values, size=32, seed=0)
    model = load_face_model("ict")
    stamp = model_stamp("ict", model)
    write_generated(out, FaceGenerator(model, config), model=stamp, overwrite=False, progress=False)
    return out


def test_each_neutral_photograph_is_moved_and_keeps_its_person(editor, root, tmp_path):
    people = read_metadata(root)
    neutral = people.rows_where(expression="neutral")
    made = write_moved(editor, people, CLASSES, tmp_path / "out", versions=2)
    assert len(made) == 2 * 2 * len(neutral)
    assert set(made.subjects) == set(people.subjects)
    assert set(made.columns["made_from"]) == {people.file_names[row] for row in neutral}
    for row in range(len(made)):
        before = read_image(people.image_path(people.file_names.index(made.columns["made_from"][row])))
        changed = np.abs(read_image(made.image_path(row)).astype(int) - before).max()
        assert (changed == 0) == (made.columns["expression"][row] == "neutral")


def test_it_goes_on_where_it_stopped(editor, root, tmp_path, monkeypatch):
    people = read_metadata(root)
    whole = write_moved(editor, people, CLASSES, tmp_path / "whole")
    real, calls = moved_people._moved, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(moved_people, "_moved", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_moved(editor, people, CLASSES, tmp_path / "out")
    monkeypatch.undo()
    again = write_moved(editor, people, CLASSES, tmp_path / "out")
    assert again.file_names == whole.file_names
    assert all(again.image_path(k).read_bytes() == whole.image_path(k).read_bytes() for k in range(len(whole)))


def test_what_cannot_be_moved_is_refused(editor, root):
    people = read_metadata(root)
    with pytest.raises(LsslError, match="the 3D edit has no expression 'winking'"):
        check_moved(editor, people, AttributeGroup("expression", ("neutral", "winking")))
    with pytest.raises(LsslError, match="where the 3D edit begins"):
        check_moved(editor, people, AttributeGroup("expression", ("happy", "sad")))
    with pytest.raises(LsslError, match=r"no landmarks\.npy"):
        check_moved(editor, replace(people, landmarks=None), CLASSES)


def test_a_fold_moves_its_own_training_people_alone(settings, root, tmp_path, monkeypatch):
    classify, seen = domain_adaptation.classifiers, []

    def taught(experiment, fold, judge, synthetic, repeats, out, *, real):
        shown = {*real.subjects, *(synthetic.subjects if synthetic is not None else ())}
        assert not shown & set(fold.test)
        seen.append((fold.number, shown))
        return classify(experiment, fold, judge, synthetic, repeats, out, real=real)

    monkeypatch.setattr(domain_adaptation, "classifiers", taught)
    given = replace(settings, data=root, training=TrainConfig.preset("simgan").with_overrides(TINY))
    report = evaluate_domain_adaptation(given, tmp_path / "out", "command", simulated=MOVED, few=[1])
    assert [row[0] for row in report.tables[0].rows][:2] == ["simulated", "made real by lssl"]
    for number, fold in enumerate(report.results["folds"]):
        assert (number, set(fold["train"])) in seen

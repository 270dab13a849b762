"""Transfer on known answers: what the report says of a perfect generator and of one that does nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect, read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments.experiment import accuracy, over_folds
from lssl.evaluation.experiments.transfer import measure, measure_identity, own_middle, transfer, transfer_grid
from lssl.evaluation.experiments.transfer_report import accuracy_table, evaluate_transfer, relative_table
from lssl.models.classifier import save_classifier
from lssl.models.export import save_generator
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, train_classifier


@pytest.fixture(scope="module")
def judge(folder):
    faces = labelled_faces(folder.split("train"), "expression")
    return train_classifier(faces, ClassifierConfig(iterations=60, batch_size=16, jitter=0.2)).classifier


@pytest.fixture
def no_dlib(monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)


def test_a_perfect_generator_is_recognised_and_changes_nothing_else(folder, judge, painter):
    result = transfer(painter, folder.split("test"), "expression", batch_size=4)
    figures = measure(judge, result, identities=False)
    assert accuracy(figures["real"]) == accuracy(figures["changed"]) == accuracy(figures["kept"]) == 100
    assert figures["ssim"] == pytest.approx(1)
    assert np.sum(figures["real"]) == 6
    assert np.sum(figures["changed"]) == 12
    assert np.array(figures["changed"]).sum(1).tolist() == [4, 4, 4]
    beside = figures["relative"]
    assert accuracy(beside["real"]) == accuracy(beside["changed"]) == accuracy(beside["kept"]) == 100
    assert beside["people"] == 2
    assert np.sum(beside["changed"]) == 12


def test_a_generator_that_ignores_the_target_is_found_out(folder, judge, copier):
    figures = measure(judge, transfer(copier, folder.split("test"), "expression"), identities=False)
    assert accuracy(figures["changed"]) == accuracy(figures["relative"]["changed"]) == 0
    assert accuracy(figures["kept"]) == accuracy(figures["relative"]["kept"]) == 100


def test_compared_with_a_persons_own_faces_the_face_at_rest_does_not_count():
    people, classes = ["a", "a", "a", "b", "b", "c"], np.array([0, 1, 1, 0, 1, 0])
    at_rest = np.array([[0.0, 5.0]] * 3 + [[4.0, 0.0]] * 2 + [[0.0, 0.0]])
    values = at_rest + 2.0 * np.eye(2)[classes]
    assert (values.argmax(1) == classes).tolist() == [False, True, True, True, False, True]
    middle = own_middle(values, classes, people)
    assert ((values - middle).argmax(1) == classes)[:5].all()
    assert np.allclose(middle[:3], [1.0, 6.0])  # classes count alike, however many faces they have
    assert np.isnan(middle[5]).all()  # no face of the second class


def test_nobody_with_a_face_of_every_class_means_no_comparison_beside(folder, judge, painter):
    test = folder.split("test")
    lone = test.select(
        [row for row, value in enumerate(test.columns["expression"]) if value == test.columns["expression"][0]]
    )
    figures = measure(judge, transfer(painter, lone, "expression"), identities=False)
    assert figures["relative"] is None
    assert relative_table([figures]) is None


def test_a_face_that_is_not_recognised_has_a_red_frame(folder, judge, copier, painter):
    test = folder.split("test")

    def red(grid):
        return int(((grid[..., 0] > 200) & (grid[..., 1] < 60) & (grid[..., 2] < 60)).sum())

    assert red(transfer_grid(judge, transfer(painter, test, "expression"))) == 0
    assert red(transfer_grid(judge, transfer(copier, test, "expression"))) > 0


def test_identity_compares_each_face_with_its_own_translation(folder, painter, monkeypatch):
    monkeypatch.setattr(detect, "identity_embedding", lambda images, points: images[:, :1, :1].reshape(len(images), 3))
    result = transfer(painter, folder.split("test"), "expression")
    distances = measure_identity(result)
    assert len(distances["changed"]) == 12
    assert max(distances["changed"]) == 0
    assert max(distances["same"]) == 0
    assert len(distances["same"]) == 6
    assert min(distances["different"]) > 0
    result.pictures[:, :] = result.pictures[::-1]
    assert min(measure_identity(result)["changed"]) > 0


def test_mean_and_deviation_over_folds():
    assert over_folds([80.0]) == 80.0
    assert over_folds([80.0, 90.0]) == pytest.approx((85.0, 50**0.5))


def test_folds_reports_and_a_killed_run_that_goes_on(settings, tmp_path, monkeypatch, no_dlib):
    whole = evaluate_transfer(settings, tmp_path / "whole", "command")
    for name in ("report.html", "results.csv", "results.json"):
        assert (tmp_path / "whole" / name).is_file()
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert sorted(results["folds"][0]["test"] + results["folds"][1]["test"]) == [f"s{k:02d}" for k in range(8)]
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Table 2" not in page
    assert "pip install" in page
    assert "The generator was trained here" in page

    from lssl.evaluation.experiments import transfer_report

    measured = []

    def killed(*arguments, **options):
        measured.append(1)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(transfer_report, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate_transfer(settings, tmp_path / "torn", "command")
    again = evaluate_transfer(settings, tmp_path / "torn", "command")
    assert len(measured) == 3
    assert [table.rows for table in again.tables] == [table.rows for table in whole.tables]


def test_portraits_can_be_left_out(settings, tmp_path, monkeypatch, no_dlib):
    from lssl.evaluation.experiments import transfer_report

    def asked(*arguments, **options):
        raise AssertionError("portraits were made")

    monkeypatch.setattr(transfer_report, "gather_portraits", asked)
    report = evaluate_transfer(settings, tmp_path / "without", "command", portraits=False)
    assert "Two-sample test" not in [table.title for table in report.tables]
    with pytest.raises(AssertionError, match="portraits were made"):
        evaluate_transfer(settings, tmp_path / "with", "command")


def test_the_papers_figures_stand_beside_the_papers_data_only(settings, tmp_path, no_dlib, monkeypatch):
    from lssl.evaluation.experiments.experiment import open_experiment

    experiment = open_experiment("transfer", settings, tmp_path / "out")
    matrix = [[2, 0, 0], [0, 2, 0], [1, 0, 1]]
    results = [{"real": matrix, "changed": matrix, "kept": matrix}] * 2
    assert len(accuracy_table(experiment, results).rows) == 4
    experiment.folder.info["source"] = "mug"
    rows = accuracy_table(experiment, results).rows
    assert ["Table 2, MUG: LSSL", None, 90.35] in rows
    assert rows[0][2] == pytest.approx((500 / 6, 0))


def test_a_given_model_must_fit_and_must_not_have_seen_the_tested(settings, tmp_path, painter, judge, no_dlib):
    from lssl.data import AttributeGroup, AttributeSchema
    from lssl.models import Generator
    from lssl.models.export import TrainedGenerator

    def saved(name, values, **info):
        schema = AttributeSchema((AttributeGroup("expression", values),))
        network = Generator(len(values), side_channels=0, width=4, num_downsamplings=2, residual_blocks=1)
        save_generator(tmp_path / name, TrainedGenerator(network, schema, 32, info=info))
        return tmp_path / name

    one = replace(settings, folds=1)
    good = saved("good.safetensors", ("neutral", "happy", "sad"), subjects=["s00", "s01"])
    with pytest.raises(LsslError, match="--folds 1"):
        evaluate_transfer(settings, tmp_path / "a", "", model_path=good)
    seen = saved("seen.safetensors", ("neutral", "happy", "sad"), subjects=["s00", "s07"])
    with pytest.raises(LsslError, match="trained on 1 of the people who are tested here"):
        evaluate_transfer(one, tmp_path / "b", "", model_path=seen)
    other = saved("other.safetensors", ("happy", "sad"))
    with pytest.raises(LsslError, match="has the classes happy, sad, but"):
        evaluate_transfer(one, tmp_path / "c", "", model_path=other)
    judge.info["subjects"] = ["s00"]
    save_classifier(tmp_path / "judge.safetensors", judge)
    report = evaluate_transfer(
        one, tmp_path / "d", "", model_path=good, judge_path=tmp_path / "judge.safetensors", overwrite=True
    )
    assert report.tables[0].title == "Two-sample test"
    assert next(t for t in report.tables if t.title == "Recognised by a classifier of real faces").rows[0][2] == 100


@pytest.mark.parametrize("values", [("neutral", "happy", "sad"), ("neutral",)])
def test_with_both_given_test_faces_alone_are_enough(settings, tmp_path, judge, no_dlib, values):
    from lssl.data import AttributeGroup, AttributeSchema, FaceFolderWriter, FaceRow
    from lssl.models import Generator
    from lssl.models.export import TrainedGenerator

    source = read_metadata(settings.data)
    rows = [row for row in source.rows_where(split="test") if source.columns["expression"][row] in values]
    writer = FaceFolderWriter(tmp_path / "tested", attributes=["expression"], settings={})
    for row in rows:
        image = np.asarray(Image.open(source.image_path(row)).convert("RGB"))
        labels = {"expression": source.columns["expression"][row]}
        writer.add(FaceRow(Path(source.file_names[row]).stem, image, source.subjects[row], "test", labels))
    writer.finish()
    schema = AttributeSchema((AttributeGroup("expression", ("neutral", "happy", "sad")),))
    network = Generator(3, side_channels=0, width=4, num_downsamplings=2, residual_blocks=1)
    save_generator(tmp_path / "model.safetensors", TrainedGenerator(network, schema, 32, info={"subjects": ["other"]}))
    judge.info["subjects"] = ["other"]
    save_classifier(tmp_path / "judge.safetensors", judge)
    alone = replace(settings, data=tmp_path / "tested", folds=1)
    report = evaluate_transfer(
        alone,
        tmp_path / "out",
        "",
        model_path=tmp_path / "model.safetensors",
        judge_path=tmp_path / "judge.safetensors",
    )
    recognised = next(t for t in report.tables if t.title == "Recognised by a classifier of real faces")
    assert recognised.rows[0][1] == len(rows)
    with pytest.raises(LsslError, match="no row with split 'train'"):
        evaluate_transfer(alone, tmp_path / "trains", "", judge_path=tmp_path / "judge.safetensors")

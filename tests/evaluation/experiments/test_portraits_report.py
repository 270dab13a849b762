"""Portraits judged, from the folder to the report: a generator that knows the answer, and one that changes nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lssl.data import detect
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.errors import LsslError
from lssl.evaluation.experiments.portraits import gather_portraits, photographs_of, prepare_portraits
from lssl.evaluation.experiments.portraits_report import measure_portraits, portrait_tables
from lssl.evaluation.experiments.run_report import learnt_table, verdict, write_run_report
from lssl.evaluation.measures.portraits import FacePicture
from lssl.models.export import TrainedGenerator


@pytest.fixture(autouse=True)
def no_dlib(monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)


def unseen(folder):
    return sorted(set(folder.split("test").subjects))


def test_each_tested_person_is_shown_once_in_every_other_class(folder, painter):
    judged = gather_portraits(painter, folder, "expression", unseen(folder))
    assert sorted((p.subject, p.label) for p in judged.made) == [
        (subject, label) for subject in unseen(folder) for label in ("happy", "sad")
    ]
    assert {p.label for p in judged.before} == {"happy", "sad"}  # the class asked for; they show the plain one
    assert len(judged.real) == len(folder)
    for picture, copy in zip(judged.real, judged.written, strict=True):
        assert np.array_equal(picture.image, copy.image)  # crops that are judged as they are leave no trace


def test_faces_are_changed_to_every_class_where_none_is_plain(folder, painter):
    names = {"neutral": "resting", "happy": "grin", "sad": "sulk"}
    renamed = [names[value] for value in folder.columns["expression"]]
    folder = replace(folder, columns={**folder.columns, "expression": renamed})
    schema = AttributeSchema((AttributeGroup("expression", tuple(names.values())),))
    model = TrainedGenerator(painter.network, schema, painter.image_size)
    judged = gather_portraits(model, folder, "expression", unseen(folder))
    first, second = unseen(folder)
    made = {subject: {p.label for p in judged.made if p.subject == subject} for subject in (first, second)}
    assert made == {first: {"grin", "sulk"}, second: {"resting", "sulk"}}


def test_a_run_report_tells_a_painter_from_a_copier(folder, painter, copier, tmp_path):
    for name, model in (("painter", painter), ("copier", copier)):
        report = write_run_report(tmp_path / name, model, folder, command="lssl train")
        assert [table.title for table in report.tables][:2] == ["What was learnt", "Two-sample test"]
        figures = json.loads((tmp_path / name / "results.json").read_text())["portraits"]
        worst = min(judge["made"] for judge in figures["judges"])
        assert figures["people"] == 2
        assert (worst > 90) if name == "painter" else (worst < 10)
        assert (tmp_path / name / "judged" / "sheet-happy.jpg").is_file()
        page = (tmp_path / name / "report.html").read_text()
        assert "not learnt" in page if name == "copier" else "not learnt" not in page


def test_the_verdict_follows_the_figures():
    fine = {"lift": 1.0, "opening": 0.9, "brows": None}
    assert verdict(0.6, [(95, 90), (99, 90)], fine) == "learnt"
    assert "opening" in verdict(0.6, [(95, 90), (99, 90)], {**fine, "opening": 3.0})
    assert verdict(0.99, [(40, 90), (92, 90)], fine).startswith("painted")
    assert verdict(0.99, [(5, 90), (12, 90)], fine).startswith("not learnt")
    half = "half learnt: recognised in 60% by the best judge (real ones 90%)"
    assert verdict(0.99, [(5, 90), (60, 90)], fine) == half
    assert verdict(0.97, [(90, 90), (99, 90)], fine).startswith("recognised")
    assert verdict(0.85, [(90, 90), (99, 90)], fine).startswith("nearly")


def test_no_more_is_asked_of_made_faces_than_judges_recognise_of_real_ones():
    assert verdict(0.6, [(62, 60), (90, 90)], {}) == "learnt"
    assert verdict(0.6, [(58, 60), (90, 90)], {}).startswith("painted")
    assert verdict(0.6, [(45, 30)], {}).startswith("unknown: the judges do not recognise real ones either (30%)")
    assert verdict(0.6, [(45, 60)], {}).startswith("not learnt")


def test_tables_of_several_folds_show_means(folder, painter):
    one = measure_portraits(gather_portraits(painter, folder, "expression", unseen(folder)))
    tables = portrait_tables([one, one])
    assert tables[0].title == "Two-sample test"
    row = dict(zip(tables[2].header, tables[2].rows[0], strict=True))
    assert row["made"] == (pytest.approx(one["judges"][0]["made"]), 0)
    assert learnt_table(one).rows[0][0] == "happy"
    assert set(one["judges"][0]["real_by_class"]) == set(one["judges"][0]["by_class"])


def test_photographs_are_known_only_where_they_are(folder):
    assert photographs_of(folder) is None


def test_a_picture_that_does_not_lie_on_its_photograph_is_refused(folder):
    points = np.zeros((68, 2), np.float32)
    made = FacePicture("p", "happy", np.zeros((64, 64, 3), np.uint8), points)
    before = FacePicture("p", "happy", np.zeros((64, 96, 3), np.uint8), points)
    with pytest.raises(LsslError, match="64x64"):
        prepare_portraits([made], [before], [before])
    with pytest.raises(LsslError, match="no made picture"):
        prepare_portraits([], [], [before])


def test_the_two_sample_test_alone_sees_made_pictures_as_files(folder, painter):
    judged = gather_portraits(painter, folder, "expression", unseen(folder))
    black = [replace(made, image=made.image * 0) for made in judged.made]
    filed = prepare_portraits(judged.made, judged.before, judged.real, stored=black)
    as_they_are, as_files = measure_portraits(judged), measure_portraits(filed)
    assert as_files["judges"] == as_they_are["judges"]
    assert as_files["movement"] == as_they_are["movement"]
    assert {entry["area"] for entry in as_files["two_sample"]} == {1.0}
    assert as_files["two_sample"] != as_they_are["two_sample"]


def test_of_generated_faces_the_vertices_own_movement_is_shown(folder, painter):
    generated = replace(folder, info={"settings": {"source": "generate-faces"}})
    judged = gather_portraits(painter, generated, "expression", unseen(folder))
    assert len(judged.geometry) >= len(judged.made)
    for made, own in zip(judged.made, judged.own, strict=True):
        assert own is not None
        assert (own.subject, own.label) == (made.subject, made.label)
    table = next(t for t in portrait_tables([measure_portraits(judged)]) if t.title == "Movement")
    assert table.header == ["moved", "made", "real", "vertices", "ratio", "people"]
    # Without dlib the real pictures' landmarks are the geometry itself.
    for row in table.rows:
        assert row[2] == pytest.approx(row[3], abs=1e-5)

"""Domain adaptation: what is compared; neither real labels nor tested people are seen."""

import shutil
from dataclasses import replace

import pytest

from lssl.data import read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments import domain_adaptation
from lssl.evaluation.experiments.domain_adaptation import arms, open_simulated, write_simulated, write_unlabelled
from lssl.evaluation.experiments.domain_adaptation_report import conclusion, evaluate_domain_adaptation
from lssl.evaluation.experiments.experiment import open_experiment
from lssl.training.config import TrainConfig

from ..conftest import VALUES, write_faces

TINY = {
    "network.width": 4,
    "network.critic_width": 4,
    "network.refiner_blocks": 1,
    "warm_up.refiner": 1,
    "warm_up.updates": 1,
    "schedule.iterations": 2,
    "schedule.batch_size": 4,
    "output.sample_faces": 2,
}


@pytest.fixture
def adapting(settings):
    return replace(settings, training=TrainConfig.preset("simgan").with_overrides(TINY))


@pytest.fixture
def drawn(tmp_path):
    return write_faces(tmp_path / "drawn", subjects=3)


def test_every_arm_is_compared_over_folds_and_a_stopped_one_goes_on(adapting, drawn, tmp_path):
    options = {"simulated": drawn, "refiners": ["lssl", "simgan"], "few": [2]}
    whole = evaluate_domain_adaptation(adapting, tmp_path / "whole", "command", **options)
    table = whole.tables[0]
    assert [row[0] for row in table.rows] == [
        "simulated",
        "made real by lssl",
        "made real by simgan",
        "real faces of 2 people",
        "simulated + real faces of 2 people",
        "made real by lssl + real faces of 2 people",
        "made real by simgan + real faces of 2 people",
        "real faces of all training people",
    ]
    assert len(whole.conclusions) == 4
    assert "made real by lssl" in (tmp_path / "whole" / "report.html").read_text()
    for fold, result in zip(whole.results["folds"], whole.results["fold_results"], strict=True):
        assert set(result["people"]["simulated"]) == set(fold["test"])

    state = tmp_path / "whole" / "state"
    (state / "fold-01-simgan.json").unlink()  # as if it had been stopped there
    shutil.rmtree(state / "fold-01" / "simgan-faces")
    shutil.rmtree(state / "fold-01" / "classifiers-simgan")
    again = evaluate_domain_adaptation(adapting, tmp_path / "whole", "command", **options)
    assert again.tables[0].rows == table.rows


def test_refiners_and_classifiers_see_nobody_who_is_tested(adapting, drawn, tmp_path, monkeypatch):
    train, classify = domain_adaptation.train_fold_generator, domain_adaptation.classifiers
    seen = []

    def watched(config, faces, *arguments, **options):
        real = read_metadata(config.settings.pose.real_faces)
        assert not real.attributes
        assert "expression" not in real.columns
        model = train(config, faces, *arguments, **options)
        assert set(model.info["subjects"]) == set(real.subjects) | set(faces.subjects)
        seen.append(set(model.info["subjects"]))
        return model

    def taught(experiment, fold, judge, synthetic, repeats, out, *, real):
        assert not set(fold.test) & {*real.subjects, *(synthetic.subjects if synthetic is not None else ())}
        return classify(experiment, fold, judge, synthetic, repeats, out, real=real)

    monkeypatch.setattr(domain_adaptation, "train_fold_generator", watched)
    monkeypatch.setattr(domain_adaptation, "classifiers", taught)
    report = evaluate_domain_adaptation(adapting, tmp_path / "out", "command", simulated=drawn, few=[2])
    for fold, subjects in zip(report.results["folds"], seen, strict=True):
        assert not subjects & set(fold["test"])
        assert subjects >= set(fold["train"])
    assert all(name.startswith("simulated-") for name in set.union(*seen) if not name.startswith("s0"))

    def everybody(experiment, fold):
        return experiment.folder

    monkeypatch.setattr(domain_adaptation.Experiment, "train_rows", everybody)
    with pytest.raises(LsslError, match="who is tested in fold 0"):
        evaluate_domain_adaptation(adapting, tmp_path / "leak", "command", simulated=drawn, few=[])


def test_what_cannot_be_compared_is_refused_before_work(adapting, folder, tmp_path, drawn):
    experiment = open_experiment("domain-adaptation", adapting, tmp_path / "out")
    with pytest.raises(LsslError, match="no simulated face has expression 'sad'"):
        open_simulated(write_faces(tmp_path / "two", 2, VALUES[:2]), folder, experiment.group)
    with pytest.raises(LsslError, match="give fewer"):
        evaluate_domain_adaptation(adapting, tmp_path / "other", "command", simulated=drawn, few=[4])
    strange = replace(experiment.group, values=("neutral", "winking"))
    with pytest.raises(LsslError, match="no expression 'winking'"):
        write_simulated(tmp_path / "drawn-too", strange, 32, model="embedded", people=2, seed=0)


def test_simulated_faces_are_drawn_with_the_classes_and_size_of_the_real_ones(folder, tmp_path, adapting):
    experiment = open_experiment("domain-adaptation", adapting, tmp_path / "out")
    write_simulated(tmp_path / "made", experiment.group, 32, model="embedded", people=2, seed=0)
    made = open_simulated(tmp_path / "made", folder, experiment.group)
    assert sorted(made.columns["expression"]) == sorted(VALUES * 2)
    assert set(made.subjects) == {"simulated-00000", "simulated-00001"}


def test_unlabelled_faces_keep_pictures_and_people_alone(folder, tmp_path):
    bare = read_metadata(write_unlabelled(folder, tmp_path / "bare"))
    assert bare.subjects == folder.subjects
    assert not bare.attributes
    assert bare.image_path(3).read_bytes() == folder.image_path(3).read_bytes()


def test_arms_have_keys_of_their_own():
    keys = [arm.key for arm in arms(["lssl", "simgan"], [5, 10])]
    assert len(set(keys)) == len(keys)
    assert keys[:4] == ["simulated", "lssl", "simgan", "real-5"]


def test_it_ends_with_whether_refining_helps():
    people = {"simulated": {"a": [5, 10], "b": [4, 10]}, "lssl": {"a": [7, 10], "b": [6, 10]}}
    assert conclusion("lssl", [{"people": people}]) == ("made real by lssl, simulated faces help by 20.0 +- 0.0 points")

"""The diagnosis of synthesized faces: what only the oracle may see, what is measured, what the conclusion says."""

import pytest
import torch

from lssl.evaluation.experiments import diagnosis, diagnosis_report
from lssl.evaluation.experiments.diagnosis import ALWAYS, ARMS
from lssl.evaluation.experiments.diagnosis_report import conclusion, evaluate_diagnosis
from lssl.training.classifier_training import ClassifierConfig, _Batches, labelled_faces

from ..conftest import VALUES


def test_a_perfect_source_is_found_right_and_a_page_says_so(settings, tmp_path, painter, monkeypatch):
    from lssl.inference.synthesizers import GeneratorSynthesizer

    monkeypatch.setattr(diagnosis_report, "fold_synthesizer", lambda *rest: GeneratorSynthesizer(painter, "painter"))
    taught, learn = {}, diagnosis.classifiers

    def watched(experiment, fold, judge, synthetic, repeats, out, *, real):
        seen = {*real.subjects, *(synthetic.subjects if synthetic is not None else ())}
        taught.setdefault(fold.number, set()).update(seen)
        return learn(experiment, fold, judge, synthetic, repeats, out, real=real)

    oracles, teachers, train = {}, {}, diagnosis.train_fold_classifier

    def classifier(config, faces, experiment, out, **options):
        seen = {*faces.subjects, *(options["synthetic"].subjects if "synthetic" in options else ())}
        (oracles if out.name == "oracle" else teachers)[out.parent.name] = seen
        return train(config, faces, experiment, out, **options)

    monkeypatch.setattr(diagnosis, "classifiers", watched)
    monkeypatch.setattr(diagnosis, "train_fold_classifier", classifier)
    report = evaluate_diagnosis(settings, tmp_path / "out", "command", per_class=4, arms=[*ALWAYS, "morphs", "mixup"])
    for fold in report.results["folds"]:
        assert taught[fold["fold"]] == set(fold["train"])
        assert oracles[f"fold-{fold['fold']:02d}"] == set(fold["test"])
        assert teachers[f"fold-{fold['fold']:02d}"] == set(fold["train"])
    result = report.results["fold_results"][0]["generator"]
    assert sum(map(sum, result["labels"])) == result["made"] == 12
    assert 0 <= result["used"]["morphs"] <= 12
    assert result["used"]["both"] == result["used"]["only"] == 12
    assert [row[0] for row in report.tables[0].rows] == ["real training faces", "generator"]
    assert "svg" in (tmp_path / "out" / "report.html").read_text()
    assert report.conclusions[0].startswith("generator: an independent judge disputes")

    monkeypatch.setattr(diagnosis, "classifiers", None)  # all is read from the state
    again = evaluate_diagnosis(settings, tmp_path / "out", "command", per_class=4, arms=["morphs", "mixup"])
    assert [table.rows for table in again.tables] == [table.rows for table in report.tables]


def a_fold(both, oracle):
    """A fold of ten people; with real faces alone, 6 of each person's 10 faces are right."""

    def arm(right):
        return {"matrices": [[[right, 10 - right], [0, 10]]], "people": {f"p{k}": [right, 10] for k in range(10)}}

    source = {"labels": [[5, 5], [0, 10]], "arms": {"only": arm(3), "both": arm(both), "oracle": arm(oracle)}}
    return {"real": {"labels": [[9, 1], [1, 9]], "arms": {"real": arm(6)}}, "morph": source}


def test_it_ends_with_what_is_wrong_and_what_wrong_labels_cost():
    text = conclusion([a_fold(both=5, oracle=8)], "morph")
    assert "disputes 25.0% of the labels (10.0% of real faces')" in text
    assert "together -10.0 +- 0.0 points, without wrong labels +20.0 +- 0.0" in text
    assert "best of" not in text  # the oracle is no method


def test_the_command_line_names_every_remedy():
    from lssl.cli.evaluate_diagnosis import REMEDIES

    assert {*REMEDIES, *ALWAYS} == set(ARMS)


def test_mixup_mixes_faces_and_labels_alike(folder):
    config = ClassifierConfig(batch_size=64, mixup=0.4, jitter=0, flip=False)
    batches = _Batches(labelled_faces(folder, "expression"), None, config)
    labels = torch.randint(3, (64,), generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(-1, -1, 4, 4)
    mixed, targets = batches._mixed(pictures, labels)
    torch.testing.assert_close(mixed[:, :, 0, 0], targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))
    largest = targets.max(1).values
    assert (largest < 0.95).any()
    assert targets.shape == (64, len(VALUES))
    with pytest.raises(Exception, match="mixup is 2"):
        ClassifierConfig(mixup=2)

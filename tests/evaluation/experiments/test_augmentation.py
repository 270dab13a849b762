"""Augmentation and ablation: fair comparisons, nested sets, means and gains, and the same table after a kill."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from lssl.errors import LsslError
from lssl.evaluation.experiments import ablation, augmentation
from lssl.evaluation.experiments.ablation import FULL, VARIANTS, evaluate_ablation, variant_config
from lssl.evaluation.experiments.augmentation import Mend, first_of_each_class, same_iterations
from lssl.evaluation.experiments.augmentation_report import (
    accuracies,
    augmentation_table,
    choose_counts,
    conclusion,
    conclusions,
    evaluate_augmentation,
    gain_interval,
)
from lssl.evaluation.experiments.experiment import open_experiment
from lssl.inference.synthetic_folder import AugmentOptions, augment_folder
from lssl.training.classifier_training import ClassifierConfig, _Batches, labelled_faces
from lssl.training.config import TrainConfig


def test_a_smaller_set_is_part_of_a_larger_one(folder, painter, tmp_path):
    augment_folder(painter, folder, tmp_path / "made", AugmentOptions(10, "expression", split="all"))
    from lssl.data import read_metadata

    made = read_metadata(tmp_path / "made")
    small, large = (first_of_each_class(made, "expression", count) for count in (3, 7))
    assert len(small) == 9
    assert len(large) == 21
    assert set(small.file_names) < set(large.file_names)
    assert all(small.columns["expression"].count(value) == 3 for value in ("neutral", "happy", "sad"))


def test_all_classifiers_have_as_many_iterations_as_the_largest_set_needs():
    judge = ClassifierConfig(batch_size=32, synthetic_share=0.5)
    assert same_iterations(judge, 132, 250, 2).iterations == 400
    assert same_iterations(judge, 132, 16000, 2).iterations == 2000
    assert same_iterations(judge, 132, 100, 8).iterations == 1200
    assert same_iterations(replace(judge, iterations=7), 132, 16000, 2).iterations == 7


def test_gain_is_a_difference_within_each_fold(settings, tmp_path):
    right, wrong = [[2, 0, 0], [0, 2, 0], [0, 0, 2]], [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
    common = {"iterations": 9, "real_faces": 12, "real_people": 4, "made": 15}
    results = [
        {**common, "real": [right], "synthetic": {"5": [right]}, "people": {"real": {"a": [6, 6]}, "5": {"a": [6, 6]}}},
        {**common, "real": [wrong], "synthetic": {"5": [right]}, "people": {"real": {"b": [5, 6]}, "5": {"b": [6, 6]}}},
    ]
    assert accuracies(results, [5]) == {0: [100, pytest.approx(500 / 6)], 5: [100, 100]}
    experiment = open_experiment("augmentation", settings, tmp_path / "out")
    rows = augmentation_table(experiment, {"generator": results}, [5], 1).rows
    assert (rows[1][0], *rows[1][4:]) == ("real + 5 per class, generator", 12, 15)
    assert rows[1][2] == pytest.approx((100 / 12, 100 / 6 / 2**0.5))
    assert len(rows) == 2
    experiment.folder.info["source"] = "oulu-casia"
    paper = ["Table 1, Oulu-CASIA: LSSL", 87.4, None, None, None, None]
    assert paper in augmentation_table(experiment, {"generator": results}, [5], 1).rows


def one_fold(changes):
    """A fold in which each person has 6 of 10 faces right without synthesized faces, and with them so many more."""
    before = {f"p{k}": [6, 10] for k in range(len(changes))}
    after = {f"p{k}": [6 + change, 10] for k, change in enumerate(changes)}
    return {"real_people": 7, "people": {"real": before, "9": after}}


def test_the_gains_interval_is_of_the_people_who_are_tested():
    gain, half = gain_interval([one_fold([2] * 10), one_fold([2] * 10)], 9)
    assert (gain, half) == (pytest.approx(20), 0)
    changes = [1, -1, 3, 0, 2, 2, -2, 4, 1, 0] * 4
    gain, half = gain_interval([one_fold(changes)], 9)
    assert gain == pytest.approx(10)
    deviation = 10 * np.std(changes) / len(changes) ** 0.5
    assert half == pytest.approx(1.96 * deviation, rel=0.1)


def test_somebody_tested_with_several_seeds_is_one_person():
    changes = [1, -1, 3, 0, 2, 2, -2, 4, 1, 0] * 4
    assert gain_interval([one_fold(changes)] * 5, 9) == gain_interval([one_fold(changes)], 9)


def test_it_ends_with_whether_they_help():
    found = [one_fold([2] * 10)]
    assert conclusion("", found, 9) == "synthesized faces help by 20.0 +- 0.0 points with 7 people"
    assert conclusions({"morph": found}, 9) == [conclusion("", found, 9)]
    both = conclusions({"morph": found, "3d": [one_fold([-2] * 10)]}, 9)
    assert both[0] == "morph: synthesized faces help by 20.0 +- 0.0 points with 7 people"
    assert both[1] == "3d: synthesized faces harm by 20.0 +- 0.0 points with 7 people"
    assert "no significant difference: +0.0" in conclusion("", [one_fold([2, -2] * 9)], 9)


def test_ratios_are_multiples_of_the_real_training_faces(settings, tmp_path):
    experiment = open_experiment("augmentation", settings, tmp_path / "out")  # 4 people show each class
    assert choose_counts(experiment, [], [0.1, 0.5, 2.5, 30]) == [1, 2, 10, 120]
    assert choose_counts(experiment, [7, 3], [2]) == [3, 7, 8]
    for counts, ratios, message in (([], [], "missing"), ([0, 2], [], "counts are 0, 2"), ([], [0.0, 1], "above 0")):
        with pytest.raises(LsslError, match=message):
            evaluate_augmentation(settings, tmp_path / "other", "command", counts=counts, ratios=ratios)
    assert not (tmp_path / "other").exists()


def test_what_a_source_lacks_is_found_before_any_work(settings, tmp_path, faces):
    bare = tmp_path / "bare"
    shutil.copytree(faces, bare, ignore=shutil.ignore_patterns("landmarks.npy"))
    without = replace(settings, data=bare)
    with pytest.raises(LsslError, match="generator's side image needs"):
        evaluate_augmentation(without, tmp_path / "out", "command", counts=[2], sources=["blend", "generator"])
    with pytest.raises(LsslError, match="or take blend"):
        evaluate_augmentation(without, tmp_path / "out", "command", counts=[2], sources=["morph"])
    one = replace(without, real_subjects=1)
    with pytest.raises(LsslError, match="is shown by one person only; blend mixes two"):
        evaluate_augmentation(one, tmp_path / "out", "command", counts=[2], sources=["blend"])
    assert not (tmp_path / "out").exists()
    report = evaluate_augmentation(without, tmp_path / "out", "command", ratios=[1, 2], sources=["blend"])
    assert [row[0] for row in report.tables[0].rows][1:] == ["real + 4 per class, blend", "real + 8 per class, blend"]
    assert report.conclusions[-1].startswith("synthesized faces ")


def test_the_last_iterations_see_real_faces_alone(folder):
    real = labelled_faces(folder, "expression")
    config = ClassifierConfig(iterations=10, batch_size=8, real_last=0.3, jitter=0, flip=False)
    batches = _Batches(real, real, config)
    drawn = []
    batches._faces = lambda source, count: (
        drawn.append((source, count)) or (torch.zeros(count, 3, 8, 8), torch.zeros(count))
    )
    for _ in range(10):
        batches.draw()
    assert drawn == [(0, 4), (1, 4)] * 7 + [(0, 8)] * 3
    with pytest.raises(LsslError, match=r"real_last is 1\.5"):
        ClassifierConfig(real_last=1.5)


def test_a_teacher_drops_faces_and_the_same_counts_are_tested(settings, tmp_path):
    report = evaluate_augmentation(
        settings, tmp_path / "out", "command", counts=[6], sources=["generator"], mend=Mend(agreement=0.3)
    )
    assert 3 <= report.results["fold_results"]["generator"][0]["made"] <= 18
    assert report.conclusions[0].startswith("synthesized faces")


def test_a_killed_evaluation_ends_in_the_same_table(settings, tmp_path, monkeypatch):
    options = {"counts": [4, 2], "repeats": 2}
    whole = evaluate_augmentation(settings, tmp_path / "whole", "command", **options)
    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert len(results["fold_results"]["generator"][0]["synthetic"]["4"]) == 2
    assert not list((tmp_path / "whole").rglob("synthetic/images"))

    tested = augmentation.tested
    calls = []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 9:  # in the second fold
            raise KeyboardInterrupt
        return tested(*arguments)

    monkeypatch.setattr(augmentation, "tested", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate_augmentation(settings, tmp_path / "torn", "command", **options)
    again = evaluate_augmentation(settings, tmp_path / "torn", "command", **options)
    assert [table.rows for table in again.tables] == [table.rows for table in whole.tables]
    with pytest.raises(LsslError, match=r"other settings \(counts"):
        evaluate_augmentation(settings, tmp_path / "torn", "command", counts=[3], repeats=2)


@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_every_variant_lacks_its_own_part_alone(preset):
    config = TrainConfig.preset(preset)
    full = variant_config(config, FULL).to_dict()
    for variant, changes in VARIANTS.items():
        known = {name: value for name, value in changes.items() if config.has(name)}
        tree = variant_config(config, variant).to_dict()
        for section in ("network", "losses"):
            for name, value in full[section].items():
                if f"{section}.{name}" in known:
                    assert value > 0, (variant, name)  # the full variant has the part
                    assert tree[section][name] == 0
                else:
                    assert tree[section][name] == value


def test_ablation_measures_every_variant_and_says_what_each_part_is_worth(settings, tmp_path):
    variants = [FULL, "without parsing loss"]
    report = evaluate_ablation(settings, tmp_path / "out", "command", variants=variants, per_class=2)
    assert [row[0] for row in report.tables[0].rows] == ["real faces alone", *variants]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "gain over each variant" in page
    assert "without parsing loss: transfer" in page
    with pytest.raises(LsslError, match="no variant 'without nothing'"):
        evaluate_ablation(settings, tmp_path / "other", "command", variants=["without nothing"])


def test_ablation_asked_for_another_seed_continues(settings, painter, tmp_path, monkeypatch):
    trained = []

    def train(config, faces, experiment, out, **options):
        trained.append((out.parent.name, config.seed))
        return painter

    monkeypatch.setattr(ablation, "train_fold_generator", train)
    monkeypatch.setattr(ablation.detect, "available", lambda: False)
    variants, out = [FULL, "without side image"], tmp_path / "out"
    first = evaluate_ablation(settings, out, "command", variants=variants, per_class=2).results["variant_results"]
    begun = len(trained)
    report = evaluate_ablation(settings, out, "command", variants=variants, per_class=2, seeds=2)
    both = report.results["variant_results"]
    for variant in variants:
        assert len(both[variant]) == 2 * settings.folds
        assert both[variant][: settings.folds] == first[variant]
    assert {seed for _, seed in trained[:begun]} == {settings.seed}
    assert {(name[-7:], seed) for name, seed in trained[begun:]} == {("-seed-1", settings.seed + 1)}
    assert len(trained) == 2 * begun
    shared = out / "state" / "fold-00"
    classifiers = [shared / real / "classifier-0" / "classifier.safetensors" for real in ("real", "real-seed-1")]
    assert classifiers[0].read_bytes() != classifiers[1].read_bytes()
    table = report.tables[0]
    gain, half = gain_interval([r["augmentation"] for r in both[FULL]], 2)
    assert table.rows[1][table.header.index("gain")] == f"{gain:+.1f} ± {half:.1f}"

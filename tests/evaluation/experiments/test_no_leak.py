"""No trained part sees anybody of a test fold: every picture that a trainer opens is recorded with its person."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lssl.data import detect
from lssl.errors import LsslError
from lssl.evaluation.experiments import ablation, augmentation, augmentation_report, transfer_report
from lssl.evaluation.experiments.experiment import Experiment
from lssl.training.config import TrainConfig

TRAINERS = [
    (transfer_report, "train_fold_generator"),
    (transfer_report, "train_fold_classifier"),
    (augmentation_report, "train_fold_generator"),
    (augmentation, "train_fold_classifier"),
    (augmentation, "synthesize_training_faces"),
    (ablation, "train_fold_generator"),
    (ablation, "train_fold_classifier"),
]


def person(path: Path) -> str:
    """Who a picture shows, from its name or, if it was synthesized, from its source's."""
    if "synthetic" in path.parts:
        with (path.parent.parent / "metadata.csv").open(newline="") as file:
            path = Path(next(r["made_from"] for r in csv.DictReader(file) if r["file_name"] == f"images/{path.name}"))
    return f"s{path.stem[:2]}"


class Spy:
    """Records (fold, trainer, person) for each picture opened while a trainer runs, and all people seen otherwise."""

    def __init__(self, monkeypatch) -> None:
        self.seen: set[tuple[int, str, str]] = set()
        self.untrained: set[str] = set()
        self.running: tuple[int, str] | None = None
        opened = Image.open

        def spying(path, *arguments, **options):
            if isinstance(path, str | Path) and Path(path).parent.name in ("images", "masks"):
                if self.running is None:
                    self.untrained.add(person(Path(path)))
                else:
                    self.seen.add((*self.running, person(Path(path))))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(Image, "open", spying)
        monkeypatch.setattr(detect, "available", lambda: False)
        for module, name in TRAINERS:
            monkeypatch.setattr(module, name, self.watched(getattr(module, name), name))

    def watched(self, trainer, name):
        def run(*arguments, **options):
            where = next(str(a) for a in reversed(arguments) if isinstance(a, Path))
            before, self.running = self.running, (int(re.search(r"fold-(\d+)", where)[1]), name)
            try:
                return trainer(*arguments, **options)
            finally:
                self.running = before

        return run

    def leaks(self, folds) -> set[tuple[int, str, str]]:
        return {(fold, name, who) for fold, name, who in self.seen if who in folds[fold]["test"]}

    def trained_on(self, fold: int, name: str) -> set[str]:
        return {who for number, trainer, who in self.seen if (number, trainer) == (fold, name)}


@pytest.fixture
def spy(monkeypatch):
    return Spy(monkeypatch)


def run(experiment, settings, out):
    if experiment == "transfer":
        return transfer_report.evaluate_transfer(settings, out, "command")
    if experiment == "augmentation":
        sources = ["generator", "generator+morph"]
        return augmentation_report.evaluate_augmentation(settings, out, "command", counts=[12], sources=sources)
    return ablation.evaluate_ablation(settings, out, "command", variants=["full", "without side image"], per_class=2)


@pytest.mark.parametrize("experiment", ["transfer", "augmentation", "ablation"])
def test_nobody_tested_is_seen_by_a_trained_part(experiment, settings, tmp_path, spy):
    folds = run(experiment, settings, tmp_path / "out").results["folds"]
    assert len(folds) == 2
    assert spy.leaks(folds) == set()
    trainers = {name for _, name, _ in spy.seen}
    assert trainers >= {"train_fold_generator", "train_fold_classifier"}
    for fold in (0, 1):
        for name in trainers:
            assert spy.trained_on(fold, name) == set(folds[fold]["train"])
        assert spy.untrained >= set(folds[fold]["test"])


def test_the_spy_would_see_a_leak(settings, tmp_path, spy, monkeypatch):
    monkeypatch.setattr(Experiment, "train_rows", lambda self, fold: self.folder)
    folds = run("transfer", settings, tmp_path / "out").results["folds"]
    leaked = {(fold, name) for fold, name, _ in spy.leaks(folds)}
    assert leaked == {(f, n) for f in (0, 1) for n in ("train_fold_generator", "train_fold_classifier")}


def test_synthesized_faces_of_tested_people_are_refused(settings, tmp_path, spy, monkeypatch):
    synthesize = augmentation.synthesize_training_faces

    def from_everybody(experiment, model, train, per_class, out, **options):
        return synthesize(experiment, model, experiment.folder, per_class, out, **options)

    monkeypatch.setattr(augmentation, "synthesize_training_faces", from_everybody)
    with pytest.raises(LsslError, match="who is tested in fold 0"):
        augmentation_report.evaluate_augmentation(settings, tmp_path / "out", "command", counts=[12])


def test_a_fold_does_not_begin_with_weights_that_may_have_seen_the_tested(settings, tmp_path):
    training = TrainConfig.preset("standard").with_overrides({"network.start": "london"})
    begun = replace(settings, training=training)
    with pytest.raises(LsslError, match=r"network\.start: the generator to begin with may have seen the people"):
        run("transfer", begun, tmp_path / "out")

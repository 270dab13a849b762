"""Why synthesized faces help a classifier or do not: are their labels right, are they like real faces, what improves them?

An oracle judges the labels: a classifier trained on everybody except the training people. It has seen the people who are
tested, so keeping only the faces it accepts is no usable method, but a bound that shows what wrong labels cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lssl.data import FaceFolder
from lssl.data.writer import save_picture
from lssl.evaluation.experiments.augmentation import (
    Tested,
    check_strangers,
    classifiers,
    right_of_people,
    same_iterations,
    synthesize_training_faces,
    synthetic_sheet,
)
from lssl.evaluation.experiments.experiment import Experiment
from lssl.evaluation.experiments.fold_training import train_fold_classifier
from lssl.evaluation.experiments.folds import Fold, rows_of
from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.evaluation.measures.kernel import kernel_distance
from lssl.inference.face_orders import Synthesizer
from lssl.inference.synthesizers import open_synthesizer
from lssl.models.classifier import TrainedClassifier, load_classifier
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, predict_faces

_BATCH = 64


@dataclass(frozen=True)
class Arm:
    """What a classifier learns from.

    real, synthetic: whether it sees the real training faces, and synthesized ones. keep: the judge ("oracle", "teacher",
    "morphs") that has to agree with a synthesized face's label; "" keeps all. changes: of the classifier's settings, by name.
    """

    name: str
    real: bool = True
    synthetic: bool = True
    keep: str = ""
    changes: dict[str, float] = field(default_factory=dict)


#: By key; the first three are always measured.
ARMS = {
    "real": Arm("real faces alone", synthetic=False),
    "both": Arm("real + synthesized"),
    "only": Arm("synthesized alone", real=False),
    "only-right": Arm("synthesized alone, wrong ones dropped by the oracle", real=False, keep="oracle"),
    "oracle": Arm("real + synthesized, wrong ones dropped by the oracle", keep="oracle"),
    "teacher": Arm("real + synthesized, wrong ones dropped by a classifier of the real faces", keep="teacher"),
    "morphs": Arm("real + synthesized, wrong ones dropped by a classifier of the real faces and morphs", keep="morphs"),
    "last": Arm("real + synthesized, only real ones in the last 30%", changes={"real_last": 0.3}),
    "quarter": Arm("real + synthesized, a quarter of each batch synthesized", changes={"synthetic_share": 0.25}),
    "mixup": Arm("real faces alone, mixup", synthetic=False, changes={"mixup": 0.4}),
    "smoothing": Arm("real faces alone, labels twice as smooth", synthetic=False, changes={"smoothing": 0.2}),
    "still": Arm("real faces alone, not moved and relit", synthetic=False, changes={"jitter": 0.0}),
}
ALWAYS = ("real", "both", "only")


@dataclass(frozen=True)
class Parts:
    """What a fold's arms share: its real training faces, the classifiers that judge, the classifiers' settings."""

    experiment: Experiment
    fold: Fold
    train: FaceFolder
    oracle: TrainedClassifier
    judge: ClassifierConfig
    repeats: int

    @property
    def root(self) -> Path:
        return self.experiment.state.folder(f"fold-{self.fold.number:02d}")

    @property
    def teacher(self) -> TrainedClassifier:
        """The classifier of the real training faces alone; they must have been learnt."""
        return load_classifier(self.root / "real" / "classifier-0", self.experiment.settings.device)


def open_parts(experiment: Experiment, fold: Fold, per_class: int, repeats: int) -> Parts:
    """Trains the oracle, or loads it if it is trained. It learns up to three times as long as the settings say, because
    it has more faces."""
    settings, train = experiment.settings, experiment.train_rows(fold)
    others = sorted(set(experiment.folder.subjects) - set(fold.train))
    known = rows_of(experiment.folder, others)
    longer = min(3.0, max(1.0, len(known) / len(train)))
    oracle = train_fold_classifier(
        replace(settings.judge, iterations=round(longer * settings.judge.iterations)),
        known,
        experiment,
        experiment.state.folder(f"fold-{fold.number:02d}") / "oracle",
    )
    judge = same_iterations(settings.judge, len(train), per_class, len(experiment.group.values))
    return Parts(experiment, fold, train, oracle, judge, repeats)


def without_synthesized(parts: Parts, arms: Sequence[str]) -> dict[str, Any]:
    """Results of the arms without synthesized faces, and the oracle's confusion matrix of the real training faces, which
    it has not seen."""
    found = {key: _measured(parts, key, key, None) for key in arms if not ARMS[key].synthetic}
    return {"arms": found, "labels": _judged(parts.oracle, parts.train, parts).matrix}


def with_synthesized(
    parts: Parts, source: str, maker: Synthesizer, per_class: int, arms: Sequence[str]
) -> dict[str, Any]:
    """Labels, likeness and arms of the faces of one synthesizer, as plain values.

    labels, reverse: confusion matrices of the synthesized faces, one row per label, as the oracle and as the classifier of
    the real training faces see them. distance: squared maximum mean discrepancy (KID's kernel) between the oracle's
    features of the synthesized faces and of the tested people's real ones; real_distance: the same for the real training
    faces instead of the synthesized ones.
    """
    group, root = parts.experiment.group, parts.root / source
    made = synthesize_training_faces(parts.experiment, maker, parts.train, per_class, root / "synthetic")
    save_picture(root / "sheet.png", Image.fromarray(synthetic_sheet(made, group.name, group.values)))
    judged = {"oracle": _judged(parts.oracle, made, parts), "teacher": _judged(parts.teacher, made, parts)}
    if "morphs" in arms:
        judged["morphs"] = _judged(teacher_of_morphs(parts, per_class), made, parts)
    test = _features(parts.oracle, parts.experiment.test_rows(parts.fold), parts)
    results: dict[str, Any] = {
        "made": len(made),
        "labels": judged["oracle"].matrix,
        "reverse": judged["teacher"].matrix,
        "distance": kernel_distance(test, _features(parts.oracle, made, parts))[0],
        "real_distance": kernel_distance(test, _features(parts.oracle, parts.train, parts))[0],
        "arms": {},
        "used": {},
    }
    for key in (key for key in arms if ARMS[key].synthetic):
        keep = ARMS[key].keep
        used = made if not keep else made.select(np.flatnonzero(judged[keep].agreed).tolist())
        results["used"][key] = len(used)
        missing = set(group.values) - set(used.columns[group.name])
        if missing:  # no face of some class was kept: a classifier cannot be trained
            continue
        results["arms"][key] = _measured(parts, f"{source}-{key}", key, used)
    return results


def teacher_of_morphs(parts: Parts, per_class: int) -> TrainedClassifier:
    """A classifier trained on the real training faces and on mixtures of them, whose labels are right: it has more to learn
    from than the real faces alone, but sees no other people. Raises LsslError if the faces have no landmarks."""
    root = parts.root / "teacher-of-morphs"
    morphs = synthesize_training_faces(
        parts.experiment, open_synthesizer("morph"), parts.train, per_class, root / "synthetic"
    )
    check_strangers(morphs, parts.fold)
    return train_fold_classifier(parts.judge, parts.train, parts.experiment, root, synthetic=morphs)


@dataclass(frozen=True)
class _Judged:
    """How a classifier sees labelled faces: the confusion matrix, one row per label, and whether it agrees, face by face."""

    matrix: list[list[int]]
    agreed: NDArray[np.bool_]


def _judged(judge: TrainedClassifier, faces: FaceFolder, parts: Parts) -> _Judged:
    group = parts.experiment.group
    data = labelled_faces(faces, group.name, group=group, device=parts.experiment.settings.device)
    true, found = (values.numpy() for values in predict_faces(judge, data))
    return _Judged(confusion_matrix(true, found, len(group.values)).tolist(), true == found)


def _features(judge: TrainedClassifier, faces: FaceFolder, parts: Parts) -> NDArray[np.float32]:
    group = parts.experiment.group
    data = labelled_faces(faces, group.name, group=group, device=parts.experiment.settings.device)
    batches = torch.arange(len(data)).split(_BATCH)
    with torch.inference_mode():
        found = [judge.features(data.batch(rows).image).cpu() for rows in batches]
    features: NDArray[np.float32] = torch.cat(found).numpy()
    return features


def _measured(parts: Parts, name: str, key: str, synthetic: FaceFolder | None) -> dict[str, Any]:
    """The classifiers of one arm, kept in the experiment's state."""
    return parts.experiment.state.part(
        f"fold-{parts.fold.number:02d}-{name}", partial(_learnt, parts, name, key, synthetic)
    )


def _learnt(parts: Parts, name: str, key: str, synthetic: FaceFolder | None) -> dict[str, Any]:
    arm, experiment = ARMS[key], parts.experiment
    learn, beside = (parts.train, synthetic) if arm.real else (synthetic, None)
    judge = replace(parts.judge, **arm.changes)  # type: ignore[arg-type]
    found: list[Tested] = classifiers(
        experiment, parts.fold, judge, beside, parts.repeats, parts.root / name, real=learn
    )
    return {"matrices": [one.matrix for one in found], "people": right_of_people(found)}

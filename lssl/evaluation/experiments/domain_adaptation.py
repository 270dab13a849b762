"""Paper 3.2: a classifier is trained on simulated faces that a generator, trained with unlabelled real faces, made look real."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.folder import check_images
from lssl.data.images import read_image
from lssl.data.writer import write_pictures
from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation import check_strangers, classifiers, right_of_people, tested
from lssl.evaluation.experiments.experiment import Experiment
from lssl.evaluation.experiments.fold_training import train_fold_generator
from lssl.evaluation.experiments.folds import Fold, limit_subjects, rows_of
from lssl.face3d.builtin import load_face_model, model_stamp
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.inference.pose_normalization import GROUP, normalize_faces
from lssl.models.classifier import load_classifier
from lssl.models.export import TrainedGenerator
from lssl.training.classifier_training import ClassifierConfig
from lssl.training.config import TrainConfig

#: What makes simulated faces look real, by name: its method, and the settings it needs where no photograph belongs to a
#: simulated face and no real face's label is known.
REFINERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lssl": ("pose", {"network.side_channels": 0, "network.critic_sees_target": False, "losses.frontal": 0.0}),
    "simgan": ("simgan", {"network.side_channels": 0}),
}
REAL, SIMULATED = "real", "simulated"
_PREFIX = "simulated-"  # of the subjects, so that a simulated person is not taken for the real one of the same number


@dataclass(frozen=True)
class Arm:
    """What a classifier learns from: the faces of `base` (REAL, SIMULATED, a refiner's name, or "" for none) together with
    the real faces of `people` training people."""

    base: str
    people: int = 0

    @property
    def key(self) -> str:
        return f"{self.base or REAL}-{self.people}" if self.people else self.base

    @property
    def name(self) -> str:
        what = {REAL: "real faces of all training people", SIMULATED: "simulated", "": ""}.get(
            self.base, f"made real by {self.base}"
        )
        few = f"real faces of {self.people} people"
        return " + ".join(part for part in (what, few if self.people else "") if part)


def arms(refiners: Sequence[str], few: Sequence[int]) -> list[Arm]:
    """All arms that are compared: simulated and refined faces alone, with the real faces of few people, real faces alone."""
    bases = [SIMULATED, *refiners]
    alone = [Arm(base) for base in bases]
    mixed = [Arm(base, count) for count in few for base in ("", *bases)]
    return [*alone, *mixed, Arm(REAL)]


def refiner_config(training: TrainConfig, refiner: str, real_faces: Path) -> TrainConfig:
    """The settings of a refiner whose critic takes the pictures of the folder `real_faces` as real."""
    method, changes = REFINERS[refiner]
    return training.for_method(method).with_overrides({**changes, "pose.real_faces": str(real_faces)})


def write_simulated(out: Path, group: AttributeGroup, size: int, *, model: str, people: int, seed: int) -> None:
    """Draws people of a 3D model who show the classes. Raises LsslError if the model lacks one of the expressions."""
    face_model = load_face_model(model)
    unknown = [value for value in group.values if value not in face_model.expressions]
    if unknown:
        raise LsslError(
            f"the face model {model} has no expression '{unknown[0]}' (it has: {', '.join(face_model.expressions)}); "
            f"give simulated faces of the same classes with --simulated"
        )
    config = GenerateConfig(people, tuple(group.values), size=size, seed=seed)
    write_generated(
        out, FaceGenerator(face_model, config), model=model_stamp(model, face_model), overwrite=False, progress=False
    )


def open_simulated(root: Path, folder: FaceFolder, group: AttributeGroup) -> FaceFolder:
    """The simulated faces of the classes of `group`, with subject names that no real person has.

    Raises LsslError if a class is missing, or the pictures are not as large as the real ones.
    """
    simulated = read_metadata(root)
    if group.name not in simulated.columns:
        raise LsslError(f"{root}/metadata.csv has no column '{group.name}', whose values are {folder.root}'s classes")
    values = simulated.columns[group.name]
    missing = [value for value in group.values if value not in values]
    if missing:
        raise LsslError(f"{root}: no simulated face has {group.name} '{missing[0]}', which faces of {folder.root} have")
    sizes = check_images(simulated), check_images(folder)
    if sizes[0] != sizes[1]:
        raise LsslError(
            f"{root} has pictures of {sizes[0][1]}x{sizes[0][0]}, {folder.root} of {sizes[1][1]}x{sizes[1][0]}; make both "
            "of one --size"
        )
    known = simulated.select([row for row, value in enumerate(values) if value in group.values])
    subjects = [f"{_PREFIX}{subject}" for subject in known.subjects]
    return replace(known, subjects=subjects, splits=["train"] * len(known), attributes=(group.name,))


def write_unlabelled(faces: FaceFolder, out: Path) -> Path:
    """Writes the pictures of real people without their labels: all that a refiner sees of them. Returns `out`."""
    writer = FaceFolderWriter(out, attributes=[], settings={"source": "unlabelled", "data": faces.root.name})
    if not writer.finished:
        for row in range(len(faces)):
            key = f"{row:06d}"
            if key not in writer:
                points = None if faces.landmarks is None else faces.landmarks[row]
                picture = read_image(faces.image_path(row))
                writer.add(FaceRow(key, picture, faces.subjects[row], "train", {}, landmarks=points))
        writer.finish(source="unlabelled")
    return out


def refine_faces(model: TrainedGenerator, simulated: FaceFolder, attribute: str, out: Path) -> FaceFolder:
    """The simulated faces as the refiner changes them, each with its label; resumes where an earlier call stopped."""
    writer = FaceFolderWriter(out, attributes=[attribute], settings={"source": "refined", "data": simulated.root.name})
    for start in range(0, 0 if writer.finished else len(simulated), GROUP):
        rows = [row for row in range(start, min(start + GROUP, len(simulated))) if f"{row:06d}" not in writer]
        if not rows:
            continue
        pictures = [read_image(simulated.image_path(row)) for row in rows]
        for row, face in zip(rows, normalize_faces(model, pictures, pictures), strict=True):
            label = {attribute: simulated.columns[attribute][row]}
            extra = {"made_from": simulated.file_names[row]}
            made = FaceRow(f"{row:06d}", face, simulated.subjects[row], "train", label, extra=extra)
            writer.append(write_pictures(writer.root, made, writer.attributes))
    if not writer.finished:
        writer.finish(source="refined")
    return read_metadata(out, attributes=[attribute])


def train_refiner(experiment: Experiment, fold: Fold, refiner: str, simulated: FaceFolder) -> TrainedGenerator:
    """A refiner trained on the simulated faces with labels and on the fold's real training faces without theirs."""
    settings, part = experiment.settings, experiment.state.folder(f"fold-{fold.number:02d}")
    train = experiment.train_rows(fold)
    check_strangers(train, fold)
    config = refiner_config(settings.training, refiner, write_unlabelled(train, part / "unlabelled"))
    schema = AttributeSchema((experiment.group,))
    return train_fold_generator(config, simulated, experiment, part / refiner, schema=schema)


def adaptation_fold(
    experiment: Experiment,
    fold: Fold,
    simulated: FaceFolder,
    refiners: Sequence[str],
    few: Sequence[int],
    repeats: int,
) -> dict[str, Any]:
    """A fold's confusion matrices and the number right of each person, by the arms' keys, as plain values; each is kept in
    the experiment's state. `kept`, by base: the percentage of its faces that a classifier trained on the simulated ones
    still recognises as their class."""
    name, group = f"fold-{fold.number:02d}", experiment.group
    part = experiment.state.folder(name)
    judge = experiment.settings.judge.resolved(len(simulated), len(group.values))
    bases = {SIMULATED: simulated}
    for refiner in refiners:
        model = train_refiner(experiment, fold, refiner, simulated)
        bases[refiner] = refine_faces(model, simulated, group.name, part / f"{refiner}-faces")
    results: dict[str, Any] = {"matrices": {}, "people": {}, "kept": {}, "iterations": judge.iterations}
    for arm in arms(refiners, few):
        make = partial(_arm, experiment, fold, arm, bases, judge, repeats)
        found = experiment.state.part(f"{name}-{arm.key}", make)
        results["matrices"][arm.key], results["people"][arm.key] = found["matrices"], found["people"]
    sure = load_classifier(part / f"classifiers-{SIMULATED}" / "classifier-0", experiment.settings.device)
    for base, faces in bases.items():
        matrix = np.asarray(tested(sure, faces, experiment).matrix)
        results["kept"][base] = round(100 * float(np.trace(matrix)) / float(matrix.sum()), 2)
    return results


def _arm(
    experiment: Experiment, fold: Fold, arm: Arm, bases: dict[str, FaceFolder], judge: ClassifierConfig, repeats: int
) -> dict[str, Any]:
    """The classifiers of one arm, tested on the fold's real faces."""
    few = limit_subjects(fold, arm.people).train if arm.people or arm.base == REAL else ()
    real = rows_of(experiment.folder, few)
    made = bases.get(arm.base)
    learn, beside = (real, made) if len(real) else (made, None)
    assert learn is not None
    out = experiment.state.folder(f"fold-{fold.number:02d}") / f"classifiers-{arm.key}"
    found = classifiers(experiment, fold, judge, beside, repeats, out, real=learn)
    return {"matrices": [one.matrix for one in found], "people": right_of_people(found)}

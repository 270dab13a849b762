"""Table 1 and Fig. 8: what a classifier gains from synthesized faces, tested on real people that it has not seen."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.data import FaceFolder, read_metadata
from lssl.data.images import read_image
from lssl.data.sheet import labelled_grid
from lssl.data.writer import save_picture
from lssl.errors import LsslError
from lssl.evaluation.experiments.experiment import Experiment
from lssl.evaluation.experiments.fold_training import train_fold_classifier
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.inference.face_orders import Synthesizer
from lssl.inference.synthetic_folder import AugmentOptions, augment_folder
from lssl.models.classifier import TrainedClassifier, load_classifier
from lssl.models.export import TrainedGenerator
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, predict_faces

_SHEET_ROWS = 6


@dataclass(frozen=True)
class Mend:
    """What is done to make synthesized faces more useful.

    agreement: the least probability, 0 to 1, that a classifier of the fold's real training faces must give a synthesized
        face's class; 0 keeps all.
    intensity: range from which each face's intensity is drawn.
    """

    agreement: float = 0.0
    intensity: tuple[float, float] = (0.8, 1.2)


@dataclass(frozen=True)
class Tested:
    """A classifier's result on a fold's real test faces: the confusion matrix, and [correct, faces] for each person."""

    matrix: list[list[int]]
    people: dict[str, list[int]]


def synthesize_training_faces(
    experiment: Experiment,
    model: TrainedGenerator | Synthesizer,
    train: FaceFolder,
    per_class: int,
    out: Path,
    *,
    mend: Mend | None = None,
    teacher: TrainedClassifier | None = None,
) -> FaceFolder:
    """`per_class` faces of each class, made from the training faces; continues where an earlier call stopped.

    With a teacher there are fewer, since faces that it disagrees with are left out. Raises LsslError if none is left.
    """
    mend = mend or Mend()
    options = AugmentOptions(
        per_class,
        experiment.group.name,
        mend.intensity,
        split="all",
        seed=experiment.settings.seed,
        agreement=mend.agreement,
    )
    augment_folder(
        model,
        train,
        out,
        options,
        progress=None if experiment.settings.quiet else _bar,
        model_name="fold's",
        teacher=teacher,
    )
    made = read_metadata(out, attributes=experiment.folder.attributes)
    missing = sorted(set(experiment.group.values) - set(made.columns[experiment.group.name]))
    if missing:
        raise LsslError(
            f"the teacher agrees with no synthesized face of {experiment.group.name} '{missing[0]}'; lower --agreement "
            f"({mend.agreement:g}), or make more faces"
        )
    return made


def first_of_each_class(synthetic: FaceFolder, attribute: str, per_class: int) -> FaceFolder:
    """The first `per_class` faces of each class, so that a smaller set is part of every larger one."""
    taken: dict[str, int] = {}
    rows = []
    for row in sorted(range(len(synthetic)), key=lambda k: synthetic.file_names[k]):
        value = synthetic.columns[attribute][row]
        taken[value] = taken.get(value, 0) + 1
        if taken[value] <= per_class:
            rows.append(row)
    return synthetic.select(rows)


def same_iterations(judge: ClassifierConfig, real: int, per_class: int, classes: int) -> ClassifierConfig:
    """Settings for all classifiers that are compared: as many iterations as the one with the most faces needs.

    per_class: synthesized faces per class in the largest set, each of which should be seen at least once. If the settings
    give iterations, these are kept.
    """
    if judge.iterations:
        return judge
    base = judge.resolved(real, classes).iterations
    once = math.ceil(per_class * classes / max(1.0, judge.batch_size * judge.synthetic_share))
    return replace(judge, iterations=min(5000, max(base, once)))


def tested(judge: TrainedClassifier, test: FaceFolder, experiment: Experiment) -> Tested:
    """Tests a classifier on a fold's real test faces."""
    faces = labelled_faces(test, experiment.group.name, group=experiment.group, device=experiment.settings.device)
    true, predicted = predict_faces(judge, faces)
    matrix: list[list[int]] = confusion_matrix(true.numpy(), predicted.numpy(), len(experiment.group.values)).tolist()
    people: dict[str, list[int]] = {}
    for subject, right in zip(test.subjects, (true == predicted).tolist(), strict=True):
        counts = people.setdefault(subject, [0, 0])
        counts[0] += int(right)
        counts[1] += 1
    return Tested(matrix, people)


def check_strangers(faces: FaceFolder, fold: Fold) -> None:
    """Raises LsslError where faces to learn from show somebody who is tested."""
    shown = set(faces.subjects) | set(faces.columns.get("other_subject", []))
    strangers = sorted(shown & set(fold.test))
    if strangers:
        raise LsslError(f"{faces.root} shows '{strangers[0]}', who is tested in fold {fold.number}")


def classifiers(
    experiment: Experiment,
    fold: Fold,
    judge: ClassifierConfig,
    synthetic: FaceFolder | None,
    repeats: int,
    out: Path,
    *,
    real: FaceFolder | None = None,
) -> list[Tested]:
    """The results of `repeats` classifiers with different seeds, trained on the fold's real (and synthetic) faces.

    real: faces to use in place of the real ones; by default those of the fold's training people.
    Raises LsslError if any of these faces shows somebody who is tested.
    """
    train, test = experiment.train_rows(fold) if real is None else real, experiment.test_rows(fold)
    for faces in (train, synthetic):
        if faces is not None:
            check_strangers(faces, fold)
    found = []
    for repeat in range(repeats):
        trained = train_fold_classifier(
            replace(judge, seed=judge.seed + 1000 * repeat),
            train,
            experiment,
            out / f"classifier-{repeat}",
            synthetic=synthetic,
        )
        found.append(tested(trained, test, experiment))
    return found


def augmentation_fold(
    experiment: Experiment,
    fold: Fold,
    model: TrainedGenerator | Synthesizer,
    counts: Sequence[int],
    repeats: int,
    out: Path,
    *,
    real_out: Path | None = None,
    mend: Mend | None = None,
) -> dict[str, Any]:
    """One fold's confusion matrices as plain values: `real` alone, and `synthetic` by the number of faces per class. Under
    `people`, by the same keys: [correct, faces] for each person, summed over the repeats.

    real_out: where the classifiers of real faces alone are kept, which several generators may share; by default out/real.
    Writes out/sheet.png with some of the synthesized faces; the faces themselves are removed at the end.
    """
    mend = mend or Mend()
    train = experiment.train_rows(fold)
    largest = max(counts)
    judge = same_iterations(experiment.settings.judge, len(train), largest, len(experiment.group.values))
    real_out = real_out or out / "real"
    alone = classifiers(experiment, fold, judge, None, repeats, real_out)
    teacher = load_classifier(real_out / "classifier-0", experiment.settings.device) if mend.agreement else None
    folder = out / "synthetic"
    synthetic = synthesize_training_faces(experiment, model, train, largest, folder, mend=mend, teacher=teacher)
    sheet = synthetic_sheet(synthetic, experiment.group.name, experiment.group.values)
    save_picture(out / "sheet.png", Image.fromarray(sheet))
    figures: dict[str, Any] = {
        "iterations": judge.iterations,
        "real_faces": len(train),
        "real_people": len(set(train.subjects)),
        "made": len(synthetic),
        "real": [one.matrix for one in alone],
        "synthetic": {},
        "people": {"real": right_of_people(alone)},
    }
    for count in counts:
        chosen = first_of_each_class(synthetic, experiment.group.name, count)
        found = classifiers(experiment, fold, judge, chosen, repeats, out / f"synthetic-{count}")
        figures["synthetic"][str(count)] = [one.matrix for one in found]
        figures["people"][str(count)] = right_of_people(found)
    shutil.rmtree(folder)
    return figures


def right_of_people(found: Sequence[Tested]) -> dict[str, list[int]]:
    """[correct, faces] for each person, summed over classifiers."""
    sums: dict[str, list[int]] = {}
    for one in found:
        for subject, (right, faces) in one.people.items():
            known = sums.setdefault(subject, [0, 0])
            sums[subject] = [known[0] + right, known[1] + faces]
    return sums


def synthetic_sheet(synthetic: FaceFolder, attribute: str, classes: Sequence[str]) -> np.ndarray:
    """A sheet of synthesized faces, one column per class, uint8 (H, W, 3)."""
    import torch

    columns = []
    for value in classes:
        rows = synthetic.rows_where(**{attribute: value})[:_SHEET_ROWS]
        pixels = np.stack([read_image(synthetic.image_path(row)) for row in rows])
        columns.append(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return np.asarray(labelled_grid(columns, list(classes)))


def _bar(total: int, done: int) -> Any:
    from lssl.progress import tqdm

    bar = tqdm(total=total, initial=done, unit="face", desc="synthesizing", leave=False)

    def advance(count: int) -> None:
        bar.update(min(count, total - bar.n))
        if bar.n >= total:
            bar.close()

    return advance

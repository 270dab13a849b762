"""What all experiments share: settings, opening and checking the data, the state on disk, means over folds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder, read_metadata
from lssl.data.fingerprint import file_fingerprint
from lssl.data.folder import METADATA
from lssl.errors import LsslError
from lssl.evaluation.experiments.folds import Fold, check_faces, choose_folds, limit_subjects, rows_of
from lssl.evaluation.experiments.state import ExperimentState
from lssl.evaluation.report import Report
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator
from lssl.training.classifier_training import ClassifierConfig
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes


@dataclass(frozen=True)
class Settings:
    """What an experiment's results depend on.

    attribute: the column whose values are the classes; the folder's first attribute if empty.
    folds: 1 is the folder's own split by subject; more are folds over all subjects.
    real_subjects: how many of a fold's training subjects to train on; 0: all.
    training, judge: settings of the generators and the classifiers that the experiment trains.
    weights: a file of pretrained weights for the classifiers to start from.
    parser_iterations: of the face parsers, if the generators have a parsing loss.
    note: a sentence for the report; it changes no result.
    """

    data: Path
    attribute: str = ""
    folds: int = 1
    seed: int = 0
    real_subjects: int = 0
    training: TrainConfig = field(default_factory=lambda: TrainConfig.preset("standard"))
    judge: ClassifierConfig = field(default_factory=ClassifierConfig)
    weights: Path | None = None
    parser_iterations: int = 300
    device: torch.device | str = "cpu"
    quiet: bool = False
    note: str = ""


@dataclass
class Experiment:
    """An opened experiment: checked data, folds, classes, state. schema: all attributes of the generators. group: the one
    whose values are the classes."""

    settings: Settings
    folder: FaceFolder
    schema: AttributeSchema
    group: AttributeGroup
    folds: list[Fold]
    state: ExperimentState

    @property
    def processes(self) -> Processes:
        return Processes(device=torch.device(self.settings.device))

    @property
    def source(self) -> str | None:
        """The name of the database that the folder was prepared from, if known."""
        name = self.folder.info.get("source")
        return name if isinstance(name, str) else None

    def train_rows(self, fold: Fold) -> FaceFolder:
        return rows_of(self.folder, fold.train, "train")

    def test_rows(self, fold: Fold) -> FaceFolder:
        return rows_of(self.folder, fold.test, "test")

    def with_seed(self, seed: int) -> "Experiment":
        """The experiment with other random numbers for faces and classifiers, the `seed`-th; 0: as it is. Folds and people
        stay."""
        settings = self.settings
        judge = replace(settings.judge, seed=settings.judge.seed + seed)
        return replace(self, settings=replace(settings, seed=settings.seed + seed, judge=judge))

    def subjects(self) -> list[dict[str, object]]:
        """The subjects of each fold, for results.json."""
        return [fold.to_dict() for fold in self.folds]

    def record(self, report: Report, **results: object) -> None:
        """Adds to results.json the named results, and what they belong to: the subjects of each fold and the settings."""
        report.results.update(folds=self.subjects(), settings=self.state.settings, **results)

    def describe(self) -> str:
        """One sentence on data and folds for the report."""
        people = len(set(self.folder.subjects))
        trained, tested = len(self.folds[0].train), len(self.folds[0].test)
        if len(self.folds) > 1:
            parts = f"{len(self.folds)} folds by subject"
        else:
            parts = f"{trained} people to train on, {tested} others to test" if trained else f"{tested} people to test"
        few = f", {self.settings.real_subjects} people of each training part" if self.settings.real_subjects else ""
        return (
            f"{len(self.folder)} faces of {people} people, {self.group.name}: {', '.join(self.group.values)}; "
            f"{parts}{few}. {self.settings.note}"
        ).strip()


def seeded(name: str, seed: int) -> str:
    """The name of a part of the state that belongs to the `seed`-th training; 0: the name itself, as with one seed only."""
    return f"{name}-seed-{seed}" if seed else name


def generator_budget(settings: Settings) -> str:
    """How long the experiment's generators are trained, for the report."""
    schedule = settings.training.schedule
    return f"{schedule.iterations} iterations of {schedule.batch_size} faces"


def open_experiment(
    name: str,
    settings: Settings,
    out: Path,
    *,
    overwrite: bool = False,
    trained: tuple[AttributeGroup, AttributeSchema] | None = None,
    check: Callable[[FaceFolder, str, Sequence[Fold]], None] | None = None,
    **further: Any,
) -> Experiment:
    """Reads and checks the data before any work, then opens (or creates) the state in `out`.

    trained: the classes and attributes of what was trained before, if nothing is to be trained; then only test faces are
        needed.
    check: called with the folder, the column of its classes and the folds; raises LsslError if they do not suit this
        experiment.
    further: settings of this experiment only, which are recorded in the state.
    Raises LsslError for anything wrong with the data or an earlier state.
    """
    names = settings.training.data.attributes or None
    folder = read_metadata(settings.data, attributes=names)
    attribute = settings.attribute or ("" if trained is None else trained[0].name)
    if not attribute:
        if not folder.attributes:
            raise LsslError(f"{settings.data}/{METADATA} has no attribute column; name one with --attribute")
        attribute = folder.attributes[0]
    chosen = choose_folds(folder, settings.folds, settings.seed, trains=trained is None)
    folds = [limit_subjects(f, settings.real_subjects) for f in chosen]
    group = check_faces(folder, attribute, folds, None if trained is None else trained[0])
    folder = replace(folder, attributes=_trained_attributes(folder, attribute))
    if check is not None:
        check(folder, attribute, folds)
    schema = folder.schema() if trained is None else trained[1]
    state = ExperimentState(
        out,
        {
            "experiment": name,
            "data": folder.root.name,
            "metadata": file_fingerprint(folder.root / METADATA),
            "attribute": attribute,
            "folds": settings.folds,
            "seed": settings.seed,
            "real_subjects": settings.real_subjects,
            "training": settings.training.to_dict(),
            "classifier": asdict(settings.judge),
            "parser_iterations": settings.parser_iterations,
            "weights": None if settings.weights is None else file_fingerprint(settings.weights),
            **further,
        },
        overwrite=overwrite,
    )
    return Experiment(settings, folder, schema, group, folds, state)


def _trained_attributes(folder: FaceFolder, attribute: str) -> tuple[str, ...]:
    """The folder's attributes that vary, the experiment's own among them: what a generator can learn to change."""
    if attribute not in folder.attributes:
        return (attribute,)
    return folder.varying_attributes()


def check_unseen(part: TrainedGenerator | TrainedClassifier, folds: Sequence[Fold]) -> None:
    """Raises LsslError if a given part was trained on somebody who is tested, according to its `info`."""
    known = part.info.get("subjects")
    if known:
        seen = sorted(set(known) & {subject for fold in folds for subject in fold.test})
        if seen:
            raise LsslError(
                f"the {type(part).__name__} given was trained on {len(seen)} of the people who are tested here ('{seen[0]}', ...); "
                "test it on the split test of its own training folder"
            )


def accuracy(matrix: Any) -> float:
    """The accuracy of a confusion matrix in percent; NaN for an empty one."""
    counts = np.asarray(matrix)
    total = counts.sum()
    return 100 * float(np.trace(counts)) / float(total) if total else float("nan")


def over_folds(values: Sequence[float]) -> float | tuple[float, float]:
    """(mean, standard deviation) over the folds, or the value itself if there is one fold."""
    if len(values) == 1:
        return float(values[0])
    return float(np.mean(values)), float(np.std(values, ddof=1))

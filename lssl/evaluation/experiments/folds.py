"""Whom to train on and whom to test: folds by subject, and the checks of a folder before hours are spent on it."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder
from lssl.data.folder import check_images
from lssl.data.images import read_image
from lssl.errors import LsslError
from lssl.progress import steps


@dataclass(frozen=True)
class Fold:
    """One split of the subjects; nobody is in both parts."""

    number: int
    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise LsslError(f"fold {self.number}: subject '{both[0]}' is both in training and in test")

    def to_dict(self) -> dict[str, object]:
        return {"fold": self.number, "train": list(self.train), "test": list(self.test)}


def subject_folds(subjects: Iterable[str], count: int, seed: int) -> list[Fold]:
    """`count` folds of equal size (give or take one subject), each subject tested once; the same for the same seed.

    Raises LsslError for fewer than two folds, or more folds than subjects.
    """
    names = sorted(set(subjects))
    if not 2 <= count <= len(names):
        raise LsslError(f"{count} folds of {len(names)} subjects: give --folds from 2 to the number of subjects")
    order = sorted(names, key=lambda name: hashlib.sha256(f"folds:{seed}:{name}".encode()).digest())
    folds = []
    for number in range(count):
        tested = set(order[number::count])
        folds.append(Fold(number, tuple(n for n in names if n not in tested), tuple(n for n in names if n in tested)))
    return folds


def given_split(folder: FaceFolder, *, trains: bool = True) -> Fold:
    """The folder's own train and test subjects as the only fold. Raises LsslError if it has no such split.

    trains: whether anything is to be trained; if not, only test faces are needed.
    """
    parts = {
        name: sorted({folder.subjects[row] for row in folder.rows_where(split=name)}) for name in ("train", "test")
    }
    for name, subjects in parts.items():
        if not subjects and (trains or name == "test"):
            raise LsslError(
                f"{folder.root}/metadata.csv has no row with split '{name}'; prepare the folder again with "
                "--test-fraction, or let the experiment make folds with --folds"
            )
    both = sorted(set(parts["train"]) & set(parts["test"]))
    if both:
        raise LsslError(
            f"{folder.root}/metadata.csv: subject '{both[0]}' is in split train and in split test ({len(both)} such)"
        )
    return Fold(0, tuple(parts["train"]), tuple(parts["test"]))


def choose_folds(folder: FaceFolder, count: int, seed: int, *, trains: bool = True) -> list[Fold]:
    """`count` folds; 1 means the folder's own split."""
    return [given_split(folder, trains=trains)] if count == 1 else subject_folds(folder.subjects, count, seed)


def rows_of(folder: FaceFolder, subjects: Iterable[str], split: str = "train") -> FaceFolder:
    """The rows of some subjects, marked as one split."""
    wanted = set(subjects)
    part = folder.select([row for row, subject in enumerate(folder.subjects) if subject in wanted])
    return replace(part, splits=[split] * len(part))


def limit_subjects(fold: Fold, count: int) -> Fold:
    """The fold with only `count` of its training subjects (0: all); the choice depends on their names only."""
    if not count or count >= len(fold.train):
        return fold
    order = sorted(fold.train, key=lambda name: hashlib.sha256(f"few:{name}".encode()).digest())
    return Fold(fold.number, tuple(sorted(order[:count])), fold.test)


def check_faces(
    folder: FaceFolder, attribute: str, folds: list[Fold], known: AttributeGroup | None = None
) -> AttributeGroup:
    """Checks everything that an experiment needs before it starts, including every picture, and returns the classes.

    known: the classes of what is trained already; the faces need not have all of them.

    Raises LsslError for a missing column, a single class, missing subjects, an unreadable picture, pictures of several
    sizes, and a fold whose training part lacks a class.
    """
    table = f"{folder.root}/metadata.csv"
    if attribute not in folder.columns:
        raise LsslError(f"{table} has no column '{attribute}'; it has: {', '.join(folder.columns) or 'none'}")
    nameless = [row for row, subject in enumerate(folder.subjects) if not subject]
    if nameless:
        raise LsslError(
            f"{table}: {folder.file_names[nameless[0]]} has no subject ({len(nameless)} such rows); to test on unseen "
            "people, every picture needs its subject: prepare the folder with --subject-pattern"
        )
    if known is None:
        group = AttributeSchema.from_columns({attribute: folder.columns[attribute]}).groups[0]
    else:
        group = known
        for value in sorted(set(folder.columns[attribute])):
            group.index(value)
    for fold in folds if known is None else ():
        wanted = set(fold.train)
        found = {v for v, s in zip(folder.columns[attribute], folder.subjects, strict=True) if s in wanted}
        missing = [value for value in group.values if value not in found]
        if missing:
            raise LsslError(
                f"{folder.root}: of the {len(fold.train)} training subjects of fold {fold.number} none has "
                f"{attribute} '{missing[0]}'; use fewer folds, another --seed or more subjects"
            )
    check_images(folder)
    read_all(folder)
    return group


def read_all(folder: FaceFolder) -> None:
    """Decodes every picture once. Raises LsslError for the first that cannot be read."""

    def read(row: int) -> None:
        read_image(folder.image_path(row))

    with ThreadPoolExecutor(4) as pool:
        try:
            for _ in steps(pool.map(read, range(len(folder))), f"reading {folder.root}", len(folder)):
                pass
        except LsslError as error:
            raise LsslError(f"{error}; prepare the folder again") from None

"""Two sets of pictures to compare: data set folders or plain folders, and which picture was made from which."""

import zlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data.folder import METADATA, FaceFolder, check_images, read_metadata
from lssl.data.images import read_image
from lssl.data.landmarks import flip_landmarks
from lssl.data.picture_files import find_pictures
from lssl.errors import LsslError
from lssl.evaluation.measures.diversity import different_pairs

MADE_FROM, MIRRORED = "made_from", "mirrored"


@dataclass(frozen=True)
class ImageSet:
    """Pictures on disk, all of one size (height, width); those of a plain folder have no subjects and no columns."""

    folder: FaceFolder
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.folder)

    @property
    def paths(self) -> list[Path]:
        return [self.folder.image_path(row) for row in range(len(self))]

    def read(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        """The pictures of these rows, uint8 (len(rows), H, W, 3)."""
        return np.stack([read_image(self.folder.image_path(row)) for row in rows])

    def select(self, rows: Sequence[int]) -> "ImageSet":
        """The set of these rows, in this order."""
        return ImageSet(self.folder.select(rows), self.size)

    def column(self, name: str) -> list[str] | None:
        """A column of metadata.csv, or the subjects for "subject"; None if it is missing."""
        if name == "subject":
            return self.folder.subjects if all(self.folder.subjects) else None
        return self.folder.columns.get(name)


@dataclass(frozen=True)
class Pairs:
    """`fake[k]` (a row of the fake set) was made from `source[k]` (a row of the sources), mirrored if `mirrored[k]`.

    by: how that is known, in words.
    """

    fake: list[int]
    source: list[int]
    mirrored: list[bool]
    by: str

    def __len__(self) -> int:
        return len(self.fake)

    def select(self, chosen: Sequence[int]) -> "Pairs":
        pick = lambda values: [values[k] for k in chosen]  # noqa: E731
        return Pairs(pick(self.fake), pick(self.source), pick(self.mirrored), self.by)

    def read_sources(self, sources: ImageSet) -> NDArray[np.uint8]:
        """The sources' pictures, one per pair, mirrored as the fakes' inputs were."""
        images = sources.read(self.source)
        for k, mirrored in enumerate(self.mirrored):
            if mirrored:
                images[k] = images[k][:, ::-1]
        return images

    def source_landmarks(self, sources: ImageSet) -> NDArray[np.float32] | None:
        """The landmarks (pairs, 68, 2) of `read_sources`, or None if the sources have none."""
        if sources.folder.landmarks is None:
            return None
        points = sources.folder.landmarks[self.source].copy()
        for k, mirrored in enumerate(self.mirrored):
            if mirrored:
                points[k] = flip_landmarks(points[k], sources.size[1])
        return points


def open_images(path: str | Path, split: str | None = None) -> ImageSet:
    """The pictures of a data set folder (or of one split of it), or of a plain folder and its subfolders, by name.

    Raises LsslError for a missing folder, fewer than two pictures, an unreadable one or one of another size, and for a
    split of a plain folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise LsslError(f"{root}: no such folder")
    if (root / METADATA).is_file():
        folder = read_metadata(root)
        folder = folder if split is None else folder.split(split)
    elif split is not None:
        raise LsslError(f"{root} has no {METADATA}, so there is no split '{split}'; leave the split out")
    else:
        found = find_pictures(root)
        if found.refused:
            raise LsslError(f"{found.refused[0][0]}: {found.refused[0][1]}")
        files = found.pictures
        names = [str(file.relative_to(root)) for file in files]
        folder = FaceFolder(root, names, [""] * len(names), ["train"] * len(names), {}, ())
    if len(folder) < 2:
        raise LsslError(f"{root} has {len(folder)} pictures; at least two are needed")
    return ImageSet(folder, check_images(folder))


def check_same_size(real: ImageSet, fake: ImageSet) -> None:
    """Raises LsslError if the two sets' pictures differ in size."""
    if real.size != fake.size:
        raise LsslError(
            f"{real.folder.root} has {real.size[1]}x{real.size[0]} pictures, {fake.folder.root} "
            f"{fake.size[1]}x{fake.size[0]}: every measure depends on the size, so bring both to the same one "
            "(`lssl prepare folder` with --size)"
        )


def pair_up(sources: ImageSet, fake: ImageSet) -> Pairs | None:
    """Which source each fake was made from: by the column `made_from` that `lssl augment` writes, else by equal file
    names (without suffix and folder); None if neither gives any pair."""
    made_from = fake.column(MADE_FROM)
    if made_from is not None:
        by, names, keys = f"the column {MADE_FROM}", sources.folder.file_names, made_from
    else:
        by = "equal file names"
        names, keys = ([Path(name).stem for name in part.folder.file_names] for part in (sources, fake))
    place = {name: row for row, name in enumerate(names)}
    found = [row for row, key in enumerate(keys) if key in place]
    if not found:
        return None
    mirrored = fake.column(MIRRORED) or ["0"] * len(fake)
    return Pairs(found, [place[keys[row]] for row in found], [mirrored[row] == "1" for row in found], by)


@dataclass(frozen=True)
class PairImages:
    """The two pictures of each of N pairs, uint8 (N, H, W, 3), and their landmarks (N, 68, 2) if known."""

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    first_landmarks: NDArray[np.float32] | None = None
    second_landmarks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.first)


def made_pairs(sources: ImageSet, fake: ImageSet, pairs: Pairs, most: int, seed: int) -> tuple[Pairs, PairImages]:
    """A random choice of at most `most` pairs, and their pictures: the source, mirrored as it was, and the fake.

    If the fakes have no landmarks of their own, their sources' are used for both.
    """
    chosen = sorted(np.random.default_rng([seed, 2]).permutation(len(pairs))[:most].tolist())
    pairs = pairs.select(chosen)
    points = pairs.source_landmarks(sources)
    own = None if fake.folder.landmarks is None else fake.folder.landmarks[pairs.fake]
    images = PairImages(pairs.read_sources(sources), fake.read(pairs.fake), points, own if own is not None else points)
    return pairs, images


def pairs_within(images: ImageSet, attribute: str | None, *, over: str, most: int, seed: int) -> PairImages | None:
    """Pairs of one set's pictures; None if its columns do not suffice, or if there are none.

    over="targets": the same input (for real pictures: the same person and other attributes) at two values of `attribute`.
    over="people": two people at the same value and other attributes.
    """
    subject = images.column("subject")
    values = (None if attribute is None else images.column(attribute)) or [""] * len(images)
    others = [images.folder.columns[name] for name in images.folder.attributes if name != attribute]
    rest = list(zip(*others, strict=True)) if others else [()] * len(images)
    if over == "people":
        rows = different_pairs(list(zip(values, rest, strict=True)), subject or images.folder.file_names, most, seed)
    elif images.column(MADE_FROM) or subject:
        inputs = images.column(MADE_FROM) or subject or []
        mirrored = images.column(MIRRORED) or [""] * len(images)
        rows = different_pairs(list(zip(inputs, mirrored, rest, strict=True)), values, most, seed)
    else:
        return None
    if not len(rows):
        return None
    first, second = rows[:, 0].tolist(), rows[:, 1].tolist()
    points = images.folder.landmarks
    landmarks = (None, None) if points is None else (points[first], points[second])
    return PairImages(images.read(first), images.read(second), *landmarks)


def one_each(order: Iterable[int], keys: Sequence[Hashable], count: int) -> list[int]:
    """The first `count` rows in order, with different keys (such as people) as long as there are enough."""
    first: dict[Hashable, int] = {}
    rest = []
    for row in order:
        if keys[row] in first:
            rest.append(row)
        else:
            first[keys[row]] = row
    return [*first.values(), *rest][:count]


def choose_attribute(real: ImageSet, fake: ImageSet, wanted: str | None) -> str | None:
    """The column that says what was synthesized: the wanted one, else the first attribute that both sets have, else None.

    Raises LsslError if the wanted one is missing.
    """
    if wanted is not None:
        for part in (real, fake):
            if part.column(wanted) is None:
                known = ", ".join(part.folder.columns) or "none"
                raise LsslError(f"{part.folder.root} has no column '{wanted}'; it has: {known}")
        return wanted
    both = [name for name in fake.folder.attributes if name in real.folder.columns]
    return both[0] if both else None


def limited(images: ImageSet, most: int, seed: int) -> ImageSet:
    """At most `most` of the pictures, chosen at random, in their original order."""
    if len(images) <= most:
        return images
    name = zlib.crc32(images.folder.root.name.encode())
    return images.select(sorted(np.random.default_rng([seed, name]).permutation(len(images))[:most].tolist()))

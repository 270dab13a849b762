"""What makes new labelled faces from labelled faces: the protocol, and how changes of faces are planned.

A synthesizer plans all of its faces beforehand, with all random numbers, so that a folder has the same bytes on any number
of processes. It uses only the faces given to it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lssl.data import AttributeGroup, FaceFolder
from lssl.data.images import read_image
from lssl.data.landmarks import flip_landmarks
from lssl.data.portrait import unique_names
from lssl.errors import LsslError


@dataclass(frozen=True)
class Order:
    """One face to make: from which row of the data, mirrored or not, to which value, how strongly.

    others: further rows that the face is made from, and `shares`: how much of each; their meaning depends on the
    synthesizer. part: which of several combined synthesizers makes it.
    """

    key: str
    row: int
    mirrored: bool
    value: str
    intensity: float
    others: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    part: int = 0


@dataclass
class Made:
    """A face that was made: the picture (H, W, 3), its source's attribute values, its landmarks (68, 2) in pixels if known,
    and further columns for metadata.csv."""

    picture: NDArray[np.uint8]
    source: dict[str, str]
    landmarks: NDArray[np.float32] | None = None
    extra: dict[str, str] = field(default_factory=dict)


class Synthesizer(Protocol):
    """Makes faces with each value of one attribute from the faces of a folder."""

    def group(self, folder: FaceFolder, attribute: str) -> AttributeGroup:
        """The attribute whose values are the classes. Raises LsslError if the folder lacks what is needed."""
        ...

    def attributes(self, folder: FaceFolder) -> list[str]:
        """The attribute columns of the resulting folder."""
        ...

    def settings(self) -> dict[str, Any]:
        """What the faces depend on, for the folder's record."""
        ...

    def plan(
        self, folder: FaceFolder, group: AttributeGroup, per_class: int, intensity: tuple[float, float], seed: int
    ) -> list[Order]:
        """`per_class` orders for each value, sorted by key. intensity: the range to draw from."""
        ...

    def make(self, folder: FaceFolder, orders: Sequence[Order], attribute: str) -> list[Made | str]:
        """For each order the face, or the reason why there is none."""
        ...


def plan_changes(
    folder: FaceFolder,
    group: AttributeGroup,
    per_class: int,
    intensity: tuple[float, float],
    seed: int,
    *,
    start: str = "",
) -> list[Order]:
    """For each value, orders from faces of other values in turn, each first plain, then mirrored; sorted by key.

    start: a value; if given, only faces of that value are changed to each other one.
    Raises LsslError if there is no face of another value to start from.
    """
    orders = []
    for value, name in zip(group.values, unique_names(group.values), strict=True):
        rows = [
            row
            for row, own in enumerate(folder.columns[group.name])
            if own != value and (own == start or start in ("", value))
        ]
        if not rows:
            raise LsslError(f"{folder.root}: every face has {group.name} '{value}', so none can be changed to it")
        chance = np.random.default_rng([seed, zlib.crc32(value.encode())])
        once = np.concatenate([chance.permutation(len(rows)), chance.permutation(len(rows)) + len(rows)])
        strengths = chance.uniform(*intensity, per_class)
        for number in range(per_class):
            pick = int(once[number % len(once)])
            key = f"{name}_{number:06d}"
            strength = round(float(strengths[number]), 3)
            orders.append(Order(key, rows[pick % len(rows)], pick >= len(rows), value, strength))
    return sorted(orders, key=lambda order: order.key)


def read_face(folder: FaceFolder, row: int, mirrored: bool) -> tuple[NDArray[np.uint8], Any]:
    """(picture (H, W, 3), landmarks (68, 2) or None) of a row, mirrored on request."""
    image = read_image(folder.image_path(row))
    points = None if folder.landmarks is None else folder.landmarks[row]
    if mirrored:
        image = image[:, ::-1].copy()
        points = None if points is None else flip_landmarks(points, image.shape[1])
    return image, points


def attribute_values(folder: FaceFolder, row: int, names: Sequence[str]) -> dict[str, str]:
    """The values of the named attributes in a row."""
    return {name: folder.columns[name][row] for name in names}

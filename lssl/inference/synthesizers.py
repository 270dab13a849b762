"""What can make new labelled faces from labelled faces: a trained generator, the 3D edit, the mixing of two people."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder, to_float, to_uint8
from lssl.data.fingerprint import weights_fingerprint
from lssl.data.images import read_image
from lssl.data.landmarks import flip_landmarks, half_sides, pixels_of
from lssl.data.portrait import unique_names
from lssl.data.schema import SIDED
from lssl.errors import LsslError
from lssl.face3d.builtin import load_face_model, model_stamp
from lssl.face3d.editing.edit import edit_photograph
from lssl.face3d.editing.movement import PlacedFace, move, place_faces
from lssl.inference.face_orders import Made, Order, Synthesizer, attribute_values, plan_changes, read_face
from lssl.inference.morph import morph_faces
from lssl.inference.synthesis import InputFace, Target, check_folder, translate_batch
from lssl.models.export import TrainedGenerator

#: Synthesizers that need no training, by their names on the command line.
UNTRAINED = ("3d", "morph", "blend")
GENERATOR = "generator"
NEUTRAL = "neutral"  # the class that a face has before it moves, where the classes have it
_FITTED = 64  # faces that are fitted together
_SHARES = (0.25, 0.75)  # of a mixture's second face: outside this range the result looks like one of the two people


class GeneratorSynthesizer:
    """A trained generator changes faces of other classes to the class asked for."""

    def __init__(self, model: TrainedGenerator, name: str = "") -> None:
        self.model, self.name = model, name

    def group(self, folder: FaceFolder, attribute: str) -> AttributeGroup:
        check_folder(folder, self.model)
        return self.model.schema.group(attribute) if attribute else self.model.schema.groups[0]

    def attributes(self, folder: FaceFolder) -> list[str]:
        del folder
        return [group.name for group in self.model.schema.groups]

    def settings(self) -> dict[str, Any]:
        return {"model": self.name, "model_weights": weights_fingerprint(self.model.network)}

    def plan(
        self, folder: FaceFolder, group: AttributeGroup, per_class: int, intensity: tuple[float, float], seed: int
    ) -> list[Order]:
        return plan_changes(folder, group, per_class, intensity, seed)

    def make(self, folder: FaceFolder, orders: Sequence[Order], attribute: str) -> list[Made | str]:
        names = self.attributes(folder)
        faces = []
        for order in orders:
            image, points = read_face(folder, order.row, order.mirrored)
            faces.append(InputFace(order.key, image, points, attribute_values(folder, order.row, names)))
        targets = [Target({attribute: order.value}, order.intensity, order.value) for order in orders]
        pictures = translate_batch(self.model, faces, targets)
        return [Made(picture, face.source) for picture, face in zip(pictures, faces, strict=True)]


class _Untrained:
    """Takes its classes and attributes from the folder. lacking: why one without landmarks is refused; "": it is not."""

    lacking = ""

    def group(self, folder: FaceFolder, attribute: str) -> AttributeGroup:
        if self.lacking and folder.landmarks is None:
            raise LsslError(f"{folder.root} has no landmarks.npy, which {self.lacking}")
        attribute = attribute or (folder.attributes[0] if folder.attributes else "")
        if attribute not in folder.columns:
            raise LsslError(f"{folder.root}/metadata.csv has no column '{attribute}' whose values could be the classes")
        return AttributeSchema.from_columns({attribute: folder.columns[attribute]}).groups[0]

    def attributes(self, folder: FaceFolder) -> list[str]:
        return list(folder.attributes)


class MorphSynthesizer(_Untrained):
    """Makes new people by mixing two people of the same class; ignores the intensity.

    bent: both are warped to one shape (`lssl.inference.morph`), for which they need landmarks; otherwise they are blended as
        they are (mixup within a class), which only suits aligned faces.
    """

    def __init__(self, *, bent: bool = True) -> None:
        self.bent, self.name = bent, "morph" if bent else "blend"
        self.lacking = "morph needs; make it with `lssl prepare`, or take blend" if bent else ""

    def settings(self) -> dict[str, Any]:
        return {"model": self.name, "shares": list(_SHARES)}

    def plan(
        self, folder: FaceFolder, group: AttributeGroup, per_class: int, intensity: tuple[float, float], seed: int
    ) -> list[Order]:
        del intensity
        orders = []
        sided = any(name in SIDED for name in folder.varying_attributes())
        for value, name in zip(group.values, unique_names(group.values), strict=True):
            rows = [row for row, own in enumerate(folder.columns[group.name]) if own == value]
            chance = np.random.default_rng([seed, zlib.crc32(value.encode()), 1])
            if len({folder.subjects[row] for row in rows}) < 2:
                raise LsslError(
                    f"{folder.root}: {group.name} '{value}' is shown by one person only; {self.name} mixes two"
                )
            first = _by_turns(len(rows), per_class, chance)
            for number in range(per_class):
                row = rows[first[number]]
                others = [other for other in rows if folder.subjects[other] != folder.subjects[row]]
                shape, colour = chance.uniform(*_SHARES, 2).round(3).tolist()
                mirrored = bool(chance.random() < 0.5) and not sided
                other = others[int(chance.integers(len(others)))]
                orders.append(Order(f"{name}_{number:06d}", row, mirrored, value, 1.0, (other,), (shape, colour)))
        return sorted(orders, key=lambda order: order.key)

    def make(self, folder: FaceFolder, orders: Sequence[Order], attribute: str) -> list[Made | str]:
        """An order's mirroring applies to its second face only, so that the same two faces make a different pair."""
        del attribute
        pictures, landmarks = [], []
        for order in orders:
            for row, mirrored in ((order.row, False), (order.others[0], order.mirrored)):
                image, points = read_face(folder, row, mirrored)
                pictures.append(image)
                landmarks.append(points)
        images = to_float(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
        shape, colour = torch.tensor([order.shares for order in orders]).unbind(1)
        places: list[Any] = [None] * len(orders)
        if self.bent:
            size = pictures[0].shape[:2]
            points = half_sides(torch.from_numpy(np.stack(landmarks)), size)
            mixed, found = morph_faces(images[::2], images[1::2], points[::2], points[1::2], shape, colour)
            places = list(pixels_of(found, size).numpy())
        else:
            mixed = torch.lerp(images[::2], images[1::2], colour[:, None, None, None])
        made: list[Made | str] = []
        for order, picture, marks in zip(orders, to_uint8(mixed), places, strict=True):
            extra = {
                "mixed_with": folder.file_names[order.others[0]],
                "other_subject": folder.subjects[order.others[0]],
                **({"shape_share": f"{order.shares[0]:g}"} if self.bent else {}),
                "colour_share": f"{order.shares[1]:g}",
            }
            values = attribute_values(folder, order.row, folder.attributes)
            made.append(Made(picture.permute(1, 2, 0).numpy(), values, marks, extra))
        return made


class EditSynthesizer(_Untrained):
    """The 3D edit moves faces of other classes to the class asked for, the way that people in the data do.

    The face model is fitted to the landmarks of all faces. The difference between two expressions of some training person,
    in the class asked for and in the face's own class, is added to the face. So the classes need no names that the model
    knows, and every person adds another way to show them.
    """

    lacking = "the 3D edit needs; make it with `lssl prepare`"

    def __init__(self, model: str | Path = "ict") -> None:
        self.name, self.model = model, load_face_model(model)
        self._fits: tuple[FaceFolder | None, dict[int, list[PlacedFace]]] = (None, {})

    def settings(self) -> dict[str, Any]:
        return {"model": "3d", "face_model": model_stamp(self.name, self.model)}

    def plan(
        self, folder: FaceFolder, group: AttributeGroup, per_class: int, intensity: tuple[float, float], seed: int
    ) -> list[Order]:
        """`others` of an order: (some person's row with the value, the same person's row with the face's own class)."""
        shown: dict[tuple[str, str], list[int]] = {}
        for row, value in enumerate(folder.columns[group.name]):
            shown.setdefault((folder.subjects[row], value), []).append(row)
        orders = []
        neutral = NEUTRAL if NEUTRAL in group.values else ""
        for order in plan_changes(folder, group, per_class, intensity, seed, start=neutral):
            own = folder.columns[group.name][order.row]
            rest = shown.get((folder.subjects[order.row], neutral), [])
            if order.value == neutral and rest:
                orders.append(replace(order, intensity=1.0, others=(rest[0], order.row)))
                continue
            both = [s for s in sorted(set(folder.subjects)) if (s, own) in shown and (s, order.value) in shown]
            if not both:
                raise LsslError(
                    f"{folder.root}: nobody shows both {group.name} '{own}' and '{order.value}', so the 3D edit does not "
                    "know how a face moves from one to the other"
                )
            chance = np.random.default_rng([seed, zlib.crc32(order.key.encode()), 3])
            who = both[int(chance.integers(len(both)))]
            rows = [shown[who, value] for value in (order.value, own)]
            others = tuple(some[int(chance.integers(len(some)))] for some in rows)
            orders.append(Order(order.key, order.row, order.mirrored, order.value, order.intensity, others))
        return orders

    def make(self, folder: FaceFolder, orders: Sequence[Order], attribute: str) -> list[Made | str]:
        del attribute
        made: list[Made | str] = []
        for order in orders:
            placed, goal, start = (self._placed(folder, row) for row in (order.row, *order.others))
            doubt = placed.doubt or goal.doubt or start.doubt
            if doubt:
                made.append(f"the 3D face does not fit: {doubt}")
                continue
            step = order.intensity * (goal.expression - start.expression)
            movement = move(placed, step, closing=min(order.intensity, 1.0) if goal.closed else 0.0)
            picture = edit_photograph(read_image(folder.image_path(order.row)), [movement])[0]
            landmarks = movement.after[placed.face.landmarks, :2].float().numpy()
            if order.mirrored:
                picture, landmarks = picture[:, ::-1].copy(), flip_landmarks(landmarks, picture.shape[1])
            extra = {"moved_as": folder.file_names[order.others[0]]}
            made.append(Made(picture, attribute_values(folder, order.row, folder.attributes), landmarks, extra))
        return made

    def _placed(self, folder: FaceFolder, row: int) -> PlacedFace:
        """The model fitted to a row's face; in fixed groups of rows, so that the result does not depend on the processes."""
        assert folder.landmarks is not None
        if self._fits[0] is not folder:
            self._fits = (folder, {})
        fits, first = self._fits[1], row - row % _FITTED
        if first not in fits:
            fits[first] = place_faces(self.model, torch.from_numpy(folder.landmarks[first : first + _FITTED]))
        return fits[first][row - first]


class CombinedSynthesizer:
    """Several synthesizers, each of which makes an equal part of every class."""

    def __init__(self, parts: Sequence[Synthesizer]) -> None:
        self.parts = list(parts)

    def group(self, folder: FaceFolder, attribute: str) -> AttributeGroup:
        groups = [part.group(folder, attribute) for part in self.parts]
        if any(group != groups[0] for group in groups):
            raise LsslError(f"the synthesizers' classes differ: {' / '.join(', '.join(g.values) for g in groups)}")
        return groups[0]

    def attributes(self, folder: FaceFolder) -> list[str]:
        names = [part.attributes(folder) for part in self.parts]
        return [name for name in names[0] if all(name in other for other in names)]

    def settings(self) -> dict[str, Any]:
        return {"parts": [part.settings() for part in self.parts]}

    def plan(
        self, folder: FaceFolder, group: AttributeGroup, per_class: int, intensity: tuple[float, float], seed: int
    ) -> list[Order]:
        orders = []
        for number, part in enumerate(self.parts):
            share = len(range(number, per_class, len(self.parts)))
            own = part.plan(folder, group, share, intensity, seed) if share else []
            orders += [replace(order, key=f"{order.key}_{number}", part=number) for order in own]
        return sorted(orders, key=lambda order: order.key)

    def make(self, folder: FaceFolder, orders: Sequence[Order], attribute: str) -> list[Made | str]:
        made: dict[str, Made | str] = {}
        for number, part in enumerate(self.parts):
            own = [order for order in orders if order.part == number]
            if own:
                made |= zip([order.key for order in own], part.make(folder, own, attribute), strict=True)
        return [made[order.key] for order in orders]


def open_synthesizer(name: str, generator: Synthesizer | None = None) -> Synthesizer:
    """The synthesizer of a name: one of `UNTRAINED`, or `generator`; several joined by a plus, as in `generator+morph`.

    Raises LsslError for an unknown name.
    """
    parts: list[Synthesizer] = []
    for word in name.split("+"):
        if word == GENERATOR and generator is not None:
            parts.append(generator)
        elif word in UNTRAINED:
            parts.append(EditSynthesizer() if word == "3d" else MorphSynthesizer(bent=word == "morph"))
        else:
            raise LsslError(f"no synthesizer '{word}'; known: {GENERATOR}, {', '.join(UNTRAINED)}")
    return parts[0] if len(parts) == 1 else CombinedSynthesizer(parts)


def check_names(names: Sequence[str]) -> None:
    """Raises LsslError for a name that `open_synthesizer` does not know."""
    for word in {word for name in names for word in name.split("+")} - {GENERATOR, *UNTRAINED}:
        raise LsslError(f"no synthesizer '{word}'; known: {GENERATOR}, {', '.join(UNTRAINED)}")


def _by_turns(count: int, number: int, chance: np.random.Generator) -> NDArray[np.int64]:
    """`number` indices below `count`: each once in random order, then each again in another order, and so on."""
    rounds = -(-number // count)
    return np.concatenate([chance.permutation(count) for _ in range(rounds)])[:number]

"""Beginning a run with the weights of a generator that was trained before, such as a built-in one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.data.schema import AttributeSchema
from lssl.errors import LsslError
from lssl.models.export import load_generator
from lssl.models.moving import MovingGenerator

_OF_DATA = ("attribute_dim", "image_size")  # the settings in which the two may differ
_OF_ATTRIBUTES = "modulation.weight"  # (2 channels, A), of every conditional block


@dataclass(frozen=True)
class Start:
    """What a run began with.

    name: the generator's. known, new: the attribute values that it knew, and those that it did not. paints: whether its
    painter fits the pictures' size; if not, only its movement is used. subjects: whom it was trained on.
    """

    name: str
    known: Sequence[str]
    new: Sequence[str]
    paints: bool
    subjects: Sequence[str]

    def lines(self, tested: Iterable[str]) -> list[str]:
        """What to tell the user; tested: the subjects whom the run will be judged on."""
        what = "the weights" if self.paints else "the movement (its painter is for pictures of another size)"
        line = f"Begins with {what} of {self.name}, which knows {', '.join(self.known) or 'none of these attributes'}"
        lines = [f"{line}; new: {', '.join(self.new)}" if self.new else line]
        if seen := sorted(set(self.subjects) & set(tested)):
            lines.append(
                f"{self.name} was trained on people called like {len(seen)} of those tested here ({seen[0]}, ...): if they are "
                "the same, the report will be too favourable"
            )
        return lines


def begin_with(generator: MovingGenerator, schema: AttributeSchema, name: str) -> Start:
    """Copies the weights of a trained generator, by its built-in name, run folder or file, into a new one.

    Attribute values are matched by their names. One that the trained generator does not know begins as the mean of those
    of its group that it does, or of all. Raises LsslError if the networks do not match.
    """
    trained = load_generator(name)
    source = trained.network
    if not isinstance(source, MovingGenerator):
        raise LsslError(f"{name} is a {type(source).__name__}; a run of this method begins with a MovingGenerator")
    theirs = source.settings()
    other = [s for s, own in generator.settings().items() if s not in _OF_DATA and own != theirs[s]]
    if other:
        fix = " ".join(f"--set network.{setting}={theirs[setting]}" for setting in other)
        raise LsslError(f"{name} has networks of another {' and '.join(other)} than this run: add {fix}")
    paints = len(generator.painter.down) == len(source.painter.down)
    columns, known = _columns(schema, trained.schema)
    weights, own = source.state_dict(), generator.state_dict()
    with torch.no_grad():
        for key, values in own.items():
            if paints or key.startswith("mover."):
                values.copy_(weights[key] @ columns.T if key.endswith(_OF_ATTRIBUTES) else weights[key])
    return Start(
        name,
        known,
        [value for value in schema.names if value not in known],
        paints,
        list(trained.info.get("subjects") or ()),
    )


def _columns(schema: AttributeSchema, theirs: AttributeSchema) -> tuple[Tensor, list[str]]:
    """(A, A of theirs): each own attribute's share of each of theirs; and the names that both have."""
    columns, known = torch.zeros(schema.dimension, theirs.dimension), []
    for group in schema.groups:
        place = schema.slices[group.name]
        names = schema.names[place]
        same = [name for name in names if name in theirs.names]
        known += same
        if group.binary and not same:
            continue  # off and on begin alike
        rest = torch.zeros(theirs.dimension)
        for name in same or theirs.names:
            rest[theirs.names.index(name)] += 1 / len(same or theirs.names)
        for row, name in zip(range(place.start, place.stop), names, strict=True):
            columns[row] = torch.eye(theirs.dimension)[theirs.names.index(name)] if name in same else rest
    return columns, known

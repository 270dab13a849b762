"""Beginning a run with the weights of a generator that was trained before, such as a built-in one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data.dataset import FaceDataset, heatmap_side
from lssl.data.landmarks import half_sides
from lssl.data.schema import PLAIN, AttributeSchema
from lssl.errors import LsslError
from lssl.models.export import load_generator
from lssl.models.moving import MovingGenerator, painter_levels
from lssl.training.movement import LANDMARK_WEIGHTS, movement_error

_MAY_DIFFER = ("attribute_dim", "image_size", "paint_size", "smooth_paint", "takes_source")  # settings
_OF_ATTRIBUTES = "modulation.weight"  # (2 channels, A or 2 A), of every conditional block
_COMPARED = 64  # faces that are moved to see which of the values that a generator knows a new one is like
_REST = "neutral"
_OF_FACES = "generated"  # a generator that knows how faces at rest differ from others
_IN_DOUBT = 1.1  # a value begins as neutral if that misses by at most so many times what the best does


@dataclass(frozen=True)
class Start:
    """What a run began with.

    name: the generator's. known: the attribute values that it knew. new: those that it did not, and which of its own each
    began as ("": the mean of several). paints: whether its painter fits the pictures' size; if not, only its movement is
    used. size: the side in pixels of the pictures that it paints on. enlarged: whether that is less than the run's, whose
    pictures it goes on painting at its own size. subjects: whom it was trained on.
    """

    name: str
    known: Sequence[str]
    new: Mapping[str, str]
    paints: bool
    size: int
    enlarged: bool
    subjects: Sequence[str]

    def lines(self, tested: Iterable[str]) -> list[str]:
        """What to tell the user; tested: the subjects whom the run will be judged on."""
        what = "the weights" if self.paints else "the movement (its painter is for pictures of another size)"
        line = f"Begins with {what} of {self.name}, which knows {', '.join(self.known) or 'none of these names'}"
        new = ", ".join(f"{value} (begins as {like})" if like else value for value, like in self.new.items())
        lines = [f"{line}; new: {new}" if new else line]
        if not self.paints:
            lines.append(
                "Painting is learnt anew, which takes thousands of iterations; "
                f"photographs prepared with --size {self.size} begin with its painter, too"
            )
        if self.enlarged:
            lines.append(
                f"It goes on painting at its {self.size} pixels; --set network.paint_size=N learns finer painting anew"
            )
        if seen := sorted(set(self.subjects) & set(tested)):
            lines.append(
                f"{self.name} was trained on people called like {len(seen)} of those tested here ({seen[0]}, ...): if they are "
                "the same, the report will be too favourable"
            )
        return lines


def begin_with(
    generator: MovingGenerator, schema: AttributeSchema, name: str, dataset: FaceDataset | None = None
) -> Start:
    """Copies the weights of a trained generator, by its built-in name, run folder or file, into a new one.

    Attribute values are matched by their names. One that the trained generator does not know begins as the one that moves
    the faces of `dataset` as its own mean landmarks ask (`alike`); without landmarks, or if it is a binary one, as the mean
    of those of its group that are known, or of all. Raises LsslError if the networks do not match.
    """
    trained = load_generator(name)
    source = trained.network
    if not isinstance(source, MovingGenerator):
        raise LsslError(f"{name} is a {type(source).__name__}; a run of this method begins with a MovingGenerator")
    theirs = source.settings()
    other = [s for s, own in generator.settings().items() if s not in _MAY_DIFFER and own != theirs[s]]
    if other:
        fix = " ".join(f"--set network.{setting}={theirs[setting]}" for setting in other)
        raise LsslError(f"{name} has networks of another {' and '.join(other)} than this run: add {fix}")
    paints = painter_levels(generator.paint_size) == painter_levels(source.paint_size)
    likeness = {} if dataset is None else alike(source, trained.schema, dataset)
    columns, known = _columns(schema, trained.schema, likeness)
    weights, own = source.state_dict(), generator.state_dict()
    with torch.no_grad():
        for key, values in own.items():
            if paints or key.startswith("mover."):
                if not key.endswith(_OF_ATTRIBUTES):
                    values.copy_(weights[key])
                    continue
                both = zip(values.split(len(columns), 1), weights[key].split(columns.shape[1], 1), strict=False)
                for ours, begun in both:  # of what is asked for; then of what a face shows, if both take that
                    ours.copy_(begun @ columns.T)
    return Start(
        name,
        known,
        {value: likeness.get(value, "") for value in schema.names if value not in known},
        paints,
        source.paint_size,
        paints and generator.paint_size < generator.image_size,
        list(trained.info.get("subjects") or ()),
    )


def size_to_paint_at(name: str, size: int) -> int:
    """The side in pixels at which a run with pictures of `size` best paints if it begins with the generator `name`: `size`
    if that generator's painter fits such pictures, else its own, since painting learnt anew takes thousands of iterations."""
    network = load_generator(name).network
    if not isinstance(network, MovingGenerator) or painter_levels(network.paint_size) == painter_levels(size):
        return size
    return min(size, network.paint_size)


@torch.no_grad()
def alike(source: MovingGenerator, theirs: AttributeSchema, dataset: FaceDataset) -> dict[str, str]:
    """For each attribute value of a data set, that one of a trained generator which moves faces most like it.

    Some faces are moved to each value that the generator knows; its likeness to a value of the data set is how closely they
    come to where its mean landmarks ask them to go (`movement.movement_error`); in doubt, neutral (faces at rest differ
    little from angry ones). So a folder that calls a smile "grin" begins with happy. Empty without landmarks; binary
    attributes are left out.
    """
    if dataset.landmarks is None:
        return {}
    rows = torch.linspace(0, len(dataset) - 1, min(_COMPARED, len(dataset))).round().long()
    faces = dataset.batch(rows, draw_side=False)
    assert faces.landmarks is not None
    points, before = (half_sides(landmarks, dataset.size).cpu() for landmarks in (dataset.landmarks, faces.landmarks))
    pair = faces.image.cpu()
    if source.side_channels:  # its own side image, whatever the run's networks take
        side = heatmap_side(faces.landmarks, dataset.size, channels=source.side_channels)
        pair = torch.cat([pair, side.cpu()], 1)
    small = F.interpolate(pair, size=(source.grid, source.grid), mode="area")
    ways = [source.mover(small, source.conditions(y.expand(len(small), -1)))[0] for y in _each_value(theirs)]
    found = {}
    for group in dataset.schema.groups:
        if group.binary:
            continue
        place = dataset.schema.slices[group.name]
        names, has, y = dataset.schema.names[place], dataset.y[:, place].argmax(1), faces.y[:, place].argmax(1).cpu()
        shapes = {k: points[has == k].mean(0) for k in has.unique().tolist()}
        still = before - torch.stack([shapes[k] for k in y.tolist()])
        for k, shape in shapes.items():
            missed = torch.stack([movement_error(flow, before, still + shape, LANDMARK_WEIGHTS) for flow in ways])
            if _REST in theirs.names:
                missed[theirs.names.index(_REST)] /= _IN_DOUBT
            found[names[k]] = theirs.names[int(missed.argmin())]
    return found


def at_rest(dataset: FaceDataset) -> dict[str, str]:
    """By group, the value whose faces are at rest, where no name says so (`PLAIN`): the one that the built-in generator of drawn
    faces, asked for neutral, moves faces to (`alike`; the first, if there are several). Groups whose values all look so, or
    none, are left out. Empty without landmarks."""
    unnamed = [group for group in dataset.schema.groups if not group.binary and not set(PLAIN) & set(group.values)]
    if not unnamed or dataset.landmarks is None:
        return {}
    built_in = load_generator(_OF_FACES)
    found = alike(built_in.network, built_in.schema, dataset)
    rest = {}
    for group in unnamed:
        names = dataset.schema.names[dataset.schema.slices[group.name]]
        still = [value for value, name in zip(group.values, names, strict=True) if found[name] == _REST]
        if 0 < len(still) < len(names):
            rest[group.name] = still[0]
    return rest


def _each_value(schema: AttributeSchema) -> Tensor:
    """(A, A): y for each value alone, the values of other groups being mixed."""
    y = torch.zeros(schema.dimension, schema.dimension)
    for group in schema.groups:
        place = schema.slices[group.name]
        y[:, place] = 1 / (place.stop - place.start)
        y[place, place] = torch.eye(place.stop - place.start)
    return y


def _columns(schema: AttributeSchema, theirs: AttributeSchema, likeness: Mapping[str, str]) -> tuple[Tensor, list[str]]:
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
            like = name if name in same else likeness.get(name)
            columns[row] = torch.eye(theirs.dimension)[theirs.names.index(like)] if like else rest
    return columns, known

"""What the loop knows of a method: its networks, a step's batch, its updates in order, its samples, the file it leaves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image
from torch import Tensor, nn

from lssl.models.export import TrainedGenerator
from lssl.training.faces import Plan
from lssl.training.losses import Terms


@dataclass(frozen=True)
class Update:
    """One step of one optimizer.

    networks: names of the networks whose weights it changes; the others are frozen meanwhile. Updates of the same
        networks share one optimizer (Adam).
    loss: a batch to (the scalar that is minimized, the terms to log). A pure function of the batch, the weights and
        tensors on the device: it may become a CUDA graph.
    learning_rate: before the schedule's decay.
    times: how often an iteration does it, each time with another batch; the last one is logged.
    ramp: (share, iterations): the rate rises linearly from that share of it over so many iterations.
    during: from and up to which share of all iterations it is done at all, for methods of several stages.
    """

    name: str
    networks: tuple[str, ...]
    loss: Callable[[Any], tuple[Tensor, Terms]]
    learning_rate: float
    betas: tuple[float, float]
    times: int = 1
    ramp: tuple[float, int] = (1.0, 0)
    during: tuple[float, float] = (0.0, 1.0)

    def share(self, iteration: int) -> float:
        """What the ramp makes of the rate."""
        start, length = self.ramp
        return start + (1 - start) * min(1.0, iteration / length) if length else 1.0


@dataclass(frozen=True)
class Stage:
    """`count` times one update before the first iteration; `title` is its progress bar's.

    anew: the method has given the update's networks new weights, in place, so its optimizer forgets the old ones.
    """

    title: str
    update: Update
    count: int
    anew: bool = False


class Method(Protocol):
    """What a file of `lssl/methods/` defines under the name `Method`."""

    #: What is trained and saved, by name.
    networks: dict[str, nn.Module]
    #: Names of those that are averaged, where the schedule says so.
    averaged: tuple[str, ...]
    #: What else the losses read and change from step to step: tensors on the device, which a checkpoint holds.
    memory: dict[str, Tensor]

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        """All chance of one update, on the CPU, from (seed, step): tensors of the same shapes at every step."""

    def batch(self, plan: Plan) -> Any:
        """What the losses see, made on the device from a plan that is there."""

    def updates(self) -> Sequence[Update]:
        """An iteration, in order."""

    def warm_up(self) -> Iterator[Stage]:
        """What comes before the first iteration; the next stage is asked for when the last one is done."""

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        """A picture of what (averaged) networks do to unseen subjects."""

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        """What the run delivers."""

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree with, such as the number of faces."""

    def word(self, values: Mapping[str, float]) -> str:
        """A line on whether it learns, from the mean of each term since the last log line, said once; "": none."""

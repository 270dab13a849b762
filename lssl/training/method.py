"""What the loop knows of a method: its networks, its batches, its updates in order, its samples, the file it exports."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    loss: maps a batch to (the scalar to minimize, the terms to log). A pure function of the batch, the weights and
    tensors on the device: it may become a CUDA graph.
    learning_rate: before the schedule's decay.
    times: how often it runs per iteration, each time on another batch; the last one is logged.
    ramp: (share, iterations): the rate rises linearly from `share` of itself over that many iterations.
    during: (from, to): the shares of all iterations between which it runs, for methods with several stages.
    weight_decay: Adam's l2 penalty.
    rates: factors of the learning rate of some of the networks, by name.
    """

    name: str
    networks: tuple[str, ...]
    loss: Callable[[Any], tuple[Tensor, Terms]]
    learning_rate: float
    betas: tuple[float, float]
    times: int = 1
    ramp: tuple[float, int] = (1.0, 0)
    during: tuple[float, float] = (0.0, 1.0)
    weight_decay: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)

    def share(self, iteration: int) -> float:
        """The ramp's factor of the learning rate."""
        start, length = self.ramp
        return start + (1 - start) * min(1.0, iteration / length) if length else 1.0


@dataclass(frozen=True)
class Stage:
    """One update, repeated `count` times before the first iteration; `title` names its progress bar.

    anew: the method has reset the weights of the update's networks in place, so the optimizer's state is reset, too.
    decay: the share to which the learning rate falls, linearly, by the last repetition.
    """

    title: str
    update: Update
    count: int
    anew: bool = False
    decay: float = 1.0


class Method(Protocol):
    """What a file of `lssl/methods/` defines under the name `Method`."""

    #: What is trained and saved, by name.
    networks: dict[str, nn.Module]
    #: Names of the networks whose weights are averaged, if `schedule.ema` is set.
    averaged: tuple[str, ...]
    #: What else the losses read and change from step to step: tensors on the device, kept in checkpoints.
    memory: dict[str, Tensor]

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        """All random numbers of one update, on the CPU, from (seed, step): tensors of the same shapes at every step."""

    def batch(self, plan: Plan) -> Any:
        """What the losses see, made on the device from a plan that is already there."""

    def updates(self) -> Sequence[Update]:
        """The updates of an iteration, in order."""

    def warm_up(self) -> Iterator[Stage]:
        """What comes before the first iteration; each stage is requested when the one before is done."""

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        """A picture of what the (averaged) networks do to unseen subjects."""

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        """The generator that the run exports."""

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed, such as the number of faces."""

    def word(self, values: Mapping[str, float]) -> str:
        """One line, printed once, on whether it is learning; values: each term's mean since the last log line. "": none."""

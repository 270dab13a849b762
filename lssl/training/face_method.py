"""What the methods that train on labelled faces share: everything but their networks and losses.

A method of `lssl/methods/` derives directly from this class; no method derives from another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image
from torch import Tensor, nn

from lssl.data import FaceDataset, FaceFolder
from lssl.models import FaceParser
from lssl.models.export import TrainedGenerator
from lssl.training.config import ScheduleConfig, TrainConfig
from lssl.training.distributed import Processes
from lssl.training.faces import about, with_varying_attributes
from lssl.training.losses import Terms
from lssl.training.method import Stage, Update
from lssl.training.mirroring import one_sided
from lssl.training.samples import sample_grid, sample_rows
from lssl.training.start import at_rest


@dataclass(frozen=True)
class Inputs:
    """What a method is built from. parser: the frozen face parser, if `needs_parser` asks for one."""

    config: TrainConfig
    train_set: FaceDataset
    test_set: FaceDataset
    processes: Processes
    parser: FaceParser | None = None


class FaceMethod:
    """The parts of `lssl.training.method.Method` that most methods share; a method may override any of them.

    Attributes:
        settings: the `Settings` of the method's file.
        weights: the section `losses` of these.
        schema: what the attribute vectors y (N, A) mean.
        size: the pictures' side in pixels.
        shown: faces of unseen subjects, for the samples.
    """

    networks: dict[str, nn.Module]
    averaged: tuple[str, ...] = ("generator",)
    memory: dict[str, Tensor] = {}
    needs_data = ""  # what --data must be; "": optional, faces are generated without it
    task = "attribute-synthesis"
    notes: Sequence[str] = ()  # printed before training
    settings: Any
    weights: Any

    def __init__(self, inputs: Inputs) -> None:
        self.config, self.processes, self.parser = inputs.config, inputs.processes, inputs.parser
        self.settings = self.config.settings
        self.weights = getattr(self.settings, "losses", None)
        self.train_set, self.schema = inputs.train_set, inputs.train_set.schema
        self.size = self.train_set.size[0]
        sided = one_sided(self.train_set) if self.config.data.flip == "auto" else []
        if sided:
            self.notes = [f"Faces are not mirrored: one-sided is {', '.join(sided)}"]
        self.shown = inputs.test_set.batch(sample_rows(inputs.test_set, self.config.output.sample_faces))

    def warm_up(self) -> Iterator[Stage]:
        """Nothing."""
        return iter(())

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        """A grid: one row per unseen face, one column per attribute value."""
        return sample_grid(networks["generator"], self.shown, self.schema)

    def about(self, iteration: int) -> dict[str, Any]:
        """What the exported network says of its training."""
        return {**about(self.train_set, iteration), **({"rest": self._rest} if self._rest else {})}

    @cached_property
    def _rest(self) -> dict[str, str]:
        return at_rest(self.train_set)

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        return TrainedGenerator(
            networks["generator"], self.schema, self.size, task=self.task, info=self.about(iteration)
        )

    def facts(self) -> dict[str, Any]:
        return {"faces": len(self.train_set), "attributes": self.schema.to_dict()}

    def word(self, values: Mapping[str, float]) -> str:
        return ""

    @staticmethod
    def select(folder: FaceFolder, config: TrainConfig) -> FaceFolder:
        """The part of the folder that this method trains on. Raises LsslError if it cannot train on it."""
        return with_varying_attributes(folder, config)

    @staticmethod
    def side(settings: Any) -> tuple[str, int]:
        """The kind of side image and its channels, as `FaceDataset` takes them; by default there is none."""
        return "none", 1

    @staticmethod
    def needs_parser(settings: Any) -> bool:
        return False


def side_image(kind: str, channels: int) -> tuple[str, int]:
    """The value of `FaceMethod.side` for a side image with so many channels; 0: none."""
    return (kind, channels) if channels else ("none", 1)


def critic_and_generator(
    schedule: ScheduleConfig,
    critic_loss: Callable[[Any], tuple[Tensor, Terms]],
    generator_loss: Callable[[Any], tuple[Tensor, Terms]],
) -> tuple[Update, Update]:
    """An iteration as most GANs have it: `schedule.critic_updates` of the critic, then one of the generator."""
    return (
        Update("critic", ("critic",), critic_loss, schedule.critic_rate, schedule.betas, schedule.critic_updates),
        Update("generator", ("generator",), generator_loss, schedule.learning_rate, schedule.betas),
    )

"""SimGAN (Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828), which the paper compares with for pose normalization.

A refiner's output is kept near its input by an l1 self-regularization, and made realistic by a discriminator that judges
patches; half of the discriminator's fakes come from a history of refined faces. The paper adds its attribute classification
loss (3.2). The weights are `losses.identity`, 1 and `losses.classification`; as with the authors, the discriminator has no
penalty. The preset `simgan-paper` follows the authors, but with Adam, as public re-implementations do (the authors used SGD
and batches of 512 eyes). `simgan` has the size and the number of iterations of the preset `pose`, and its refiner's output
is added to the face.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.data import to_float, to_uint8
from lssl.errors import LsslError
from lssl.models.simgan import LocalDiscriminator, Refiner
from lssl.training import losses, seeds
from lssl.training.face_method import FaceMethod, Inputs, side_image
from lssl.training.faces import Plan, check_square
from lssl.training.losses import Terms
from lssl.training.method import Stage, Update
from lssl.training.pairs import PairBatch, PairStream, PoseSettings, normalizer_grid, select_pairs
from lssl.training.speed import autocast


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 24
    refiner_blocks: int = 4
    output: Literal["direct", "residual"] = (
        "residual"  # "direct": the face, as the authors; "residual": added to the input
    )
    critic_width: int = 32
    side_channels: int = 3  # of the photograph in the sample grids; no network looks at it


@dataclass(frozen=True)
class LossSettings:
    identity: float = 5.0  # the self-regularization
    classification: float = 1.0
    critic_classification: float = 1.0


@dataclass(frozen=True)
class HistorySettings:
    size: int = 512  # how many refined faces are kept

    def __post_init__(self) -> None:
        if self.size < 1:
            raise LsslError(f"history.size must be at least 1, not {self.size}")


@dataclass(frozen=True)
class RefinerSettings:
    updates: int = 1  # per iteration, K_g of the authors' algorithm 1; schedule.critic_updates is K_d

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise LsslError(f"refiner.updates must be at least 1, not {self.updates}")


@dataclass(frozen=True)
class WarmUpSettings:
    """SimGAN 3.1: first the refiner learns to leave faces alone, then the discriminator to tell refined from real ones."""

    refiner: int = 200
    updates: int = 2000  # of the discriminator


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    refiner: RefinerSettings = field(default_factory=RefinerSettings)
    warm_up: WarmUpSettings = field(default_factory=WarmUpSettings)


@dataclass
class Batch:
    pairs: PairBatch
    history: Plan  # what `RefinedHistory.exchange` takes


class RefinedHistory:
    """A buffer of at most `size` refined faces (uint8), from which half of the discriminator's fakes are taken.

    How full it is follows from the number of exchanges, so all its random numbers can be drawn beforehand, and what happens
    on the device is a function of tensors of fixed shapes.
    """

    def __init__(self, size: int, batch_size: int, image_size: int, device: torch.device | str = "cpu") -> None:
        self.size, self.batch_size = size, batch_size
        self.half = batch_size // 2
        self.entering = min(max(1, self.half), size)
        # The last row receives faces whose place another face of the same batch takes.
        self.images = torch.zeros(size + 1, 3, image_size, image_size, dtype=torch.uint8, device=device)

    def draw(self, exchange: int, chance: torch.Generator) -> Plan:
        """The random numbers of an exchange, counted from 0."""
        before = min(self.size, exchange * self.entering)
        mixed = bool(self.half) and before >= self.half
        chosen = torch.zeros(self.half, dtype=torch.long)
        if mixed:
            chosen = torch.randperm(before, generator=chance)[: self.half]
        room = min(self.entering, self.size - before)
        places = list(range(before, before + room))
        if self.entering > room:
            places += torch.randperm(before + room, generator=chance)[: self.entering - room].tolist()
        places = [self.size if place in places[k + 1 :] else place for k, place in enumerate(places)]
        return {"chosen": chosen, "mixed": torch.tensor(mixed), "places": torch.tensor(places)}

    def exchange(self, refined: Tensor, plan: Plan) -> Tensor:
        """`refined` (N, 3, H, W) in [-1, 1], with its second half replaced from the history once that holds enough faces.

        The first half of `refined` is stored: at the end while there is room, then in place of random faces.
        """
        second = refined[len(refined) - self.half :]
        second = torch.where(plan["mixed"], to_float(self.images[plan["chosen"]]), second)
        mixed = torch.cat([refined[: len(refined) - self.half], second])
        self.images.index_copy_(0, plan["places"], to_uint8(refined[: self.entering]))
        return mixed


class Method(FaceMethod):
    task = "pose-normalization"
    needs_data = "a folder that `lssl render-frontal` wrote"
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        if self.processes.world_size > 1:
            raise LsslError("SimGAN trains in one process: its history of refined faces is not shared")
        settings = self.settings
        check_square(self.train_set, 4, "another size")
        dimension, network = self.schema.dimension, settings.network
        with seeds.initial_weights(self.config.seed):
            self.refiner = Refiner(dimension, network.width, network.refiner_blocks, network.output).to(
                self.processes.device
            )
            self.critic = LocalDiscriminator(dimension, self.size, network.critic_width).to(self.processes.device)
        self.networks = {"generator": self.refiner, "critic": self.critic}
        self.stream = PairStream(self.config, self.train_set, self.processes, settings.pose)
        self.faces = self.stream.faces
        self.notes = self.stream.notes
        batch_size = self.config.schedule.batch_size
        self.history = RefinedHistory(settings.history.size, batch_size, self.size, self.processes.device)
        self.memory = {"history": self.history.images}

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        first, then = self.settings.warm_up.refiner, self.settings.warm_up.updates
        critic_updates = self.config.schedule.critic_updates
        if warm_up:
            exchange = max(0, step - first)
        else:
            iteration, k = divmod(step, critic_updates + self.settings.refiner.updates)
            exchange = then + iteration * critic_updates + k
        history = self.history.draw(exchange, self.faces.chance(step, "history", warm_up=warm_up))
        pairs = self.stream.draw(step, warm_up=warm_up)
        return {**pairs, **{f"history.{name}": values for name, values in history.items()}}

    def batch(self, plan: Plan) -> Batch:
        history = {k.removeprefix("history."): v for k, v in plan.items() if k.startswith("history.")}
        return Batch(self.stream.batch(plan), history)

    def updates(self) -> Sequence[Update]:
        schedule = self.config.schedule
        return (
            Update(
                "critic", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas, schedule.critic_updates
            ),
            Update(
                "refiner",
                ("generator",),
                self.refiner_loss,
                schedule.learning_rate,
                schedule.betas,
                self.settings.refiner.updates,
            ),
        )

    def warm_up(self) -> Iterator[Stage]:
        schedule, settings = self.config.schedule, self.settings.warm_up
        keep = Update("keep", ("generator",), self.keeping_loss, schedule.learning_rate, schedule.betas)
        yield Stage("warming up the refiner", keep, settings.refiner)
        critic = Update("critic", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas)
        yield Stage("warming up D", critic, settings.updates)

    def refine(self, pairs: PairBatch) -> Tensor:
        with autocast(self.config, pairs.image.device):
            refined: Tensor = self.refiner(pairs.image, None, pairs.given)[0]
        return refined.float()

    def keeping_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        loss = losses.identity(self.refine(batch.pairs), batch.pairs.image)
        return loss, {"g_id": loss}

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        pairs = batch.pairs
        with torch.no_grad():
            fake = self.history.exchange(self.refine(pairs), batch.history)
        labelled, y = pairs.labelled
        realism, attributes = self.critic(torch.cat([pairs.real, fake, labelled]))
        real_logits, fake_logits, _ = realism.chunk(3)
        terms = {
            "d_real": patch_loss(real_logits, fake=False),
            "d_fake": patch_loss(fake_logits, fake=True),
            "d_cls": losses.attribute_softmax(attributes.chunk(3)[2], y, self.schema),
        }
        loss = terms["d_real"] + terms["d_fake"] + self.weights.critic_classification * terms["d_cls"]
        return loss, terms

    def refiner_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        refined = self.refine(batch.pairs)
        realism, logits = self.critic(refined)
        terms = {
            "g_adv": patch_loss(realism, fake=False),
            "g_cls": losses.attribute_softmax(logits, batch.pairs.y, self.schema),
            "g_id": losses.identity(refined, batch.pairs.image),
        }
        loss = terms["g_adv"] + self.weights.identity * terms["g_id"]
        return loss + self.weights.classification * terms["g_cls"], terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        return normalizer_grid(networks["generator"], self.shown, self.stream, targets=False)

    def about(self, iteration: int) -> dict[str, Any]:
        return self.stream.about(iteration, "simgan")

    def facts(self) -> dict[str, Any]:
        updates = {
            "critic_updates": self.config.schedule.critic_updates,
            "refiner_updates": self.settings.refiner.updates,
        }
        return {**self.stream.facts(), **updates}

    select = staticmethod(select_pairs)

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        return side_image("image", settings.network.side_channels)


def patch_loss(logits: Tensor, *, fake: bool) -> Tensor:
    """The local adversarial loss: the mean cross-entropy of the patches' logits (positive: refined)."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(fake)))

"""SimGAN (Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828), the paper's comparison for pose normalization.

A refiner is kept near its input by an l1 self-regularization and made realistic by a discriminator that judges patches;
the discriminator's fakes come half from a history of refined faces. The paper adds the attribute classification loss
(3.2). Their weights are `losses.identity`, 1 and `losses.classification`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data import to_float, to_uint8
from lssl.models import Discriminator, Generator
from lssl.models.simgan import LocalDiscriminator, Refiner
from lssl.training import losses
from lssl.training.checkpoint import CheckpointError
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.pose_trainer import PoseTrainer
from lssl.training.schedule import set_learning_rate, update_average
from lssl.training.steps import StepBatch, Terms


class RefinedHistory:
    """The buffer of refined faces: at most `size` uint8 pictures; half of what the discriminator takes as fake.

    State and chance are explicit, so that a run repeats bit for bit.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: Tensor | None = None

    def exchange(self, refined: Tensor, generator: torch.Generator) -> Tensor:
        """A batch like `refined` (N, 3, H, W) in [-1, 1], whose second half is from the history once that has so many.

        Half of the refined faces go in: at the end while there is room, then in place of random ones.
        """
        new = to_uint8(refined)
        kept = new[:0] if self.images is None else self.images
        half = len(refined) // 2
        mixed = refined
        if half and len(kept) >= half:
            chosen = torch.randperm(len(kept), generator=generator)[:half].to(kept.device)
            mixed = torch.cat([refined[: len(refined) - half], to_float(kept[chosen])])
        entering = new[: max(1, half)]
        room = entering[: self.size - len(kept)]
        kept = torch.cat([kept, room])
        rest = entering[len(room) :]
        if len(rest):
            places = torch.randperm(len(kept), generator=generator)[: len(rest)].to(kept.device)
            kept = kept.clone()
            kept[places] = rest[: len(places)]
        self.images = kept
        return mixed


class SimGANTrainer(PoseTrainer):
    """Trains a SimGAN refiner into the same kind of run folder; see `PoseTrainer`."""

    def __init__(self, config: TrainConfig, *arguments: Any, **options: Any) -> None:
        processes = options.get("processes")
        if processes is not None and processes.world_size > 1:
            raise ConfigError("pose.method simgan trains in one process: its history of refined faces is not shared")
        # torch.compile is for the paper's networks; the critic of SimGAN sees nothing but the picture.
        config = replace(
            config,
            speed=replace(config.speed, compile=False, cuda_graphs=False),
            network=replace(config.network, critic_sees_target=False),
        )
        self.history = RefinedHistory(config.pose.buffer)
        super().__init__(config, *arguments, **options)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "history": self.history.images}

    def _load_state(self, state: dict[str, Any], path: Path) -> None:
        super()._load_state(state, path)
        if "history" not in state:
            raise CheckpointError(f"{path} is no checkpoint of SimGAN")
        self.history.images = state["history"]

    def _build_networks(self) -> tuple[Generator, Discriminator]:
        """Refiner and local discriminator; they are called as generator and critic are."""
        network, dimension = self.config.network, self.schema.dimension
        height, width = self.train_set.size
        if height != width or height % 4:
            raise ConfigError(f"SimGAN needs square pictures whose side divides by 4, not {width}x{height}")
        output = "direct" if network.output == "direct" else "residual"  # a refiner keeps its input, it bends nothing
        refiner = Refiner(dimension, network.width, self.config.pose.refiner_blocks, output)
        critic = LocalDiscriminator(dimension, height, network.critic_width)
        return cast(Generator, refiner), cast(Discriminator, critic)

    def _warm_up_steps(self) -> Iterator[tuple[str, int, Callable[[], object]]]:
        """First the refiner learns to leave faces alone, then the discriminator to tell them apart (there 3.1)."""

        def keep() -> None:
            batch = self._next_batch()
            loss = losses.identity(self._refine(batch), batch.image)
            self._update(self.generator_optimizer, self.networks.generator, loss)

        yield "warming up the refiner", self.config.pose.refiner_warmup, keep
        yield "warming up D", self.config.schedule.critic_warmup, lambda: self._update_critic(self._next_batch())

    def _iterate(self, rate: float) -> None:
        schedule, config = self.config.schedule, self.config.losses
        faster = (schedule.critic_learning_rate or schedule.learning_rate) / schedule.learning_rate
        set_learning_rate(self.critic_optimizer, rate * faster)
        set_learning_rate(self.generator_optimizer, rate)
        for _ in range(schedule.critic_updates):
            terms = self._update_critic(self._next_batch())
        self._record(terms)
        batch = self._next_batch()
        refined = self._refine(batch)
        self.networks.critic.requires_grad_(False)
        realism, logits = self.networks.critic(refined)
        terms = {"g_adv": patch_loss(realism, fake=False), "g_id": losses.identity(refined, batch.image)}
        loss = terms["g_adv"] + config.identity * terms["g_id"]
        if config.classification:
            terms["g_cls"] = losses.attribute_classification(logits, batch.y, self.schema, config.attribute_loss)
            loss = loss + config.classification * terms["g_cls"]
        self._update(self.generator_optimizer, self.networks.generator, loss)
        self.networks.critic.requires_grad_(True)
        self._record(terms)
        if self.average is not None:
            update_average(self.average, self.networks.generator, schedule.ema, self.iteration)

    def _update_critic(self, batch: StepBatch) -> Terms:
        config = self.config.losses
        with torch.no_grad():
            refined = self._refine(batch)
        chance = torch.Generator().manual_seed((self.config.seed * 1_000_003 + self.loader.step) * 4 + 2)
        fake = self.history.exchange(refined, chance)
        labelled, y = batch.labelled
        realism, attributes = self.networks.critic(torch.cat([batch.real_faces, fake, labelled]))
        count = len(fake)
        terms = {
            "d_real": patch_loss(realism[:count], fake=False),
            "d_fake": patch_loss(realism[count : 2 * count], fake=True),
        }
        loss = terms["d_real"] + terms["d_fake"]
        if config.critic_classification:
            logits = attributes[2 * count :]
            terms["d_cls"] = losses.attribute_classification(logits, y, self.schema, config.attribute_loss)
            loss = loss + config.critic_classification * terms["d_cls"]
        self._update(self.critic_optimizer, self.networks.critic, loss)
        return terms

    def _refine(self, batch: StepBatch) -> Tensor:
        with self.networks.compute(batch.image.device):
            refined: Tensor = self.networks.generator(batch.image, None, batch.told)[0]
        return refined.float()


def patch_loss(logits: Tensor, *, fake: bool) -> Tensor:
    """Local adversarial loss: cross-entropy of each patch's logit (positive: refined), its mean over patches."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(fake)))

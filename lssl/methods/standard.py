"""Faces of few people on few cores: what goes beyond the paper, because of what trials showed.

- The generator moves and shades the picture and paints last (output "warp"): a smile is a movement first.
- The critic is a logistic one with R1: the Wasserstein critic could not tell unseen fakes from few real faces.
- D_src judges a face as one of attributes y: D_src(x, s) + <y, D_cls(x)> (Miyato & Koyama 2018). D_cls of few photographs
  is easily satisfied by tints; so it learns from fakes, too, that these are none.
- D_cls sees the image beside a blank side image: with the pair, the generator changes the landmarks alone.
- D_cls is warmed up alone, so that the first fakes are told where to go.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.data import FaceDataset, FaceFolder
from lssl.models import Discriminator, FaceParser, Generator
from lssl.models.export import TrainedGenerator
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.faces import Plan, about, check_square, open_stream, with_varying_attributes
from lssl.training.loop import Stage, Update
from lssl.training.losses import Terms
from lssl.training.samples import sample_grid, sample_rows
from lssl.training.speed import autocast

_LEARNT = 0.9  # of the loss at chance: below it, D_cls has begun to learn
_TELLING = 100  # updates after which its loss says so


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 24
    num_downsamplings: int = 2
    residual_blocks: int = 4
    conditioning: Literal["concat", "modulate"] = "concat"  # how y enters the decoder, see `lssl.models.Generator`
    side_channels: int = 1  # of the landmark heatmap; 0: no side image
    critic_width: int = 32
    critic_layers: int = 5


@dataclass(frozen=True)
class LossSettings:
    """Weights; 0 switches a term off and spares its cost."""

    penalty: float = 0.03  # R1
    classification: float = 0.5  # of the generator
    critic_classification: float = 1.0
    bidirectional: float = 2.0
    latent: float = 0.5
    identity: float = 0.0
    parsing: float = 0.0


@dataclass(frozen=True)
class WarmUpSettings:
    updates: int = 1500  # of D_cls alone, before the first iteration; up to four times as many while it knows nothing


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    warm_up: WarmUpSettings = field(default_factory=WarmUpSettings)


@dataclass
class Batch:
    """`image`, `side`: x and s in [-1, 1]; `y_source`: the attributes of x; `y`: random targets."""

    image: Tensor
    side: Tensor | None
    y_source: Tensor
    y: Tensor


class Method:
    averaged = ("generator",)
    needs_data = ""  # without --data, generated faces are made first

    def __init__(
        self,
        config: TrainConfig,
        train_set: FaceDataset,
        test_set: FaceDataset,
        *,
        processes: Processes,
        parser: FaceParser | None = None,
    ) -> None:
        settings: Settings = config.settings
        network = settings.network
        self.config, self.weights, self.parser = config, settings.losses, parser
        self.train_set, self.schema, self.processes = train_set, train_set.schema, processes
        check_square(
            train_set,
            2 ** max(network.num_downsamplings, network.critic_layers),
            "network.num_downsamplings and network.critic_layers",
        )
        with seeds.initial_weights(config.seed):
            self.generator = Generator(
                self.schema.dimension,
                side_channels=network.side_channels,
                width=network.width,
                num_downsamplings=network.num_downsamplings,
                residual_blocks=network.residual_blocks,
                output="warp",
                conditioning=network.conditioning,
            ).to(processes.device)
            self.critic = Discriminator(
                self.schema.dimension,
                3 + network.side_channels,
                train_set.size[0],
                network.critic_width,
                network.critic_layers,
            ).to(processes.device)
        self.networks: dict[str, nn.Module] = {"generator": self.generator, "critic": self.critic}
        self.faces = open_stream(config, train_set, processes)
        self.shown = test_set.batch(sample_rows(test_set, config.output.sample_faces))
        self.at_chance = losses.softmax_at_chance(train_set.y, self.schema)
        # A running mean of D_cls's loss in the warm-up.
        self.memory = {"warm_up_loss": torch.tensor(self.at_chance, device=processes.device)}

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        chance = seeds.generator(self.config.seed, step, "targets")
        y = self.schema.sample(self.faces.batch_size, chance)
        torch.rand(self.faces.batch_size, generator=chance)
        faces = self.faces.draw(step, chance, seed=self.config.seed + warm_up)
        return {"y": self.processes.share(y), **faces}

    def batch(self, plan: Plan) -> Batch:
        faces = self.faces.batch(plan)
        return Batch(faces.image, faces.side, faces.y, plan["y"])

    def updates(self) -> Sequence[Update]:
        schedule = self.config.schedule
        return (
            Update(
                "critic", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas, schedule.critic_updates
            ),
            Update("generator", ("generator",), self.generator_loss, schedule.learning_rate, schedule.betas),
        )

    def warm_up(self) -> Iterator[Stage]:
        """D_cls alone on real faces, so that the first fakes are told where to go; up to three times as long again while
        it knows nothing, which it would else never mend once the fakes are there."""
        schedule, count = self.config.schedule, self.config.settings.warm_up.updates
        update = Update("D_cls", ("critic",), self.classifier_loss, schedule.critic_rate, schedule.betas)
        yield Stage("warming up D_cls", update, count)
        if count < _TELLING:
            return
        for _ in range(3):
            if self.classifier_has_begun():
                return
            yield Stage("warming up D_cls on, it knows nothing yet", update, count)
        if not self.classifier_has_begun() and self.processes.first:
            names = ", ".join(group.name for group in self.schema.groups)
            warnings.warn(
                f"after {4 * count} updates D_cls still tells {names} no better than chance, so the generator will hardly "
                "learn to change it: look whether the labels are right, raise warm_up.updates or lower data.jitter",
                stacklevel=2,
            )

    def classifier_has_begun(self) -> bool:
        """Whether D_cls, over the processes, does better than chance."""
        return self.processes.mean(self.memory["warm_up_loss"].clone()).item() < _LEARNT * self.at_chance

    def classifier_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        logits = self.critic(blank(batch.image, batch.side)).attributes
        loss = losses.attribute_softmax(logits, batch.y_source, self.schema)
        with torch.no_grad():
            self.memory["warm_up_loss"].lerp_(loss.detach(), 0.02)
        return loss, {"d_cls": loss}

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        weights, critic, schema = self.weights, self.critic, self.schema
        with torch.no_grad(), autocast(self.config, batch.image.device):
            fake_image, fake_side = self.generator(batch.image, batch.side, batch.y)
        real = joined(batch.image, batch.side)
        seen = [real, joined(fake_image, fake_side), blank(batch.image, batch.side), blank(fake_image, fake_side)]
        realism, logits = critic(torch.cat(seen))
        real_score, fake_score, _, _ = realism.chunk(4)
        _, _, real_logits, fake_logits = logits.chunk(4)
        real_score = real_score + losses.projection(real_logits, batch.y_source, schema)
        fake_score = fake_score + losses.projection(fake_logits, batch.y, schema)
        terms = {"d_real": -real_score.mean(), "d_fake": fake_score.mean()}
        loss = losses.logistic(real_score, fake_score)
        if weights.penalty:
            terms["d_gp"] = r1_penalty(lambda pair: self.score(pair, batch.y_source), real)
            loss = loss + weights.penalty * terms["d_gp"]
        terms["d_cls"] = losses.attribute_softmax(real_logits, batch.y_source, schema)
        return loss + weights.critic_classification * terms["d_cls"], terms

    def score(self, pair: Tensor, y: Tensor) -> Tensor:
        """How real the critic finds (x, s) as one of attributes y."""
        image, side = pair[:, :3], pair[:, 3:] if pair.shape[1] > 3 else None
        logits = self.critic(blank(image, side)).attributes
        return self.critic.realism(pair) + losses.projection(logits, y, self.schema)

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        weights, image, side, device = self.weights, batch.image, batch.side, batch.image.device
        with autocast(self.config, device):
            latent = self.generator.encode(image, side)
            fake_image, fake_side = self.generator.decode(latent, batch.y, image)
        realism = self.critic(joined(fake_image, fake_side)).realism
        logits = self.critic(blank(fake_image, fake_side)).attributes
        realism = realism + losses.projection(logits, batch.y, self.schema)
        terms = {"g_adv": losses.generator_logistic(realism)}
        loss = terms["g_adv"]
        if weights.classification:
            terms["g_cls"] = losses.attribute_softmax(logits, batch.y, self.schema)
            loss = loss + weights.classification * terms["g_cls"]
        if weights.bidirectional or weights.latent:
            with autocast(self.config, device):
                latent_back = self.generator.encode(fake_image, fake_side)
            terms["g_latent"] = losses.latent_bidirectional(latent.float(), latent_back.float())
            loss = loss + weights.latent * terms["g_latent"]
        if weights.bidirectional:
            with autocast(self.config, device):
                image_back, side_back = self.generator.decode(latent_back, batch.y_source, fake_image)
            side_back = None if side_back is None else side_back.float()
            terms["g_bi"] = losses.bidirectional(image, image_back.float(), side, side_back)
            loss = loss + weights.bidirectional * terms["g_bi"]
        if weights.identity:
            terms["g_id"] = losses.identity(fake_image.float(), image)
            loss = loss + weights.identity * terms["g_id"]
        if weights.parsing and self.parser is not None:
            with autocast(self.config, device):
                with torch.no_grad():
                    image_parts = self.parser(image)
                fake_parts = self.parser(fake_image)
            terms["g_parse"] = losses.parsing(fake_parts.float(), image_parts.float())
            loss = loss + weights.parsing * terms["g_parse"]
        return loss, terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        return sample_grid(networks["generator"], self.shown, self.schema)

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        size = self.train_set.size[0]
        return TrainedGenerator(networks["generator"], self.schema, size, info=about(self.train_set, iteration))

    def facts(self) -> dict[str, Any]:
        return {"faces": len(self.train_set), "attributes": self.schema.to_dict()}

    @staticmethod
    def select(folder: FaceFolder, config: TrainConfig) -> FaceFolder:
        return with_varying_attributes(folder, config)

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        channels = settings.network.side_channels
        return ("heatmap", channels) if channels else ("none", 1)

    @staticmethod
    def needs_parser(settings: Settings) -> bool:
        return settings.losses.parsing > 0


def joined(image: Tensor, side: Tensor | None) -> Tensor:
    """What D_src sees, float32: (x, s), or x alone without side images."""
    return image.float() if side is None else torch.cat([image.float(), side.float()], 1)


def blank(image: Tensor, side: Tensor | None) -> Tensor:
    """What D_cls sees: x beside a side image without a landmark."""
    return joined(image, None if side is None else torch.full_like(side, -1.0))

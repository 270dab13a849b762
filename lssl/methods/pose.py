"""Pose normalization (paper 3.2, Fig. 3b): x is a simulated frontal face, s the photograph that it came from.

The critic judges a single image, against real faces, which need not be of the same people. Beyond the paper, as in
`standard.py`: the generator moves and shades its input; the critic has a logistic loss with R1, and judges whether a face
is real given its attributes, if those are known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.models import Discriminator, Generator
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.face_method import FaceMethod, Inputs, critic_and_generator, side_image
from lssl.training.faces import Plan, check_square
from lssl.training.losses import Terms
from lssl.training.method import Stage, Update
from lssl.training.pairs import PairBatch, PairStream, PoseSettings, normalizer_grid, select_pairs
from lssl.training.speed import autocast


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 24
    num_downsamplings: int = 2
    residual_blocks: int = 4
    side_channels: int = 3  # of the photograph; 0: no side image
    critic_width: int = 32
    critic_layers: int = 5
    critic_init: Literal["pytorch", "he"] = "he"
    critic_sees_target: bool = (
        True  # D_src judges whether faces are real given y; needs real faces with known attributes
    )


@dataclass(frozen=True)
class LossSettings:
    """Weights; 0 switches a term off and saves its cost."""

    penalty: float = 0.03  # R1
    classification: float = 1.0  # of the generator
    critic_classification: float = 1.0
    identity: float = 5.0
    # |x' - t|, t being the subject's own frontal photograph with y, which the databases of such experiments have.
    frontal: float = 3.0


@dataclass(frozen=True)
class WarmUpSettings:
    updates: int = 2000  # of D_cls alone, before the first iteration


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)
    warm_up: WarmUpSettings = field(default_factory=WarmUpSettings)


class Method(FaceMethod):
    task = "pose-normalization"
    needs_data = "a folder that `lssl render-frontal` wrote"
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        settings = self.settings
        network = settings.network
        check_square(
            self.train_set,
            2 ** max(network.num_downsamplings, network.critic_layers),
            "network.num_downsamplings and network.critic_layers",
        )
        with seeds.initial_weights(self.config.seed):
            self.generator = Generator(
                self.schema.dimension,
                side_channels=network.side_channels,
                width=network.width,
                num_downsamplings=network.num_downsamplings,
                residual_blocks=network.residual_blocks,
                output="warp",
            ).to(self.processes.device)
            self.critic = Discriminator(
                self.schema.dimension,
                3,
                self.size,
                network.critic_width,
                network.critic_layers,
                network.critic_init,
            ).to(self.processes.device)
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.stream = PairStream(
            self.config,
            self.train_set,
            self.processes,
            settings.pose,
            frontal=settings.losses.frontal > 0,
            labels_needed="network.critic_sees_target" if network.critic_sees_target else "",
        )
        self.faces = self.stream.faces
        self.notes = self.stream.notes

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        return self.stream.draw(step, warm_up=warm_up)

    def batch(self, plan: Plan) -> PairBatch:
        return self.stream.batch(plan)

    def updates(self) -> Sequence[Update]:
        return critic_and_generator(self.config.schedule, self.critic_loss, self.generator_loss)

    def warm_up(self) -> Iterator[Stage]:
        """D_cls alone, on faces whose attributes are known."""
        schedule = self.config.schedule
        update = Update("D_cls", ("critic",), self.classifier_loss, schedule.critic_rate, schedule.betas)
        yield Stage("warming up D_cls", update, self.settings.warm_up.updates)

    def classifier_loss(self, batch: PairBatch) -> tuple[Tensor, Terms]:
        image, y = batch.labelled
        loss = losses.attribute_softmax(self.critic(image).attributes, y, self.schema)
        return loss, {"d_cls": loss}

    def critic_loss(self, batch: PairBatch) -> tuple[Tensor, Terms]:
        weights, schema = self.weights, self.schema
        with torch.no_grad(), autocast(self.config, batch.image.device):
            fake = self.generator(batch.image, batch.side, batch.given)[0].float()
        labelled, y = batch.labelled
        realism, logits = self.critic(torch.cat([batch.real, fake, labelled]))
        real_score, fake_score, _ = realism.chunk(3)
        real_logits, fake_logits, labelled_logits = logits.chunk(3)
        if self.settings.network.critic_sees_target:
            real_score = real_score + losses.projection(real_logits, y, schema)
            fake_score = fake_score + losses.projection(fake_logits, batch.y, schema)
        terms = {"d_real": -real_score.mean(), "d_fake": fake_score.mean()}
        loss = losses.logistic(real_score, fake_score)
        if weights.penalty:
            terms["d_gp"] = r1_penalty(lambda image: self.score(image, y), batch.real)
            loss = loss + weights.penalty * terms["d_gp"]
        terms["d_cls"] = losses.attribute_softmax(labelled_logits, y, schema)
        return loss + weights.critic_classification * terms["d_cls"], terms

    def score(self, image: Tensor, y: Tensor) -> Tensor:
        """How real the critic finds x, given y if `critic_sees_target`."""
        realism, logits = self.critic(image)
        if self.settings.network.critic_sees_target:
            return realism + losses.projection(logits, y, self.schema)
        score: Tensor = realism
        return score

    def generator_loss(self, batch: PairBatch) -> tuple[Tensor, Terms]:
        weights, image, device = self.weights, batch.image, batch.image.device
        with autocast(self.config, device):
            fake = self.generator(image, batch.side, batch.given)[0]
        realism, logits = self.critic(fake.float())
        if self.settings.network.critic_sees_target:
            realism = realism + losses.projection(logits, batch.y, self.schema)
        terms = {"g_adv": losses.generator_logistic(realism)}
        loss = terms["g_adv"]
        if weights.classification:
            terms["g_cls"] = losses.attribute_softmax(logits, batch.y, self.schema)
            loss = loss + weights.classification * terms["g_cls"]
        if weights.identity:
            terms["g_id"] = losses.identity(fake.float(), image)
            loss = loss + weights.identity * terms["g_id"]
        if batch.target is not None and batch.target_weight is not None:
            terms["g_front"] = losses.frontal(fake.float(), batch.target, batch.target_weight)
            loss = loss + weights.frontal * terms["g_front"]
        return loss, terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        return normalizer_grid(networks["generator"], self.shown, self.stream, targets=self.settings.pose.keep < 1)

    def about(self, iteration: int) -> dict[str, Any]:
        return self.stream.about(iteration, "lssl")

    def facts(self) -> dict[str, Any]:
        return self.stream.facts()

    select = staticmethod(select_pairs)

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        return side_image("image", settings.network.side_channels)

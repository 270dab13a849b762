"""StarGAN (Choi et al. 2018, https://arxiv.org/abs/1711.09020), which the paper compares with in Tables 1 and 2.

The preset `stargan` follows the authors: a Wasserstein critic with gradient penalty, a classification loss, a cycle, and
nothing else: no side image, no identity, latent or parsing loss. `stargan-small` has what `standard` uses for few
photographs: moves, a logistic critic with R1 and He initialization whose classifier is warmed up, and an averaged generator
that moves and shades the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data import AttributeSchema
from lssl.models import Discriminator
from lssl.models.stargan import StarGANGenerator
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.face_method import FaceMethod, Inputs, critic_and_generator
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Stage, Update
from lssl.training.speed import autocast


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 64
    residual_blocks: int = 6
    output: Literal["direct", "warp"] = "direct"  # see `lssl.models.stargan`; beyond the authors: "warp"
    critic_width: int = 64
    critic_layers: int = 6
    critic_init: Literal["pytorch", "he"] = "pytorch"


@dataclass(frozen=True)
class LossSettings:
    """Weights; with `adversarial` "logistic" (beyond the authors), the penalty is R1."""

    adversarial: Literal["wasserstein", "logistic"] = "wasserstein"
    penalty: float = 10.0
    classification: float = 1.0
    reconstruction: float = 10.0


@dataclass(frozen=True)
class WarmUpSettings:
    updates: int = 0  # of D_cls alone, before the first iteration; beyond the authors


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    warm_up: WarmUpSettings = field(default_factory=WarmUpSettings)


@dataclass
class Batch:
    """image: x (N, 3, H, W) in [-1, 1]. y_source: its attributes. y: the targets, labels of other faces; both (N, A).
    alpha (N,) in [0, 1]: where between fake (0) and real (1) the gradient penalty is taken."""

    image: Tensor
    y_source: Tensor
    y: Tensor
    alpha: Tensor


class Method(FaceMethod):
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        settings = self.settings
        network = settings.network
        check_square(self.train_set, max(4, 2**network.critic_layers), "network.critic_layers")
        with seeds.initial_weights(self.config.seed):
            self.generator = StarGANGenerator(
                self.schema.dimension, network.width, network.residual_blocks, network.output
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
        self.faces = open_stream(self.config, self.train_set, self.processes)

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        updates = self.config.schedule.critic_updates
        if not warm_up:  # the generator gets the batch and the targets of the critic's last update
            iteration, k = divmod(step, updates + 1)
            step = iteration * updates + min(k, updates - 1)
        chance = self.faces.chance(step, "targets", warm_up=warm_up)
        rows, _ = self.faces.rows(step, warm_up=warm_up)
        y = self.train_set.y[rows[torch.randperm(len(rows), generator=chance)]]
        alpha = torch.rand(len(rows), generator=chance)
        own = {"y": self.processes.share(y), "alpha": self.processes.share(alpha)}
        return {**own, **self.faces.draw(step, warm_up=warm_up)}

    def batch(self, plan: Plan) -> Batch:
        faces = self.faces.batch(plan)
        return Batch(faces.image, faces.y, plan["y"], plan["alpha"])

    def updates(self) -> Sequence[Update]:
        return critic_and_generator(self.config.schedule, self.critic_loss, self.generator_loss)

    def warm_up(self) -> Iterator[Stage]:
        schedule = self.config.schedule
        update = Update("D_cls", ("critic",), self.classifier_loss, schedule.critic_rate, schedule.betas)
        yield Stage("warming up D_cls", update, self.settings.warm_up.updates)

    def translate(self, image: Tensor, y: Tensor) -> Tensor:
        with autocast(self.config, image.device):
            made: Tensor = self.generator(image, None, y)[0]
        return made.float()

    def classifier_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        loss = classification(self.critic(batch.image).attributes, batch.y_source, self.schema)
        return loss, {"d_cls": loss}

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        weights, real = self.weights, batch.image
        with torch.no_grad():
            fake = self.translate(real, batch.y)
        both = torch.cat([real, fake])
        if weights.adversarial == "wasserstein":
            (realism, logits), penalty = losses.critic_and_penalty(self.critic, both, real, fake, batch.alpha)
            loss = losses.wasserstein(*realism.chunk(2))
        else:
            realism, logits = self.critic(both)
            penalty = r1_penalty(self.critic, real)
            loss = losses.logistic(*realism.chunk(2))
        real_score, fake_score = realism.chunk(2)
        terms = {
            "d_real": -real_score.mean(),
            "d_fake": fake_score.mean(),
            "d_gp": penalty,
            "d_cls": classification(logits.chunk(2)[0], batch.y_source, self.schema),
        }
        return loss + weights.penalty * penalty + weights.classification * terms["d_cls"], terms

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        weights = self.weights
        fake = self.translate(batch.image, batch.y)
        realism, logits = self.critic(fake)
        adversarial = (
            losses.generator_wasserstein if weights.adversarial == "wasserstein" else losses.generator_logistic
        )
        terms = {
            "g_adv": adversarial(realism),
            "g_cls": classification(logits, batch.y, self.schema),
            "g_bi": losses.bidirectional(batch.image, self.translate(fake, batch.y_source)),
        }
        loss = terms["g_adv"] + weights.classification * terms["g_cls"]
        return loss + weights.reconstruction * terms["g_bi"], terms

    def about(self, iteration: int) -> dict[str, Any]:
        return {**super().about(iteration), "method": "stargan"}


def classification(logits: Tensor, y: Tensor, schema: AttributeSchema) -> Tensor:
    """The classification loss of logits and y (N, A), as in the authors' code: softmax cross-entropy for an attribute with
    several values; if all are binary, the sum of their binary cross-entropies, averaged over the faces."""
    if not all(group.binary for group in schema.groups):
        return losses.attribute_softmax(logits, y, schema)
    return F.binary_cross_entropy_with_logits(logits, y, reduction="sum") / len(y)

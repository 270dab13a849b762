"""The paper's method (section 3.1): a generator and a critic, eq. 1 to 7 in order, and nothing else.

To try another loss, copy this file and `presets/paper.toml` (docs/extending.md). What goes beyond the paper is in
`standard.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lssl.models import Discriminator, Generator
from lssl.training import losses, seeds
from lssl.training.face_method import FaceMethod, Inputs, critic_and_generator, side_image
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Update
from lssl.training.speed import autocast


@dataclass(frozen=True)
class NetworkSettings:
    """Paper 4.1; `side_channels` 0 leaves the side image out (Table 1)."""

    width: int = 64
    num_downsamplings: int = 4
    residual_blocks: int = 6
    side_channels: int = 3
    critic_width: int = 64
    critic_layers: int = 6


@dataclass(frozen=True)
class LossSettings:
    """The weights lambda of eq. 1 and 7."""

    penalty: float = 10.0
    classification: float = 1.0
    bidirectional: float = 10.0
    identity: float = 10.0
    parsing: float = 10.0


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)


@dataclass
class Batch:
    """image, side: x (N, 3, H, W) and s (N, S, H, W) in [-1, 1]. y_source: the attributes y' of x. y: random targets; both
    (N, A). alpha (N,) in [0, 1]: where between fake (0) and real (1) the gradient penalty is taken."""

    image: Tensor
    side: Tensor | None
    y_source: Tensor
    y: Tensor
    alpha: Tensor


class Method(FaceMethod):
    """Genc, Gdec and D = (D_src, D_cls) of section 3.1; the parser P is trained beforehand, and frozen."""

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
            ).to(self.processes.device)
            self.critic = Discriminator(
                self.schema.dimension,
                3 + network.side_channels,
                self.size,
                network.critic_width,
                network.critic_layers,
            ).to(self.processes.device)
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.faces = open_stream(self.config, self.train_set, self.processes)

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        count = self.faces.batch_size
        y = self.schema.sample(count, self.faces.chance(step, "targets"))
        alpha = torch.rand(count, generator=self.faces.chance(step, "mixing"))
        share = self.processes.share
        return {"y": share(y), "alpha": share(alpha), **self.faces.draw(step)}

    def batch(self, plan: Plan) -> Batch:
        faces = self.faces.batch(plan)
        return Batch(faces.image, faces.side, faces.y, plan["y"], plan["alpha"])

    def updates(self) -> Sequence[Update]:
        return critic_and_generator(self.config.schedule, self.critic_loss, self.generator_loss)

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """L_D = -L_GAN + lambda_cls L_cls^r (eq. 7)."""
        with torch.no_grad(), autocast(self.config, batch.image.device):
            fake_image, fake_side = self.generator(batch.image, batch.side, batch.y)
        real, fake = joined(batch.image, batch.side), joined(fake_image, fake_side)

        # Eq. 1: the Wasserstein distance and its gradient penalty.
        (realism, logits), penalty = losses.critic_and_penalty(
            self.critic, torch.cat([real, fake]), real, fake, batch.alpha
        )
        real_score, fake_score = realism.chunk(2)
        # Eq. 2: the attributes of real images.
        classification = losses.attribute_bce(logits.chunk(2)[0], batch.y_source)

        terms = {"d_real": -real_score.mean(), "d_fake": fake_score.mean(), "d_gp": penalty, "d_cls": classification}
        loss = losses.wasserstein(real_score, fake_score) + self.weights.penalty * penalty
        return loss + self.weights.classification * classification, terms

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """L_G = L_GAN + lambda_bi L_bi + lambda_cls L_cls^f + lambda_id L_id + lambda_p L_p (eq. 7)."""
        weights, image, side, device = self.weights, batch.image, batch.side, batch.image.device
        with autocast(self.config, device):
            latent = self.generator.encode(image, side)
            fake_image, fake_side = self.generator.decode(latent, batch.y)
        realism, logits = self.critic(joined(fake_image, fake_side))
        terms: Terms = {}

        # Eq. 1.
        terms["g_adv"] = losses.generator_wasserstein(realism)
        # Eq. 3: the attributes asked for.
        terms["g_cls"] = losses.attribute_bce(logits, batch.y)
        # Eq. 4: identity.
        terms["g_id"] = losses.identity(fake_image.float(), image)
        # Eq. 5: the parts of the face stay where they are. One variant of Table 1 leaves it out and has no parser.
        if self.parser is not None:
            with autocast(self.config, device):
                with torch.no_grad():
                    image_parts = self.parser(image)
                fake_parts = self.parser(fake_image)
            terms["g_parse"] = losses.parsing(fake_parts.float(), image_parts.float())
        # Eq. 6: there and back, in the image and in the latent.
        with autocast(self.config, device):
            latent_back = self.generator.encode(fake_image, fake_side)
            image_back, side_back = self.generator.decode(latent_back, batch.y_source)
        terms["g_bi"] = losses.bidirectional(image, image_back.float(), side, as_float(side_back))
        terms["g_latent"] = losses.latent_bidirectional(latent.float(), latent_back.float())

        # Eq. 7.
        loss = terms["g_adv"] + weights.bidirectional * (terms["g_bi"] + terms["g_latent"])
        loss = loss + weights.classification * terms["g_cls"] + weights.identity * terms["g_id"]
        if "g_parse" in terms:
            loss = loss + weights.parsing * terms["g_parse"]
        return loss, terms

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        return side_image("heatmap", settings.network.side_channels)

    @staticmethod
    def needs_parser(settings: Settings) -> bool:
        return settings.losses.parsing > 0


def joined(image: Tensor, side: Tensor | None) -> Tensor:
    """The pair (x, s) as the critic sees it, float32; x alone without side images."""
    return image.float() if side is None else torch.cat([image.float(), side.float()], 1)


def as_float(side: Tensor | None) -> Tensor | None:
    return None if side is None else side.float()

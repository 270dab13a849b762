"""IcGAN (Perarnau et al. 2016, https://arxiv.org/abs/1611.06355), which the paper compares with in Fig. 6 and Table 2.

A run's iterations have two stages. First a conditional GAN learns to paint faces from noise z and attributes y. Then, with
the generator frozen, one encoder learns to find z in what it paints, and another to find y in photographs. A face is
translated by painting it again from its z. The preset `icgan` follows the authors; `icgan-small` takes from `standard` what
IcGAN can use, the moves and the size. It cannot use the rest: there is no input picture that the generator could move,
averaged weights would not fit the statistics of batch norm, and R1 would mix the faces of a batch through batch norm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator
from lssl.models.icgan import LATENT, ConditionalDiscriminator, IcGAN
from lssl.training import seeds
from lssl.training.face_method import FaceMethod, Inputs
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Update
from lssl.training.samples import sample_grid

_UPDATES = 4  # per iteration; each stage runs two of them


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 64  # of generator and discriminator; the encoders have half


@dataclass(frozen=True)
class StageSettings:
    gan: float = 0.625  # share of the iterations that train the GAN; the others train the encoders

    def __post_init__(self) -> None:
        if not 0 < self.gan < 1:
            raise LsslError(f"stages.gan must lie between 0 and 1, not {self.gan}")


@dataclass(frozen=True)
class EncoderSettings:
    learning_rate: float = 1e-4
    beta1: float = 0.1


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    stages: StageSettings = field(default_factory=StageSettings)
    encoders: EncoderSettings = field(default_factory=EncoderSettings)


@dataclass
class Batch:
    """image: x (N, 3, H, W) in [-1, 1]. y_source: its attributes. y_wrong: attributes that are not its own. z (N, 100) and
    y, taken from another face: what a face is painted from. Each y is (N, A) in {-1, 1}."""

    image: Tensor
    y_source: Tensor
    y_wrong: Tensor
    z: Tensor
    y: Tensor


class Method(FaceMethod):
    averaged: tuple[str, ...] = ()  # an average of weights would need batch norm statistics of its own
    settings: Settings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        if self.processes.world_size > 1:
            raise LsslError("IcGAN trains in one process: its batch norm needs the statistics of the whole batch")
        settings = self.settings
        check_square(self.train_set, 2, "another size")
        try:
            with seeds.initial_weights(self.config.seed):
                whole = IcGAN(self.schema.dimension, self.size, settings.network.width).to(self.processes.device)
                critic = ConditionalDiscriminator(self.schema.dimension, self.size, settings.network.width)
        except ValueError as error:
            raise LsslError(f"{self.train_set.folder.root}: {error}; prepare the data with another --size") from None
        self.critic = critic.to(self.processes.device)
        self.generator, self.encoder_z, self.encoder_y = whole.generator, whole.encoder_z, whole.encoder_y
        self.networks = {
            "generator": self.generator,
            "critic": self.critic,
            "encoder_z": self.encoder_z,
            "encoder_y": self.encoder_y,
        }
        self.faces = open_stream(self.config, self.train_set, self.processes)
        self.kinds, self.kind = torch.unique(self.train_set.y, dim=0, return_inverse=True)

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        step //= _UPDATES  # all updates of an iteration see one batch, as in the authors' code
        chance = self.faces.chance(step, "targets", warm_up=warm_up)
        rows, _ = self.faces.rows(step, warm_up=warm_up)
        others = torch.randint(len(self.train_set), (len(rows),), generator=chance)
        # Another set of attributes than the face's, with the frequency that it has in the data.
        often = torch.bincount(self.kind).float().repeat(len(rows), 1)
        often[torch.arange(len(rows)), self.kind[rows]] = 0
        wrong = torch.multinomial(often, 1, generator=chance)[:, 0]
        z = torch.randn(len(rows), LATENT, generator=chance)
        drawn = {"z": z, "y": self.train_set.y[others], "y_wrong": self.kinds[wrong]}
        return {**drawn, **self.faces.draw(step, warm_up=warm_up)}

    def batch(self, plan: Plan) -> Batch:
        faces = self.faces.batch(plan)
        return Batch(faces.image, 2 * faces.y - 1, 2 * plan["y_wrong"] - 1, plan["z"], 2 * plan["y"] - 1)

    def updates(self) -> Sequence[Update]:
        schedule, encoders, gan = self.config.schedule, self.settings.encoders, self.settings.stages.gan
        betas = encoders.beta1, schedule.beta2
        first, then = (0.0, gan), (gan, 1.0)
        return (
            Update("critic", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas, during=first),
            Update(
                "generator", ("generator",), self.generator_loss, schedule.learning_rate, schedule.betas, during=first
            ),
            Update("E_z", ("encoder_z",), self.latent_loss, encoders.learning_rate, betas, during=then),
            Update("E_y", ("encoder_y",), self.attribute_loss, encoders.learning_rate, betas, during=then),
        )

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """-log D(x, y') - 1/2 log(1 - D(x, wrong y)) - 1/2 log(1 - D(G(z, y), y))."""
        with torch.no_grad():
            fake = self.generator.train()(batch.z, batch.y)
        critic = self.critic.train()
        terms = {
            "d_real": cross_entropy(critic(batch.image, batch.y_source), real=True),
            "d_wrong": cross_entropy(critic(batch.image, batch.y_wrong), real=False),
            "d_fake": cross_entropy(critic(fake, batch.y), real=False),
        }
        return terms["d_real"] + 0.5 * (terms["d_wrong"] + terms["d_fake"]), terms

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """-log D(G(z, y), y)."""
        fake = self.generator.train()(batch.z, batch.y)
        loss = cross_entropy(self.critic.train()(fake, batch.y), real=True)
        return loss, {"g_adv": loss}

    def latent_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """E |E_z(G(z, y)) - z|^2 with G frozen and in eval mode; a pass in train mode keeps its batch norm statistics
        up to date."""
        with torch.no_grad():
            self.generator.train()(batch.z, batch.y)
            image = self.generator.eval()(batch.z, batch.y)
        loss = F.mse_loss(self.encoder_z.train()(image), batch.z)
        return loss, {"e_z": loss}

    def attribute_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """E |E_y(x) - y'|^2 of photographs."""
        loss = F.mse_loss(self.encoder_y.train()(batch.image), batch.y_source)
        return loss, {"e_y": loss}

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        whole = self.assembled(networks)
        was = {part: part.training for part in whole.modules()}
        grid = sample_grid(whole.eval(), self.shown, self.schema)
        for part, training in was.items():
            part.training = training
        return grid

    def about(self, iteration: int) -> dict[str, Any]:
        return {**super().about(iteration), "method": "icgan"}

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        return super().exported({"generator": self.assembled(networks)}, iteration)

    def assembled(self, networks: Mapping[str, nn.Module]) -> IcGAN:
        """G(E_z(x), y), made of these networks themselves, not copies."""
        with torch.device("meta"):
            whole = IcGAN(self.schema.dimension, self.size, self.settings.network.width)
        for name in ("generator", "encoder_z", "encoder_y"):
            setattr(whole, name, networks[name])
        return whole

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "gan": self.settings.stages.gan}


def cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    """Mean over a discriminator's logits (N,) of -log D if they should say real, else of -log(1 - D)."""
    return F.softplus(-logits if real else logits).mean()

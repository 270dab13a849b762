"""StarGAN v2 (Choi et al. 2020, https://arxiv.org/abs/1912.01865), a reference that is newer than the paper; written from its
paper.

Nothing classifies: the discriminator has a logit for each domain (combination of attribute values), and a style, mapped
from noise or read from a reference picture, says how the domain is to look. The preset `starganv2` follows the authors'
faces without the landmark network that they add for CelebA-HQ; `starganv2-small` has what `standard` uses for few photographs
and the method can take: moves, size, and a generator that moves and shades the picture.

`lssl synthesize` and `evaluate` use the mean style of each domain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator
from lssl.models.starganv2 import (
    LATENT,
    DomainDiscriminator,
    MappingNetwork,
    StarGANv2,
    StyledGenerator,
    StyleEncoder,
    domain_weights,
)
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.face_method import FaceMethod, Inputs
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Update
from lssl.training.samples import sample_grid
from lssl.training.speed import autocast

_UPDATES = 4  # per iteration, on one batch: critic and generator, with styles from noise, then from references


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 0  # channels at full resolution; 0: 2^14 / size, as the authors
    max_width: int = 512
    mapping_width: int = 512
    output: Literal["direct", "warp"] = "direct"  # see `lssl.models.starganv2`; beyond the authors: "warp"


@dataclass(frozen=True)
class LossSettings:
    """Weights of the authors' equations; `penalty` is R1's, which counts half."""

    penalty: float = 1.0
    style: float = 1.0
    diversity: float = 1.0  # falls linearly to 0 over the run
    reconstruction: float = 1.0


@dataclass(frozen=True)
class OptimizerSettings:
    weight_decay: float = 1e-4
    mapping_rate: float = 0.01  # learning rate of the mapping network, times the others'


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)


@dataclass
class Batch:
    """image: x (N, 3, S, S) in [-1, 1]. source, target: weights of its domain and of the one asked for (N, K).
    z (N, 2, 16): two styles' noise. references: two pictures of the target domain, (N, 3, S, S) each.
    diversity: the present weight of the diversity loss, (1,)."""

    image: Tensor
    source: Tensor
    target: Tensor
    z: Tensor
    references: tuple[Tensor, Tensor]
    diversity: Tensor


class Method(FaceMethod):
    averaged = ("generator", "mapping", "encoder")
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        network, device = self.settings.network, self.processes.device
        check_square(self.train_set, 16, "another size")
        self.kinds, self.kind = torch.unique(self.train_set.y.cpu(), dim=0, return_inverse=True)
        self.kinds_on_device = self.kinds.to(device)
        self.widths = [group.width for group in self.schema.groups]
        domains, shape = len(self.kinds), (self.size, network.width, network.max_width)
        try:
            with seeds.initial_weights(self.config.seed):
                self.generator = StyledGenerator(*shape, network.output).to(device)
                self.mapping = MappingNetwork(domains, network.mapping_width).to(device)
                self.encoder = StyleEncoder(domains, *shape).to(device)
                self.critic = DomainDiscriminator(domains, *shape).to(device)
        except ValueError as error:
            raise LsslError(f"{self.train_set.folder.root}: {error}; prepare the data with another --size") from None
        self.networks = {
            "generator": self.generator,
            "mapping": self.mapping,
            "encoder": self.encoder,
            "critic": self.critic,
        }
        self.faces = open_stream(self.config, self.train_set, self.processes)
        self.references = [
            open_stream(self.config, self.train_set, self.processes, name) for name in ("reference", "other reference")
        ]
        self.rows_of = [torch.nonzero(self.kind == kind)[:, 0] for kind in range(domains)]

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        iteration = step // _UPDATES
        chance = self.faces.chance(iteration, "targets", warm_up=warm_up)
        asked = torch.randint(len(self.kinds), (self.faces.batch_size,), generator=chance)
        drawn = {
            "y": self.processes.share(self.kinds[asked]),
            "z": self.processes.share(torch.randn(len(asked), 2, LATENT, generator=chance)),
            "diversity": torch.tensor([self.diversity(iteration)]),
        }
        for stream in self.references:
            places = torch.rand(len(asked), generator=chance)
            rows = [
                self.rows_of[kind][int(place * len(self.rows_of[kind]))]
                for kind, place in zip(asked, places, strict=True)
            ]
            drawn |= stream.draw(iteration, warm_up=warm_up, rows=torch.stack(rows))
        return {**drawn, **self.faces.draw(iteration, warm_up=warm_up)}

    def diversity(self, iteration: int) -> float:
        """The weight of the diversity loss, which falls linearly to 0."""
        return self.weights.diversity * max(0.0, 1 - iteration / max(1, self.config.schedule.iterations))

    def batch(self, plan: Plan) -> Batch:
        faces = self.faces.batch(plan)
        first, second = (stream.batch(plan).image for stream in self.references)
        source, target = self.domains(faces.y), self.domains(plan["y"])
        return Batch(faces.image, source, target, plan["z"], (first, second), plan["diversity"])

    def domains(self, y: Tensor) -> Tensor:
        return domain_weights(y, self.kinds_on_device, self.widths)

    def updates(self) -> Sequence[Update]:
        schedule, optimizer = self.config.schedule, self.settings.optimizer
        styled = ("generator", "mapping", "encoder")

        def critic(name: str, loss: Any) -> Update:
            return Update(
                name, ("critic",), loss, schedule.critic_rate, schedule.betas, weight_decay=optimizer.weight_decay
            )

        def generator(name: str, loss: Any) -> Update:
            return Update(
                name,
                styled,
                loss,
                schedule.learning_rate,
                schedule.betas,
                weight_decay=optimizer.weight_decay,
                rates={"mapping": optimizer.mapping_rate},
            )

        return (
            critic("critic", self.critic_loss),
            critic("critic, references", self.critic_loss_of_references),
            generator("generator", self.generator_loss),
            generator("generator, references", self.generator_loss_of_references),
        )

    def translate(self, image: Tensor, style: Tensor) -> Tensor:
        with autocast(self.config, image.device):
            made: Tensor = self.generator(image, style)
        return made.float()

    def style(self, noise: Tensor, target: Tensor) -> Tensor:
        """s = F_y(z): (N, 16) and the target's weights (N, K) to (N, 64)."""
        return chosen(self.mapping(noise), target)

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """-log D_y0(x) - log(1 - D_y(G(x, s))) + R1 / 2, with s = F_y(z)."""
        with torch.no_grad():
            fake = self.translate(batch.image, self.style(batch.z[:, 0], batch.target))
        loss, (real_score, fake_score, penalty) = self.adversarial(batch, fake)
        return loss, {"d_real": -real_score.mean(), "d_fake": fake_score.mean(), "d_gp": penalty}

    def critic_loss_of_references(self, batch: Batch) -> tuple[Tensor, Terms]:
        """The same with s = E_y(reference)."""
        with torch.no_grad():
            fake = self.translate(batch.image, chosen(self.encoder(batch.references[0]), batch.target))
        loss, (_, fake_score, _) = self.adversarial(batch, fake)
        return loss, {"d_reference": fake_score.mean()}

    def adversarial(self, batch: Batch, fake: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        real_score = self.critic(batch.image, batch.source)
        fake_score = self.critic(fake, batch.target)
        penalty = r1_penalty(lambda image: self.critic(image, batch.source), batch.image)
        loss = losses.logistic(real_score, fake_score) + self.weights.penalty / 2 * penalty
        return loss, (real_score, fake_score, penalty)

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """-log D_y(x') + |E_y(x') - s| - lambda |x' - G(x, s2)| + |x - G(x', E_y0(x))|, with s, s2 from noise."""
        styles = [self.style(noise, batch.target) for noise in batch.z.unbind(1)]
        return self.styled_loss(batch, styles[0], styles[1], "g_adv")

    def generator_loss_of_references(self, batch: Batch) -> tuple[Tensor, Terms]:
        """The same with styles from references; as the authors have it, only the generator learns from it."""
        self.encoder.requires_grad_(False)
        first, second = (chosen(self.encoder(reference), batch.target) for reference in batch.references)
        loss, terms = self.styled_loss(batch, first, second, "g_reference")
        return loss, {"g_reference": terms["g_reference"]}

    def styled_loss(self, batch: Batch, style: Tensor, other: Tensor, name: str) -> tuple[Tensor, Terms]:
        weights = self.weights
        fake = self.translate(batch.image, style)
        with torch.no_grad():
            differing = self.translate(batch.image, other)
        own = chosen(self.encoder(batch.image), batch.source)
        terms = {
            name: losses.generator_logistic(self.critic(fake, batch.target)),
            "g_style": (chosen(self.encoder(fake), batch.target) - style).abs().mean(),
            "g_diversity": (fake - differing).abs().mean(),
            "g_bi": losses.bidirectional(batch.image, self.translate(fake, own)),
        }
        loss = terms[name] + weights.style * terms["g_style"] + weights.reconstruction * terms["g_bi"]
        return loss - batch.diversity[0] * terms["g_diversity"], terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        return sample_grid(self.assembled(networks), self.shown, self.schema)

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        return super().exported({"generator": self.assembled(networks)}, iteration)

    def assembled(self, networks: Mapping[str, nn.Module]) -> StarGANv2:
        """What is exported: these networks' generator itself, and the mean styles of their mapping network."""
        network, device = self.settings.network, self.processes.device
        shape = (self.size, network.width, network.max_width, network.output)
        with torch.device("meta"):
            whole = StarGANv2(self.kinds.tolist(), self.widths, *shape)
        generator = networks["generator"]
        assert isinstance(generator, StyledGenerator)
        whole.generator = generator
        whole.kinds = self.kinds_on_device
        whole.styles = torch.zeros(whole.styles.shape, device=device)
        whole.use_styles(networks["mapping"])
        return whole

    def about(self, iteration: int) -> dict[str, Any]:
        return {**super().about(iteration), "method": "starganv2"}


def chosen(of_domains: Tensor, weights: Tensor) -> Tensor:
    """(N, K, C) and weights (N, K) to (N, C): the asked domain's."""
    return (of_domains * weights[:, :, None]).sum(1)

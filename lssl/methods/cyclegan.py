"""CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593), which the paper compares with in Fig. 6 and Table 2.

CycleGAN translates between two domains. For K values there are K - 1 models, each between the first value (neutral) and
another, trained here side by side. They share only the neutral faces that a step sees, so this is K - 1 trainings in one.
The preset `cyclegan` follows the authors; `cyclegan-small` has what `standard` uses for few photographs: moves and
an averaged generator that moves and shades the picture.

The authors train 200 epochs. An epoch is one pass over the pictures of the value that has most, so `schedule.iterations`
should be 200 times their number, divided by the batch size (1 in the authors' code).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.data import AttributeSchema, FaceDataset, to_float, to_uint8
from lssl.errors import LsslError
from lssl.models.cyclegan import CycleGANGenerator, PatchDiscriminator
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.face_method import FaceMethod, Inputs
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Update
from lssl.training.samples import sample_grid
from lssl.training.speed import autocast


@dataclass(frozen=True)
class NetworkSettings:
    width: int = 64
    residual_blocks: int = 6  # 9 for pictures of 256 pixels
    output: Literal["direct", "warp"] = "direct"  # see `lssl.models.cyclegan`; beyond the authors: "warp"
    critic_width: int = 64


@dataclass(frozen=True)
class LossSettings:
    cycle: float = 10.0
    identity_share: float = (
        0.5  # weight, as a share of `cycle`, of leaving a picture alone that is in the domain already
    )
    penalty: float = 0.0  # R1; beyond the authors

    def __post_init__(self) -> None:
        if min(self.cycle, self.identity_share, self.penalty) < 0:
            raise LsslError("losses.cycle, losses.identity_share and losses.penalty must be at least 0")


@dataclass(frozen=True)
class PoolSettings:
    size: int = 50  # generated pictures that a discriminator's pool keeps

    def __post_init__(self) -> None:
        if self.size < 1:
            raise LsslError(f"pool.size must be at least 1, not {self.size}")


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)


@dataclass
class Batch:
    """neutral: a, faces of the first value. others: b, faces of each other value; all (N, 3, H, W) in [-1, 1].
    pool: the plan that `ImagePools.exchange` takes."""

    neutral: Tensor
    others: list[Tensor]
    pool: Plan


class ImagePools:
    """A pool of generated pictures for each of `count` discriminators, as in the authors' code (after SimGAN's).

    Until a pool is full, each picture is stored and returned; after that, with probability 1/2, it is stored in place of an
    older one, which is returned instead. How full a pool is follows from the number of exchanges, so all random numbers can
    be drawn beforehand, and what happens on the device is a function of tensors of fixed shapes. Pictures are stored as
    uint8.
    """

    def __init__(self, count: int, size: int, batch_size: int, image_size: int, device: torch.device | str) -> None:
        if size < batch_size:
            raise LsslError(f"pool.size {size} is smaller than the batch of {batch_size}")
        self.count, self.size, self.batch_size = count, size, batch_size
        # The last row of each pool receives what is not to be stored.
        self.images = torch.zeros(count, size + 1, 3, image_size, image_size, dtype=torch.uint8, device=device)

    def draw(self, exchange: int, chance: torch.Generator) -> Plan:
        """The random numbers of an exchange, counted from 0: `place` and `swap`, (count, N)."""
        numbers = exchange * self.batch_size + torch.arange(self.batch_size)
        filling = numbers < self.size
        places = torch.stack(
            [torch.randperm(self.size, generator=chance)[: self.batch_size] for _ in range(self.count)]
        )
        swap = (torch.rand(self.count, self.batch_size, generator=chance) < 0.5) & ~filling
        # The batch that fills the pool takes nothing out, lest it return what it has just stored.
        swap &= ~(filling.any() & ~filling)
        places = torch.where(swap, places, torch.where(filling, numbers, self.size))
        return {"place": places, "swap": swap}

    def exchange(self, number: int, made: Tensor, plan: Plan) -> Tensor:
        """What discriminator `number` sees instead of the generated pictures `made` (N, 3, H, W) in [-1, 1]."""
        place, swap, kept = plan["place"][number], plan["swap"][number], self.images[number]
        seen = torch.where(swap[:, None, None, None], to_float(kept[place]), made)
        kept.index_copy_(0, place, to_uint8(made))
        return seen


class Method(FaceMethod):
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        settings = self.settings
        check_pairs(self.schema, self.processes)
        check_size(self.train_set)
        network, device = settings.network, self.processes.device
        with seeds.initial_weights(self.config.seed):
            self.generator = CycleGANGenerator(
                self.schema.dimension, network.width, network.residual_blocks, network.output
            ).to(device)
            pairs = len(self.generator.there)
            self.critics = nn.ModuleList(PatchDiscriminator(network.critic_width) for _ in range(2 * pairs)).to(device)
        self.networks = {"generator": self.generator, "critic": self.critics}
        self.domains = [_of_value(self.train_set, value) for value in self.schema.groups[0].values]
        self.streams = [
            open_stream(self.config, domain, self.processes, f"domain{k}") for k, domain in enumerate(self.domains)
        ]
        # For the moves' strength, whether faces are mirrored, and random numbers.
        self.faces = open_stream(self.config, self.train_set, self.processes)
        for k, stream in enumerate(self.streams):
            stream.jitter, stream.flip, stream.seed = self.faces.jitter, self.faces.flip, self.config.seed + k
        batch_size = self.config.schedule.batch_size
        self.pools = ImagePools(2 * pairs, settings.pool.size, batch_size, self.size, device)
        # What the generators made in their update, for the discriminators' update that follows.
        self.made = torch.zeros(2 * pairs, batch_size, 3, self.size, self.size, device=device)
        self.memory = {"pools": self.pools.images, "made": self.made}

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        step //= 2  # both updates of an iteration see one batch
        plan: Plan = {}
        for stream in self.streams:
            plan.update(stream.draw(step, warm_up=warm_up))
        pool = self.pools.draw(step, self.faces.chance(step, "history", warm_up=warm_up))
        return {**plan, **{f"pool.{name}": values for name, values in pool.items()}}

    def batch(self, plan: Plan) -> Batch:
        neutral, *others = (stream.batch(plan).image for stream in self.streams)
        return Batch(neutral, others, {k.removeprefix("pool."): v for k, v in plan.items() if k.startswith("pool.")})

    def updates(self) -> Sequence[Update]:
        schedule = self.config.schedule
        return (
            Update("generators", ("generator",), self.generator_loss, schedule.learning_rate, schedule.betas),
            Update("critics", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas),
        )

    def translation(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        return translation(network, self.config)

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """The loss is the sum over the pairs of values, which share no network; the terms logged are means over them."""
        found = []
        for k, other in enumerate(batch.others):
            there, back = self.translation(self.generator.there[k]), self.translation(self.generator.back[k])
            critics = self.critics[2 * k], self.critics[2 * k + 1]
            terms, made = pair_terms(
                there, back, critics, batch.neutral, other, identity=self.weights.identity_share > 0
            )
            found.append(terms)
            self.made[2 * k : 2 * k + 2].copy_(torch.stack(made).detach())
        terms = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        return len(found) * generator_sum(terms, self.weights), terms

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        found = []
        for k, other in enumerate(batch.others):
            for number, real in ((2 * k, other), (2 * k + 1, batch.neutral)):
                fake = self.pools.exchange(number, self.made[number], batch.pool)
                found.append(critic_terms(self.critics[number], real, fake, penalty=self.weights.penalty > 0))
        terms = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        return len(found) * critic_sum(terms, self.weights), terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        def known(image: Tensor, side: Tensor | None, y: Tensor) -> tuple[Tensor, None]:
            made: tuple[Tensor, None] = networks["generator"](image, side, y, self.shown.y)
            return made

        return sample_grid(known, self.shown, self.schema)

    def about(self, iteration: int) -> dict[str, Any]:
        return {**super().about(iteration), "method": "cyclegan"}

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "pool": self.settings.pool.size}


def translation(network: nn.Module, config: TrainConfig) -> Callable[[Tensor], Tensor]:
    """The network, computed in the run's precision; its pictures are float32."""

    def translate(image: Tensor) -> Tensor:
        with autocast(config, image.device):
            made: Tensor = network(image)
        return made.float()

    return translate


def pair_terms(
    there: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
    critics: tuple[nn.Module, nn.Module],
    a: Tensor,
    b: Tensor,
    *,
    identity: bool,
) -> tuple[Terms, tuple[Tensor, Tensor]]:
    """The generators' terms for one pair of domains, and what they made of a and b, both (N, 3, H, W) in [-1, 1].

    g_adv: E (D_B(G_AB a) - 1)^2 + E (D_A(G_BA b) - 1)^2.
    g_bi: the cycle, |G_BA(G_AB a) - a|_1 + |G_AB(G_BA b) - b|_1.
    g_id, if `identity`: |G_AB b - b|_1 + |G_BA a - a|_1.
    there, back: G_AB and G_BA. critics: D_B and D_A.
    """
    to_b, to_a = there(a), back(b)
    terms = {
        "g_adv": least_squares(critics[0](to_b), 1.0) + least_squares(critics[1](to_a), 1.0),
        "g_bi": losses.bidirectional(a, back(to_b)) + losses.bidirectional(b, there(to_a)),
    }
    if identity:
        terms["g_id"] = losses.identity(there(b), b) + losses.identity(back(a), a)
    return terms, (to_b, to_a)


def generator_sum(terms: Terms, weights: LossSettings) -> Tensor:
    """g_adv + cycle g_bi + identity_share cycle g_id."""
    loss = terms["g_adv"] + weights.cycle * terms["g_bi"]
    return loss + weights.identity_share * weights.cycle * terms["g_id"] if "g_id" in terms else loss


def critic_terms(critic: nn.Module, real: Tensor, fake: Tensor, *, penalty: bool) -> Terms:
    """One discriminator's terms: d_real, E (D(real) - 1)^2; d_fake, E D(fake)^2; with `penalty`, d_gp, which is R1."""
    terms = {"d_real": least_squares(critic(real), 1.0), "d_fake": least_squares(critic(fake), 0.0)}
    if penalty:
        terms["d_gp"] = r1_penalty(critic, real)
    return terms


def critic_sum(terms: Terms, weights: LossSettings) -> Tensor:
    """(d_real + d_fake) / 2 + penalty d_gp."""
    loss = 0.5 * (terms["d_real"] + terms["d_fake"])
    return loss + weights.penalty * terms["d_gp"] if "d_gp" in terms else loss


def least_squares(score: Tensor, goal: float) -> Tensor:
    """E (score - goal)^2 (Mao et al. 2017)."""
    return (score - goal).square().mean()


def check_pairs(schema: AttributeSchema, processes: Processes) -> None:
    """Raises LsslError for what CycleGAN cannot do: several attributes, several processes."""
    if len(schema.groups) > 1:
        raise LsslError(
            f"CycleGAN takes the values of one attribute, not {', '.join(group.name for group in schema.groups)}: "
            "choose one with --attributes (data.attributes)"
        )
    if processes.world_size > 1:
        raise LsslError("CycleGAN trains in one process: its pools of generated pictures are not shared")


def check_size(train_set: FaceDataset) -> None:
    """Raises LsslError for pictures of a size that the networks do not take."""
    check_square(train_set, 4, "another size")
    if train_set.size[0] < 32:
        raise LsslError(
            f"{train_set.folder.root} has pictures of {train_set.size[0]} pixels, fewer than the 32 that CycleGAN's "
            "discriminator takes: prepare the data with another --size"
        )


def _of_value(train_set: FaceDataset, value: str) -> FaceDataset:
    """The faces with one value of the only attribute."""
    folder = train_set.folder
    rows = folder.rows_where(**{train_set.schema.groups[0].name: value})
    return FaceDataset(folder.select(rows), train_set.schema, device=train_set.device, side="none")

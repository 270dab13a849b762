"""CycleGAN for pose normalization, which the paper compares with in Table 3: from simulated frontal faces to real ones and
back.

The losses are those of `cyclegan.py`. The two domains are the faces that `lssl render-frontal` drew and real faces, which
need not be of the same people. No attribute is asked for, and the networks do not see the original photograph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.errors import LsslError
from lssl.methods.cyclegan import (
    ImagePools,
    LossSettings,
    NetworkSettings,
    PoolSettings,
    check_size,
    critic_sum,
    critic_terms,
    generator_sum,
    pair_terms,
    translation,
)
from lssl.models.cyclegan import DomainGenerator, PatchDiscriminator, SimulatedToReal
from lssl.training import seeds
from lssl.training.face_method import FaceMethod, Inputs
from lssl.training.faces import Plan
from lssl.training.losses import Terms
from lssl.training.method import Update
from lssl.training.pairs import PairBatch, PairStream, PoseSettings, normalizer_grid, select_pairs


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)


@dataclass
class Batch:
    pairs: PairBatch
    pool: Plan  # what `ImagePools.exchange` takes


class Method(FaceMethod):
    task = "pose-normalization"
    needs_data = "a folder that `lssl render-frontal` wrote"
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        if self.processes.world_size > 1:
            raise LsslError("CycleGAN trains in one process: its pools of generated pictures are not shared")
        settings = self.settings
        check_size(self.train_set)
        network, device = settings.network, self.processes.device
        with seeds.initial_weights(self.config.seed):
            self.generator = SimulatedToReal(
                self.schema.dimension, network.width, network.residual_blocks, network.output
            ).to(device)
            self.back = DomainGenerator(network.width, network.residual_blocks, network.output).to(device)
            self.critics = nn.ModuleList(PatchDiscriminator(network.critic_width) for _ in range(2)).to(device)
        self.networks = {
            "generator": self.generator,
            "back": self.back,
            "critic": self.critics,
        }
        self.stream = PairStream(self.config, self.train_set, self.processes, settings.pose)
        self.faces, self.notes = self.stream.faces, self.stream.notes
        batch_size = self.config.schedule.batch_size
        self.pools = ImagePools(2, settings.pool.size, batch_size, self.size, device)
        # What the generators made in their update, for the discriminators' update that follows.
        self.made = torch.zeros(2, batch_size, 3, self.size, self.size, device=device)
        self.memory = {"pools": self.pools.images, "made": self.made}

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        step //= 2  # both updates of an iteration see one batch
        pool = self.pools.draw(step, self.faces.chance(step, "history", warm_up=warm_up))
        pairs = self.stream.draw(step, warm_up=warm_up)
        return {**pairs, **{f"pool.{name}": values for name, values in pool.items()}}

    def batch(self, plan: Plan) -> Batch:
        pool = {k.removeprefix("pool."): v for k, v in plan.items() if k.startswith("pool.")}
        return Batch(self.stream.batch(plan), pool)

    def updates(self) -> Sequence[Update]:
        schedule = self.config.schedule
        return (
            Update("generators", ("generator", "back"), self.generator_loss, schedule.learning_rate, schedule.betas),
            Update("critics", ("critic",), self.critic_loss, schedule.critic_rate, schedule.betas),
        )

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        there, back = translation(self.generator.there, self.config), translation(self.back, self.config)
        terms, made = pair_terms(
            there,
            back,
            (self.critics[0], self.critics[1]),
            batch.pairs.image,
            batch.pairs.real,
            identity=self.weights.identity_share > 0,
        )
        self.made.copy_(torch.stack(made).detach())
        return generator_sum(terms, self.weights), terms

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        found = []
        for number, real in ((0, batch.pairs.real), (1, batch.pairs.image)):
            fake = self.pools.exchange(number, self.made[number], batch.pool)
            found.append(critic_terms(self.critics[number], real, fake, penalty=self.weights.penalty > 0))
        terms = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        return len(found) * critic_sum(terms, self.weights), terms

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        return normalizer_grid(networks["generator"], self.shown, self.stream, targets=False)

    def about(self, iteration: int) -> dict[str, Any]:
        return self.stream.about(iteration, "cyclegan")

    def facts(self) -> dict[str, Any]:
        return {**self.stream.facts(), "pool": self.settings.pool.size}

    select = staticmethod(select_pairs)

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        return "image", 3  # for the sample grids; no network looks at it

"""The training loop; everything it needs is a component with a narrow face."""

import copy
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.data import FaceBatch, FaceDataset, FaceLoader, heatmap_side
from lssl.errors import LsslError
from lssl.models import Discriminator, FaceParser, Generator
from lssl.models.export import TrainedGenerator, save_generator
from lssl.training import losses
from lssl.training.augmentation import draw_moves, light_images, move_images, move_landmarks, strength_for
from lssl.training.checkpoint import (
    CheckpointError,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.distributed import Processes
from lssl.training.metrics import MetricsLog, read_metrics
from lssl.training.samples import draw_losses, sample_grid, sample_rows
from lssl.training.schedule import learning_rate, set_learning_rate, update_average
from lssl.training.steps import Networks, StepBatch, Terms, critic_loss, generator_loss

_LEARNT = 0.9  # of the loss at chance: below it, D_cls has begun to learn
_TELLING = 100  # updates after which its loss says so


class TrainingError(LsslError):
    """Training cannot go on; the message says why and which checkpoint is good."""


class Trainer:
    """Trains one generator into a run folder.

    Args:
        config: the run; `config.speed.bf16` "auto" is resolved here.
        train_set, test_set: faces to learn from, and unseen subjects for the sample grids; one schema, one size.
        folder: the run folder, made where it is not there.
        parser: the trained face parser; None leaves the parsing loss out.
        processes: from `start_processes`; one process if not given.
        quiet: no progress bar.

    `train()` runs to the end (True) or until SIGINT or SIGTERM, after which the state is saved (False). All chance
    comes from (seed, iteration), so a resumed run repeats an uninterrupted one bit for bit on the CPU.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: FaceDataset,
        test_set: FaceDataset,
        folder: str | Path,
        *,
        parser: FaceParser | None = None,
        processes: Processes | None = None,
        quiet: bool = False,
    ) -> None:
        self.processes = processes or Processes()
        self.config = config = replace(config, speed=resolve_speed(config, self.processes.device))
        self.train_set, self.test_set = train_set, test_set
        self.schema = train_set.schema
        self.folder = Path(folder)
        self.quiet = quiet or not self.processes.first
        self.iteration = 0
        self.sums: dict[str, Any] = {}

        device = self.processes.device
        self.warm_up_loss = torch.tensor(self._chance(), device=device)  # D_cls's of late
        torch.manual_seed(config.seed)
        if config.speed.deterministic:
            torch.use_deterministic_algorithms(True)
        generator, critic = self._build_networks()
        memory = torch.channels_last if config.speed.channels_last else torch.contiguous_format
        for network in (generator, critic):
            network.to(device)
            network.to(memory_format=memory)  # type: ignore[call-overload]
        if parser is not None:
            parser.to(device).eval().requires_grad_(False)
        self.processes.broadcast(generator, critic)
        autocast = torch.bfloat16 if config.speed.bf16 == "on" else None
        self.networks = Networks(
            generator,
            critic,
            parser if config.losses.parsing else None,
            autocast,
            config.network.critic_sees_target,
            single_image=config.task == "pose-normalization",
        )
        self.average = copy.deepcopy(generator).requires_grad_(False) if config.schedule.ema else None
        betas = (config.schedule.beta1, config.schedule.beta2)
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), config.schedule.learning_rate, betas)
        critic_rate = config.schedule.critic_learning_rate or config.schedule.learning_rate
        self.critic_optimizer = torch.optim.Adam(critic.parameters(), critic_rate, betas)
        if config.speed.compile or config.speed.cuda_graphs:
            compile_networks(self.networks, config.speed.cuda_graphs)

        # Mirroring a face turns its yaw to the other side, which the label would not follow.
        turned = any(group.name == "yaw" for group in self.schema.groups)
        self.loader = self._loader(config.seed, config.data.flip and not turned)
        self.jitter = strength_for(len(train_set), config.data.jitter, config.data.jitter_reference_faces)
        self.samples: FaceBatch | None = None

    def resume(self, path: Path | None = None) -> Path:
        """Continues from a checkpoint, the run folder's newest if not given. Raises CheckpointError."""
        path = path or latest_checkpoint(self.folder / "checkpoints")
        if path is None:
            raise CheckpointError(f"{self.folder / 'checkpoints'}: no checkpoint to resume from")
        self._load_state(load_checkpoint(path, self.processes.device), path)
        return path

    def _load_state(self, state: dict[str, Any], path: Path) -> None:
        if state["schema"] != self.schema.to_dict():
            raise CheckpointError(f"{path} was trained on other attributes: {state['schema']}")
        load_weights(self.networks.generator, state["generator"], path, "generator")
        load_weights(self.networks.critic, state["critic"], path, "discriminator")
        if self.average is not None:
            load_weights(self.average, state["average"] or state["generator"], path, "averaged generator")
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        try:
            self.loader.load_state_dict(state["loader"])
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from None
        torch.set_rng_state(state["random"].cpu())
        self.iteration = int(state["iteration"])
        self.sums = dict(state["sums"])

    def train(self) -> bool:
        """Runs until `schedule.iterations`; True when finished, False when told to stop."""
        schedule, output = self.config.schedule, self.config.output
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.processes.first:
            (self.folder / "config.toml").write_text(self.config.to_toml(), encoding="utf-8")
        log = (
            MetricsLog(self.folder, self.iteration, schedule.iterations, quiet=self.quiet)
            if self.processes.first
            else None
        )
        saved_at = time.monotonic()
        logged_at = time.perf_counter()
        with stop_signals() as stop:
            if self.iteration == 0:
                if not self._warm_up(log, stop):
                    return self._closed(log)
                self._sample()
            logged_at = time.perf_counter()
            while self.iteration < schedule.iterations:
                rate = learning_rate(schedule, self.iteration, len(self.train_set))
                self._iterate(rate)
                self.iteration += 1
                last = self.iteration == schedule.iterations
                if log is not None:
                    log.tick()
                if self.iteration % output.log_every == 0 or last:
                    values = self._means()
                    if log is not None:
                        now = time.perf_counter()
                        steps = min(output.log_every, self.iteration)
                        log.write(
                            self.iteration, {**values, "learning_rate": rate, "seconds": (now - logged_at) / steps}
                        )
                        logged_at = now
                if self.iteration % output.sample_every == 0 or last:
                    self._sample()
                    logged_at = time.perf_counter()
                stopping = self.processes.any(bool(stop))
                due = self.iteration % output.checkpoint_every == 0
                late = self.processes.any(time.monotonic() - saved_at > 60 * output.checkpoint_minutes)
                if due or late or last or stopping:
                    self.save()
                    saved_at = time.monotonic()
                if stopping and not last:
                    break
        return self._closed(log)

    def _closed(self, log: MetricsLog | None) -> bool:
        if log is not None:
            log.close()
        return self.iteration >= self.config.schedule.iterations

    def save(self) -> None:
        """Writes a checkpoint and generator.safetensors (rank 0); others wait."""
        if self.processes.first:
            save_checkpoint(self.folder / "checkpoints", self.iteration, self.state_dict(), self.config.output.keep)
            try:
                save_generator(self.folder / "generator.safetensors", self.exported())
            except OSError as error:
                good = latest_checkpoint(self.folder / "checkpoints")
                raise CheckpointError(
                    f"{self.folder}: cannot write ({error}); the checkpoint {good} is good"
                ) from error
        self.processes.wait()

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.networks.generator.state_dict(),
            "critic": self.networks.critic.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "random": torch.get_rng_state(),
            "schema": self.schema.to_dict(),
            "sums": self.sums,
        }

    def exported(self) -> TrainedGenerator:
        """What the run delivers: the averaged generator where there is one."""
        network = self.average or self.networks.generator
        sigma = self.config.network.heatmap_sigma or None
        return TrainedGenerator(network, self.schema, self.train_set.size[0], sigma, self.config.task, self._about())

    def _about(self) -> dict[str, Any]:
        return {
            "data": self.train_set.folder.root.name,
            "subjects": self.train_set.subjects,
            "alignment": self.train_set.folder.info.get("alignment"),
            "iterations": self.iteration,
        }

    def _iterate(self, rate: float) -> None:
        """critic_updates critic updates and one generator update (paper 4)."""
        schedule = self.config.schedule
        faster = (schedule.critic_learning_rate or schedule.learning_rate) / schedule.learning_rate
        set_learning_rate(self.critic_optimizer, rate * faster)
        set_learning_rate(self.generator_optimizer, rate)
        for _ in range(schedule.critic_updates):
            loss, terms = critic_loss(self.networks, self._next_batch(), self.config.losses, self.schema)
            self._update(self.critic_optimizer, self.networks.critic, loss)
        self._record(terms)
        batch = self._next_batch()
        self.networks.critic.requires_grad_(False)
        loss, terms = generator_loss(self.networks, batch, self.config.losses, self.schema)
        self._update(self.generator_optimizer, self.networks.generator, loss)
        self.networks.critic.requires_grad_(True)
        self._record(terms)
        if self.average is not None:
            update_average(self.average, self.networks.generator, schedule.ema, self.iteration)

    def _update(self, optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(network.parameters())
        optimizer.step()

    def _next_batch(self) -> StepBatch:
        """This process's share of the next batch, its random targets, mixing weights and small moves."""
        step, count = self.loader.step, self.loader.batch_size
        batch = next(self.loader)
        chance = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 4 + 3)
        y = self.processes.share(self.schema.sample(count, chance))
        alpha = self.processes.share(torch.rand(count, generator=chance))
        moves = self._draw_moves(chance)
        image, side = self._move(batch, moves)
        noise = None
        if self.config.losses.classifier_noise:
            noise = torch.randn(count, 1, *image.shape[2:], generator=chance) * self.config.losses.classifier_noise
            noise = self.processes.share(noise)
        return StepBatch(image, side, batch.y, y, alpha, noise=noise, moves=moves)

    def _draw_moves(self, chance: torch.Generator) -> tuple[Tensor, Tensor] | None:
        if not self.jitter:
            return None
        affine, light = draw_moves(self.loader.batch_size, self.jitter, chance)
        return self.processes.share(affine), self.processes.share(light)

    def _move(self, batch: FaceBatch, moves: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor | None]:
        if moves is None:
            return batch.image, batch.side
        affine, light = moves
        image = light_images(move_images(batch.image, affine), light)
        if batch.side is None:
            return image, None
        if self.train_set.side != "heatmap" or batch.landmarks is None:
            return image, light_images(move_images(batch.side, affine), light[:, : 1 + batch.side.shape[1]])
        landmarks = move_landmarks(batch.landmarks, affine, self.train_set.size)
        channels = self.config.network.side_channels
        return image, heatmap_side(landmarks, self.train_set.size, sigma=self.train_set.sigma, channels=channels)

    def _warm_up(self, log: MetricsLog | None, stop: Sequence[int]) -> bool:
        """What comes before the first iteration; False when told to stop meanwhile."""
        training, self.loader = self.loader, self._loader(self.config.seed + 1, self.loader.flip)
        done = all(self._repeat(log, stop, *step) for step in self._warm_up_steps() if step[1])
        self.loader = training
        return done

    def _warm_up_steps(self) -> Iterator[tuple[str, int, Callable[[], object]]]:
        """(what, how many updates, one update), one after the other.

        Here: `critic_warmup` updates of D_cls alone on real images, so that the first fakes are told where to go; up to
        three times as many again while it knows nothing, which it would else never mend once the fakes are there.
        """
        count = self.config.schedule.critic_warmup
        yield "warming up D_cls", count, self._update_classifier
        if count < _TELLING:
            return
        for _ in range(3):
            if self._classifier_has_begun():
                return
            yield "warming up D_cls on, it knows nothing yet", count, self._update_classifier
        if not self._classifier_has_begun() and self.processes.first:
            names = ", ".join(group.name for group in self.schema.groups)
            warnings.warn(
                f"after {4 * count} updates D_cls still tells {names} no better than chance, so the generator will hardly "
                "learn to change it: look whether the labels are right, raise schedule.critic_warmup or lower data.jitter",
                stacklevel=2,
            )

    def _classifier_has_begun(self) -> bool:
        """Whether D_cls, over the processes, does better than chance."""
        return self.processes.mean(self.warm_up_loss.clone()).item() < _LEARNT * self._chance()

    def _chance(self) -> float:
        return losses.chance_classification(self.train_set.y, self.schema, self.config.losses.attribute_loss)

    def _repeat(
        self, log: MetricsLog | None, stop: Sequence[int], what: str, count: int, update: Callable[[], object]
    ) -> bool:
        with nullcontext() if log is None else log.warm_up(what, count) as tick:
            for _ in range(count):
                update()
                if tick is not None:
                    tick()
                if self.processes.any(bool(stop)):
                    return False
        return True

    def _update_classifier(self) -> None:
        batch = self._next_batch()
        image, y = batch.labelled
        seen = self.networks.classified(image, batch.side, self.config.losses, batch.noise)
        logits = self.networks.critic(seen).attributes
        loss = losses.attribute_classification(logits, y, self.schema, self.config.losses.attribute_loss)
        self._update(self.critic_optimizer, self.networks.critic, loss)
        self.warm_up_loss += 0.02 * (loss.detach() - self.warm_up_loss)

    def _record(self, terms: Terms) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.sums["count"] = self.sums.get("count", 0.0) + (0.5 if terms else 0.0)

    def _means(self) -> dict[str, float]:
        """Means since the last call, over the processes too. Raises TrainingError where one is not finite."""
        count = self.sums.pop("count", 1.0)
        names = list(self.sums)
        sums = torch.stack([torch.as_tensor(self.sums[name], dtype=torch.float32) for name in names])
        values = (self.processes.mean(sums.to(self.processes.device)) / count).tolist()
        self.sums = {}
        means = dict(zip(names, values, strict=True))
        bad = [name for name, value in means.items() if not torch.isfinite(torch.tensor(value))]
        if bad:
            good = latest_checkpoint(self.folder / "checkpoints")
            raise TrainingError(
                f"loss {', '.join(bad)} is not finite at iteration {self.iteration}; "
                f"{f'the last good checkpoint is {good}' if good else 'there is no checkpoint yet'}. "
                "Resume with a lower schedule.learning_rate, or without speed.bf16"
            )
        return means

    @torch.no_grad()
    def _sample(self) -> None:
        """Writes a grid of unseen subjects and losses.png (rank 0)."""
        if not self.processes.first:
            return
        if self.samples is None:
            self.samples = self.test_set.batch(sample_rows(self.test_set, self.config.output.sample_faces))
        grid = self._draw_samples(self.average or self.networks.generator, self.samples)
        folder = self.folder / "samples"
        try:
            folder.mkdir(exist_ok=True)
            grid.save(folder / f"iteration_{self.iteration:08d}.png")
            draw_losses(read_metrics(self.folder / "metrics.jsonl"), self.folder / "losses.png")
        except OSError as error:
            good = latest_checkpoint(self.folder / "checkpoints")
            raise CheckpointError(f"{folder}: cannot write ({error}); the last good checkpoint is {good}") from error

    def _draw_samples(self, generator: Generator, samples: FaceBatch) -> Image.Image:
        return sample_grid(generator, samples, self.schema)

    def _build_networks(self) -> tuple[Generator, Discriminator]:
        return build_networks(self.config, self.train_set)

    def _loader(self, seed: int, flip: bool) -> FaceLoader:
        return FaceLoader(
            self.train_set,
            self.config.schedule.batch_size,
            seed=seed,
            flip=flip,
            workers=self.config.data.workers,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
        )


def build_networks(config: TrainConfig, dataset: FaceDataset) -> tuple[Generator, Discriminator]:
    """The networks for a data set's size and attributes. Raises ConfigError where sizes do not fit."""
    network = config.network
    height, width = dataset.size
    factor = 2 ** max(network.num_downsamplings, network.critic_layers)
    if height != width or height % factor:
        raise ConfigError(
            f"{dataset.folder.root} has pictures of {width}x{height}, but the networks need squares whose side divides by "
            f"{factor}: prepare the data with another --size, or set network.num_downsamplings and network.critic_layers"
        )
    sides = network.side_channels if dataset.side != "none" else 0
    generator = Generator(
        dataset.schema.dimension,
        side_channels=sides,
        width=network.width,
        num_downsamplings=network.num_downsamplings,
        residual_blocks=network.residual_blocks,
        output=network.output,
        conditioning=network.conditioning,
    )
    seen = 3 + (0 if config.task == "pose-normalization" else sides)  # there a single image (Fig. 3b)
    critic = Discriminator(
        dataset.schema.dimension, seen, height, network.critic_width, network.critic_layers, network.critic_init
    )
    return generator, critic


def compile_networks(networks: Networks, cuda_graphs: bool) -> None:
    """torch.compile of encoder, decoder, critic and parser; state dict keys stay as they are."""
    mode = "reduce-overhead" if cuda_graphs else None
    generator = networks.generator
    generator.encode = torch.compile(generator.encode, mode=mode)  # type: ignore[method-assign]
    generator.decode = torch.compile(generator.decode, mode=mode)  # type: ignore[method-assign]
    networks.critic.compile(mode=mode)
    if networks.parser is not None:
        networks.parser.compile(mode=mode)


def resolve_speed(config: TrainConfig, device: torch.device) -> Any:
    """`config.speed` with bf16 "auto" turned into what this machine's chip does in hardware."""
    if config.speed.bf16 != "auto":
        return config.speed
    if device.type == "cuda":
        there = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        there = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return replace(config.speed, bf16="on" if there else "off")


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that gets the signal's number on SIGINT or SIGTERM; a second SIGINT interrupts at once."""
    caught: list[int] = []

    def remember(number: int, _frame: Any) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are its affair
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

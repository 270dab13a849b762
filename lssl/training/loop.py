"""The only training loop. It knows methods through a small protocol, and nothing of faces, critics or papers."""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lssl.data.how_long import HowLong
from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.models.export import save_generator
from lssl.training.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_newest,
    save_checkpoint,
)
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.graphs import Graphs
from lssl.training.method import Method
from lssl.training.metrics import MetricsLog, draw_losses, read_metrics
from lssl.training.schedule import decayed
from lssl.training.signals import stop_signals
from lssl.training.steps import Plans, Steps
from lssl.training.threads import ThreadChoice

_STATE = {"method", "facts", "networks", "averages", "optimizers", "memory", "sums", "summed", "iteration"}


#: The iteration at which a run says in words whether it is learning.
WORD_AT = 100


class Loop:
    """Trains a method into a run folder.

    Args:
        config: the run's settings, with every "auto" decided (`resolve_speed`).
        method: what is trained, built on `processes.device`.
        folder: the run folder, created if missing.
        quiet: no progress bar.
        graphs: what captures updates; by default chosen by `speed.graph`.

    `train()` runs to the end (True) or until SIGINT or SIGTERM, upon which it saves its state (False). All random numbers
    come from (seed, step), so on the CPU, with the same number of threads, a resumed run equals an uninterrupted one bit
    for bit.
    """

    def __init__(
        self,
        config: TrainConfig,
        method: Method,
        folder: str | Path,
        *,
        processes: Processes | None = None,
        quiet: bool = False,
        graphs: Graphs | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.config, self.method, self.folder = config, method, Path(folder)
        self.quiet = quiet or not self.processes.first
        self.iteration = 0
        self.updates = list(method.updates())
        self.per_iteration = sum(update.times for update in self.updates)
        self.steps = Steps(config, method, self.processes, graphs)
        self.sums: dict[str, Tensor] = {}  # an update's name: sums of its terms since the last log line
        self.summed = 0
        self.threads = ThreadChoice(lambda text: None, [torch.get_num_threads()])

    def train(self) -> bool:
        """Runs until `schedule.iterations`; True if finished, False if told to stop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = None
        if self.processes.first:
            write_atomic(self.folder / "config.toml", self.config.to_toml().encode(), sync=False)
            log = MetricsLog(self.folder, self.iteration, self.config.schedule.iterations, quiet=self.quiet)
        fixed = self.config.speed.threads or self.processes.world_size > 1 or self.processes.device.type != "cpu"
        say = log.say if log is not None else lambda text: None
        self.threads = ThreadChoice(say, [torch.get_num_threads()] if fixed else None)
        with stop_signals() as stop, self.steps.stream():
            if self.iteration > 0 or self._warm_up(log, stop):
                self._iterations(log, stop)
        if log is not None:
            log.close()
        return self.iteration >= self.config.schedule.iterations

    def _iterations(self, log: MetricsLog | None, stop: Sequence[int]) -> None:
        schedule, output = self.config.schedule, self.config.output
        if self.iteration == 0:
            self._sample()
        elif self.iteration >= schedule.iterations:  # killed between the last checkpoint and what it delivers
            self.save()
        saved_at, logged_at, logged = time.monotonic(), time.perf_counter(), self.iteration
        silent = self.iteration < WORD_AT
        how_long = HowLong(None if log is None else log.say, schedule.iterations, self.iteration, unit="iterations")
        with self.plans() as plans:
            self.threads.begin()
            while self.iteration < schedule.iterations:
                rate = decayed(schedule, self.iteration)
                began = time.perf_counter()
                self.iterate(plans, rate)
                self.threads.done(time.perf_counter() - began)
                last = self.iteration == schedule.iterations
                logs = self.iteration % output.log_every == 0 or last
                how_long.advance()
                if log is not None:
                    log.tick()
                if logs:
                    values = {**self._means(), "learning_rate": schedule.learning_rate * rate}
                    if log is not None:
                        now, steps = time.perf_counter(), self.iteration - logged
                        log.write(self.iteration, {**values, "seconds": (now - logged_at) / steps})
                        logged_at, logged = now, self.iteration
                        if silent and self.iteration >= WORD_AT:
                            if word := self.method.word(values):
                                log.say(f"Iteration {self.iteration}: {word}")
                            silent = False
                if self.iteration % output.sample_every == 0 or last:
                    self._sample()
                    logged_at = time.perf_counter()
                stopping = self._agreed(bool(stop), logs)
                late = self._agreed(time.monotonic() - saved_at > 60 * output.checkpoint_minutes, logs)
                if self.iteration % output.checkpoint_every == 0 or late or last or stopping:
                    self.save()
                    saved_at = time.monotonic()
                if stopping and not last:
                    return

    def _agreed(self, flag: bool, now: bool) -> bool:
        """Whether the flag is set on any process. Asking makes GPUs wait for one another, so they ask only if `now`."""
        if self.processes.world_size > 1 and self.processes.device.type == "cuda" and not now:
            return False
        return self.processes.any(flag)

    def iterate(self, plans: Plans, rate: float) -> None:
        """One iteration: each update in order, `update.times` times."""
        self.steps.begin(self.iteration)
        for update in self.updates:
            begin, end = (share * self.config.schedule.iterations for share in update.during)
            if not begin <= self.iteration < end:
                for _ in range(update.times):
                    plans.next()
                continue
            for _ in range(update.times):
                values = self.steps.run(update, plans.next(), rate * update.share(self.iteration))
            if update.name in self.sums:
                self.sums[update.name] += values
            else:
                self.sums[update.name] = values.clone()
        self.iteration += 1
        self.summed += 1

    def plans(self, *, warm_up: bool = False) -> AbstractContextManager[Plans]:
        """The plans of the steps from here on."""
        step = 0 if warm_up else self.iteration * self.per_iteration
        return self.steps.plans(partial(self.method.draw, warm_up=warm_up), step)

    def _warm_up(self, log: MetricsLog | None, stop: Sequence[int]) -> bool:
        """What comes before the first iteration; False if told to stop during it."""
        with self.plans(warm_up=True) as plans:
            for stage in self.method.warm_up():
                if stage.anew:
                    self.steps.forget(stage.update)
                with nullcontext() if log is None else log.warm_up(stage.title, stage.count) as tick:
                    self.threads.begin()
                    for k in range(stage.count):
                        began = time.perf_counter()
                        self.steps.run(stage.update, plans.next(), 1 - (1 - stage.decay) * k / stage.count)
                        self.threads.done(time.perf_counter() - began)
                        if tick is not None:
                            tick()
                        if self._agreed(bool(stop), k % self.config.output.log_every == 0):
                            return False
        self.steps.keep(self.updates)
        return True

    def resume(self, path: Path | None = None) -> Path:
        """Continues from a checkpoint, by default the newest readable one of the run folder; returns its path.

        Unreadable ones are reported and renamed to *.torn, so that the run can write them again. Raises LsslError if none
        can be read, or if it is of another method or other data.
        """
        folder = self.folder / "checkpoints"
        torn: list[tuple[Path, LsslError]] = []
        if path is None:
            path, state, torn = load_newest(folder, self.processes.device)
        else:
            state = load_checkpoint(path, self.processes.device)
        if lacking := _STATE - state.keys():
            raise LsslError(f"{path}: not a complete checkpoint: it has no {', '.join(sorted(lacking))}")
        self.processes.wait()
        for other, error in torn if self.processes.first else ():
            print(f"{error}; continuing from {path.name}", file=sys.stderr, flush=True)
            other.rename(other.with_suffix(".torn"))
        if state["method"] != self.config.method:
            raise LsslError(f"{path} is a checkpoint of the method {state['method']}, not {self.config.method}")
        for name, now in self._facts().items():
            if state["facts"].get(name) != now:
                raise LsslError(
                    f"{path}: the checkpoint was made with {name} {state['facts'].get(name)}, but it is {now} now"
                )
        self.steps.load(state, path)
        self.iteration, self.summed = int(state["iteration"]), int(state["summed"])
        self.sums = dict(state["sums"])
        return path

    def save(self) -> None:
        """Writes a checkpoint and generator.safetensors on rank 0; the other processes wait. Raises LsslError on failure."""
        if self.processes.first:
            save_checkpoint(self.folder / "checkpoints", self.iteration, self.state_dict(), self.config.output.keep)
            exported = self.method.exported(self.steps.delivered, self.iteration)
            counts = {name: sum(p.numel() for p in net.parameters()) for name, net in self.method.networks.items()}
            exported.info["parameters"] = counts
            try:
                save_generator(self.folder / "generator.safetensors", exported)
            except OSError as error:
                good = latest_checkpoint(self.folder / "checkpoints")
                raise LsslError(f"{self.folder}: cannot write ({error}); the checkpoint {good} is complete") from error
        self.processes.wait()

    def state_dict(self) -> dict[str, Any]:
        return {
            "method": self.config.method,
            "facts": self._facts(),
            **self.steps.state_dict(),
            "sums": self.sums,
            "summed": self.summed,
        }

    def _facts(self) -> dict[str, Any]:
        return {"batch_size": self.config.schedule.batch_size, **self.method.facts()}

    def _means(self) -> dict[str, float]:
        """The terms' means since the last call, over all processes. Raises LsslError if one is not finite."""
        names = [name for update in self.sums for name in self.steps.terms[update]]
        sums = self.processes.mean(torch.cat(list(self.sums.values())))
        values = (sums / max(1, self.summed)).tolist()
        self.sums, self.summed = {}, 0
        means = dict(zip(names, values, strict=True))
        bad = [name for name, value in means.items() if not torch.isfinite(torch.tensor(value))]
        if bad:
            good = latest_checkpoint(self.folder / "checkpoints")
            raise LsslError(
                f"loss {', '.join(bad)} is not finite at iteration {self.iteration}; "
                f"{f'the last good checkpoint is {good}' if good else 'there is no checkpoint yet'}. "
                "Resume with a lower schedule.learning_rate, or without speed.bf16"
            )
        return means

    @torch.no_grad()
    def _sample(self) -> None:
        """Writes the method's picture of unseen subjects and losses.png (rank 0)."""
        if not self.processes.first:
            return
        folder = self.folder / "samples"
        picture = self.method.samples(self.steps.delivered)
        try:
            folder.mkdir(exist_ok=True)
            picture.save(folder / f"iteration_{self.iteration:08d}.png")
            draw_losses(read_metrics(self.folder / "metrics.jsonl"), self.folder / "losses.png")
        except OSError as error:
            good = latest_checkpoint(self.folder / "checkpoints")
            raise LsslError(f"{folder}: cannot write ({error}); {_advice(good)}") from error


def _advice(good: Path | None) -> str:
    """How to continue once there is room to write."""
    if good is None:
        return "there is no checkpoint yet. Free some space, then repeat the command"
    return f"the last good checkpoint is {good}. Free some space, then --resume"

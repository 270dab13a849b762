"""The only training loop. It knows methods by a small protocol, and nothing of faces, critics or papers."""

import copy
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator, save_generator
from lssl.training.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_newest,
    load_weights,
    save_checkpoint,
)
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.faces import Plan
from lssl.training.graphs import CudaBackend, Graphs, PlanBuffer, PlansAhead
from lssl.training.losses import Terms
from lssl.training.metrics import MetricsLog, draw_losses, read_metrics
from lssl.training.schedule import average_weight, decayed, update_average
from lssl.training.threads import ThreadChoice

_STATE = {"method", "facts", "networks", "averages", "optimizers", "memory", "sums", "summed", "iteration"}


class Scalar:
    """A number on the device, which captured work reads; setting it to what it is costs nothing."""

    def __init__(self, device: torch.device) -> None:
        self.tensor = torch.zeros((), device=device)
        self._value = 0.0

    def set(self, value: float) -> None:
        if value != self._value:
            self.tensor.fill_(value)
            self._value = value


class Plans(Protocol):
    """The plans of successive steps."""

    def next(self) -> Plan:
        """The next step's."""


class PlansInTurn:
    """Each step's plan, drawn when it is asked for."""

    def __init__(self, draw: Callable[[int], Plan], step: int) -> None:
        self._draw, self._step = draw, step

    def next(self) -> Plan:
        self._step += 1
        return self._draw(self._step - 1)


@dataclass(frozen=True)
class Update:
    """One step of one optimizer.

    networks: names of the networks whose weights it changes; the others are frozen meanwhile. Updates of the same
        networks share one optimizer (Adam).
    loss: a batch to (the scalar that is minimized, the terms to log). A pure function of the batch, the weights and
        tensors on the device: it may become a CUDA graph.
    learning_rate: before the schedule's decay.
    times: how often an iteration does it, each time with another batch; the last one is logged.
    ramp: (share, iterations): the rate rises linearly from that share of it over so many iterations.
    during: from and up to which share of all iterations it is done at all, for methods of several stages.
    """

    name: str
    networks: tuple[str, ...]
    loss: Callable[[Any], tuple[Tensor, Terms]]
    learning_rate: float
    betas: tuple[float, float]
    times: int = 1
    ramp: tuple[float, int] = (1.0, 0)
    during: tuple[float, float] = (0.0, 1.0)

    def share(self, iteration: int) -> float:
        """What the ramp makes of the rate."""
        start, length = self.ramp
        return start + (1 - start) * min(1.0, iteration / length) if length else 1.0


#: The iteration by which a run says in words whether it learns.
WORD_AT = 100


@dataclass(frozen=True)
class Stage:
    """`count` times one update before the first iteration; `title` is its progress bar's.

    anew: the method has given the update's networks new weights, in place, so its optimizer forgets the old ones.
    """

    title: str
    update: Update
    count: int
    anew: bool = False


class Method(Protocol):
    """What a file of `lssl/methods/` defines under the name `Method`."""

    #: What is trained and saved, by name.
    networks: dict[str, nn.Module]
    #: Names of those that are averaged, where the schedule says so.
    averaged: tuple[str, ...]
    #: What else the losses read and change from step to step: tensors on the device, which a checkpoint holds.
    memory: dict[str, Tensor]

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        """All chance of one update, on the CPU, from (seed, step): tensors of the same shapes at every step."""

    def batch(self, plan: Plan) -> Any:
        """What the losses see, made on the device from a plan that is there."""

    def updates(self) -> Sequence[Update]:
        """An iteration, in order."""

    def warm_up(self) -> Iterator[Stage]:
        """What comes before the first iteration; the next stage is asked for when the last one is done."""

    def samples(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        """A picture of what (averaged) networks do to unseen subjects."""

    def exported(self, networks: Mapping[str, nn.Module], iteration: int) -> TrainedGenerator:
        """What the run delivers."""

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must agree with, such as the number of faces."""

    # def word(self, values: Mapping[str, float]) -> str: optional; what the run has learnt by its `WORD_AT`th iteration, in a
    # line, from the mean of each term since the last log line.


class Loop:
    """Trains a method into a run folder.

    Args:
        config: the run, its switches decided (`resolve_speed`).
        method: what is trained, built on `processes.device`.
        folder: the run folder, made where it is not there.
        quiet: no progress bar.
        graphs: runs updates captured; by default on a GPU, as `speed.graph` says.

    `train()` runs to the end (True) or until SIGINT or SIGTERM, after which the state is saved (False). All chance
    comes from (seed, step), so a resumed run repeats an uninterrupted one bit for bit on the CPU, with one number of threads.
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
        memory = torch.channels_last if config.speed.channels_last == "on" else torch.contiguous_format
        for network in method.networks.values():
            network.to(memory_format=memory)  # type: ignore[call-overload]
        self.processes.broadcast(*method.networks.values())
        names = method.averaged if config.schedule.ema else ()
        self.averages = {name: copy.deepcopy(method.networks[name]).requires_grad_(False) for name in names}
        self.average_weight = Scalar(self.processes.device)
        if graphs is None and config.speed.graph == "on":
            graphs = Graphs(CudaBackend(self.processes.device))
        self.graphs = graphs
        self.buffer: PlanBuffer | None = None
        self.rates: dict[tuple[str, ...], Scalar] = {}
        self.optimizers = {update.networks: self._optimizer(update) for update in self.updates}
        self.terms: dict[str, list[str]] = {}  # an update's name: those of its terms
        self.sums: dict[str, Tensor] = {}  # an update's name: sums of its terms since the last log line
        self.summed = 0
        self.threads = ThreadChoice(lambda text: None, [torch.get_num_threads()])

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks as they are delivered: averaged where they are averaged."""
        return {**self.method.networks, **self.averages}

    def train(self) -> bool:
        """Runs until `schedule.iterations`; True when finished, False when told to stop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = None
        if self.processes.first:
            write_atomic(self.folder / "config.toml", self.config.to_toml().encode(), sync=False)
            log = MetricsLog(self.folder, self.iteration, self.config.schedule.iterations, quiet=self.quiet)
        fixed = self.config.speed.threads or self.processes.world_size > 1 or self.processes.device.type != "cpu"
        say = log.say if log is not None else lambda text: None
        self.threads = ThreadChoice(say, [torch.get_num_threads()] if fixed else None)
        with stop_signals() as stop, self._stream():
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
        saved_at, logged_at = time.monotonic(), time.perf_counter()
        silent = self.iteration < WORD_AT
        with self._plans() as plans:
            self.threads.begin()
            while self.iteration < schedule.iterations:
                rate = decayed(schedule, self.iteration)
                began = time.perf_counter()
                self.iterate(plans, rate)
                self.threads.done(time.perf_counter() - began)
                last = self.iteration == schedule.iterations
                logs = self.iteration % output.log_every == 0 or last
                if log is not None:
                    log.tick()
                if logs:
                    values = {**self._means(), "learning_rate": schedule.learning_rate * rate}
                    if log is not None:
                        now, steps = time.perf_counter(), min(output.log_every, self.iteration)
                        log.write(self.iteration, {**values, "seconds": (now - logged_at) / steps})
                        logged_at = now
                        if silent and self.iteration >= WORD_AT and (word := getattr(self.method, "word", None)):
                            log.say(f"Iteration {self.iteration}: {word(values)}")
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
        """Whether the flag is set on one of the processes; GPUs ask one another, and wait, only where that is `now`."""
        if self.processes.world_size > 1 and self.processes.device.type == "cuda" and not now:
            return False
        return self.processes.any(flag)

    def iterate(self, plans: "Plans", rate: float) -> None:
        """One iteration: each update in order, as often as it says."""
        self.average_weight.set(average_weight(self.config.schedule.ema, self.iteration))
        for update in self.updates:
            begin, end = (share * self.config.schedule.iterations for share in update.during)
            if not begin <= self.iteration < end:
                for _ in range(update.times):
                    plans.next()
                continue
            for _ in range(update.times):
                values = self.step(update, plans.next(), rate * update.share(self.iteration))
            if update.name in self.sums:
                self.sums[update.name] += values
            else:
                self.sums[update.name] = values.clone()
        self.iteration += 1
        self.summed += 1

    def step(self, update: Update, plan: Plan, rate: float = 1.0) -> Tensor:
        """One update on a plan; the values of its terms, whose names are in `self.terms`."""
        if update.networks not in self.optimizers:  # the warm-up's own
            self.optimizers[update.networks] = self._optimizer(update)
        optimizer = self.optimizers[update.networks]
        if update.networks in self.rates:
            self.rates[update.networks].set(update.learning_rate * rate)
        else:
            for group in optimizer.param_groups:
                group["lr"] = update.learning_rate * rate
        if self.graphs is None:
            device = self.processes.device
            return self._update(update, {name: values.to(device) for name, values in plan.items()})
        if self.buffer is None or plan is not self.buffer.plan:
            self.buffer = self.buffer or PlanBuffer(plan, self.processes.device)
            memory, views = self.buffer.slot()
            self.buffer.fill(views, plan)
            plan = self.buffer.load(memory)
        return self.graphs.run(update.name, lambda: self._update(update, plan))

    def _update(self, update: Update, plan: Plan) -> Tensor:
        """Loss, backward, all-reduce, Adam and average: a function of the plan, on the device."""
        trained = [self.method.networks[name] for name in update.networks]
        for network in self.method.networks.values():
            network.requires_grad_(any(network is one for one in trained))
        loss, terms = update.loss(self.method.batch(plan))
        optimizer = self.optimizers[update.networks]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(p for network in trained for p in network.parameters())
        optimizer.step()
        for name in update.networks:
            if name in self.averages:
                update_average(self.averages[name], self.method.networks[name], self.average_weight.tensor)
        self.terms[update.name] = list(terms)
        return torch.stack([value.detach().float() for value in terms.values()])

    def _optimizer(self, update: Update) -> torch.optim.Optimizer:
        parameters = [p for name in update.networks for p in self.method.networks[name].parameters()]
        on_gpu = self.processes.device.type == "cuda"
        if not on_gpu and self.graphs is None:
            return torch.optim.Adam(parameters, update.learning_rate, update.betas)
        # A captured step reads its learning rate from the device.
        rate = self.rates[update.networks] = Scalar(self.processes.device)
        rate.set(update.learning_rate)
        return torch.optim.Adam(parameters, rate.tensor, update.betas, fused=True, capturable=on_gpu)

    def _forget(self, update: Update) -> None:
        """Puts an optimizer back to its first step, in place, as captured work knows its tensors."""
        if update.networks not in self.optimizers:
            return
        for state in self.optimizers[update.networks].state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def _stream(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.graphs is None else self.graphs.backend.stream()

    @contextmanager
    def _plans(self, *, warm_up: bool = False) -> Iterator["Plans"]:
        """The plans of the steps from here on; drawn ahead by a thread where updates are captured."""
        step = 0 if warm_up else self.iteration * self.per_iteration
        draw = partial(self.method.draw, warm_up=warm_up)
        if self.graphs is None:
            yield PlansInTurn(draw, step)
            return
        self.buffer = self.buffer or PlanBuffer(draw(step), self.processes.device)
        ahead = PlansAhead(draw, step, self.buffer)
        try:
            yield ahead
        finally:
            ahead.close()

    def _warm_up(self, log: MetricsLog | None, stop: Sequence[int]) -> bool:
        """What comes before the first iteration; False when told to stop meanwhile."""
        with self._plans(warm_up=True) as plans:
            for stage in self.method.warm_up():
                if stage.anew:
                    self._forget(stage.update)
                with nullcontext() if log is None else log.warm_up(stage.title, stage.count) as tick:
                    self.threads.begin()
                    for k in range(stage.count):
                        began = time.perf_counter()
                        self.step(stage.update, plans.next())
                        self.threads.done(time.perf_counter() - began)
                        if tick is not None:
                            tick()
                        if self._agreed(bool(stop), k % self.config.output.log_every == 0):
                            return False
        self.optimizers = {update.networks: self.optimizers[update.networks] for update in self.updates}
        return True

    def resume(self, path: Path | None = None) -> Path:
        """Continues from a checkpoint, the run folder's newest that can be read if not given. Raises LsslError.

        One that cannot be read is named and set aside under another name, so that the run's next one takes its place.
        """
        folder = self.folder / "checkpoints"
        torn: list[tuple[Path, LsslError]] = []
        if path is None:
            path, state, torn = load_newest(folder, self.processes.device)
        else:
            state = load_checkpoint(path, self.processes.device)
        if lacking := _STATE - state.keys():
            raise LsslError(f"{path}: not a whole checkpoint: it has no {', '.join(sorted(lacking))}")
        self.processes.wait()
        for other, error in torn if self.processes.first else ():
            print(f"{error}; going on from {path.name}", file=sys.stderr, flush=True)
            other.rename(other.with_suffix(".torn"))
        if state["method"] != self.config.method:
            raise LsslError(f"{path} is a checkpoint of the method {state['method']}, not {self.config.method}")
        for name, now in self._facts().items():
            if state["facts"].get(name) != now:
                raise LsslError(
                    f"{path}: the checkpoint was made with {name} {state['facts'].get(name)}, but it is {now} now"
                )
        for name, network in self.method.networks.items():
            load_weights(network, state["networks"][name], path, name)
        for name, network in self.averages.items():
            load_weights(network, state["averages"].get(name, state["networks"][name]), path, f"averaged {name}")
        for networks, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state["optimizers"]["+".join(networks)], "param_groups": groups})
            if networks in self.rates:  # loading has put a copy in its place
                for group in optimizer.param_groups:
                    group["lr"] = self.rates[networks].tensor
        for name, values in self.method.memory.items():
            values.copy_(state["memory"][name])
        self.iteration, self.summed = int(state["iteration"]), int(state["summed"])
        self.sums, self.terms = dict(state["sums"]), dict(state["terms"])
        return path

    def save(self) -> None:
        """Writes a checkpoint and generator.safetensors (rank 0); others wait."""
        if self.processes.first:
            save_checkpoint(self.folder / "checkpoints", self.iteration, self.state_dict(), self.config.output.keep)
            exported = self.method.exported(self.networks, self.iteration)
            counts = {name: sum(p.numel() for p in net.parameters()) for name, net in self.method.networks.items()}
            exported.info["parameters"] = counts
            try:
                save_generator(self.folder / "generator.safetensors", exported)
            except OSError as error:
                good = latest_checkpoint(self.folder / "checkpoints")
                raise LsslError(f"{self.folder}: cannot write ({error}); the checkpoint {good} is good") from error
        self.processes.wait()

    def state_dict(self) -> dict[str, Any]:
        return {
            "method": self.config.method,
            "facts": self._facts(),
            "networks": {name: network.state_dict() for name, network in self.method.networks.items()},
            "averages": {name: network.state_dict() for name, network in self.averages.items()},
            "optimizers": {"+".join(names): one.state_dict()["state"] for names, one in self.optimizers.items()},
            "memory": dict(self.method.memory),
            "sums": self.sums,
            "terms": self.terms,
            "summed": self.summed,
        }

    def _facts(self) -> dict[str, Any]:
        return {"batch_size": self.config.schedule.batch_size, **self.method.facts()}

    def _means(self) -> dict[str, float]:
        """Means since the last call, over the processes too. Raises LsslError where one is not finite."""
        names = [name for update in self.sums for name in self.terms[update]]
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
        picture = self.method.samples(self.networks)
        try:
            folder.mkdir(exist_ok=True)
            picture.save(folder / f"iteration_{self.iteration:08d}.png")
            draw_losses(read_metrics(self.folder / "metrics.jsonl"), self.folder / "losses.png")
        except OSError as error:
            good = latest_checkpoint(self.folder / "checkpoints")
            raise LsslError(f"{folder}: cannot write ({error}); {_advice(good)}") from error


def _advice(good: Path | None) -> str:
    """How to go on once there is room to write."""
    if good is None:
        return "there is no checkpoint yet. Free space, then repeat the command"
    return f"the last good checkpoint is {good}. Free space, then --resume"


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

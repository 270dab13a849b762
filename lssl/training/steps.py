"""One update of a method on the device: loss, backward, Adam, average; run eagerly, or captured as a CUDA graph."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lssl.training.checkpoint import load_weights
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.faces import Plan
from lssl.training.graphs import CudaBackend, Graphs, PlanBuffer, PlansAhead
from lssl.training.method import Method, Update
from lssl.training.schedule import average_weight, update_average


class Scalar:
    """A number on the device that captured work reads; setting it to the value it has costs nothing."""

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
        """The next step's plan."""


class PlansInTurn:
    """Draws each step's plan when it is asked for."""

    def __init__(self, draw: Callable[[int], Plan], step: int) -> None:
        self._draw, self._step = draw, step

    def next(self) -> Plan:
        self._step += 1
        return self._draw(self._step - 1)


class Steps:
    """The networks of a method, their averages and their optimizers, and how an update changes them.

    graphs: what captures updates; by default chosen by `speed.graph`.
    """

    def __init__(self, config: TrainConfig, method: Method, processes: Processes, graphs: Graphs | None = None) -> None:
        self.method, self.processes, self.decay = method, processes, config.schedule.ema
        self.networks = method.networks
        memory = torch.channels_last if config.speed.channels_last == "on" else torch.contiguous_format
        for network in self.networks.values():
            network.to(memory_format=memory)  # type: ignore[call-overload]
        processes.broadcast(*self.networks.values())
        names = method.averaged if self.decay else ()
        self.averages = {name: copy.deepcopy(self.networks[name]).requires_grad_(False) for name in names}
        self.average_weight = Scalar(processes.device)
        if graphs is None and config.speed.graph == "on":
            graphs = Graphs(CudaBackend(processes.device))
        self.graphs = graphs
        self.buffer: PlanBuffer | None = None
        self.rates: dict[tuple[str, ...], list[Scalar]] = {}  # of each parameter group
        self.optimizers = {update.networks: self._optimizer(update) for update in method.updates()}
        self.terms: dict[str, list[str]] = {}  # by update: the names of its terms

    @property
    def delivered(self) -> dict[str, nn.Module]:
        """The networks by name, those with an average replaced by it."""
        return {**self.networks, **self.averages}

    def begin(self, iteration: int) -> None:
        """To be called before the updates of an iteration."""
        self.average_weight.set(average_weight(self.decay, iteration))

    def run(self, update: Update, plan: Plan, rate: float = 1.0) -> Tensor:
        """Runs one update on a plan. rate: factor of its learning rate. Returns the values of its terms, (T,) in the order
        of `self.terms`; a captured update overwrites them the next time."""
        if update.networks not in self.optimizers:  # used by the warm-up only
            self.optimizers[update.networks] = self._optimizer(update)
        optimizer = self.optimizers[update.networks]
        rates = [update.learning_rate * rate * factor for _, factor in self._groups(update)]
        if update.networks in self.rates:
            for scalar, value in zip(self.rates[update.networks], rates, strict=True):
                scalar.set(value)
        else:
            for group, value in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = value
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
        trained = [self.networks[name] for name in update.networks]
        for network in self.networks.values():
            network.requires_grad_(any(network is one for one in trained))
        loss, terms = update.loss(self.method.batch(plan))
        optimizer = self.optimizers[update.networks]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(p for network in trained for p in network.parameters())
        optimizer.step()
        for name in update.networks:
            if name in self.averages:
                update_average(self.averages[name], self.networks[name], self.average_weight.tensor)
        self.terms[update.name] = list(terms)
        return torch.stack([value.detach().float() for value in terms.values()])

    def _groups(self, update: Update) -> list[tuple[tuple[str, ...], float]]:
        """The networks of an update that share a learning rate, and its factor; all of them, unless it says otherwise."""
        if not update.rates:
            return [(update.networks, 1.0)]
        return [((name,), update.rates.get(name, 1.0)) for name in update.networks]

    def _optimizer(self, update: Update) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [
            {
                "params": [p for name in names for p in self.networks[name].parameters()],
                "lr": update.learning_rate * factor,
            }
            for names, factor in self._groups(update)
        ]
        decay = update.weight_decay
        on_gpu = self.processes.device.type == "cuda"
        if on_gpu or self.graphs is not None:  # a captured step reads its learning rates from the device
            rates = self.rates[update.networks] = [Scalar(self.processes.device) for _ in groups]
            for group, rate in zip(groups, rates, strict=True):
                rate.set(group["lr"])
                group["lr"] = rate.tensor
        return torch.optim.Adam(groups, betas=update.betas, weight_decay=decay, fused=True, capturable=on_gpu)

    def forget(self, update: Update) -> None:
        """Resets an update's optimizer to its first step, in place, since captured work refers to its tensors."""
        if update.networks not in self.optimizers:
            return
        for state in self.optimizers[update.networks].state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def keep(self, updates: Sequence[Update]) -> None:
        """Drops the optimizers of all other updates, such as the warm-up's."""
        self.optimizers = {update.networks: self.optimizers[update.networks] for update in updates}

    def stream(self) -> AbstractContextManager[Any]:
        """The context in which all steps, and whatever waits for them, must run."""
        return nullcontext() if self.graphs is None else self.graphs.backend.stream()

    @contextmanager
    def plans(self, draw: Callable[[int], Plan], step: int) -> Iterator[Plans]:
        """The plans from `step` on; drawn ahead by a thread if updates are captured."""
        if self.graphs is None:
            yield PlansInTurn(draw, step)
            return
        self.buffer = self.buffer or PlanBuffer(draw(step), self.processes.device)
        ahead = PlansAhead(draw, step, self.buffer)
        try:
            yield ahead
        finally:
            ahead.close()

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "averages": {name: network.state_dict() for name, network in self.averages.items()},
            "optimizers": {"+".join(names): one.state_dict()["state"] for names, one in self.optimizers.items()},
            "memory": dict(self.method.memory),
            "terms": self.terms,
        }

    def load(self, state: dict[str, Any], path: Path) -> None:
        """Restores what `state_dict` returned. path: the checkpoint, for the LsslError raised if the networks differ."""
        for name, network in self.networks.items():
            load_weights(network, state["networks"][name], path, name)
        for name, network in self.averages.items():
            load_weights(network, state["averages"].get(name, state["networks"][name]), path, f"averaged {name}")
        for networks, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state["optimizers"]["+".join(networks)], "param_groups": groups})
            if networks in self.rates:  # loading has replaced it by a copy
                for group, rate in zip(optimizer.param_groups, self.rates[networks], strict=True):
                    group["lr"] = rate.tensor
        for name, values in self.method.memory.items():
            values.copy_(state["memory"][name])
        self.terms = dict(state["terms"])

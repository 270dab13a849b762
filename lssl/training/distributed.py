"""Several processes (torchrun): each takes its share of the global batch, and gradients are averaged.

The networks are not wrapped in DistributedDataParallel: a step calls parts of them (encode, decode, realism) several
times, and its one backward pass is followed by one all-reduce of all gradients, which is all that data parallelism needs.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lssl.device import choose_device


@dataclass(frozen=True)
class Processes:
    """This process among `world_size`; only rank 0 writes files."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, values: Tensor) -> Tensor:
        """This process's rows of values drawn for the global batch (B, ...)."""
        each = len(values) // self.world_size
        return values[self.rank * each : (self.rank + 1) * each]

    def broadcast(self, *modules: nn.Module) -> None:
        """Gives every process rank 0's weights."""
        if self.world_size > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient with its mean over the processes, in one all-reduce."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world_size
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values`, of any shape, over the processes; may overwrite them."""
        if self.world_size > 1:
            dist.all_reduce(values)
            values = values / self.world_size
        return values

    def any(self, flag: bool) -> bool:
        """True on every process if `flag` is true on at least one."""
        if self.world_size == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())

    def wait(self) -> None:
        if self.world_size > 1:
            dist.barrier()


def start_processes(device: str | None = None) -> Processes:
    """Joins torchrun's processes if its environment variables are set (NCCL on GPUs, gloo on CPUs); else there is one.

    device: "cpu", "cuda", "cuda:1"; None takes a GPU if there is one.
    """
    chosen = choose_device(device)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Processes(device=chosen)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), world_size, chosen)


def stop_processes() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()

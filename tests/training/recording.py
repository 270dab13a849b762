"""A stand-in for a CUDA graph on the CPU: records the operators that a function runs, and replays them alone.

As a CUDA graph does, a recording reads and writes the tensors that it was recorded with; what Python decided then is
frozen; what a capture refuses (reading a value back, copying Python numbers, random numbers) is refused here, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_REFUSED = ("_local_scalar_dense", "lift_fresh", "rand", "randperm", "randint", "randn", "bernoulli_", "nonzero")


class RecordingBackend:
    """Captures by recording; see `lssl.training.graphs.Backend`."""

    @contextmanager
    def stream(self) -> Iterator[None]:
        yield

    def capture(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        recorder = _Recorder()
        with recorder:
            result = work()
        recorder.undo()
        return recorder.replay, result


class RefusingBackend(RecordingBackend):
    """Never captures."""

    def capture(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self.made: set[int] = set()  # storages that the recording made
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what the other storages held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _REFUSED:
            raise RuntimeError(f"{name} is not permitted when stream is capturing")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(value)
        for argument in func._schema.arguments:
            if argument.name in kwargs and argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(kwargs[argument.name])
        if name == "native_batch_norm":  # its schema does not say that it writes the running mean and variance
            self._keep(args[3:5])
        inputs = {_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **kwargs)
        outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        self.made |= {_storage(t) for t in outputs} - inputs
        self.calls.append((func, args, kwargs, outputs))
        return result

    def _keep(self, value: Any) -> None:
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor) and _storage(tensor) not in self.made | self.before.keys():
                self.before[_storage(tensor)] = (tensor.detach(), tensor.detach().clone())

    def undo(self) -> None:
        """Puts back what the function changed, as a capture does not execute."""
        for tensor, value in self.before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, outputs in self.calls:
            result = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
            for old, new in zip(outputs, result, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.detach().copy_(new.detach())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata

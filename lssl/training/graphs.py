"""CUDA graphs of updates: a thousand kernel launches from Python become one replay.

An update is a function of a plan (small tensors drawn on the CPU) and of the weights. The first few times it runs
eagerly; then it is captured, and from then on a step is one asynchronous copy of the plan into a fixed buffer and one
replay. If the capture fails, updates keep running eagerly, after one warning that says why.
"""

import queue
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from lssl.training.faces import Plan

_EAGER_RUNS = 3  # before capture: cuDNN chooses its algorithms, Adam allocates its state
_AHEAD = 8  # plans that may be drawn before they are used
_ALIGNMENT = 16  # bytes


class Backend(Protocol):
    """What records and replays work: a GPU, or, in tests, a stand-in on the CPU."""

    def stream(self) -> AbstractContextManager[Any]:
        """Whatever is captured, is replayed or waits for a replay must run within this context."""

    def capture(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Records the work without doing it; returns a function that replays it, and its result, which replays overwrite."""


class CudaBackend:
    """Captures into CUDA graphs. They share one memory pool, since they are replayed one after another on one stream."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def stream(self) -> Iterator[None]:
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)

    def capture(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        # Meanwhile the thread that draws plans waits for copies, which only this mode allows.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = work()
        return graph.replay, result


class PlanBuffer:
    """A plan's tensors in one fixed buffer on the device, filled by a single copy.

    Every plan must have the names, shapes and dtypes of `like`.
    """

    def __init__(self, like: Plan, device: torch.device) -> None:
        self.device = device
        self._places: dict[str, tuple[int, torch.Size, torch.dtype]] = {}
        size = 0
        for name, values in like.items():
            self._places[name] = (size, values.shape, values.dtype)
            size += -(-values.numel() * values.element_size() // _ALIGNMENT) * _ALIGNMENT
        self._size = max(size, _ALIGNMENT)
        self._bytes = torch.zeros(self._size, dtype=torch.uint8, device=device)
        self.plan = self._views(self._bytes)

    def slot(self) -> tuple[Tensor, Plan]:
        """A new buffer on the CPU, pinned for a GPU, and the plan's tensors as views of it."""
        memory = torch.zeros(self._size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return memory, self._views(memory)

    def fill(self, views: Plan, plan: Plan) -> None:
        """Writes a plan into a slot's tensors. Raises ValueError if it differs from `like` in names, shapes or dtypes."""
        if plan.keys() != self._places.keys():
            raise ValueError(f"a step's plan has {sorted(plan)}, but the first had {sorted(self._places)}")
        for name, values in plan.items():
            _, shape, dtype = self._places[name]
            if values.shape != shape or values.dtype != dtype:
                raise ValueError(
                    f"the plan's {name} is {values.dtype} {tuple(values.shape)}, but was {dtype} {tuple(shape)}"
                )
            views[name].copy_(values)

    def load(self, memory: Tensor) -> Plan:
        """Starts copying a slot to the device, without waiting; returns the plan's tensors there."""
        self._bytes.copy_(memory, non_blocking=True)
        return self.plan

    def _views(self, memory: Tensor) -> Plan:
        views = {}
        for name, (start, shape, dtype) in self._places.items():
            stop = start + shape.numel() * dtype.itemsize
            views[name] = memory[start:stop].view(dtype).view(shape)
        return views


class PlansAhead:
    """Plans of successive steps, drawn ahead by a thread; `next` brings the following one to the device."""

    def __init__(self, draw: Callable[[int], Plan], step: int, buffer: PlanBuffer) -> None:
        self._draw, self._step, self._buffer = draw, step, buffer
        self._free: queue.Queue[tuple[Tensor, Plan, Any]] = queue.Queue()
        self._ready: queue.Queue[Any] = queue.Queue()
        for _ in range(_AHEAD):
            self._free.put((*buffer.slot(), None))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="plans")
        self._thread.start()

    def next(self) -> Plan:
        slot = self._ready.get()
        if isinstance(slot, BaseException):
            raise slot
        memory, views = slot
        plan = self._buffer.load(memory)
        copied = None
        if self._buffer.device.type == "cuda":
            copied = torch.cuda.Event()
            copied.record()
        self._free.put((memory, views, copied))
        return plan

    def close(self) -> None:
        self._stopped.set()
        self._free.put((torch.empty(0), {}, None))  # wakes the thread
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                memory, views, copied = self._free.get()
                if self._stopped.is_set():
                    return
                if copied is not None:
                    copied.synchronize()
                self._buffer.fill(views, self._draw(self._step))
                self._step += 1
                self._ready.put((memory, views))
        except BaseException as error:
            self._ready.put(error)


class Graphs:
    """Runs updates, and captures each once it has run a few times."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.refused: str | None = None
        self._runs: dict[str, int] = {}
        self._captured: dict[str, tuple[Callable[[], None], Tensor]] = {}

    def run(self, name: str, work: Callable[[], Tensor]) -> Tensor:
        """Does the work: by a replay if it was captured under this name, else eagerly."""
        if name in self._captured:
            replay, result = self._captured[name]
            replay()
            return result
        self._runs[name] = self._runs.get(name, 0) + 1
        if self.refused is not None or self._runs[name] <= _EAGER_RUNS:
            return work()
        try:
            self._captured[name] = self.backend.capture(work)
        except Exception as error:
            reason = str(error).strip().splitlines()
            self.refused = f"{type(error).__name__}: {reason[0] if reason else 'no reason given'}"
            warnings.warn(
                f"the update '{name}' cannot be captured in a CUDA graph, so training continues without graphs, more slowly "
                f"({self.refused}); set speed.graph=false to skip the attempt",
                stacklevel=2,
            )
            return work()
        return self.run(name, work)

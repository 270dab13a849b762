"""Parts of a loss that do not need one another, at the same time on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Branches:
    """Each branch runs on a CUDA stream of its own, and autograd runs its backward there, too; on a CPU they take turns.

    Small critics leave most of a GPU idle. Captured in a CUDA graph, branches become parallel paths of the graph.

        with branches.aside(0, image):        # the tensors that the branch reads
            first = ...
        second = ...
        branches.join(first)                  # from here on what the branches made may be read
    """

    def __init__(self, device: torch.device, count: int) -> None:
        self._streams = [torch.cuda.Stream(device) for _ in range(count)] if device.type == "cuda" else []
        self._running: list[torch.cuda.Stream] = []

    @contextmanager
    def aside(self, branch: int, *reads: Tensor) -> Iterator[None]:
        """What is within runs on a branch that begins once all before is done; `reads` are tensors made outside it."""
        if not self._streams:
            yield
            return
        stream = self._streams[branch]
        stream.wait_stream(torch.cuda.current_stream())
        for tensor in reads:  # their memory must not be reused before the branch has read it
            tensor.record_stream(stream)
        self._running.append(stream)
        with torch.cuda.stream(stream):
            yield

    def join(self, *made: Tensor) -> None:
        """What follows waits for every branch that has begun; `made` are the tensors of branches that it reads."""
        while self._running:
            torch.cuda.current_stream().wait_stream(self._running.pop())
        if self._streams:
            for tensor in made:
                tensor.record_stream(torch.cuda.current_stream())

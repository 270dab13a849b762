"""Threads that share work and keep its order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, *, ahead: int = 2
) -> Iterator[Result]:
    """function(item) for each item, in order, computed by `workers` threads that use one processor each.

    ahead: how many items beyond those in work may be begun before the first of them is taken.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, "lssl-edits", initializer=_one_processor)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers + ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_processor() -> None:
    import torch

    torch.set_num_threads(1)  # several pieces at once use the processors better than one piece on all of them

"""Processes that share long work: one thread each, Ctrl-C reaches only the parent, a death gives a clear error, and none
outlives the parent."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from lssl.data.parent import end_with_parent
from lssl.errors import LsslError

Task = TypeVar("Task")
Result = TypeVar("Result")
_GRACE = 2.0  # seconds that interrupted workers get to finish


def map_in_processes(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Yields function(task) for each task, as they complete, from spawned processes; both must be picklable.

    The number of tasks under way is bounded. If interrupted or closed, it gives them a moment to finish, then ends
    their processes; so `function` must write its files under another name first. Raises LsslError if a process is
    killed (out of memory), and whatever `function` raises.
    """
    before, ended = set(active_children()), False
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin_worker, initargs=(os.getpid(),)
    )
    try:
        remaining = iter(tasks)
        pending: dict[Future[Result], None] = {}
        while True:
            for task in remaining:
                with interrupts_held():  # a process that starts now would answer Ctrl-C with a traceback
                    pending[pool.submit(function, task)] = None
                if len(pending) >= 2 * workers:
                    break
            if not pending:
                ended = True
                break
            for future in wait(pending, return_when="FIRST_COMPLETED").done:
                del pending[future]
                yield future.result()
    except BrokenProcessPool:
        ended = True
        raise LsslError(
            "a worker process died (out of memory?); run the command again to continue, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=ended, cancel_futures=True)
        if not ended:
            _end([child for child in active_children() if child not in before])


def _end(children: Sequence[BaseProcess]) -> None:
    """Waits a moment for processes to end, then ends them."""
    until = time.monotonic() + _GRACE
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are started inside never receive it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(parent: int) -> None:
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)

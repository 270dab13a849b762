"""Processes that share out long work: Ctrl-C reaches the parent alone, one thread each, one sentence where one dies."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from lssl.errors import LsslError

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_processes(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """function(task) of each task, as they come; of pickled functions and tasks, in spawned processes.

    A bounded number of tasks is under way, so that an interruption is soon over. Raises LsslError where a process is
    killed (out of memory), and what `function` raises.
    """
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker)
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
                break
            for future in wait(pending, return_when="FIRST_COMPLETED").done:
                del pending[future]
                yield future.result()
    except BrokenProcessPool:
        raise LsslError(
            "a worker process died (out of memory?); run the command again to go on, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are started inside never hear it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)

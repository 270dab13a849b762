"""Stages of work that run in parallel: one thread reads ahead, several edit, one writes, and the order is kept."""

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """The items in order, up to `depth` of them computed ahead by a thread; its errors are raised here."""
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    ended = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not ended.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put((True, item)):
                    break
            else:
                put((False, None))
        except BaseException as error:
            put((False, error))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="lssl-reads", daemon=True)
    thread.start()
    try:
        while True:
            good, item = waiting.get()
            if not good:
                if item is not None:
                    raise item
                return
            yield item
    finally:
        ended.set()
        thread.join()


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """function(item) for each item, in order, computed by `workers` threads that use one processor each."""
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, "lssl-edits", initializer=_one_processor)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers + 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_processor() -> None:
    torch.set_num_threads(1)  # several frames at once use the processors better than one frame on all of them


@contextmanager
def stopped_by_user() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that the file can be finished; a second Ctrl-C stops at once.

    Outside the main thread, where signals cannot be caught, the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            signal.default_int_handler(number, frame)
        event.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)

"""A worker thread that does only the newest of several requests: a slider sends them faster than faces can be changed."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


class Superseded(Exception):
    """A newer request came in before this one's turn, or had already come in."""


@dataclass
class _Waiting:
    urgency: int
    order: int
    work: Callable[[], Any]
    future: "Future[Any]"


class NewestWins:
    """Does one thing at a time. Of waiting requests with the same key only the newest is kept; older ones raise `Superseded`.

    Requests with different keys wait in order of their urgency (smaller first), then in the order in which they came.
    """

    _REMEMBERED = 256  # number of keys whose newest request number is kept

    def __init__(self, name: str) -> None:
        self._waiting: dict[Hashable, _Waiting] = {}
        self._numbers: dict[Hashable, int] = {}
        self._changed = threading.Condition()
        self._count = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, key: Hashable, work: Callable[[], Any], *, number: int | None = None, urgency: int = 0
    ) -> "Future[Any]":
        """A future of what `work` returns or raises.

        number: counts the requests of a key, if they may arrive out of order; one with a smaller number than an earlier
            arrival is superseded at once.
        """
        future: Future[Any] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker is closed")
            if number is not None and self._is_late(key, number):
                future.set_exception(Superseded())
                return future
            older = self._waiting.pop(key, None)
            self._count += 1
            self._waiting[key] = _Waiting(urgency, self._count, work, future)
            self._changed.notify()
        if older is not None:
            older.future.set_exception(Superseded())
        return future

    def close(self) -> None:
        """Drops the requests that wait; the one in progress is finished."""
        with self._changed:
            self._closed = True
            dropped = list(self._waiting.values())
            self._waiting.clear()
            self._changed.notify()
        for waiting in dropped:
            waiting.future.set_exception(Superseded())

    def _is_late(self, key: Hashable, number: int) -> bool:
        newest = self._numbers.pop(key, number)
        self._numbers[key] = max(newest, number)
        while len(self._numbers) > self._REMEMBERED:
            del self._numbers[next(iter(self._numbers))]
        return number < newest

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                key = min(self._waiting, key=lambda key: (self._waiting[key].urgency, self._waiting[key].order))
                chosen = self._waiting.pop(key)
            if not chosen.future.set_running_or_notify_cancel():
                continue
            try:
                result = chosen.work()
            except BaseException as error:
                chosen.future.set_exception(error)
            else:
                chosen.future.set_result(result)

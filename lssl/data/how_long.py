"""How long work will take, said once, as soon as its first steps have been measured."""

import time
from collections.abc import Callable

_FIRST_SECONDS = 4.0  # measured before anything is said
_WORTH_SAYING = 30.0  # seconds; for less, nothing is said


class HowLong:
    """Tells `say` once how long the rest will take: "About 12 minutes for the other 1,180 pictures".

    The first step is not measured, as it includes loading and compiling. For less than 30 seconds nothing is said.
    """

    def __init__(
        self,
        say: Callable[[str], None] | None,
        total: int,
        done: int = 0,
        *,
        unit: str = "pictures",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._rest, self._unit, self._clock = say, total - done, unit, clock
        self._measured = 0
        self._began: float | None = None

    def advance(self, count: int = 1) -> None:
        """Counts `count` more steps as done."""
        if self._say is None:
            return
        self._rest -= count
        now = self._clock()
        if self._began is None:
            self._began = now
            return
        self._measured += count
        elapsed = now - self._began
        if elapsed < _FIRST_SECONDS:
            return
        seconds = self._rest * elapsed / self._measured
        if seconds > _WORTH_SAYING:
            self._say(f"About {duration(seconds)} for the other {self._rest:,} {self._unit}")
        self._say = None


def duration(seconds: float) -> str:
    """Seconds in words, as precise as an estimate is: 40 seconds, 12 minutes, 3.5 hours, 2 days."""
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 1.5 * size:
            count = round(seconds / size, 1 if seconds < 10 * size and size > 60 else None)
            return f"{count:g} {unit}s"
    return f"{seconds:.0f} seconds"

"""How many threads training on the CPU uses: measured on its own work, when it begins and when it slows down.

Threads wait for one another at the end of every small parallel region. On a busy machine this made iterations with two
threads fifteen to thirty times slower; one thread would have taken only twice as long. So one thread is tried first, a
number that is far slower is tried once, and a few pieces of work that take that long are enough to measure again.
"""

import statistics
from collections import deque
from collections.abc import Callable

import torch

_ROUNDS = 3  # pieces of work measured with each number of threads; the fastest one counts
_SLOWER = 1.7  # how much slower work must become to be measured again
_WATCHED = 10  # pieces of work whose median decides that
_PATIENCE = 30  # the fewest pieces of work between two measurements
_HOPELESS = 4.0  # so many times slower it is no matter of chance: a single trial, or _ROUNDS pieces of work, tell


class ThreadChoice:
    """Tries numbers of threads on successive pieces of the same kind of work, and keeps the fastest.

    Args:
        say: called with a sentence about each choice.
        threads: numbers to try; by default the current one, its half and 1. With a single number nothing is measured.
        use: sets the number.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        threads: list[int] | None = None,
        use: Callable[[int], object] = torch.set_num_threads,
    ) -> None:
        most = torch.get_num_threads()
        self.threads = sorted({1, max(1, most // 2), most}) if threads is None else threads
        self._say, self._use = say, use
        self.begin()

    def begin(self) -> None:
        """To be called when other work begins, for which earlier measurements say nothing."""
        self._seconds: dict[int, list[float]] = {}
        self._recent: deque[float] = deque(maxlen=_WATCHED)
        self._skip = True  # the first piece allocates and chooses algorithms
        self._since = 0
        self.chosen: int | None = None
        self._next()

    def done(self, seconds: float) -> None:
        """To be called after each piece of work, with the time that it took."""
        if len(self.threads) < 2:
            return
        if self.chosen is not None:
            self._watch(seconds)
        elif self._skip:
            self._skip = False
        else:
            self._seconds[self._trying].append(seconds)
            self._next()

    def _next(self) -> None:
        """Moves on to the next number to try or, once all are measured, to the choice."""
        best = min((min(seconds) for seconds in self._seconds.values() if seconds), default=float("inf"))
        for threads in self.threads:
            seconds = self._seconds.setdefault(threads, [])
            if len(seconds) < _ROUNDS and not (seconds and min(seconds) > _HOPELESS * best):
                if len(self.threads) > 1:
                    self._use(threads)
                self._trying = threads
                return
        times = {threads: min(seconds) for threads, seconds in self._seconds.items()}
        self.chosen = min(times, key=lambda threads: times[threads])
        self._best = times[self.chosen]
        self._use(self.chosen)
        tried = ", ".join(f"{seconds:.3g} s with {threads}" for threads, seconds in sorted(times.items()))
        self._say(f"Threads: {self.chosen} ({tried})")

    def _watch(self, seconds: float) -> None:
        self._recent.append(seconds)
        self._since += 1
        last = list(self._recent)[-_ROUNDS:]
        hopeless = len(last) == _ROUNDS and min(last) > _HOPELESS * self._best
        if not hopeless and (self._since < _PATIENCE or len(self._recent) < _WATCHED):
            return
        now = statistics.median(last if hopeless else self._recent)
        if now > _SLOWER * self._best:
            self._say(f"An update takes {now:.3g} s now, not {self._best:.3g} s")
            self.begin()
            self._skip = False

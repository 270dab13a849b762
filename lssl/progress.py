"""The progress bar of every command: tqdm's, by a clock that no change of the computer's time moves."""

import time
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm as _Bar

Item = TypeVar("Item")
_DELAY = 1.0  # seconds of silence before a bar of `steps` appears
_shown = False


class tqdm(_Bar):
    """As tqdm, but its times are from a steady clock, so that none is negative and no bar stands still after a jump."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not self.disable:
            self._time = time.monotonic
            self.last_print_t = self.start_t = time.monotonic()


def show_steps(shown: bool) -> None:
    """Whether `steps` may show bars: the command line says so unless --quiet; a program that imports lssl sees none."""
    global _shown
    _shown = shown


def steps(items: Iterable[Item], what: str, total: int | None = None, unit: str = "picture") -> Iterable[Item]:
    """The items, with a bar for those of a command's own steps (reading, checking) that turn out to be long.

    what: the step, such as "checking faces/". The bar appears after a second and vanishes at the end.
    """
    return tqdm(items, desc=what, total=total, unit=unit, delay=_DELAY, leave=False, disable=not _shown)


def close_bars() -> None:
    """Ends the bars that work which was broken off has left, so that none writes itself below what is said next."""
    for bar in list(getattr(_Bar, "_instances", ())):
        bar.close()

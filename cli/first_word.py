"""What is said first while PyTorch loads, which takes a second on one computer and fifteen on a busy one."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SILENCE = 1.5  # seconds; a computer that loads PyTorch sooner says nothing
WORD = "Loading PyTorch ..."


@contextmanager
def first_word(seconds: float = SILENCE) -> Iterator[None]:
    """Says on standard error that PyTorch is loading, if modules are still being imported after some seconds.

    By an alarm of the operating system and not by a thread, as `lssl.data.ahead` forks. Windows has none: nothing is said.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _say)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        nothing_to_say()
        signal.signal(signal.SIGALRM, before)


def nothing_to_say() -> None:
    """With --quiet, and when something else has been said."""
    if hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is _say:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _say(_number: int, frame: FrameType | None) -> None:
    while frame is not None and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is not None:
        sys.stderr.write(f"{WORD}\n")
        sys.stderr.flush()

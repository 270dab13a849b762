"""A process that works for another one ends with it, however that one ends."""

import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent, the process with the number `parent`, ends: even by kill -9,
    which gives the parent no chance to end its workers.

    Linux tells when the thread that started this process ends, so that thread must outlive it. Elsewhere, only a process
    of `multiprocessing` is ended: a thread of it waits for the parent's end.
    """
    if sys.platform == "linux" and _asked_linux():
        if os.getppid() != parent:  # it ended before it was asked
            os._exit(1)
        return
    from multiprocessing import parent_process

    above = parent_process()
    if above is not None:
        threading.Thread(target=_wait_for_end, args=(above.sentinel,), daemon=True).start()


def _asked_linux() -> bool:
    import ctypes

    try:
        return ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def _wait_for_end(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    os._exit(1)

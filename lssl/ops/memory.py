"""Keeps the memory of large tensors on the CPU for the next ones."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of the GNU C library
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells the C library not to return freed memory to the system; True if it can be told (Linux with glibc).

    For the whole process, until it ends: what it once needed it keeps. `lssl train` calls it; call it once, before
    work with tensors of 32 MB and more on a CPU. By default each of these (but for the outputs of our own operators) is
    fresh memory from the system, which first fills every page with zeros: at the paper's sizes that takes as long as
    the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))

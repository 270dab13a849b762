"""A lock on a folder that a run writes to, so that a second run stops instead of mixing its files with the first's."""

import atexit
import contextlib
import os
from pathlib import Path

from lssl.errors import LsslError

try:
    import fcntl
except ImportError:  # Windows, where two runs in one folder are left to the user
    fcntl = None  # type: ignore[assignment]

_HELD: dict[Path, int] = {}  # this process's own, which it may take again


def check_writable(folder: Path) -> None:
    """Raises LsslError if a folder, or the one it would be created in, cannot be written to; for before long work."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise LsslError(f"{there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        reason = "its file system is read-only" if read_only else "permission denied"
        raise LsslError(f"{there}: cannot be written to ({reason}); choose another folder, or make this one writable")


def lock_folder(folder: Path, name: str = ".lock") -> bool:
    """Takes the lock until `unlock_folder` or the process's end; False where another process holds it.

    Also True where the file system has no locks. A process that is killed leaves no lock behind.
    """
    path = folder.resolve() / name
    if fcntl is None or path in _HELD:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a folder that may not be written to: what is written next says so
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:
        os.close(descriptor)
        return True
    _HELD[path] = descriptor
    return True


def hold_folder(folder: Path) -> None:
    """Makes a folder for a run's results and locks it until the process ends.

    Raises LsslError if it cannot be written to, or if another process holds it.
    """
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not lock_folder(folder):
        raise LsslError(f"{folder}: another run is writing to it; wait for it, or choose another folder")
    atexit.register(unlock_folder, folder)


def unlock_folder(folder: Path, name: str = ".lock") -> None:
    """Releases the lock and removes its file; does nothing if this process does not hold it."""
    path = folder.resolve() / name
    descriptor = _HELD.pop(path, None)
    if descriptor is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(descriptor)

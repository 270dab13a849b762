"""Photographs read, and their faces found, by a second process, while this one loads PyTorch and edits.

On a machine with two processors a photograph is ready sooner: importing PyTorch takes about as long as reading a photograph
and finding its face, and neither can be shared among threads.
"""

import contextlib
import os
import pickle
import signal
import struct
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from lssl.data.parent import end_with_parent
from lssl.data.portrait import Portrait, read_portrait
from lssl.data.threads import processors
from lssl.errors import LsslError

_LARGEST = 40_000_000  # pixels: larger photographs are read by this process, so that they are in memory once
_F_SETPIPE_SZ, _PIPE = 1031, 1 << 20  # Linux: fewer changes between the processes
_LENGTH = struct.Struct(">Q")


class PortraitsAhead:
    """What `read_portrait` returns for each of several photographs, which must be asked for in order.

        with PortraitsAhead(paths, landmarks=None, largest_face=False) as portraits:
            for path in paths:
                portrait = portraits.read(path)

    Where a second process does not pay or is not possible, or where it fails, this one reads the photograph, when it is
    asked for. Errors are those of `read_portrait`.
    """

    def __init__(self, paths: Sequence[Path], *, landmarks: Path | None, largest_face: bool) -> None:
        self._landmarks, self._largest_face = landmarks, largest_face
        self._waiting = list(paths)
        self._process = 0
        self._source: BinaryIO | None = None
        if paths and _pays():
            self._begin()

    def read(self, path: Path) -> Portrait:
        """The next photograph's face. Raises LsslError and DetectionError as `read_portrait`."""
        found = self._received(path)
        if isinstance(found, LsslError):
            raise found
        if found is not None:
            return found
        return read_portrait(path, landmarks=self._landmarks, largest_face=self._largest_face)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        if self._process:
            with contextlib.suppress(OSError):
                os.kill(self._process, signal.SIGTERM)
                os.waitpid(self._process, 0)
            self._process = 0

    def _begin(self) -> None:
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):
            import fcntl

            fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE)
        parent = os.getpid()
        self._process = os.fork()
        if self._process:
            os.close(writing)
            self._source = open(reading, "rb", buffering=0)  # noqa: SIM115
            return
        try:  # the second process, which never returns
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            end_with_parent(parent)
            os.close(reading)
            with open(writing, "wb", buffering=0) as target:
                for path in self._waiting:
                    _send(target, self._found(path))
        finally:
            os._exit(0)

    def _found(self, path: Path) -> Portrait | LsslError | None:
        """A photograph's face, or why it is refused; None if it is for the other process to read."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the other process says what is too large
                with Image.open(path) as picture:
                    if picture.width * picture.height > _LARGEST:
                        return None
            return read_portrait(path, landmarks=self._landmarks, largest_face=self._largest_face)
        except LsslError as error:
            return error
        except Exception:
            return None

    def _received(self, path: Path) -> Portrait | LsslError | None:
        if self._source is None or not self._waiting or self._waiting.pop(0) != path:
            return None
        try:
            return _receive(self._source)
        except (OSError, EOFError, pickle.UnpicklingError):
            self._source.close()
            self._source = None
            return None


def _pays() -> bool:
    """Whether a second process is possible (forking, and no threads yet) and saves time (PyTorch is still to be loaded)."""
    return sys.platform == "linux" and "torch" not in sys.modules and processors() > 1


def _send(target: BinaryIO, found: Portrait | LsslError | None) -> None:
    about: object = found
    if isinstance(found, Portrait):
        about = (found.image.shape, found.landmarks, found.note, dict(found.metadata))
    packed = pickle.dumps(about)
    _write(target, _LENGTH.pack(len(packed)) + packed)
    if isinstance(found, Portrait):
        _write(target, np.ascontiguousarray(found.image).data.cast("B"))


def _receive(source: BinaryIO) -> Portrait | LsslError | None:
    (length,) = _LENGTH.unpack(_read(source, bytearray(_LENGTH.size)))
    about = pickle.loads(_read(source, bytearray(length)))
    if about is None or isinstance(about, LsslError):
        return about
    shape, landmarks, note, metadata = about
    image = np.empty(shape, np.uint8)
    _read(source, image.data.cast("B"))
    return Portrait(image, landmarks, note, metadata)


def _write(target: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[target.write(rest) :]


def _read(source: BinaryIO, into: bytearray | memoryview) -> bytearray | memoryview:
    """Fills a buffer. Raises EOFError if the other process ended before."""
    rest = memoryview(into)
    while rest:
        count = source.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        rest = rest[count:]
    return into

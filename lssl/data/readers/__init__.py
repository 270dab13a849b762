"""One reader per database: each lists the pictures of a folder with their attributes, subject, landmarks and split.

Every module of this package that defines `READER` is one; it is registered nowhere else.
"""

from importlib import import_module
from pkgutil import iter_modules

from lssl.data.readers.source import Listing, Loaded, Reader, SourceRecord


def _find_readers() -> dict[str, Reader]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    readers = [module.READER for module in modules if hasattr(module, "READER")]
    return {reader.name: reader for reader in readers}


READERS = _find_readers()

__all__ = ["READERS", "Listing", "Loaded", "Reader", "SourceRecord"]

from types import ModuleType

import pytest

from tests.face3d import scan_files as files


@pytest.fixture(scope="session")
def scan_files() -> ModuleType:
    """The module `scan_files.py` beside this file: small files of scans and of published models."""
    return files

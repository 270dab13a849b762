import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def scan_files() -> ModuleType:
    """The module `scan_files.py` beside this file: small files of scans and of published models."""
    path = Path(__file__).with_name("scan_files.py")
    spec = importlib.util.spec_from_file_location("lssl_test_scan_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

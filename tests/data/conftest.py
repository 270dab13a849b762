import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def faces() -> ModuleType:
    """The module `faces.py` beside this file: drawn faces, photographs, data set folders."""
    path = Path(__file__).with_name("faces.py")
    spec = importlib.util.spec_from_file_location("lssl_test_faces", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

from types import ModuleType

import pytest

from tests.data import faces as drawn


@pytest.fixture(scope="session")
def faces() -> ModuleType:
    """The module `faces.py` beside this file: drawn faces, photographs, data set folders."""
    return drawn

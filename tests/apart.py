"""A command's standard output and standard error apart, under every click that pyproject.toml allows."""

import inspect
from typing import Any

from click.testing import CliRunner, Result


def invoke_apart(command: Any, arguments: list[str]) -> Result:
    """Like `CliRunner().invoke`, whose `stdout` held standard error too before click 8.2."""
    mixes = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(**({"mix_stderr": False} if mixes else {})).invoke(command, arguments)

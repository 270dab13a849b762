"""What a user installs has a lowest version, and constraints-lowest.txt tests with that one."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USERS = ("landmarks", "tensorboard", "demo", "export", "video", "docs")
WANTED = [*PROJECT["dependencies"], *(text for extra in USERS for text in PROJECT["optional-dependencies"][extra])]
LINES = [line for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if not line.startswith("#")]
LOWEST = dict(line.split("==") for line in LINES)


@pytest.mark.parametrize("text", WANTED)
def test_every_package_has_a_lowest_version_which_is_the_tested_one(text) -> None:
    wanted = Requirement(text)
    (bound,) = (one for one in wanted.specifier if one.operator == ">=")
    tested = Version(LOWEST[wanted.name])
    assert tested in wanted.specifier
    least = Version(bound.version).release
    assert tested.release[: len(least)] == least

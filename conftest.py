"""Options for the benchmarks: `pytest --benchmark` runs benchmarks/ instead of tests/ (benchmarks/conftest.py)."""

import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lssl speed checks")
    group.addoption(
        "--benchmark",
        action="store_true",
        help="run the speed checks in benchmarks/ (without it they are not collected)",
    )
    group.addoption(
        "--benchmark-full",
        action="store_true",
        default=os.environ.get("LSSL_BENCHMARK_FULL") == "1",
        help="paper-size cases too (also LSSL_BENCHMARK_FULL=1)",
    )
    group.addoption(
        "--benchmark-seconds",
        type=float,
        help="sampling time per case, in seconds (default: 1, or 4 with --benchmark-full)",
    )
    group.addoption(
        "--benchmark-prepare",
        action="store_true",
        help="compile the references into torch.compile's caches (with -n, in parallel) and time nothing",
    )
    group.addoption(
        "--benchmark-write",
        action="store_true",
        help="write the summary tables to benchmarks/RESULTS.md, in the section for this kind of machine",
    )


def pytest_configure(config: pytest.Config) -> None:
    no_paths_given = config.args_source is not pytest.Config.ArgsSource.ARGS
    if config.getoption("benchmark") and no_paths_given:
        config.args = [str(BENCHMARKS)]
    if config.getoption("benchmark") and config.option.benchmark_columns is None:
        config.option.benchmark_columns = ["min", "median", "iqr", "rounds", "iterations"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.is_relative_to(BENCHMARKS) and not config.getoption("benchmark"):
        return True
    return None

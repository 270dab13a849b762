"""What is said before the work: that PyTorch is loading, and bars over steps that turn out to be long."""

import importlib
import signal
import sys
import time

import pytest
from click.testing import CliRunner

from lssl import progress
from lssl.cli import first_word
from lssl.cli.main import main
from lssl.data import read_metadata
from lssl.data.folder import check_images
from tests.data.faces import write_folder

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarm")


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    (tmp_path / "loads_slowly.py").write_text("import time\nfor _ in range(100):\n    time.sleep(0.005)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loads_slowly", raising=False)


def test_a_long_import_is_spoken_of(slow_module, capsys) -> None:
    with first_word.first_word(0.02):
        importlib.import_module("loads_slowly")
    assert capsys.readouterr().err == "Loading PyTorch ...\n"


def test_nothing_is_said_of_quick_ones_of_other_work_and_where_something_has_been_said(slow_module, capsys) -> None:
    with first_word.first_word(60):
        pass
    with first_word.first_word(0.02):
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            pass
    with first_word.first_word(0.02):
        first_word.nothing_to_say()
        importlib.import_module("loads_slowly")
    assert capsys.readouterr().err == ""
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_step_has_a_bar_unless_quiet(tmp_path, monkeypatch, capsys, quiet) -> None:
    folder = read_metadata(write_folder(tmp_path / "faces", subjects=2))
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    monkeypatch.setattr(progress, "_shown", False)
    check_images(folder)
    assert capsys.readouterr().err == ""  # a program that imports lssl sees no bars
    words = ["evaluate", "images", str(tmp_path / "none"), str(tmp_path / "none"), *(["--quiet"] if quiet else [])]
    CliRunner().invoke(main, words)
    check_images(folder)
    assert (f"checking {folder.root}" in capsys.readouterr().err) is not quiet

"""The program as a whole: how it is started, what it says of itself, that no option is read and then dropped."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lssl

ROOT = Path(__file__).parents[2]


def test_a_bare_checkout_runs(tmp_path) -> None:
    """`python -m lssl` without an installation: no .pth file of one is read (-S), and no native library is there."""
    for folder in ("lssl", "cli"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    for arguments in (["--version"], ["train", "--help"]):
        result = subprocess.run(
            [sys.executable, "-S", "-m", "lssl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": packages},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    assert "--preset" in result.stdout


def test_one_version() -> None:
    result = subprocess.run([sys.executable, "-m", "lssl", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == f"lssl, version {lssl.__version__}"

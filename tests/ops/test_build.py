"""The native library is there, says how it was built, keeps to the stable ABI, and its sources ship."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import lssl
from lssl.ops import build_info

ROOT = Path(__file__).parents[2]


def test_native_library_is_loaded():
    info = build_info()
    assert info["native"], info["reason"]
    assert info["simd"]


def test_the_library_needs_only_the_stable_abi():
    """No symbol of c10:: or at::, so that one build loads in every torch from 2.10 on."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm (binutils) is not installed")
    (library,) = Path(lssl.__file__).parent.glob("_ops*.so")
    listing = subprocess.run([nm, "-DC", "--undefined-only", str(library)], capture_output=True, text=True, check=True)
    symbols = [line.split(maxsplit=1)[1] for line in listing.stdout.splitlines() if line.strip()]
    assert any("torch_library_" in symbol for symbol in symbols), "nm does not see the library's registration"
    assert [symbol for symbol in symbols if re.search(r"\b(c10|at)::", symbol)] == []


@pytest.mark.slow
def test_the_sdist_has_what_the_build_needs(tmp_path):
    if not (ROOT / "setup.py").exists():
        pytest.skip("not a source tree")
    # A copy: sdist leaves its egg-info where it runs.
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    (source / ".clang-format").write_text((ROOT / ".clang-format").read_text())
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)],
        check=True,
        capture_output=True,
    )
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    assert len(sources) > 10
    assert sources - packed == set()
    assert {"setup.py", "pyproject.toml", "conftest.py", "benchmarks/conftest.py", "Makefile"} <= packed

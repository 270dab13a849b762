"""The native library is there, says how it was built, keeps to the stable ABI, and its sources ship."""

import json
import os
import platform
import re
import runpy
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


def undefined_symbols() -> list[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm (binutils) is not installed")
    library = Path(lssl.__file__).parent / "_ops.so"
    listing = subprocess.run([nm, "-DC", "--undefined-only", str(library)], capture_output=True, text=True, check=True)
    symbols = [line.split(maxsplit=1)[1] for line in listing.stdout.splitlines() if line.strip()]
    assert any("torch_library_" in symbol for symbol in symbols), "nm does not see the library's registration"
    return symbols


def test_the_library_needs_only_the_stable_abi():
    """No symbol of c10:: or at::, so that one build loads in every torch from 2.10 on."""
    assert [symbol for symbol in undefined_symbols() if re.search(r"\b(c10|at)::", symbol)] == []


def test_the_library_knows_nothing_of_python():
    """No symbol of Python's, so that one build loads in every Python."""
    assert [symbol for symbol in undefined_symbols() if re.match(r"_?Py[A-Z_]", symbol)] == []


@pytest.mark.skipif(
    not (2, 28) <= tuple(map(int, re.findall(r"\d+", platform.libc_ver()[1])[:2])) < (2, 38),
    reason="not glibc, or 2.38 and later, whose headers ask for newer functions themselves: a wheel is built with older ones",
)
def test_the_library_needs_no_c_library_newer_than_the_wheel_s():
    """`make wheel` promises manylinux_2_28."""
    asked = [(symbol, re.search(r"@GLIBC_2\.(\d+)", symbol)) for symbol in undefined_symbols()]
    assert any(version for _, version in asked), "nm does not tell versions"
    assert [symbol for symbol, version in asked if version and int(version[1]) > 28] == []


RUN = """
import json, sys
if sys.argv[1] == "without":
    sys.modules["lssl._C"] = None  # an import of it fails, as where a wheel has none
import torch
from lssl.ops import build_info, pixel_shuffle_instance_norm
output = pixel_shuffle_instance_norm(torch.arange(32.0).reshape(1, 8, 2, 2))
print(json.dumps([build_info(), output.flatten().tolist()]))
"""


def run(loader: str, **environment: str) -> list:
    return json.loads(
        subprocess.run(
            [sys.executable, "-c", RUN, loader],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_all_is_the_same_without_the_module_that_a_source_build_adds():
    info, output = run("without")
    assert info == build_info()
    assert run("with") == [info, output]


@pytest.mark.parametrize("loader", ["with", "without"])
def test_a_library_that_does_not_load_says_why(tmp_path, loader):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    info, output = run(loader, LSSL_LIBRARY=str(broken))
    assert not info["native"]
    assert "broken.so" in info["reason"]
    assert info["reason"] != f"Could not load this library: {broken}"  # the linker's words, not the wrapper's
    assert len(output) == 32


@pytest.mark.parametrize(("release", "wanted", "said"), [
    ("13.0", "12.8", "nvcc is of CUDA 13, PyTorch of CUDA 12.8"), ("12.4", "12.8", ""), ("13.1", "13.0", ""),
])  # fmt: skip
def test_an_nvcc_of_another_major_version_is_told_apart(tmp_path, release, wanted, said):
    if not (ROOT / "setup.py").exists():
        pytest.skip("not a source tree")
    (tmp_path / "bin").mkdir()
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho Cuda compilation tools, release {release}, V{release}.88\n")
    nvcc.chmod(0o755)
    other_cuda = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["other_cuda"]
    assert other_cuda(str(tmp_path), wanted).startswith(said)
    assert bool(other_cuda(str(tmp_path), wanted)) == bool(said)
    assert other_cuda(str(tmp_path / "nowhere"), wanted) == ""


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


@pytest.mark.skipif(sys.platform != "linux", reason="asks the GNU C library")
def test_freed_memory_is_kept_once_asked_for():
    program = """
import resource, torch
from lssl.ops import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.empty(1 << 26, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
fresh = faults()
assert keep_freed_memory()
for _ in range(3):
    faults()
print(fresh, faults())
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    fresh, kept = map(int, said.split())
    assert kept < fresh / 4, said

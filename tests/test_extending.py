"""docs/extending.md, followed as a newcomer would: its blocks go into the files that they name, in a copy of the tree."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.cpp_extension import include_paths

from lssl.ops import build_info

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def blocks(section: str) -> dict[str, list[str]]:
    """The fenced blocks of a section by language."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        found.setdefault(language, []).append(block)
    return found


def follow(section: str, tree: Path) -> list[Path]:
    """Follows a section's instructions; returns the files that it touched."""
    touched = []
    for line in "".join(blocks(section).get("sh", [])).splitlines():
        if line.startswith("cp "):
            source, made = (tree / name for name in line.split()[1:])
            assert not made.exists(), f"{made} is there already"
            touched.append(Path(shutil.copyfile(source, made)))
    for language in ("python", "cpp", "toml"):
        for block in blocks(section).get(language, []):
            first, _, rest = block.partition("\n")
            if match := re.fullmatch(r"(?:#|//) file: (\S+)", first):
                path = tree / match[1]
                assert not path.exists(), f"{match[1]} is there already"
                path.parent.mkdir(exist_ok=True)
                path.write_text(rest, encoding="utf-8")
                touched.append(path)
            elif match := re.fullmatch(r"# at the end of (\S+)", first):
                path = tree / match[1]
                path.write_text(path.read_text(encoding="utf-8") + "\n\n" + rest, encoding="utf-8")
                touched.append(path)
    for block in blocks(section).get("diff", []):
        touched.append(edit(block, tree))
    return list(dict.fromkeys(touched))


def edit(block: str, tree: Path) -> Path:
    """Applies a hunk without line numbers: its old lines must stand in the file exactly once."""
    first, *lines = block.splitlines()
    path = tree / first.removeprefix("# in ")
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{first}: {text.count(before)} places like\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return path


@pytest.fixture
def tree(tmp_path) -> Path:
    for folder in ("lssl", "cli", "csrc", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / "tree" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "tree"


def python(tree: Path, *arguments: str) -> str:
    """Output of Python with the tree's lssl and no installed one (-S reads no .pth file of it)."""
    packages = os.pathsep.join([str(tree), *(path for path in sys.path if path.endswith("-packages"))])
    result = subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def load(path: Path) -> ModuleType:
    """A file of the tests or the examples as a module."""
    spec = importlib.util.spec_from_file_location(f"lssl_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(section: str) -> list[list[str]]:
    lines = "".join(blocks(section)["sh"]).splitlines()
    return [line.split("#")[0].split()[1:] for line in lines if line.startswith("lssl ")]


def test_a_measure(tree) -> None:
    assert len(follow("A measure", tree)) == 1
    said = python(
        tree,
        "-c",
        "import numpy as np\n"
        "from lssl.evaluation.measures import find_pair_measures\n"
        "measure = find_pair_measures()['brightness change']\n"
        "grey = np.full((2, 8, 8, 3), 100, np.uint8)\n"
        "print(measure(grey, grey), measure(grey, grey + np.uint8(5)))",
    )
    assert said.split() == ["0.0", "5.0"]


def test_a_database(tree) -> None:
    write_photograph = load(ROOT / "tests" / "data" / "faces.py").write_photograph
    assert len(follow("A database", tree)) == 1
    photographs = tree / "photographs"
    for subject in range(3):
        for expression in ("neutral", "happy"):
            write_photograph(photographs / f"{subject:03d}_f_{expression}.png", shade=160 + 20 * subject)
    (command,) = commands("A database")
    said = python(tree, "-m", "lssl", *command)
    assert "6 faces of 3 subjects" in said
    rows = (tree / "prepared" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 7
    assert "happy" in rows[1] + rows[2]


@pytest.mark.slow
def test_an_operator(tree) -> None:
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("no C++ compiler")
    if not build_info()["native"]:
        pytest.skip("the native library is not built")
    touched = follow("An operator", tree)
    assert {path.relative_to(tree).parts[:2] for path in touched} == {
        ("csrc", "soft_threshold"),
        ("lssl", "ops"),
        ("benchmarks", "bench_soft_threshold.py"),
    }
    include = [argument for path in include_paths() for argument in ("-I", path)]
    library = tree / "soft_threshold.so"
    subprocess.run(
        [
            *(
                os.environ.get("CXX", "c++"),
                "-std=c++20",
                "-O1",
                "-shared",
                "-fPIC",
                "-o",
                library,
                "-I",
                tree / "csrc",
            ),
            *include,
            "-DTORCH_TARGET_VERSION=0x020a000000000000",
            *sorted((tree / "csrc" / "soft_threshold").glob("*.cpp")),
            *("-L", Path(torch.__file__).parent / "lib", "-ltorch", "-ltorch_cpu"),
        ],
        check=True,
    )
    python(
        tree,
        "-c",
        "import torch, lssl.ops\n"
        "torch.ops.load_library('soft_threshold.so')\n"
        "from lssl.ops.soft_threshold import soft_threshold, soft_threshold_reference\n"
        "torch.manual_seed(0)\n"
        "x = torch.randn(3, 50_000, requires_grad=True)\n"
        "y = torch.randn(3, 50_000)\n"
        "torch.testing.assert_close(soft_threshold(x, 0.4), soft_threshold_reference(x, 0.4))\n"
        "ours, = torch.autograd.grad(soft_threshold(x, 0.4), x, y)\n"
        "theirs, = torch.autograd.grad(soft_threshold_reference(x, 0.4), x, y)\n"
        "torch.testing.assert_close(ours, theirs)\n"
        "small = torch.randn(5, requires_grad=True)\n"
        "torch.library.opcheck(torch.ops.lssl.soft_threshold.default, (small, 0.4))\n"
        # The benchmark's variants agree and its floor has their size; times are not tested.
        "from benchmarks.bench_soft_threshold import test_forward\n"
        "def compare(op, *, shape, inputs, native, eager, floor, **_):\n"
        "    x, = inputs()\n"
        "    torch.testing.assert_close(native(x), eager(x))\n"
        "    assert floor(x).shape == native(x).shape == shape\n"
        "test_forward(compare, 'cpu', (2, 3, 8, 8))\n",
    )


@pytest.mark.slow
def test_a_loss(tree) -> None:
    assert {path.relative_to(tree).as_posix() for path in follow("A loss", tree)} == {
        "lssl/training/losses.py",
        "lssl/methods/paper.py",
    }
    for command in commands("A loss"):
        python(tree, "-m", "lssl", *command)
    run = tree / "runs" / "smooth"
    assert all("g_smooth" in row for row in logged(run))
    assert "smoothness = 0.1" in (run / "config.toml").read_text(encoding="utf-8")
    assert (run / "losses.png").is_file()


@pytest.mark.slow
def test_a_method(tree) -> None:
    assert {path.relative_to(tree).as_posix() for path in follow("A method", tree)} == {
        "lssl/methods/hinge.py",
        "lssl/presets/hinge.toml",
    }
    for command in commands("A method"):
        python(tree, "-m", "lssl", *command)
    rows = logged(tree / "runs" / "hinge")
    assert all({"d_real", "d_fake", "d_gp", "g_adv"} <= row.keys() for row in rows)
    assert 'method = "hinge"' in (tree / "runs" / "hinge" / "config.toml").read_text(encoding="utf-8")
    assert len(list((tree / "changed").glob("*.png"))) == 4


def logged(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    return rows

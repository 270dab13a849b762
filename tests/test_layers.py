"""A module imports only from its own layer and those below, and no two modules import each other.

Read from the source with `ast`, so an import inside a function or for type checking alone counts as well.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest first. A module may import from its own layer and from those before it.
LAYERS = (
    "errors",
    "device",
    "progress",
    "ops",
    "data",
    "face3d",
    "models",
    "training",
    "methods",
    "inference",
    "evaluation",
    "cli",
)
# The order within a package; a module that is not named has none.
INNER = {
    "face3d": ("model", "scene", "fitting", "frontal"),
    "evaluation": ("report", "measures", "experiments"),
}


def module_files() -> dict[str, Path]:
    """Dotted name below lssl ("" for the package itself) to file."""
    found = {}
    for folder, prefix in ((ROOT / "lssl", ()), (ROOT / "cli", ("cli",))):
        for path in sorted(folder.rglob("*.py")):
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = module_files()


def read_imports(source: str, known: dict[str, Path] | None = None) -> set[str]:
    """The modules of lssl, named below it, that the source of a module imports; `from lssl.a import b` is lssl.a.b
    where that is a module."""
    known = MODULES if known is None else known
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and (node.module + ".").startswith("lssl."):
            package = node.module.removeprefix("lssl").lstrip(".")
            for alias in node.names:
                inside = f"{package}.{alias.name}".lstrip(".")
                found.add(inside if inside in known else package)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("lssl").lstrip(".")
                for alias in node.names
                if (alias.name + ".").startswith("lssl.")
            }
    return found


@cache
def graph() -> dict[str, set[str]]:
    return {name: read_imports(path.read_text()) - {name} for name, path in MODULES.items()}


def upward(name: str, imported: str) -> bool:
    """Whether `name`, a module, importing `imported` goes against the order."""
    if not name or not imported or name == "__main__":
        return False  # lssl/__init__.py offers the public names; a program starts at the top
    (here, *inner_here), (there, *inner_there) = name.split("."), imported.split(".")
    if here != there:
        return LAYERS.index(there) > LAYERS.index(here)
    order = INNER.get(here, ())
    if inner_here and inner_there and inner_here[0] in order and inner_there[0] in order:
        return order.index(inner_there[0]) > order.index(inner_here[0])
    return False


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of two modules and more (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in MODULES} - {"", "__main__"} <= set(LAYERS)


def test_no_import_points_up() -> None:
    found = [
        f"{name} imports {other}" for name, others in graph().items() for other in sorted(others) if upward(name, other)
    ]
    assert found == []


def test_inference_knows_nothing_of_training() -> None:
    """A trained file is used without the code that made it; only `training.distributed` serves both."""
    found = {other for name, others in graph().items() if name.startswith("inference") for other in others}
    assert {name for name in found if name.split(".")[0] in ("training", "methods")} <= {"training.distributed"}


def test_no_cycle() -> None:
    assert cycles({name: others - {""} for name, others in graph().items() if name}) == []


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("data.align", "from lssl.models import Generator", True),
        ("data.align", "def f():\n    import lssl.training.config", True),
        ("data.align", "from lssl import evaluation", True),
        ("face3d.model.bilinear", "from lssl.face3d.frontal.draw import draw_face", True),
        ("ops.rasterize", "from lssl.errors import LsslError", False),
        ("models.generator", "from lssl.data import to_float", False),
        ("cli.train", "from lssl.training.config import TrainConfig", False),
    ],
)
def test_the_guard_sees(name, source, expected) -> None:
    known = {**MODULES, "evaluation": Path(), "training.config": Path()}
    assert any(upward(name, other) for other in read_imports(source, known)) is expected


def test_the_guard_sees_a_cycle() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def names_of(path: Path) -> set[str]:
    """What a module defines or imports outside its functions and classes."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return found


def test_every_imported_name_is_there() -> None:
    """Also of imports inside functions, which fail only when they are called."""
    defined = {name: names_of(path) for name, path in MODULES.items()}
    files = [
        path for folder in ("lssl", "cli", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
    ]
    missing = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.level or not f"{node.module}.".startswith("lssl."):
                continue
            module = str(node.module).removeprefix("lssl").lstrip(".")
            for alias in node.names:
                inside = f"{module}.{alias.name}".lstrip(".")
                if module not in MODULES or (inside not in MODULES and alias.name not in defined[module]):
                    missing.append(f"{path.relative_to(ROOT)}: from {node.module} import {alias.name}")
    assert missing == []

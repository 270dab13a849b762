"""LSSL, "Learn to Synthesize and Synthesize to Learn": face attribute synthesis and its native operators."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lssl.inference.editor import FaceEditor as FaceEditor
    from lssl.inference.frontalize import frontal as frontal
    from lssl.methods.run import train as train
    from lssl.models.export import load_generator as load_generator

__version__ = "0.1.0"
#: Public names and their modules, which are imported on first use: `import lssl` and `lssl --help` do not wait for PyTorch.
_PUBLIC = {
    "FaceEditor": "lssl.inference.editor",
    "frontal": "lssl.inference.frontalize",
    "load_generator": "lssl.models.export",
    "train": "lssl.methods.run",
}
__all__ = ["FaceEditor", "__version__", "frontal", "load_generator", "train"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lssl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

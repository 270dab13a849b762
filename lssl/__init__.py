"""LSSL, "Learn to Synthesize and Synthesize to Learn": face attribute synthesis and its native operators."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lssl.models.export import load_generator as load_generator

__version__ = "0.1.0"
__all__ = ["__version__", "load_generator"]


def __getattr__(name: str) -> Any:
    """`lssl.load_generator` on first use, so that `import lssl` and `lssl --help` do not wait for PyTorch."""
    if name == "load_generator":
        from lssl.models.export import load_generator

        return load_generator
    raise AttributeError(f"module 'lssl' has no attribute {name!r}")

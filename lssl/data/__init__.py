"""Faces on disk and in batches: the data set folder, the attribute schema, landmarks, readers of databases."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lssl.data.dataset import FaceBatch as FaceBatch
    from lssl.data.dataset import FaceDataset as FaceDataset
    from lssl.data.dataset import heatmap_side as heatmap_side
    from lssl.data.dataset import to_float as to_float
    from lssl.data.dataset import to_uint8 as to_uint8
    from lssl.data.folder import FaceFolder as FaceFolder
    from lssl.data.folder import read_metadata as read_metadata
    from lssl.data.schema import AttributeGroup as AttributeGroup
    from lssl.data.schema import AttributeSchema as AttributeSchema
    from lssl.data.writer import FaceFolderWriter as FaceFolderWriter
    from lssl.data.writer import FaceRow as FaceRow

#: Public names and the modules they are imported from on first use: photographs are read without PyTorch.
_PUBLIC = {
    "AttributeGroup": "lssl.data.schema",
    "AttributeSchema": "lssl.data.schema",
    "FaceBatch": "lssl.data.dataset",
    "FaceDataset": "lssl.data.dataset",
    "FaceFolder": "lssl.data.folder",
    "FaceFolderWriter": "lssl.data.writer",
    "FaceRow": "lssl.data.writer",
    "heatmap_side": "lssl.data.dataset",
    "read_metadata": "lssl.data.folder",
    "to_float": "lssl.data.dataset",
    "to_uint8": "lssl.data.dataset",
}
__all__ = [
    "AttributeGroup",
    "AttributeSchema",
    "FaceBatch",
    "FaceDataset",
    "FaceFolder",
    "FaceFolderWriter",
    "FaceRow",
    "heatmap_side",
    "read_metadata",
    "to_float",
    "to_uint8",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lssl.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

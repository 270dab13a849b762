"""Faces on disk and in batches: the data set folder, the attribute schema, landmarks, readers of databases."""

from lssl.data.dataset import FaceBatch, FaceDataset, heatmap_side, to_float, to_uint8
from lssl.data.folder import FaceFolder, read_metadata
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.data.writer import FaceFolderWriter, FaceRow

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

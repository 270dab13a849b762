"""One reader a database: each lists the pictures of a folder with their attributes, subject, landmarks and split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lssl.data.readers import bu3dfe, folder, helen, london, mug, oulu_casia, rafd
from lssl.data.readers.source import Listing, Loaded, SourceError, SourceRecord


@dataclass(frozen=True)
class Reader:
    """A database: how to list it, what it should look like, which columns are attributes unless told otherwise."""

    scan: Callable[..., Listing]
    title: str
    expected: str
    attributes: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # of the command line, that `scan` takes


READERS = {
    "folder": Reader(
        folder.scan,
        "any folder of pictures",
        folder.EXPECTED,
        folder.ATTRIBUTES,
        options=("attribute", "subject_pattern"),
    ),
    "london": Reader(london.scan, "Face Research Lab London Set", london.EXPECTED, london.ATTRIBUTES),
    "rafd": Reader(rafd.scan, "Radboud Faces Database", rafd.EXPECTED, rafd.ATTRIBUTES, rafd.ONLY),
    "oulu-casia": Reader(
        oulu_casia.scan,
        "Oulu-CASIA NIR&VIS",
        oulu_casia.EXPECTED,
        oulu_casia.ATTRIBUTES,
        oulu_casia.ONLY,
        options=("frames", "neutral"),
    ),
    "mug": Reader(mug.scan, "MUG", mug.EXPECTED, mug.ATTRIBUTES, options=("frames",)),
    "bu3dfe": Reader(bu3dfe.scan, "BU-3DFE, rendered at seven yaw angles", bu3dfe.EXPECTED, bu3dfe.ATTRIBUTES),
    "helen": Reader(helen.scan, "Helen with part labels", helen.EXPECTED, helen.ATTRIBUTES),
}

__all__ = ["READERS", "Listing", "Loaded", "Reader", "SourceError", "SourceRecord"]

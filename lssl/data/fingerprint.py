"""Short names for contents: files, and the weights of networks."""

import hashlib
from pathlib import Path

from torch import nn

_DIGITS = 16


def file_fingerprint(path: str | Path) -> str:
    """Sixteen hexadecimal digits that change with the file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def weights_fingerprint(network: nn.Module) -> str:
    """Sixteen hexadecimal digits that change with a network's weights and their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]

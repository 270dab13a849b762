"""One network per `.safetensors` file, weights and a description; written atomically, read without running code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lssl.data.writer import write_atomic
from lssl.errors import LsslError


@dataclass(frozen=True)
class NetworkFile:
    """One kind of file.

    format: what its metadata must say. name: the file to look for if a folder is given. kind: what messages call the
    network. command: the one that writes such files.
    """

    format: str
    name: str
    kind: str
    command: str

    def write(self, path: str | Path, network: nn.Module, about: dict[str, Any]) -> None:
        """Writes the network's weights and `about` (plain values); an earlier file stays until the new one is whole."""
        path = Path(path)
        weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        data = save(weights, metadata={"format": self.format, "lssl": json.dumps(about)})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)

    def read(self, path: str | Path, device: torch.device | str) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
        """The file (in `path`, if that is a folder), its weights and its description.

        Raises FileNotFoundError, or LsslError for a file of another kind.
        """
        path = Path(path)
        if path.is_dir():
            path = path / self.name
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such {self.kind}; `{self.command}` makes one")
        try:
            with safe_open(str(path), framework="pt", device=str(device)) as file:
                metadata = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise LsslError(f"{path}: not a safetensors file ({error})") from None
        if metadata.get("format") != self.format:
            raise LsslError(f"{path}: not a {self.kind} written by `{self.command}`")
        try:
            return path, weights, dict(json.loads(metadata["lssl"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(path, error) from None

    def damaged(self, path: Path, reason: Exception) -> LsslError:
        """The error for a description from which no network can be built."""
        return LsslError(f"{path}: the {self.kind}'s description is damaged ({reason})")

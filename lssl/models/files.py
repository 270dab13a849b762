"""One network per `.safetensors` file, weights and a description; written atomically, read without running code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lssl import __version__
from lssl.data.writer import write_atomic
from lssl.errors import LsslError

# What the formats of all kinds of files begin with, and what messages call such a network.
_KINDS = {"lssl-generator": "generator", "lssl-classifier": "classifier", "lssl-parser": "face parser"}


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
        described = json.dumps({**about, "version": __version__})
        data = save(weights, metadata={"format": self.format, "lssl": described})
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
            raise LsslError(f"{path}: not a safetensors file ({error}); `{self.command}` writes {self.name}") from None
        self._check_kind(path, metadata.get("format", ""))
        try:
            return path, weights, dict(json.loads(metadata["lssl"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LsslError(f"{path}: the {self.kind}'s description is damaged ({error})") from None

    def _check_kind(self, path: Path, found: str) -> None:
        """Raises LsslError unless a file's metadata say that it is of this kind and layout."""
        if found == self.format:
            return
        name, _, layout = found.rpartition("-")
        if name == self.format.rpartition("-")[0] and layout.isdigit():
            raise LsslError(
                f"{path}: a {self.kind} in layout {layout}, which another version of lssl wrote (this is {__version__}): "
                "update lssl"
            )
        if name in _KINDS:
            raise LsslError(f"{path}: a {_KINDS[name]}, not a {self.kind}; `{self.command}` makes one")
        raise LsslError(f"{path}: not a {self.kind} written by `{self.command}`")

    def unusable(self, path: Path, about: dict[str, Any], reason: Exception) -> LsslError:
        """The error for a description and weights from which this version builds no network."""
        writer = about.get("version")
        by = f"lssl {writer}" if isinstance(writer, str) and writer else "an earlier version of lssl"
        what = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        return LsslError(
            f"{path}: written by {by}, and lssl {__version__} cannot build this {self.kind} ({what}): train it again with "
            f"`{self.command}`, or use the version that wrote it; if that is this one, the file is damaged"
        )

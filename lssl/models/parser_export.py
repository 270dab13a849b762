"""A trained face parser in one file: weights, settings and what it reached on unseen subjects."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lssl.models.parser import PARSER_CLASSES, FaceParser

FORMAT = "lssl-parser-1"
FILE_NAME = "parser.safetensors"


class ParserError(ValueError):
    """A file that is no exported face parser; the message names it and what to do."""


def save_parser(path: str | Path, parser: FaceParser, **info: Any) -> None:
    """Writes weights, settings and `info` (plain values) atomically to one `.safetensors` file."""
    path = Path(path)
    about = {
        "width": parser.width,
        "num_levels": parser.num_levels,
        "classes": list(PARSER_CLASSES),
        "info": info,
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in parser.state_dict().items()}
    data = save(weights, metadata={"format": FORMAT, "lssl": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def load_parser(path: str | Path, device: torch.device | str = "cpu") -> FaceParser:
    """Reads `parser.safetensors` (or the folder that holds it), frozen and in evaluation mode.

    No code of the file is run. Raises FileNotFoundError, or ParserError for a file that is no parser.
    """
    parser, _ = load_parser_with_info(path, device)
    return parser


def load_parser_with_info(path: str | Path, device: torch.device | str = "cpu") -> tuple[FaceParser, dict[str, Any]]:
    """The parser and the `info` it was saved with."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such face parser; `lssl train-parser` makes one")
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ParserError(f"{path}: not a safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise ParserError(f"{path}: not a face parser written by `lssl train-parser`")
    try:
        about = json.loads(metadata["lssl"])
        if tuple(about["classes"]) != PARSER_CLASSES:
            raise ParserError(f"{path}: parses {', '.join(about['classes'])}, not {', '.join(PARSER_CLASSES)}")
        parser = FaceParser(about["width"], about["num_levels"])
        parser.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ParserError(f"{path}: the parser's description is damaged ({error})") from None
    return parser.requires_grad_(False).eval().to(device), dict(about.get("info", {}))

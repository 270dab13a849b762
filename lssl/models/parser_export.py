"""A trained face parser in one file: weights, settings and what it reached on unseen subjects."""

from pathlib import Path
from typing import Any

import torch

from lssl.errors import LsslError
from lssl.models.files import NetworkFile
from lssl.models.parser import PARSER_CLASSES, FaceParser

FILE_NAME = "parser.safetensors"


FILE = NetworkFile("lssl-parser-1", FILE_NAME, "face parser", "lssl train-parser")


def save_parser(path: str | Path, parser: FaceParser, **info: Any) -> None:
    """Writes weights, settings and `info` (plain values) atomically to one `.safetensors` file."""
    about = {
        "width": parser.width,
        "num_levels": parser.num_levels,
        "classes": list(PARSER_CLASSES),
        "info": info,
    }
    FILE.write(path, parser, about)


def load_parser(path: str | Path, device: torch.device | str = "cpu") -> FaceParser:
    """Reads `parser.safetensors` (or the folder that holds it), frozen and in evaluation mode.

    No code of the file is run. Raises FileNotFoundError, or LsslError for a file that is no parser.
    """
    parser, _ = load_parser_with_info(path, device)
    return parser


def load_parser_with_info(path: str | Path, device: torch.device | str = "cpu") -> tuple[FaceParser, dict[str, Any]]:
    """The parser and the `info` it was saved with."""
    path, weights, about = FILE.read(path, device)
    try:
        if tuple(about["classes"]) != PARSER_CLASSES:
            raise LsslError(f"{path}: parses {', '.join(about['classes'])}, not {', '.join(PARSER_CLASSES)}")
        parser = FaceParser(about["width"], about["num_levels"])
        parser.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise FILE.damaged(path, error) from None
    return parser.requires_grad_(False).eval().to(device), dict(about.get("info", {}))

"""The face parser P: a U-Net of MobileNet-v2 depthwise blocks (paper 3.1 eq. 5, 4.1, Fig. 4)."""

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.data.folder import MASK_LABELS
from lssl.errors import LsslError
from lssl.models.blocks import InvertedResidual
from lssl.models.files import NetworkFile

#: The parser's classes, in the order of its output channels: the labels of a data set folder's masks.
PARSER_CLASSES = MASK_LABELS

FILE_NAME = "parser.safetensors"
FILE = NetworkFile("lssl-parser-1", FILE_NAME, "face parser", "lssl train-parser")


class FaceParser(nn.Module):
    """Per-pixel logits of background, skin, lips and eyes: images (N, 3, H, W) in [-1, 1] to (N, 4, H, W).

    Args:
        width: channels of the first level; each level below has 1.5 times as many (rounded to a multiple of 8).
        num_levels: the number of down-samplings; image sides must be divisible by 2**num_levels.
        classes: the number of output channels.
    """

    def __init__(self, width: int = 16, num_levels: int = 4, classes: int = len(PARSER_CLASSES)) -> None:
        super().__init__()
        self.width = width
        self.num_levels = num_levels
        channels = [max(8, round(width * 1.5**level / 8) * 8) for level in range(num_levels + 1)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, padding=1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU6()
        )
        self.down = nn.ModuleList(
            nn.Sequential(InvertedResidual(above, below, stride=2), InvertedResidual(below, below))
            for above, below in itertools.pairwise(channels)
        )
        self.up = nn.ModuleList(
            InvertedResidual(below + above, above, expansion=2)
            for above, below in reversed(list(itertools.pairwise(channels)))
        )
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        factor = 2**self.num_levels
        if image.shape[2] % factor or image.shape[3] % factor:
            raise ValueError(f"image sides must be divisible by {factor}, got {tuple(image.shape)}")
        features = self.stem(image)
        skips: list[Tensor] = []
        for block in self.down:
            skips.append(features)
            features = block(features)
        for block in self.up:
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = block(torch.cat([features, skips.pop()], 1))
        logits: Tensor = self.head(features)
        return logits


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

    No code in the file is run. Raises FileNotFoundError, or LsslError for a file that is not a parser.
    """
    parser, _ = load_parser_with_info(path, device)
    return parser


def load_parser_with_info(path: str | Path, device: torch.device | str = "cpu") -> tuple[FaceParser, dict[str, Any]]:
    """The parser and the `info` that it was saved with; see `load_parser`."""
    path, weights, about = FILE.read(path, device)
    try:
        if tuple(about["classes"]) != PARSER_CLASSES:
            raise LsslError(f"{path}: parses {', '.join(about['classes'])}, not {', '.join(PARSER_CLASSES)}")
        parser = FaceParser(about["width"], about["num_levels"])
        parser.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise FILE.unusable(path, about, error) from None
    return parser.requires_grad_(False).eval().to(device), dict(about.get("info", {}))

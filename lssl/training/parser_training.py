"""Trains the face parser P (paper 3.1, Fig. 4), also for `lssl train` when no parser is given."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lssl.data import to_float
from lssl.data.folder import FaceFolder
from lssl.data.sheet import draw_sheet
from lssl.data.writer import save_picture, write_atomic
from lssl.errors import LsslError
from lssl.models.parser import FILE_NAME, PARSER_CLASSES, FaceParser, save_parser
from lssl.models.parser import load_parser as _load_parser
from lssl.training import seeds
from lssl.training.parser_data import ParserFaces, augment, open_parser_faces
from lssl.training.supervised import fit

PARTS = PARSER_CLASSES[1:]
#: The colours of Fig. 4's last column: background, skin, lips, eyes.
COLOURS = ((24, 24, 28), (236, 188, 158), (206, 48, 74), (66, 128, 214))


@dataclass(frozen=True)
class ParserConfig:
    """Adam with a warm-up and a cosine decay to zero; rare classes weigh more."""

    width: int = 16
    iterations: int = 1000
    batch_size: int = 16
    learning_rate: float = 3e-3
    seed: int = 0
    log_every: int = 50


@dataclass
class ParserResult:
    """The trained parser, frozen; each part's intersection over union on people it has not seen; iterations done; whether
    Ctrl-C stopped it; (iteration, mean loss) pairs."""

    parser: FaceParser
    iou: dict[str, float]
    iterations: int
    interrupted: bool
    log: list[tuple[int, float]]


def train_parser(
    faces: ParserFaces,
    config: ParserConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
    on_log: Callable[[int, float], None] | None = None,
) -> ParserResult:
    """Trains a parser. Ctrl-C (KeyboardInterrupt) stops it early; what it has learnt by then is returned.

    Neither uses nor changes the caller's random state: the same seed gives the same parser.
    """
    config = config or ParserConfig()
    device = torch.device(device)
    generator = seeds.generator(config.seed, 0, "parser")
    with seeds.initial_weights(config.seed):
        parser = FaceParser(config.width, num_levels=_levels(faces.size))
    parser = parser.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images, labels = faces.images.to(device), faces.labels.to(device)
    weights = _class_weights(labels[faces.train.to(device)])
    optimizer = torch.optim.Adam(parser.parameters(), lr=config.learning_rate)
    batch_size = min(config.batch_size, len(faces.train))

    def loss_of_a_batch() -> Tensor:
        pick = torch.randint(len(faces.train), (batch_size,), generator=generator)
        rows = faces.train[pick].to(device)
        x, target = augment(images[rows], labels[rows], generator)
        return F.cross_entropy(parser(x.contiguous(memory_format=torch.channels_last)), target, weights)

    fitted = fit(
        "face parser",
        optimizer,
        loss_of_a_batch,
        iterations=config.iterations,
        learning_rate=config.learning_rate,
        warm_up=50,
        log_every=config.log_every,
        progress=progress,
        on_log=on_log,
    )
    parser = parser.to(memory_format=torch.contiguous_format)
    parser.requires_grad_(False).eval()
    iou = parser_iou(parser, faces, faces.test)
    return ParserResult(parser, iou, fitted.iterations, fitted.interrupted, fitted.log)


@torch.no_grad()
def parse(parser: FaceParser, images: Tensor, batch_size: int = 32) -> Tensor:
    """Each pixel's most probable label, uint8 (N, H, W) on the CPU, of uint8 pictures (N, 3, H, W)."""
    device = next(parser.parameters()).device
    parts = [parser(to_float(chunk.to(device))).argmax(1).byte().cpu() for chunk in images.split(batch_size)]
    return torch.cat(parts)


def parser_iou(parser: FaceParser, faces: ParserFaces, rows: Tensor) -> dict[str, float]:
    """Each part's intersection over union, over all pixels of these rows of `faces`; NaN for a part that never occurs."""
    found, true = parse(parser, faces.images[rows]), faces.labels[rows]
    iou = {}
    for label, part in enumerate(PARSER_CLASSES):
        if part in PARTS:
            a, b = found == label, true == label
            union = int((a | b).sum())
            iou[part] = int((a & b).sum()) / union if union else math.nan
    return iou


def parser_maps(parser: FaceParser, images: Tensor, labels: Tensor | None = None) -> Image.Image:
    """Fig. 4, one row per face: input, the maps of lips, skin and eyes, all parts in colour, and the true labels if given.

    images: uint8 (N, 3, H, W). labels: uint8 (N, H, W).
    """
    device = next(parser.parameters()).device
    with torch.no_grad():
        probability = parser(to_float(images.to(device))).softmax(1).cpu()
    columns = [images.permute(0, 2, 3, 1).numpy()]
    names = ["input", "lips", "skin", "eyes", "all parts"]
    for part in names[1:4]:
        grey = (probability[:, PARSER_CLASSES.index(part)] * 255).round().byte().numpy()
        columns.append(np.repeat(grey[..., None], 3, axis=3))
    palette = np.array(COLOURS, dtype=np.uint8)
    columns.append(palette[probability.argmax(1).numpy()])
    if labels is not None:
        columns.append(palette[labels.numpy()])
        names.append("label")
    return draw_sheet(list(zip(*columns, strict=True)), columns=names, smooth=False)


def write_parser_run(out: Path, faces: ParserFaces, config: ParserConfig, result: ParserResult) -> None:
    """Writes parser.safetensors, maps.png (unseen people), report.json and metrics.jsonl to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    report = parser_report(faces, config, result)
    save_parser(out / FILE_NAME, result.parser, **report)
    chosen = faces.test[torch.linspace(0, len(faces.test) - 1, min(6, len(faces.test))).round().long()]
    save_picture(out / "maps.png", parser_maps(result.parser, faces.images[chosen], faces.labels[chosen]))
    write_atomic(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    lines = "".join(json.dumps({"iteration": done, "loss": loss}) + "\n" for done, loss in result.log)
    write_atomic(out / "metrics.jsonl", lines.encode())


def parser_report(faces: ParserFaces, config: ParserConfig, result: ParserResult) -> dict[str, Any]:
    """What was trained, on what, and how well it does, as plain values for JSON."""
    return {
        "iou": {part: round(value, 4) if math.isfinite(value) else None for part, value in result.iou.items()},
        "iterations": result.iterations,
        "interrupted": result.interrupted,
        "labels": faces.source,
        "image_size": list(faces.size),
        "trained_on": len(faces.train),
        "tested_on": len(faces.test),
        "config": asdict(config),
    }


def train_parser_for_run(
    data: str | Path | FaceFolder,
    path: Path,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
    iterations: int = 300,
    width: int = 16,
) -> ParserResult:
    """Trains a small parser for a run's own faces, quickly: what `lssl train` does when no parser is given.

    Writes `path` and, next to it, `parser_maps.png`. If interrupted, raises KeyboardInterrupt and writes nothing.
    """
    faces = open_parser_faces(data, seed=seed)
    config = ParserConfig(width=width, iterations=iterations, batch_size=8, seed=seed)
    result = train_parser(faces, config, device=device, progress=progress)
    if result.interrupted:
        raise KeyboardInterrupt
    save_parser(path, result.parser, **parser_report(faces, config, result))
    chosen = faces.test[torch.linspace(0, len(faces.test) - 1, min(6, len(faces.test))).round().long()]
    maps = parser_maps(result.parser, faces.images[chosen], faces.labels[chosen])
    save_picture(path.with_name("parser_maps.png"), maps)
    if progress:
        reached = ", ".join(f"{part} {value:.2f}" for part, value in result.iou.items())
        print(f"Face parser, trained on {faces.source}; IoU on unseen people: {reached}", flush=True)
    return result


def load_parser(path: Path, device: torch.device | str = "cpu") -> FaceParser:
    """As `lssl.models.parser.load_parser`, but raises LsslError whatever is wrong with the file."""
    try:
        return _load_parser(path, device)
    except (LsslError, FileNotFoundError) as error:
        raise LsslError(str(error)) from None


def _levels(size: tuple[int, int]) -> int:
    """How many down-samplings the pictures' sides allow, four at most."""
    for levels in (4, 3, 2):
        if all(side % 2**levels == 0 for side in size):
            return levels
    raise LsslError(f"pictures of {size[1]}x{size[0]} pixels: the face parser needs sides divisible by 4")


def _class_weights(labels: Tensor) -> Tensor:
    """One over the fourth root of each class's share, mean 1; 0 for a class that never occurs.

    On London at 64x64 (300 iterations, width 8), the IoU of lips and eyes was 0.64 and 0.61 with these weights, 0.63 and
    0.42 with equal ones, and 0.55 and 0.52 with the square root, which makes the parts too large.
    """
    share = torch.bincount(labels.reshape(-1).long(), minlength=len(PARSER_CLASSES)).float()
    share = share / share.sum()
    weight = torch.where(share > 0, share.clamp(min=1e-6).pow(-0.25), torch.zeros_like(share))
    return weight / weight.mean()

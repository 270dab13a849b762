"""Pictures and part labels for the face parser: a folder's own masks, or masks drawn from its landmarks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lssl.data import to_float
from lssl.data.folder import MASK_LABELS, FaceFolder, check_images, read_metadata
from lssl.data.masks import landmark_mask
from lssl.data.prepare import split_subjects
from lssl.errors import LsslError


@dataclass
class ParserFaces:
    """Pictures uint8 (N, 3, H, W) and labels uint8 (N, H, W) of both splits; `source` says where the labels come from."""

    images: Tensor
    labels: Tensor
    train: Tensor  # rows, int64
    test: Tensor  # rows, int64, of subjects that are not trained on
    source: str

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[2], self.images.shape[3]


def open_parser_faces(
    data: str | Path | FaceFolder, *, masks: str = "auto", max_faces: int = 4000, seed: int = 0
) -> ParserFaces:
    """Loads a data set folder for the parser. Without a test split, a tenth of the subjects is held out.

    masks: `folder` reads the folder's masks/; `landmarks` draws masks from landmarks (lip outline, eye outlines, face
        hull); `auto` takes the folder's if it has them, else draws them.
    max_faces: if there are more pictures, this many are used, evenly spread.
    Raises LsslError for a folder that has neither, for a label out of range, and for a single subject.
    """
    folder = data if isinstance(data, FaceFolder) else read_metadata(data)
    if len(folder) > max_faces:
        rows = torch.linspace(0, len(folder) - 1, max_faces).round().long().tolist()
        folder = folder.select(rows)
    if masks == "auto":
        masks = "folder" if folder.has_masks else "landmarks"
    if masks == "folder" and not folder.has_masks:
        raise LsslError(f"{folder.root}/masks has no mask for some pictures")
    if masks == "landmarks" and folder.landmarks is None:
        raise LsslError(
            f"{folder.root} has neither masks/ nor landmarks.npy, so there are no part labels to learn from"
        )
    size = check_images(folder)
    images = torch.empty(len(folder), 3, *size, dtype=torch.uint8)
    labels = torch.empty(len(folder), *size, dtype=torch.uint8)

    def load(row: int) -> None:
        with Image.open(folder.image_path(row)) as image:
            images[row] = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        labels[row] = torch.from_numpy(_labels(folder, row, size, masks))

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(load, range(len(folder))):
            pass
    train, test = _split(folder, seed)
    source = "the folder's masks" if masks == "folder" else "masks drawn from the 68 landmarks"
    return ParserFaces(images, labels, train, test, source)


def augment(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random mirror, turn, scale, shift, light and noise: uint8 in, floats (N, 3, H, W) in [-1, 1] and int64 labels out.

    A generator's faces are not as sharp, bright and well placed as prepared photographs; the parser must read them, too.
    """
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    angle, scale = uniform(-0.26, 0.26), uniform(0.85, 1.2)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = uniform(-0.12, 0.12, 2)
    theta = torch.stack(
        [
            torch.stack([cosine * mirror, -sine, shift[:, 0]], 1),
            torch.stack([sine * mirror, cosine, shift[:, 1]], 1),
        ],
        1,
    ).to(images.device)
    grid = F.affine_grid(theta, [count, 3, *images.shape[2:]], align_corners=False)
    pixels = F.grid_sample(to_float(images), grid, padding_mode="reflection", align_corners=False)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False)
    gain, offset = uniform(0.7, 1.3, 3, 1, 1), uniform(-0.2, 0.2, 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, 1)
    softness = uniform(0, 1, 1, 1, 1).to(pixels.device)
    noise = torch.randn(pixels.shape, generator=generator).to(pixels.device) * uniform(0, 0.06, 1, 1, 1).to(
        pixels.device
    )
    pixels = pixels + softness * (blurred - pixels)
    pixels = pixels * gain.to(pixels.device) + offset.to(pixels.device) + noise
    return pixels.clamp(-1, 1), moved[:, 0].long()


def _labels(folder: FaceFolder, row: int, size: tuple[int, int], masks: str) -> np.ndarray:
    if masks == "landmarks":
        assert folder.landmarks is not None
        return landmark_mask(folder.landmarks[row], size)
    path = folder.mask_path(row)
    try:
        with Image.open(path) as image:
            labels = np.array(image)
    except Exception as error:
        raise LsslError(f"{path}: not a readable mask ({error})") from None
    if labels.shape != size:
        raise LsslError(f"{path} has shape {labels.shape}, its picture {size}")
    if labels.max() >= len(MASK_LABELS):
        names = ", ".join(f"{k} {name}" for k, name in enumerate(MASK_LABELS))
        raise LsslError(f"{path} has label {labels.max()}, but the labels are {names}")
    return labels


def _split(folder: FaceFolder, seed: int) -> tuple[Tensor, Tensor]:
    splits = folder.splits
    if len(set(splits)) < 2:
        part = split_subjects(folder.subjects, 0.1, seed)
        splits = [part[subject] for subject in folder.subjects]
    rows = {name: torch.tensor([k for k, s in enumerate(splits) if s == name]) for name in ("train", "test")}
    if not len(rows["train"]) or not len(rows["test"]):
        raise LsslError(
            f"{folder.root}: the parser is tested on people it has not seen, so at least two subjects are needed"
        )
    return rows["train"], rows["test"]

"""Batches of faces from a data set folder: pixels, attributes, landmarks, masks, side images drawn on the fly."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lssl.data.folder import LANDMARKS, MASK_LABELS, FaceFolder, check_images, read_metadata
from lssl.data.landmark_check import check_folder_landmarks
from lssl.data.landmarks import flip_landmarks
from lssl.data.schema import AttributeSchema
from lssl.errors import LsslError
from lssl.ops import landmark_heatmap
from lssl.progress import steps

SIDES = ("heatmap", "image", "none")
_SHARE_OF_MEMORY = 0.4


@dataclass
class FaceBatch:
    """N faces on one device. `row` is an index into the data set, `subject` one into `FaceDataset.subjects`."""

    image: Tensor  # (N, 3, H, W) float32 in [-1, 1]
    y: Tensor  # (N, attributes) float32
    side: Tensor | None  # (N, side channels, H, W) float32 in [-1, 1]
    landmarks: Tensor | None  # (N, 68, 2) float32 (x, y) pixels
    mask: Tensor | None  # (N, H, W) int64 labels, see folder.MASK_LABELS
    subject: Tensor  # (N,) int64
    row: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.image)


def to_float(images: Tensor) -> Tensor:
    """uint8 [0, 255] to float32 [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Float [-1, 1] to uint8 [0, 255], rounded, clipped."""
    return images.detach().float().add(1).mul(127.5).round().clamp_(0, 255).to(torch.uint8)


def heatmap_side(landmarks: Tensor, size: tuple[int, int], *, sigma: float | None = None, channels: int = 1) -> Tensor:
    """The side image of paper 5.3: 2D Gaussians at the landmarks (N, 68, 2), drawn by the native op on their device.

    Returns (N, channels, H, W) in [-1, 1], -1 far from all landmarks, the same map in each channel (side images have
    three channels in the authors' code). sigma: in pixels; if not given, 2 at 128x128 and in proportion elsewhere.
    """
    height, width = size
    sigma = max(size) / 64 if sigma is None else sigma
    heatmap = landmark_heatmap(landmarks, height, width, sigma, reduction="max")
    return heatmap.mul(2).sub(1).expand(-1, channels, -1, -1)


class FaceDataset(Dataset[dict[str, Any]]):
    """The faces of a data set folder, or of one split of it.

    Args:
        folder: a path, or what `read_metadata` returned.
        schema: the attributes and y's layout; the folder's own if not given. Give the training schema for test data.
        split: `train`, `test`, or None for both.
        device: the device of the batches.
        in_memory: hold all pixels as uint8 on the device; None does so when they take less than 40% of what is free.
        side: what a batch's side image is: `heatmap` (of the landmarks), `image` (the folder's side/), `none`.
        side_channels, sigma: see `heatmap_side`; a side picture is grey with one channel, in colour with three.
        masks: whether batches carry the folder's part masks.

    Raises LsslError, before any long work, for whatever is wrong with the folder.
    """

    def __init__(
        self,
        folder: FaceFolder | str | Path,
        schema: AttributeSchema | None = None,
        *,
        split: str | None = None,
        device: torch.device | str = "cpu",
        in_memory: bool | None = None,
        side: str = "heatmap",
        side_channels: int = 1,
        sigma: float | None = None,
        masks: bool = False,
    ) -> None:
        if side not in SIDES:
            raise ValueError(f"side is '{side}', expected one of {', '.join(SIDES)}")
        folder = folder if isinstance(folder, FaceFolder) else read_metadata(folder)
        self.schema = folder.schema() if schema is None else schema
        self.folder = folder if split is None else folder.split(split)
        self.device = torch.device(device)
        self.side, self.side_channels, self.sigma = side, side_channels, sigma
        self.masks = masks
        self._check()
        self.size = check_images(self.folder)
        self.y = self.schema.encode_columns(self.folder.columns)
        self.subjects = sorted(set(self.folder.subjects))
        number = {subject: k for k, subject in enumerate(self.subjects)}
        self.subject_index = torch.tensor([number[subject] for subject in self.folder.subjects])
        points = self.folder.landmarks
        if points is not None:
            check_folder_landmarks(self.folder.root / LANDMARKS, points, self.size)
        self.landmarks = None if points is None else torch.from_numpy(points)
        known = {"y": self.y, "subject": self.subject_index}
        if self.landmarks is not None:
            known["landmarks"], known["mirrored"] = self.landmarks, flip_landmarks(self.landmarks, self.size[1])
        self._known = {name: values.to(self.device) for name, values in known.items()}
        self.in_memory = self._fits() if in_memory is None else in_memory
        self._memory = self._load_all() if self.in_memory else None

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One face, on the CPU: `image` uint8 (3, H, W), `y`, `row`, and if requested `mask`, `side_image` uint8."""
        return {**self.pixels(row), "y": self.y[row], "row": row}

    @property
    def placement(self) -> str:
        """One sentence on where the pixels are, for the log."""
        size = f"{self._byte_count() / 2**20:.0f} MiB of pixels"
        if self.in_memory:
            return f"{len(self)} faces, {size}, held as uint8 on {self.device}"
        return f"{len(self)} faces, {size}, read from disk as they are needed"

    def batch(
        self,
        rows: Tensor | list[int],
        *,
        flip: Tensor | None = None,
        pixels: dict[str, Tensor] | None = None,
        draw_side: bool = True,
    ) -> FaceBatch:
        """The faces of the given rows, in their order; those where `flip` (N,) is true are mirrored left to right.

        pixels: what `self.pixels` gave for these rows, stacked, if they have been read already.
        draw_side: False leaves the heatmap out, for a caller that draws it from moved landmarks.
        If everything is on the device already, nothing here waits for it (a CUDA graph can capture it).
        """
        rows = torch.as_tensor(rows, dtype=torch.long).to(self.device)
        if pixels is not None:
            pixels = {name: values.to(self.device) for name, values in pixels.items()}
        elif self._memory is not None:
            pixels = {name: values[rows] for name, values in self._memory.items()}
        else:
            loaded = [self.pixels(row) for row in rows.tolist()]
            pixels = {name: torch.stack([one[name] for one in loaded]).to(self.device) for name in loaded[0]}
        known = {name: values[rows] for name, values in self._known.items()}
        if flip is not None:
            mirrored = flip.to(self.device)
            for name, values in pixels.items():
                pixels[name] = torch.where(mirrored.reshape(-1, *[1] * (values.dim() - 1)), values.flip(-1), values)
            if "landmarks" in known:
                known["landmarks"] = torch.where(mirrored[:, None, None], known["mirrored"], known["landmarks"])
        landmarks = known.get("landmarks")
        side = to_float(pixels["side_image"]) if self.side == "image" else None
        if self.side == "heatmap" and draw_side:
            assert landmarks is not None
            side = self.heatmap(landmarks)
        mask = pixels["mask"].long() if "mask" in pixels else None
        return FaceBatch(to_float(pixels["image"]), known["y"], side, landmarks, mask, known["subject"], rows)

    def heatmap(self, landmarks: Tensor) -> Tensor:
        """The side image (N, side channels, H, W) of landmarks (N, 68, 2) in pixels."""
        return heatmap_side(landmarks, self.size, sigma=self.sigma, channels=self.side_channels)

    def _check(self) -> None:
        root = self.folder.root
        if len(self.folder) == 0:
            raise LsslError(f"{root}: no faces")
        if self.side == "heatmap" and self.folder.landmarks is None:
            raise LsslError(
                f"{root} has no landmarks.npy, which the heatmap side image needs; "
                "prepare the folder with `lssl prepare`, or train without the side image"
            )
        if self.side == "image":
            for row in range(len(self.folder)):
                if not self.folder.side_path(row).is_file():
                    raise LsslError(f"{self.folder.side_path(row)}: the side picture is missing")
        if self.masks and not self.folder.has_masks:
            raise LsslError(f"{root}/masks has no mask for some pictures; train without masks, or make them")

    def pixels(self, row: int) -> dict[str, Tensor]:
        """A face's pictures, uint8, on the CPU: `image` (3, H, W); if requested `mask` (H, W), `side_image` (C, H, W).

        Raises LsslError for one that is unreadable, of another size, or has unknown labels.
        """
        pixels = {"image": _read(self.folder.image_path(row), "RGB", self.size)}
        if self.masks:
            mask = _read(self.folder.mask_path(row), "L", self.size)[0]
            if int(mask.max()) >= len(MASK_LABELS):
                raise LsslError(
                    f"{self.folder.mask_path(row)}: has label {int(mask.max())}, but the labels are "
                    + ", ".join(f"{k} {name}" for k, name in enumerate(MASK_LABELS))
                )
            pixels["mask"] = mask
        if self.side == "image":
            mode = "L" if self.side_channels == 1 else "RGB"
            pixels["side_image"] = _read(self.folder.side_path(row), mode, self.size)
        return pixels

    def _byte_count(self) -> int:
        planes = 3 + self.masks + (self.side_channels if self.side == "image" else 0)
        return len(self) * self.size[0] * self.size[1] * planes

    def _fits(self) -> bool:
        return self._byte_count() < _SHARE_OF_MEMORY * _free_memory(self.device)

    def _load_all(self) -> dict[str, Tensor]:
        first = self.pixels(0)
        memory = {name: torch.empty(len(self), *one.shape, dtype=torch.uint8) for name, one in first.items()}

        def load(row: int) -> None:
            for name, values in self.pixels(row).items():
                memory[name][row] = values

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for _ in steps(pool.map(load, range(len(self))), f"reading {self.folder.root}", len(self)):
                pass
        return {name: values.to(self.device) for name, values in memory.items()}


def _read(path: Path, mode: str, size: tuple[int, int]) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels: NDArray[np.uint8] = np.array(image.convert(mode) if image.mode != mode else image)
    except Exception as error:
        raise LsslError(f"{path}: not a readable picture ({error}); prepare the folder again") from None
    if pixels.shape[:2] != size:
        raise LsslError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]}, expected {size[1]}x{size[0]} as in images/")
    tensor = torch.from_numpy(pixels)
    return tensor[None] if tensor.dim() == 2 else tensor.permute(2, 0, 1).contiguous()


def _free_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 4 * 2.0**30

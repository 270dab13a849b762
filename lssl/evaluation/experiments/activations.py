"""What hidden units of the generator's encoder look at: the face regions that activate each most (paper 5.2, Fig. 10)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.data import FaceDataset, FaceFolder
from lssl.data.landmarks import (
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    NOSE_BASE,
    NOSE_BRIDGE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    eye_centres,
)
from lssl.data.masks import landmark_mask
from lssl.errors import LsslError
from lssl.evaluation.measures.image_sets import one_each
from lssl.models import Generator
from lssl.models.blocks import ConvNorm
from lssl.models.export import TrainedGenerator

#: Parts of a face by their landmarks; the other regions are forehead, cheeks and chin, and surroundings.
PARTS = {
    "mouth": (*OUTER_LIPS, *INNER_LIPS),
    "eyes": (*LEFT_EYE, *RIGHT_EYE),
    "brows": (*LEFT_BROW, *RIGHT_BROW),
    "nose": (*NOSE_BRIDGE, *NOSE_BASE),
}
REGIONS = (*PARTS, "forehead", "cheeks and chin", "surroundings")
_NEAR = 0.22  # how close to a part's landmarks belongs to the part, in distances between the eyes' centres
_BATCH = 32


@dataclass(frozen=True)
class Layer:
    """A layer of the encoder. number: counted from 1, of `layers`. size: (height, width) of its maps. receptive_field: in
    pixels."""

    number: int
    layers: int
    kind: str
    units: int
    size: tuple[int, int]
    receptive_field: int

    def __str__(self) -> str:
        return (
            f"Layer {self.number} of {self.layers} ({self.kind}): {self.units} units, maps of "
            f"{self.size[1]}x{self.size[0]}, each element sees {self.receptive_field}x{self.receptive_field} pixels"
        )


@dataclass(frozen=True)
class Peaks:
    """Where each of U units is most active in each of N pictures: value (N, U); place (N, U, 2), x and y in pixels; and
    contrast (N, U), the peak's height above the map's mean, in standard deviations of the map."""

    value: NDArray[np.float32]
    place: NDArray[np.float32]
    contrast: NDArray[np.float32]


@dataclass(frozen=True)
class Unit:
    """One unit: the pictures (rows) that activate it most, of different people, and where their peaks lie.

    region: the most frequent region of the peaks; share: of these pictures with it, 0 to 1. focus: their mean contrast.
    """

    number: int
    rows: list[int]
    region: str
    share: float
    focus: float


def open_faces(folder: FaceFolder, model: TrainedGenerator, device: torch.device | str = "cpu") -> FaceDataset:
    """The folder's faces with the side images that the model's encoder takes.

    Raises LsslError if the folder does not fit the model.
    """
    channels = model.network.side_channels
    side = "none"
    if channels:
        side = "image" if model.task == "pose-normalization" else "heatmap"
    folder = replace(folder, attributes=folder.varying_attributes() or folder.attributes)
    faces = FaceDataset(folder, device=device, side=side, side_channels=channels or 1, sigma=model.heatmap_sigma)
    if faces.size != (model.image_size, model.image_size):
        raise LsslError(
            f"{folder.root} has {faces.size[1]}x{faces.size[0]} pictures, but the model was trained at "
            f"{model.image_size}x{model.image_size}; prepare the folder with --size {model.image_size}"
        )
    return faces


def encoder_layer(model: TrainedGenerator, number: int) -> Layer:
    """The encoder's layer `number`, counted from 1: convolutions first, then residual blocks.

    Raises LsslError if the model has no such layer.
    """
    network = _generator(model)
    if not 1 <= number <= len(network.encoder):
        raise LsslError(f"layer {number}: the model's encoder has layers 1 to {len(network.encoder)}")
    field, stride, units, kind = 1, 1, 0, ""
    for module in list(network.encoder)[:number]:
        convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
        for convolution in convolutions:
            field += (convolution.kernel_size[0] - 1) * stride
            stride *= convolution.stride[0]
            units = convolution.out_channels
        step = f", stride {convolutions[0].stride[0]}" if convolutions[0].stride[0] > 1 else ""
        kernel = convolutions[0].kernel_size[0]
        kind = f"{kernel}x{kernel} convolution{step}" if isinstance(module, ConvNorm) else "residual block"
    side = model.image_size // stride
    return Layer(number, len(network.encoder), kind, units, (side, side), field)


def find_peaks(model: TrainedGenerator, faces: FaceDataset, layer: Layer, *, progress: bool = False) -> Peaks:
    """The peak of every unit of the layer in every face."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    width = layer.size[1]
    scale = faces.size[1] / width
    for maps in _maps(model, faces, layer, range(len(faces)), "activations" if progress else ""):
        flat = maps.flatten(2)
        value, index = flat.max(2)
        place = torch.stack([index % width, index // width], 2)
        spread = flat.std(2).clamp(min=1e-6)
        parts.append((value.cpu(), ((place + 0.5) * scale - 0.5).cpu(), ((value - flat.mean(2)) / spread).cpu()))
    return Peaks(*(torch.cat(values).float().numpy() for values in zip(*parts, strict=True)))


def region_of(points: NDArray[np.float32], landmarks: NDArray[np.float32], size: tuple[int, int]) -> list[str]:
    """The region of `REGIONS` in which each of the points (K, 2) of one face with landmarks (68, 2) lies."""
    left, right = eye_centres(landmarks)
    unit = max(float(np.hypot(*(right - left))), 1.0)
    skin = landmark_mask(landmarks, size) > 0
    brow_line = float(landmarks[[*LEFT_BROW, *RIGHT_BROW], 1].mean())
    distance = {
        name: np.linalg.norm(points[:, None] - landmarks[list(part)], axis=2).min(1) for name, part in PARTS.items()
    }
    regions = []
    for k, (x, y) in enumerate(points):
        nearest = min(distance, key=lambda name: distance[name][k])
        row, column = (int(np.clip(round(float(v)), 0, side - 1)) for v, side in zip((y, x), size, strict=True))
        if distance[nearest][k] < _NEAR * unit:
            regions.append(nearest)
        elif not skin[row, column]:
            regions.append("surroundings")
        else:
            regions.append("forehead" if y < brow_line else "cheeks and chin")
    return regions


def summarise_units(peaks: Peaks, folder: FaceFolder, size: tuple[int, int], pictures: int) -> list[Unit]:
    """Every unit that responds at all, with the `pictures` faces that activate it most, of different people if known.

    Regions are "" if the folder has no landmarks.
    """
    people = folder.subjects if all(folder.subjects) else folder.file_names
    orders = np.argsort(-peaks.value, axis=0, kind="stable").T
    chosen = [one_each(order.tolist(), people, pictures) for order in orders]
    named: dict[tuple[int, int], str] = {}
    if folder.landmarks is not None:
        units_of: dict[int, list[int]] = {}
        for unit, rows in enumerate(chosen):
            for row in rows:
                units_of.setdefault(row, []).append(unit)
        for row, units in units_of.items():
            regions = region_of(peaks.place[row, units], folder.landmarks[row], size)
            named.update({(row, unit): region for unit, region in zip(units, regions, strict=True)})
    summaries = []
    for unit, rows in enumerate(chosen):
        if float(peaks.value[:, unit].std()) < 1e-6:
            continue
        region, count = Counter(named.get((row, unit), "") for row in rows).most_common(1)[0]
        focus = float(peaks.contrast[rows, unit].mean())
        summaries.append(Unit(unit, rows, region, count / len(rows), focus))
    return summaries


def choose_units(units: Sequence[Unit], count: int) -> list[Unit]:
    """`count` units to show: the regions take turns, each with its next unit in order of consistency and sharpness."""
    queues = {region: [u for u in units if u.region == region] for region in (*REGIONS, "")}
    for queue in queues.values():
        queue.sort(key=lambda unit: (-round(unit.share, 3) * unit.focus, unit.number))
    chosen: list[Unit] = []
    while len(chosen) < min(count, len(units)):
        for queue in queues.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    order = {region: k for k, region in enumerate((*REGIONS, ""))}
    return sorted(chosen, key=lambda unit: order[unit.region])


def unit_thresholds(
    model: TrainedGenerator, faces: FaceDataset, layer: Layer, units: Sequence[int], quantile: float
) -> NDArray[np.float32]:
    """The activation (U,) above which each of these units counts as active: its quantile over all places of all faces."""
    index = list(units)
    values = [
        maps[:, index].permute(1, 0, 2, 3).flatten(1).cpu() for maps in _maps(model, faces, layer, range(len(faces)))
    ]
    return np.quantile(torch.cat(values, 1).float().numpy(), quantile, axis=1).astype(np.float32)


def unit_maps(model: TrainedGenerator, faces: FaceDataset, layer: Layer, unit: Unit, side: int) -> NDArray[np.float32]:
    """The unit's maps in its most activating faces, (K, side, side), smoothly enlarged."""
    maps = torch.cat([part[:, unit.number : unit.number + 1] for part in _maps(model, faces, layer, unit.rows)])
    large = F.interpolate(maps.float(), (side, side), mode="bicubic", align_corners=False)
    return large[:, 0].cpu().numpy()


@torch.inference_mode()
def _maps(
    model: TrainedGenerator, faces: FaceDataset, layer: Layer, rows: Sequence[int], progress: str = ""
) -> Iterator[Tensor]:
    """The layer's activations (n, U, h, w) for the rows, batch by batch."""
    from lssl.progress import tqdm

    encoder = _generator(model).encoder[: layer.number]
    starts = range(0, len(rows), _BATCH)
    for start in tqdm(starts, desc=progress, unit="batch", disable=not progress, leave=False):
        batch = faces.batch(list(rows[start : start + _BATCH]))
        yield encoder(batch.image if batch.side is None else torch.cat([batch.image, batch.side], 1))


def _generator(model: TrainedGenerator) -> Generator:
    if not isinstance(model.network, Generator):
        raise LsslError(
            f"a {type(model.network).__name__} has no encoder; give a generator trained with --preset paper or pose"
        )
    return model.network

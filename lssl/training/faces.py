"""The faces that a training step sees: chosen on the CPU from (seed, step), gathered and moved on the device.

The two halves meet in a plan, a dictionary of small CPU tensors of fixed shapes. It holds all random numbers of a step, so
that what happens on the device is a pure function of the plan and may become a CUDA graph.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lssl.data import FaceDataset, FaceFolder
from lssl.errors import LsslError
from lssl.training import seeds
from lssl.training.augmentation import draw_moves, light_images, move_images, move_landmarks
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.mirroring import may_mirror

Plan = dict[str, Tensor]


@dataclass
class Faces:
    """N faces of a step, moved at random."""

    image: Tensor  # x (N, 3, H, W) in [-1, 1]
    side: Tensor | None  # s (N, S, H, W) in [-1, 1]; None without side images
    y: Tensor  # (N, A)
    landmarks: Tensor | None = None  # (N, 68, 2) in pixels, moved with the faces


class FaceStream:
    """The order in which training sees a data set, mirrored and moved at random; its whole state is (seed, step).

    The global batch of a step depends only on the seed and the step: it is the same for any number of processes, after an
    interruption, and whether faces are in memory or on disk. Each face comes once per epoch; a batch that the last faces
    of an epoch do not fill is completed with the first of the next.

    Args:
        dataset: the faces, on the device.
        batch_size: of all processes together; must be divisible by their number.
        flip: mirror each face with probability 1/2.
        jitter: strength of the moves (`lssl.training.augmentation`); 0: none.
        workers: threads that read pictures, if the data set is not in memory.
        name: prefix of the plan's entries, for steps that see several streams.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        batch_size: int,
        *,
        seed: int,
        flip: bool = True,
        jitter: float = 0.0,
        workers: int = 2,
        processes: Processes | None = None,
        name: str = "face",
    ) -> None:
        self.processes = processes or Processes()
        if batch_size < 1 or batch_size % self.processes.world_size:
            raise ValueError(f"batch size {batch_size} is not divisible by {self.processes.world_size} processes")
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.flip, self.jitter, self.name = flip, jitter, name
        self._epoch: tuple[tuple[int, str], Tensor] | None = None
        self._readers = None if dataset.in_memory else ThreadPoolExecutor(max(1, workers))

    def chance(self, step: int, purpose: str, *, warm_up: bool = False) -> torch.Generator:
        """The random generator of this stream for one purpose at one step."""
        return seeds.generator(self.seed, step, f"{self._phase(warm_up)} {purpose}")

    def rows(self, step: int, *, warm_up: bool = False) -> tuple[Tensor, Tensor]:
        """The rows of the global batch at a step, int64 (B,), and which of them are mirrored, bool (B,)."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        count, phase = len(self.dataset), self._phase(warm_up)
        rows = torch.stack([self._order(position // count, phase)[position % count] for position in positions])
        flip = torch.zeros(self.batch_size, dtype=torch.bool)
        if self.flip:
            flip = torch.rand(self.batch_size, generator=self.chance(step, "flip", warm_up=warm_up)) < 0.5
        return rows, flip

    def draw(self, step: int, *, warm_up: bool = False, rows: Tensor | None = None, name: str | None = None) -> Plan:
        """This process's share of a step: rows, mirrors, moves, and the pixels if they are not in memory.

        rows: rows (B,) to use instead of the epoch's next ones; they are mirrored by the same draw.
        name: prefix of the entries, instead of the stream's name.
        """
        following, flip = self.rows(step, warm_up=warm_up)
        rows = following if rows is None else rows
        plan = {"rows": rows, "flip": flip}
        if self.jitter:
            chance = self.chance(step, "moves", warm_up=warm_up)
            plan["affine"], plan["light"] = draw_moves(self.batch_size, self.jitter, chance)
        plan = {name: self.processes.share(values) for name, values in plan.items()}
        if self._readers is not None:
            pixels = list(self._readers.map(self.dataset.pixels, plan["rows"].tolist()))
            plan.update({f"pixels.{name}": torch.stack([one[name] for one in pixels]) for name in pixels[0]})
        prefix = name or self.name
        return {f"{prefix}.{entry}": values for entry, values in plan.items()}

    def batch(self, plan: Plan, *, also: str | None = None, draw_side: bool = True) -> Faces:
        """The faces of a plan that is on the device. The side image is drawn once, after the moves.

        also: the name of further faces of the plan, which follow in the same batch (`draw`).
        draw_side: False draws no heatmaps, for a caller that will move the faces further.
        """

        def entries(name: str) -> Plan:
            return {k.removeprefix(f"{name}."): v for k, v in plan.items() if k.startswith(f"{name}.")}

        own = entries(self.name)
        if also is not None:
            further = entries(also)
            own = {k: torch.cat([v, further[k]]) for k, v in own.items()}
        pixels = {k.removeprefix("pixels."): v for k, v in own.items() if k.startswith("pixels.")}
        faces = self.dataset.batch(
            own["rows"], flip=own["flip"], pixels=pixels or None, draw_side=draw_side and "affine" not in own
        )
        if "affine" not in own:
            return Faces(faces.image, faces.side, faces.y, faces.landmarks)
        affine, light = own["affine"], own["light"]
        image, side = light_images(move_images(faces.image, affine), light), faces.side
        landmarks = None if faces.landmarks is None else move_landmarks(faces.landmarks, affine, self.dataset.size)
        if side is not None:
            side = light_images(move_images(side, affine), light[:, : 1 + side.shape[1]])
        elif self.dataset.side == "heatmap" and landmarks is not None and draw_side:
            side = self.dataset.heatmap(landmarks)
        return Faces(image, side, faces.y, landmarks)

    def _phase(self, warm_up: bool) -> str:
        return f"{'warm-up' if warm_up else 'training'} {self.name}"

    def _order(self, epoch: int, phase: str) -> Tensor:
        key = (epoch, phase)
        if self._epoch is None or self._epoch[0] != key:
            chance = seeds.generator(self.seed, epoch, f"{phase} order")
            self._epoch = (key, torch.randperm(len(self.dataset), generator=chance))
        return self._epoch[1]


def open_stream(
    config: TrainConfig, dataset: FaceDataset, processes: Processes, name: str = "face", *, moved: bool = True
) -> FaceStream:
    """The stream of a run's faces, from its settings. moved: False for a method that moves them itself."""
    return FaceStream(
        dataset,
        config.schedule.batch_size,
        seed=config.seed,
        flip=may_mirror(config, dataset),
        jitter=config.data.jitter if moved else 0.0,
        workers=config.data.workers,
        processes=processes,
        name=name,
    )


def check_square(dataset: FaceDataset, factor: int, settings: str) -> None:
    """Raises LsslError unless the pictures are squares with a side divisible by `factor`.

    settings: which settings would change the factor, for the message.
    """
    height, width = dataset.size
    if height != width or height % factor:
        raise LsslError(
            f"{dataset.folder.root} has pictures of {width}x{height}, but the networks need squares with a side divisible "
            f"by {factor}: prepare the data with another --size, or set {settings}"
        )


def about(dataset: FaceDataset, iteration: int) -> dict[str, Any]:
    """What an exported network records of its training."""
    return {
        "data": dataset.folder.root.name,
        "subjects": dataset.subjects,
        "alignment": dataset.folder.info.get("alignment"),
        "iterations": iteration,
    }


def with_varying_attributes(folder: FaceFolder, config: TrainConfig) -> FaceFolder:
    """The folder reduced to attributes with several values, unless the run names its attributes."""
    if config.data.attributes:
        return folder
    return replace(folder, attributes=folder.varying_attributes() or folder.attributes)

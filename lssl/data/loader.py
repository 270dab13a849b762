"""The order in which training sees the faces: shuffled each epoch, shared out over processes, resumable at any step."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lssl.data.dataset import FaceBatch, FaceDataset


class FaceLoader:
    """An endless iterator of training batches whose whole state is (seed, step).

    The global batch of a step depends on the seed and the step alone: `world_size` processes share it out, and any
    number of workers, an interruption or a move from disk to memory leave it as it is. An epoch's last faces, fewer
    than a batch, are joined by the first of the next epoch.

    Args:
        dataset: the faces.
        batch_size: of all processes together; must divide by `world_size`.
        flip: mirror each face with probability 1/2.
        workers: processes that read pictures ahead, where the dataset is not in memory.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        batch_size: int,
        *,
        seed: int = 0,
        flip: bool = True,
        workers: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"batch size {batch_size} does not divide by {world_size} processes")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed, self.flip, self.workers = seed, flip, workers
        self.rank, self.world_size = rank, world_size
        self.step = 0
        self._epoch: tuple[int, Tensor] | None = None
        self._ahead: Iterator[dict[str, Tensor]] | None = None

    @property
    def steps_per_epoch(self) -> float:
        return len(self.dataset) / self.batch_size

    def __iter__(self) -> "FaceLoader":
        return self

    def __next__(self) -> FaceBatch:
        rows, flip = self.plan(self.step)
        if self.dataset.in_memory:
            batch = self.dataset.batch(rows, flip=flip)
        else:
            if self._ahead is None:
                self._ahead = self._read_ahead()
            batch = self.dataset.assemble(rows, next(self._ahead), flip=flip)
        self.step += 1
        return batch

    def plan(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's rows at a step, and which of them are mirrored (None: none)."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        count = len(self.dataset)
        rows = torch.stack([self._order(position // count)[position % count] for position in positions])
        flip = None
        if self.flip:
            flip = torch.rand(self.batch_size, generator=self._generator(1, step)) < 0.5
            flip = self._share(flip)
        return self._share(rows), flip

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "seed": self.seed, "batch_size": self.batch_size, "faces": len(self.dataset)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after `state["step"]` steps. Raises ValueError where the data or the batch size differ."""
        for name, now in (("batch_size", self.batch_size), ("faces", len(self.dataset))):
            if state[name] != now:
                raise ValueError(f"the checkpoint was made with {name} {state[name]}, but it is {now} now")
        self.step, self.seed = int(state["step"]), int(state["seed"])
        self._epoch = self._ahead = None

    def _share(self, values: Tensor) -> Tensor:
        each = self.batch_size // self.world_size
        return values[self.rank * each : (self.rank + 1) * each]

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            order = torch.randperm(len(self.dataset), generator=self._generator(0, epoch))
            self._epoch = (epoch, order)
        return self._epoch[1]

    def _generator(self, purpose: int, number: int) -> torch.Generator:
        mixed = (self.seed * 1_000_003 + number) * 2 + purpose
        return torch.Generator().manual_seed(mixed % 2**63)

    def _read_ahead(self) -> Iterator[dict[str, Tensor]]:
        plan = _Plan(self, self.step)
        loader: DataLoader[dict[str, Tensor]] = DataLoader(
            _Pictures(self.dataset),
            batch_sampler=plan,
            num_workers=self.workers,
            pin_memory=self.dataset.device.type == "cuda",
        )
        return iter(loader)


class _Plan:
    """A batch sampler without an end: the rows of each step from `start` on."""

    def __init__(self, loader: FaceLoader, start: int) -> None:
        self.loader, self.start = loader, start

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            yield self.loader.plan(step)[0].tolist()
            step += 1


class _Pictures(Dataset[dict[str, Tensor]]):
    """Pixels alone, for worker processes."""

    def __init__(self, dataset: FaceDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {name: value for name, value in self.dataset[row].items() if name not in ("y", "row")}

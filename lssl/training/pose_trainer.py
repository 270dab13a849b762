"""Training of pose normalization (paper 3.2, Fig. 3b): x a simulated frontal face, s the photograph it came from.

The networks and losses are those of attribute synthesis, but that the critic judges a single image, against real faces
that need not belong to the simulated ones.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from lssl.data import AttributeSchema, FaceBatch, FaceDataset, FaceLoader, read_metadata, to_uint8
from lssl.data.folder import FaceFolder, FolderError
from lssl.data.masks import landmark_mask
from lssl.models import Generator
from lssl.training.augmentation import light_images, move_images
from lssl.training.checkpoint import CheckpointError
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.samples import labelled_grid, translate_all
from lssl.training.steps import StepBatch
from lssl.training.trainer import Trainer

KEPT = "normalized"
_FRONTAL = 10.0  # degrees: turned further, a photograph is no target for a frontal face


class PoseTrainer(Trainer):
    """Trains a pose normalizer; as `Trainer`, with the real faces that the critic sees.

    real_set: pictures of the training's size and schema, without side images. real_labels: whether their attributes
    are known; else the critic learns attributes from the simulated faces.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: FaceDataset,
        test_set: FaceDataset,
        folder: str | Path,
        *,
        real_set: FaceDataset,
        real_labels: bool,
        **options: Any,
    ) -> None:
        super().__init__(config, train_set, test_set, folder, **options)
        self.real_labels = real_labels
        self.real_subjects = real_set.subjects
        self.targets = (
            FrontalTargets(train_set, min(config.pose.near_frontal, _FRONTAL)) if config.losses.frontal else None
        )
        self.real_loader = FaceLoader(
            real_set,
            self.config.schedule.batch_size,
            seed=self.config.seed + 1,
            flip=self.loader.flip,
            workers=self.config.data.workers,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
        )

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "real_loader": self.real_loader.state_dict()}

    def _load_state(self, state: dict[str, Any], path: Path) -> None:
        super()._load_state(state, path)
        if "real_loader" not in state:
            raise CheckpointError(f"{path} is no checkpoint of pose normalization")
        try:
            self.real_loader.load_state_dict(state["real_loader"])
        except ValueError as error:
            raise CheckpointError(f"{path}: {error} (the critic's real faces)") from None

    def _about(self) -> dict[str, Any]:
        settings = self.train_set.folder.info.get("settings", {})
        rendering = {name: settings[name] for name in ("background", "model") if name in settings}
        subjects = sorted({*self.train_set.subjects, *self.real_subjects})
        pose = self.config.pose
        about = {"subjects": subjects, "method": pose.method, "keep": pose.keep, "rendering": rendering}
        return {**super()._about(), **about}

    def _next_batch(self) -> StepBatch:
        """The batch, with real faces, and with some targets that say: as in the photograph."""
        step, count = self.loader.step, self.loader.batch_size
        batch = super()._next_batch()
        chance = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 4 + 1)
        drawn = torch.rand(count, len(self.schema.groups), generator=chance) < self.config.pose.keep
        keep = spread_groups(self.processes.share(drawn), self.schema)
        y = torch.where(keep, batch.y_source, batch.y)
        given = torch.where(keep, kept_attributes(self.schema).to(y), batch.y)
        real = next(self.real_loader)
        faces, _ = self._move(real, self._draw_moves(chance))
        batch = replace(batch, y=y, given=given, real=faces, y_real=real.y if self.real_labels else None)
        if self.targets is None:
            return batch
        rows, flip = self.loader.plan(step)
        target, weight = self.targets.of(rows, y, flip, chance)
        if batch.moves is not None:
            affine, light = batch.moves
            target, weight = light_images(move_images(target, affine), light), move_images(weight, affine)
        return replace(batch, target=target, target_weight=weight)

    def _draw_samples(self, generator: Generator, samples: FaceBatch) -> Image.Image:
        """A row a face: photograph, simulated, normalized, then each target, where other targets are learnt."""
        kept = kept_attributes(self.schema).to(samples.y).expand_as(samples.y)
        columns = [("simulated", samples.image), (KEPT, generator(samples.image, samples.side, kept)[0])]
        if samples.side is not None:
            columns.insert(0, ("photograph", samples.side.expand(-1, 3, -1, -1)))
        if self.config.pose.keep < 1 and self.config.pose.method == "lssl":
            columns += translate_all(generator, samples, self.schema)
        return labelled_grid([to_uint8(images) for _, images in columns], [name for name, _ in columns])


class FrontalTargets:
    """Where the data has it: each training subject's own near-frontal photograph of given attributes.

    Raises ConfigError where there is none. The photographs lie as the simulated faces do, so that a face can be
    compared with them pixel by pixel inside the face region, which is that of the mean landmarks.
    """

    def __init__(self, train_set: FaceDataset, limit: float) -> None:
        folder = near_frontal_photographs(train_set.folder, limit, 0)
        if not len(folder) or train_set.landmarks is None:
            raise ConfigError(
                f"losses.frontal: {train_set.folder.root} has no photograph within {limit:g} degrees of yaw; set it to 0"
            )
        self.photographs = FaceDataset(folder, train_set.schema, device=train_set.device, side="none")
        self.subjects = train_set.folder.subjects
        self.weight = _face_weight(train_set.landmarks.mean(0).numpy(), train_set.size).to(train_set.device)
        self.rows: dict[tuple[str, tuple[float, ...]], list[int]] = {}
        for row, subject in enumerate(folder.subjects):
            self.rows.setdefault((subject, tuple(self.photographs.y[row].tolist())), []).append(row)

    def of(self, rows: Tensor, y: Tensor, flip: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Photographs (N, 3, H, W) of the subjects of training rows (N,) with attributes y, and their weights, 0 where
        there is none."""
        keys = [(self.subjects[row], tuple(values)) for row, values in zip(rows.tolist(), y.tolist(), strict=True)]
        draw = torch.rand(len(keys), generator=generator).tolist()
        found = [self.rows.get(key, []) for key in keys]
        chosen = [own[int(d * len(own))] if own else 0 for own, d in zip(found, draw, strict=True)]
        there = torch.tensor([bool(own) for own in found], device=self.weight.device)
        images = self.photographs.batch(chosen, flip=flip).image
        return images, self.weight * there[:, None, None, None]


def _face_weight(landmarks: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
    """(1, 1, H, W): 1 on the face, falling softly to 0 outside."""
    face = ndimage.binary_fill_holes(landmark_mask(landmarks, size) > 0)
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(face).astype(np.float32), size[0] / 40)
    return torch.from_numpy(np.maximum(soft, face).astype(np.float32))[None, None]


def kept_attributes(schema: AttributeSchema) -> Tensor:
    """The target (A,) that says "as in the photograph": no value of a categorical group, half of a binary one."""
    y = torch.zeros(schema.dimension)
    for group in schema.groups:
        if group.binary:
            y[schema.slices[group.name]] = 0.5
    return y


def spread_groups(values: Tensor, schema: AttributeSchema) -> Tensor:
    """A value a group (N, groups) to one an element of y (N, A)."""
    sizes = torch.tensor([schema.slices[g.name].stop - schema.slices[g.name].start for g in schema.groups])
    return values.repeat_interleave(sizes.to(values.device), dim=1)


def frontal_attributes(folder: FaceFolder) -> tuple[str, ...]:
    """The attributes that a simulated frontal face still has: all with several values, but the yaw, which is 0 now."""
    return tuple(name for name in folder.varying_attributes() if name != "yaw")


def check_pairs(folder: FaceFolder) -> None:
    """Raises FolderError where the folder lacks the photographs beside its simulated faces."""
    if not (folder.root / "side").is_dir():
        raise FolderError(
            f"{folder.root} has no side/, the photographs that its faces came from: pose normalization takes a folder "
            "that `lssl render-frontal` wrote"
        )


def open_real_faces(config: TrainConfig, train_set: FaceDataset) -> tuple[FaceDataset, bool]:
    """The faces that the critic takes as real, and whether their attributes are known.

    `pose.real_faces` is a data set folder (its training split, where it has one). Without it: the photographs of the
    training folder that look to the front, by the yaw that `lssl render-frontal` found, or all where those are fewer
    than a batch. Raises FolderError or ConfigError.
    """
    schema = train_set.schema
    if not config.pose.real_faces:
        check_pairs(train_set.folder)
        folder = near_frontal_photographs(train_set.folder, config.pose.near_frontal, config.schedule.batch_size)
        known = True
    else:
        folder = read_metadata(config.pose.real_faces, attributes=())
        if "train" in folder.splits:
            folder = folder.split("train")
        known = all(set(folder.columns.get(g.name, [""])) <= set(g.values) for g in schema.groups)
        if not known:
            folder = replace(folder, columns={g.name: [g.values[0]] * len(folder) for g in schema.groups})
    if not known and config.network.critic_sees_target:
        raise ConfigError(
            f"{folder.root} has no column {', '.join(g.name for g in schema.groups)} with the training's values, which a "
            "critic that sees the target needs: add --set network.critic_sees_target=false"
        )
    real_set = FaceDataset(folder, schema, device=train_set.device, side="none")
    if real_set.size != train_set.size:
        raise FolderError(
            f"{folder.root} has pictures of {real_set.size[1]}x{real_set.size[0]}, but {train_set.folder.root} of "
            f"{train_set.size[1]}x{train_set.size[0]}; prepare it with --size {train_set.size[0]}"
        )
    return real_set, known


def near_frontal_photographs(folder: FaceFolder, limit: float, least: int) -> FaceFolder:
    """The photographs (side/) as pictures: those within `limit` degrees of yaw, or all where those are under `least`."""
    yaws = folder.columns.get("yaw", [""] * len(folder))
    rows = [row for row, text in enumerate(yaws) if (yaw := _degrees(text)) is not None and abs(yaw) <= limit]
    chosen = folder.select(rows if len(rows) >= least else range(len(folder)))
    return replace(chosen, file_names=[f"side/{chosen.side_path(row).name}" for row in range(len(chosen))])


def _degrees(text: str) -> float | None:
    """The first view's yaw of a `yaw` column, None where it is empty or no number."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return None

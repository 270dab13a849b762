"""What the training of pose normalization (paper 3.2, Fig. 3b) sees: simulated faces paired with their photographs, and
real faces, which need not be of the same people. Shared by `pose`, `simgan` and `cyclegan_pose`."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from lssl.data import FaceBatch, FaceDataset, FaceFolder, read_metadata, to_uint8
from lssl.data.masks import landmark_mask
from lssl.data.pairs import (
    check_pairs,
    frontal_attributes,
    kept_attributes,
    near_frontal_photographs,
    spread_groups,
)
from lssl.data.sheet import labelled_grid
from lssl.errors import LsslError
from lssl.training.augmentation import light_images, move_images
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.faces import Plan, about, open_stream
from lssl.training.samples import translate_all

KEPT = "normalized"
_FRONTAL = 10.0  # degrees of yaw beyond which a photograph is no target for a frontal face


@dataclass(frozen=True)
class PoseSettings:
    """Which faces the critic takes as real, and what the generator is asked for."""

    real_faces: str = ""  # data set folder of real faces; "": the photographs in the data's own side/
    near_frontal: float = 10.0  # of those, only the photographs within this yaw in degrees; all if these are too few
    keep: float = 1.0  # share of the targets that say "as in the photograph" (y = 0), as normalizing does

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise LsslError(f"pose.keep must lie in (0, 1], not {self.keep}")


@dataclass
class PairBatch:
    """N simulated faces with their photographs, and N real faces; pictures are (N, C, H, W) in [-1, 1].

    image: x, simulated. side: s, its photograph. y_source: their attributes (N, A). y: those of the target.
    given: what the generator is told (N, A): y, but 0 in groups in which the target is x's own.
    real: real faces. y_real: their attributes (N, A); None: not known.
    target: what x' should look like, weighted by `target_weight` (N, 1, H, W) in [0, 1], which is 0 where that is unknown.
    """

    image: Tensor
    side: Tensor | None
    y_source: Tensor
    y: Tensor
    given: Tensor
    real: Tensor
    y_real: Tensor | None
    target: Tensor | None = None
    target_weight: Tensor | None = None

    @property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """The faces that D_cls learns from, and their attributes."""
        return (self.image, self.y_source) if self.y_real is None else (self.real, self.y_real)


class PairStream:
    """Draws and gathers `PairBatch`es.

    frontal: give each face's target, too. labels_needed: the name of a setting that needs the real faces' attributes.
    Raises LsslError if a data set lacks what is needed.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: FaceDataset,
        processes: Processes,
        pose: PoseSettings,
        *,
        frontal: bool = False,
        labels_needed: str = "",
    ) -> None:
        self.config, self.train_set, self.schema, self.pose = config, train_set, train_set.schema, pose
        self.processes = processes
        self.real_set, self.known = open_real_faces(config, train_set, pose)
        if not self.known and labels_needed:
            raise LsslError(
                f"{self.real_set.folder.root} has no column {', '.join(g.name for g in self.schema.groups)} with the "
                f"training's values, which a critic that sees the target needs: add --set {labels_needed}=false"
            )
        self.faces = open_stream(config, train_set, processes)
        self.real = open_stream(config, self.real_set, processes, "real")
        self.real.jitter = self.faces.jitter
        self.real.flip = self.faces.flip
        self.targets = FrontalTargets(train_set, min(pose.near_frontal, _FRONTAL)) if frontal else None
        self.kept = kept_attributes(self.schema)

    @property
    def notes(self) -> list[str]:
        where = (self.real_set.folder.root / self.real_set.folder.file_names[0]).parent
        return [f"Real faces for the critic: {len(self.real_set)} of {where}"]

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        count, share, chance = self.faces.batch_size, self.processes.share, partial(self.faces.chance, warm_up=warm_up)
        rows, flip = self.faces.rows(step, warm_up=warm_up)
        drawn = self.schema.sample(count, chance(step, "targets"))
        keep = torch.rand(count, len(self.schema.groups), generator=chance(step, "normalizing")) < self.pose.keep
        keep = spread_groups(keep, self.schema)
        y = torch.where(keep, self.train_set.y[rows], drawn)
        plan = {**self.faces.draw(step, warm_up=warm_up), **self.real.draw(step, warm_up=warm_up)}
        plan.update(y=share(y), given=share(torch.where(keep, self.kept, drawn)))
        if self.targets is not None:
            chosen, there = self.targets.of(share(rows), share(y), chance(step, "frontal"))
            plan.update({"target": chosen, "target.there": there, "target.flip": share(flip)})
        return plan

    def batch(self, plan: Plan) -> PairBatch:
        faces, real = self.faces.batch(plan), self.real.batch(plan)
        y_real = real.y if self.known else None
        batch = PairBatch(faces.image, faces.side, faces.y, plan["y"], plan["given"], real.image, y_real)
        if self.targets is None:
            return batch
        target = self.targets.photographs.batch(plan["target"], flip=plan["target.flip"]).image
        weight = self.targets.weight * plan["target.there"][:, None, None, None]
        if "face.affine" in plan:
            affine, light = plan["face.affine"], plan["face.light"]
            target = light_images(move_images(target, affine), light)
            weight = move_images(weight, affine, mode="bilinear")
        return replace(batch, target=target, target_weight=weight)

    def about(self, iteration: int, method: str) -> dict[str, Any]:
        """What the exported network records of its training."""
        settings = self.train_set.folder.info.get("settings", {})
        rendering = {name: settings[name] for name in ("background", "model") if name in settings}
        subjects = sorted({*self.train_set.subjects, *self.real_set.subjects})
        more = {"subjects": subjects, "method": method, "keep": self.pose.keep, "rendering": rendering}
        return {**about(self.train_set, iteration), **more}

    def facts(self) -> dict[str, Any]:
        return {
            "faces": len(self.train_set),
            "real faces": len(self.real_set),
            "attributes": self.schema.to_dict(),
        }


class FrontalTargets:
    """Each training subject's own near-frontal photographs with given attributes, where the data set has them.

    The photographs are aligned as the simulated faces are, so that a face can be compared with them pixel by pixel inside
    the face region, that of the mean landmarks. Raises LsslError if the data set has none within `limit` degrees of yaw.
    """

    def __init__(self, train_set: FaceDataset, limit: float) -> None:
        folder = near_frontal_photographs(train_set.folder, limit, 0)
        if not len(folder) or train_set.landmarks is None:
            raise LsslError(
                f"losses.frontal: {train_set.folder.root} has no photograph within {limit:g} degrees of yaw; set it to 0"
            )
        self.photographs = FaceDataset(folder, train_set.schema, device=train_set.device, in_memory=True, side="none")
        self.subjects = train_set.folder.subjects
        self.weight = _face_weight(train_set.landmarks.mean(0).numpy(), train_set.size).to(train_set.device)
        self.rows: dict[tuple[str, tuple[float, ...]], list[int]] = {}
        for row, subject in enumerate(folder.subjects):
            self.rows.setdefault((subject, tuple(self.photographs.y[row].tolist())), []).append(row)

    def of(self, rows: Tensor, y: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """For training rows (N,): rows (N,) of `photographs` of the same subjects with attributes y (N, A), and whether
        there is one, bool (N,)."""
        keys = [(self.subjects[row], tuple(values)) for row, values in zip(rows.tolist(), y.tolist(), strict=True)]
        draw = torch.rand(len(keys), generator=chance).tolist()
        found = [self.rows.get(key, []) for key in keys]
        chosen = [own[int(d * len(own))] if own else 0 for own, d in zip(found, draw, strict=True)]
        return torch.tensor(chosen), torch.tensor([bool(own) for own in found])


def _face_weight(landmarks: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
    """(1, 1, H, W): 1 on the face, falling softly to 0 outside."""
    face = ndimage.binary_fill_holes(landmark_mask(landmarks, size) > 0)
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(face).astype(np.float32), size[0] / 40)
    return torch.from_numpy(np.maximum(soft, face).astype(np.float32))[None, None]


def select_pairs(folder: FaceFolder, config: TrainConfig) -> FaceFolder:
    """The folder with the attributes of its frontal faces. Raises LsslError if it holds no pairs."""
    check_pairs(folder)
    return folder if config.data.attributes else replace(folder, attributes=frontal_attributes(folder))


def open_real_faces(config: TrainConfig, train_set: FaceDataset, pose: PoseSettings) -> tuple[FaceDataset, bool]:
    """The faces that the critic takes as real, and whether their attributes are known.

    `pose.real_faces` is a data set folder (its training split, if it has one). Without it: the photographs of the training
    folder that face the camera, by the yaw that `lssl render-frontal` found, or all of them if these are fewer than a
    batch. Raises LsslError if the two have pictures of different sizes.
    """
    schema = train_set.schema
    if not pose.real_faces:
        check_pairs(train_set.folder)
        folder = near_frontal_photographs(train_set.folder, pose.near_frontal, config.schedule.batch_size)
        known = True
    else:
        folder = read_metadata(pose.real_faces, attributes=())
        if "train" in folder.splits:
            folder = folder.split("train")
        known = all(set(folder.columns.get(g.name, [""])) <= set(g.values) for g in schema.groups)
        if not known:
            folder = replace(folder, columns={g.name: [g.values[0]] * len(folder) for g in schema.groups})
    real_set = FaceDataset(folder, schema, device=train_set.device, side="none")
    if real_set.size != train_set.size:
        raise LsslError(
            f"{folder.root} has pictures of {real_set.size[1]}x{real_set.size[0]}, but {train_set.folder.root} of "
            f"{train_set.size[1]}x{train_set.size[0]}; prepare it with --size {train_set.size[0]}"
        )
    return real_set, known


def normalizer_grid(generator: nn.Module, shown: FaceBatch, stream: PairStream, *, targets: bool) -> Image.Image:
    """A grid with one row per face: photograph, simulated, normalized, then, with `targets`, each target attribute."""
    kept = stream.kept.to(shown.y).expand_as(shown.y)
    columns = [("simulated", shown.image), (KEPT, generator(shown.image, shown.side, kept)[0])]
    if shown.side is not None:
        columns.insert(0, ("photograph", shown.side.expand(-1, 3, -1, -1)))
    if targets:
        columns += translate_all(generator, shown, stream.schema)
    return labelled_grid([to_uint8(images) for _, images in columns], [name for name, _ in columns])

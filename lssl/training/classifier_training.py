"""Trains a classifier of one attribute: the judge of the paper's Tables 1 to 3, and `lssl train-classifier`."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data import AttributeGroup, AttributeSchema, FaceDataset, FaceFolder
from lssl.data.prepare import split_subjects
from lssl.data.schema import SIDED
from lssl.errors import LsslError
from lssl.models.classifier import TrainedClassifier, build_classifier, load_pretrained
from lssl.training import seeds
from lssl.training.augmentation import draw_moves, light_images, move_images
from lssl.training.supervised import fit

_WARM_UP = 30


@dataclass(frozen=True)
class ClassifierConfig:
    """AdamW with a warm-up and a cosine decay to zero, label smoothing, and every face moved, relit and mirrored at random.

    iterations: 0 chooses the largest of 400, 150 per class and 15 epochs, but at most 5,000.
    learning_rate: 0 chooses 2e-3 for the small network, 1e-4 for the large ones.
    jitter: strength of the moves, in the unit of `lssl.training.augmentation`.
    synthetic_share: share of each batch, from 0 to 1, that is synthesized, if synthesized faces are given.
    real_last: share of the iterations, the last ones, that see real faces only.
    smoothing: of the labels, 0 to 1.
    mixup: if not 0, two faces of a batch and their labels are mixed, with a share drawn from Beta(mixup, mixup), at most 1
        (Zhang et al. 2018, https://arxiv.org/abs/1710.09412, use 0.2 to 0.4).
    """

    architecture: str = "small"
    iterations: int = 0
    batch_size: int = 32
    learning_rate: float = 0.0
    weight_decay: float = 0.02
    jitter: float = 1.0
    flip: bool = True
    synthetic_share: float = 0.5
    real_last: float = 0.0
    smoothing: float = 0.1
    mixup: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("synthetic_share", "real_last", "smoothing", "mixup"):
            if not 0 <= getattr(self, name) <= 1:
                raise LsslError(f"{name} is {getattr(self, name):g}; give a share from 0 to 1")

    def resolved(self, faces: int, classes: int) -> "ClassifierConfig":
        """A copy with the zeros replaced by the choices for this number of training faces and classes."""
        iterations = self.iterations or min(5000, max(400, 150 * classes, math.ceil(15 * faces / self.batch_size)))
        rate = self.learning_rate or (2e-3 if self.architecture == "small" else 1e-4)
        return replace(self, iterations=iterations, learning_rate=rate)


@dataclass
class ClassifierResult:
    """The trained classifier, frozen; iterations done; whether Ctrl-C stopped it; (iteration, mean loss) pairs; seconds."""

    classifier: TrainedClassifier
    iterations: int
    interrupted: bool
    log: list[tuple[int, float]]
    seconds: float


def labelled_faces(
    folder: FaceFolder,
    attribute: str,
    *,
    group: AttributeGroup | None = None,
    device: torch.device | str = "cpu",
) -> FaceDataset:
    """The faces of all rows, labelled with one attribute.

    group: the classes; by default the values found. For test faces, give the classes of the training faces.
    Raises LsslError for a missing column, pictures of several sizes, a single class, or an unknown one.
    """
    if attribute not in folder.columns:
        raise LsslError(
            f"{folder.root}/metadata.csv has no column '{attribute}'; it has: {', '.join(folder.columns) or 'none'}"
        )
    if group is None:
        group = AttributeSchema.from_columns({attribute: folder.columns[attribute]}).groups[0]
    return FaceDataset(folder, AttributeSchema((group,)), device=device, side="none")


def subject_split(folder: FaceFolder, seed: int = 0, fraction: float = 0.2) -> tuple[FaceFolder, FaceFolder]:
    """(train, test) rows: the folder's own splits; if it has only one, `fraction` of the subjects are held out.

    Raises LsslError if a subject is in both splits, or if there is only one subject.
    """
    splits = folder.splits
    if len(set(splits)) < 2:
        part = split_subjects(folder.subjects, fraction, seed)
        splits = [part[subject] for subject in folder.subjects]
    rows = {name: [row for row, own in enumerate(splits) if own == name] for name in ("train", "test")}
    if not rows["train"] or not rows["test"]:
        raise LsslError(f"{folder.root} has one subject only; a classifier is tested on people it has not seen")
    train, test = folder.select(rows["train"]), folder.select(rows["test"])
    both = sorted(set(train.subjects) & set(test.subjects))
    if both:
        raise LsslError(
            f"{folder.root}/metadata.csv: subject '{both[0]}' is in split train and in split test "
            f"({len(both)} such in all); a subject may be in one only"
        )
    return train, test


def train_classifier(
    faces: FaceDataset,
    config: ClassifierConfig | None = None,
    *,
    synthetic: FaceDataset | None = None,
    weights: Path | None = None,
    progress: bool = False,
    on_log: Callable[[int, float], None] | None = None,
) -> ClassifierResult:
    """Trains on all faces given, on the device of `faces`. Ctrl-C stops early and keeps what was learnt.

    Args:
        faces: from `labelled_faces`.
        synthetic: further faces, of the same classes and size: `synthetic_share` of each batch comes from these.
        weights: a file of pretrained weights to start from, as `load_pretrained` reads it.
        on_log: called with (iteration, mean loss) at each log line.

    The same seed gives the same weights (bit for bit on the CPU), and the caller's random state stays as it was.
    Raises LsslError for a class without a face, ValueError for weights that do not fit.
    """
    begun = time.monotonic()
    group = faces.schema.groups[0]
    count = len(faces) + (len(synthetic) if synthetic is not None else 0)
    config = (config or ClassifierConfig()).resolved(count, len(group.values))
    _check(faces, synthetic)
    device = faces.device
    with seeds.initial_weights(config.seed, device):
        network = build_classifier(config.architecture, len(group.values))
        if weights is not None:
            load_pretrained(network, weights)
        network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)
        )
        batches = _Batches(faces, synthetic, config)

        def loss_of_a_batch() -> Tensor:
            images, labels = batches.draw()
            images = images.contiguous(memory_format=torch.channels_last)
            return F.cross_entropy(network(images), labels, label_smoothing=config.smoothing)

        fitted = fit(
            "classifier",
            optimizer,
            loss_of_a_batch,
            iterations=config.iterations,
            learning_rate=config.learning_rate,
            warm_up=_WARM_UP,
            log_every=20,
            progress=progress,
            on_log=on_log,
        )
    network = network.to(memory_format=torch.contiguous_format)
    trained = TrainedClassifier(network, group, config.architecture, faces.size[0])
    trained.requires_grad_(False).eval()
    return ClassifierResult(trained, fitted.iterations, fitted.interrupted, fitted.log, time.monotonic() - begun)


@torch.inference_mode()
def predict_faces(classifier: TrainedClassifier, faces: FaceDataset, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """(true, predicted) class indices of all faces, int64 (N,) on the CPU. Raises LsslError if the classes differ."""
    own = faces.schema.groups[0]
    if own.values != classifier.classes:
        raise LsslError(
            f"the faces' classes are {', '.join(own.values)}, the classifier's {', '.join(classifier.classes)}"
        )
    true, predicted = [], []
    for rows in torch.arange(len(faces)).split(batch_size):
        batch = faces.batch(rows)
        true.append(faces.schema.indices(batch.y, own.name).cpu())
        predicted.append(classifier(batch.image).argmax(1).cpu())
    return torch.cat(true), torch.cat(predicted)


class _Batches:
    """Random batches of moved, relit and mirrored faces; each real and each synthetic face comes once per epoch."""

    def __init__(self, faces: FaceDataset, synthetic: FaceDataset | None, config: ClassifierConfig) -> None:
        self.config = config
        self.drawn = 0
        self.generator = seeds.generator(config.seed, 0, "classifier")
        made = round(config.batch_size * config.synthetic_share) if synthetic is not None else 0
        self.sources = [faces] if synthetic is None else [faces, synthetic]
        self.counts = [config.batch_size - made, made]
        self.mixed = round(config.iterations * (1 - config.real_last))
        self.queues = [torch.empty(0, dtype=torch.long) for _ in self.sources]
        self.flip = config.flip and faces.schema.groups[0].name not in SIDED

    def draw(self) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) in [-1, 1] and class indices (N,), or with mixup shares of the classes (N, classes)."""
        counts = self.counts if self.drawn < self.mixed else [self.config.batch_size]
        self.drawn += 1
        parts = [self._faces(k, count) for k, count in enumerate(counts) if count]
        images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        if self.config.jitter:
            affine, light = draw_moves(len(images), self.config.jitter, self.generator)
            images = light_images(
                move_images(images, affine.to(images.device), mode="bilinear"), light.to(images.device)
            )
        return self._mixed(images, labels) if self.config.mixup else (images, labels)

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Each face with another of the batch, by a share of its own."""
        # Beta(a, a) by Johnk's method, whose draws come from our own generator: u / (u + v) where u + v <= 1.
        power = torch.rand(len(images), 2, 64, generator=self.generator) ** (1 / self.config.mixup)
        fits = power.sum(1) <= 1
        first = fits.int().argmax(1)
        u, v = power[torch.arange(len(images)), :, first].unbind(1)
        share = torch.where(fits.any(1), u / (u + v).clamp(min=1e-30), torch.ones(())).to(images)
        other = torch.randperm(len(images), generator=self.generator).to(images.device)
        classes = len(self.sources[0].schema.groups[0].values)
        targets = F.one_hot(labels, classes).to(images)
        mixed = torch.lerp(images[other], images, share[:, None, None, None])
        return mixed, torch.lerp(targets[other], targets, share[:, None])

    def _faces(self, source: int, count: int) -> tuple[Tensor, Tensor]:
        faces = self.sources[source]
        while len(self.queues[source]) < count:
            order = torch.randperm(len(faces), generator=self.generator)
            self.queues[source] = torch.cat([self.queues[source], order])
        rows, self.queues[source] = self.queues[source][:count], self.queues[source][count:]
        mirrored = torch.rand(count, generator=self.generator) < 0.5 if self.flip else None
        batch = faces.batch(rows, flip=mirrored)
        return batch.image, faces.schema.indices(batch.y, faces.schema.groups[0].name)


def _check(faces: FaceDataset, synthetic: FaceDataset | None) -> None:
    group = faces.schema.groups[0]
    found = set(faces.schema.indices(faces.y, group.name).tolist())
    missing = [value for k, value in enumerate(group.values) if k not in found]
    if missing:
        raise LsslError(f"{faces.folder.root}: no training face has {group.name} '{missing[0]}'")
    if synthetic is None:
        return
    if synthetic.schema != faces.schema or synthetic.size != faces.size:
        raise LsslError(
            f"{synthetic.folder.root} ({', '.join(synthetic.schema.groups[0].values)}; {synthetic.size}) and "
            f"{faces.folder.root} ({', '.join(group.values)}; {faces.size}) differ in classes or size"
        )

"""The networks whose features are used for FID, KID, precision and recall, and identity distances."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lssl.data import to_float
from lssl.data.fingerprint import weights_fingerprint
from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.evaluation.measures.image_sets import ImageSet
from lssl.models.classifier import FILE_NAME, TrainedClassifier, build_classifier, load_classifier, load_pretrained
from lssl.models.pretrained.inception import load_inception
from lssl.models.pretrained.weights import read_weights

#: Features are stored in parts of so many pictures, so that a run that was stopped continues with the next part.
PART = 512
_BATCH = 32


@dataclass(frozen=True)
class FeatureNetwork:
    """A network as a map from pictures (N, 3, H, W) in [-1, 1] to features (N, D).

    name: its name in the report. weights: a fingerprint of its weights; the same weights give the same features.
    """

    name: str
    weights: str
    features: Callable[[Tensor], Tensor]
    device: torch.device


def open_network(path: str | Path, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The network of a local file, recognised by the names of its weights; frozen.

    Supported are `classifier.safetensors` (or its run folder), the Inception v3 of pytorch-fid, torchvision and timm,
    ResNet-50, and VGG-16 with the names of VGG-Face or torchvision. Raises FileNotFoundError, or LsslError naming the file.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        return classifier_network(load_classifier(file, device), f"classifier {path}")
    except LsslError:
        if path.is_dir():
            raise
    weights = read_weights(file)
    if "Mixed_5b.branch1x1.conv.weight" in weights:
        inception = load_inception(file)
        kind = "Inception v3 of FID" if inception.fid else "Inception v3 of ImageNet (no FID as published)"
        return _network(inception, f"{kind}, {file.name}", device)
    for architecture, marks in (
        ("resnet50", ("layer1.0.conv3.weight",)),
        ("vgg16", ("conv5_3.weight", "features.28.weight")),
    ):
        if any(mark in weights for mark in marks):
            model = build_classifier(architecture, 2)
            load_pretrained(model, file)
            return _network(model, f"{type(model).__name__}, {file.name}", device)
    raise LsslError(
        f"{file}: not a supported network; give a classifier of `lssl train-classifier`, or weights of Inception v3, "
        "ResNet-50 or VGG-16 (VGG-Face) with their published names"
    )


def classifier_network(classifier: TrainedClassifier, name: str) -> FeatureNetwork:
    """The features before a trained classifier's last layer, on its device."""
    device = next(classifier.parameters()).device
    return FeatureNetwork(name, weights_fingerprint(classifier), classifier.features, device)


def extract_features(
    network: FeatureNetwork, images: ImageSet, cache: Path | None = None, *, progress: str = ""
) -> NDArray[np.float32]:
    """Features (N, D) of all pictures of a set.

    cache: a folder in which they are stored part by part. progress: the name of the progress bar; no bar if empty.
    """
    from lssl.progress import tqdm

    parts = []
    with tqdm(total=len(images), desc=progress, unit="picture", disable=not progress, leave=False) as bar:
        for start in range(0, len(images), PART):
            rows = range(start, min(start + PART, len(images)))
            kept = None if cache is None else cache / f"{_part_name(network, images, rows)}.npy"
            if kept is not None and kept.is_file():
                part = np.load(kept)
            else:
                part = _features(network, images, rows)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    _save(kept, part)
            parts.append(part)
            bar.update(len(rows))
    return np.concatenate(parts)


@torch.inference_mode()
def _features(network: FeatureNetwork, images: ImageSet, rows: range) -> NDArray[np.float32]:
    parts = []
    for start in range(rows.start, rows.stop, _BATCH):
        pixels = torch.from_numpy(images.read(range(start, min(start + _BATCH, rows.stop))))
        batch = to_float(pixels.permute(0, 3, 1, 2).to(network.device))
        parts.append(network.features(batch).float().cpu().numpy())
    return np.concatenate(parts)


def _network(model: torch.nn.Module, name: str, device: torch.device | str) -> FeatureNetwork:
    model = model.requires_grad_(False).eval().to(device)
    features: Callable[[Tensor], Tensor] = model.features  # type: ignore[assignment]
    return FeatureNetwork(name, weights_fingerprint(model), features, torch.device(device))


def _part_name(network: FeatureNetwork, images: ImageSet, rows: range) -> str:
    """A name that depends on the network's weights, and on the pictures' paths, sizes and times of change."""
    digest = hashlib.sha256(network.weights.encode())
    for row in rows:
        path = images.folder.image_path(row)
        file = path.stat()
        digest.update(f"{path.resolve()} {file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]


def _save(path: Path, values: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_atomic(path, buffer.getvalue())

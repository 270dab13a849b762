"""A trained attribute classifier in one file: weights, classes and settings in `classifier.safetensors`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.data import AttributeGroup, AttributeSchema, to_float
from lssl.models.classifier import build_classifier
from lssl.models.files import NetworkFile

FILE_NAME = "classifier.safetensors"


FILE = NetworkFile("lssl-classifier-1", FILE_NAME, "classifier", "lssl train-classifier")


class TrainedClassifier(nn.Module):
    """A classifier that knows its classes and its input: what `load_classifier` returns.

    Attributes:
        network: from `lssl.models.classifier.build_classifier`.
        group: the attribute and its values; logit k is for `group.values[k]`.
        architecture: one of `lssl.models.classifier.ARCHITECTURES`.
        image_size: side in pixels of the pictures it was trained on.
        info: further facts, plain values: training data, accuracy on unseen subjects, settings.
    """

    def __init__(
        self,
        network: nn.Module,
        group: AttributeGroup,
        architecture: str,
        image_size: int,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.group = group
        self.architecture = architecture
        self.image_size = image_size
        self.info = dict(info or {})

    @property
    def classes(self) -> tuple[str, ...]:
        return self.group.values

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W) in [-1, 1]; another size than `image_size` is resampled to it."""
        logits: Tensor = self.network(self._sized(image))
        return logits

    def features(self, image: Tensor) -> Tensor:
        """Features (N, D) before the last linear layer, for images as `forward` takes them."""
        values: Tensor = self.network.features(self._sized(image))  # type: ignore[operator]
        return values

    @torch.inference_mode()
    def predict(self, images: Tensor, batch_size: int = 64) -> Tensor:
        """Probabilities (N, classes), on the CPU, of uint8 images (N, 3, H, W)."""
        device = next(self.parameters()).device
        parts = [self(to_float(chunk.to(device))).softmax(1).cpu() for chunk in images.split(batch_size)]
        return torch.cat(parts) if parts else torch.empty(0, len(self.classes))

    def _sized(self, image: Tensor) -> Tensor:
        size = (self.image_size, self.image_size)
        if image.shape[2:] == size:
            return image
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def save_classifier(path: str | Path, trained: TrainedClassifier) -> None:
    """Writes weights, classes and settings atomically to one `.safetensors` file."""
    about = {
        "schema": AttributeSchema((trained.group,)).to_dict(),
        "architecture": trained.architecture,
        "image_size": trained.image_size,
        "info": trained.info,
    }
    FILE.write(path, trained.network, about)


def load_classifier(path: str | Path, device: torch.device | str = "cpu") -> TrainedClassifier:
    """Reads `classifier.safetensors` (or the folder that holds it); ready to classify, gradients off.

    No code of the file is run. Raises FileNotFoundError, or LsslError for a file that is no exported classifier.
    """
    path, weights, about = FILE.read(path, device)
    try:
        (group,) = AttributeSchema.from_dict(about["schema"]).groups
        width = len(weights["stages.0.weight"]) if about["architecture"] == "small" else 0
        network = build_classifier(about["architecture"], len(group.values), width=width)
        network.load_state_dict(weights)
        trained = TrainedClassifier(network, group, about["architecture"], int(about["image_size"]), about.get("info"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FILE.damaged(path, error) from None
    return trained.requires_grad_(False).eval().to(device)

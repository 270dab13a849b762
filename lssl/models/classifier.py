"""Expression classifiers: a small one for two cores, ResNet-50 (paper Table 2), VGG-16 as in VGG-Face (Table 3)."""

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.data import AttributeGroup, AttributeSchema, to_float
from lssl.errors import LsslError
from lssl.models.files import NetworkFile
from lssl.models.pretrained.weights import read_weights

ARCHITECTURES = ("small", "resnet50", "vgg16")
FILE_NAME = "classifier.safetensors"
FILE = NetworkFile("lssl-classifier-1", FILE_NAME, "classifier", "lssl train-classifier")


class SmallClassifier(nn.Module):
    """Five convolution stages and a 2 x 2 grid of averages; one core trains it in less than a minute.

    Args:
        classes: number of classes.
        width: channels of the first stage; the later ones have 2, 4, 4 and 4 times as many.

    Input (N, 3, H, W) in [-1, 1], H and W at least 32; output logits (N, classes). `features` gives (N, 16 width).
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 4 * width]
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise(channels):
            layers += [
                nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        layers += [
            nn.Conv2d(4 * width, 4 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(inplace=True),
        ]
        self.stages = nn.Sequential(*layers)
        # An expression is a matter of where things are: a 2 x 2 grid of averages keeps the mouth apart from the eyes.
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(16 * width, classes)

    def features(self, image: Tensor) -> Tensor:
        """Features (N, 16 width) before the linear head."""
        return self.pool(self.stages(image)).flatten(1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(image)))


class Bottleneck(nn.Module):
    """ResNet's bottleneck block (He et al. 2016), with the stride in the 3 x 3 convolution (as torchvision and timm)."""

    expansion = 4

    def __init__(self, c_in: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        c_out = planes * self.expansion
        self.conv1 = nn.Conv2d(c_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet50(nn.Module):
    """ResNet-50 (He et al. 2016) with torchvision's and timm's parameter names, so that their weights load.

    Input (N, 3, H, W) in [-1, 1], rescaled inside to ImageNet's mean and spread; output logits (N, classes).
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(64, 64, 3, 1)
        self.layer2 = self._stage(256, 128, 4, 2)
        self.layer3 = self._stage(512, 256, 6, 2)
        self.layer4 = self._stage(1024, 512, 3, 2)
        self.fc = nn.Linear(2048, classes)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @staticmethod
    def _stage(c_in: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [Bottleneck(planes * Bottleneck.expansion, planes) for _ in range(blocks - 1)]
        return nn.Sequential(Bottleneck(c_in, planes, stride), *rest)

    def features(self, image: Tensor) -> Tensor:
        """Features (N, 2048) before the linear head."""
        x = ((image + 1) / 2 - self.mean) / self.std
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.features(image))


class VGG16(nn.Module):
    """VGG-16 (Simonyan & Zisserman 2015) as VGG-Face uses it (Parkhi et al. 2015), with torchvision's parameter names.

    Input (N, 3, H, W) in [-1, 1], resized inside to 224 x 224; output logits (N, classes).
    """

    _CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: pool

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for c_out in self._CHANNELS:
            if c_out == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(inplace=True)]
                c_in = c_out
        self.features_stack = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def features(self, image: Tensor) -> Tensor:
        """Features (N, 4096) before the last linear layer (VGG-Face's fc7)."""
        x = nn.functional.interpolate(image, size=(224, 224), mode="bilinear", align_corners=False)
        x = self.features_stack(x).flatten(1)
        return self.classifier[:-1](x)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier[-1](self.features(image))


# VGG-Face's released parameter names -> torchvision's numbering.
_VGG_FACE_CONVOLUTIONS = {
    f"conv{stage}_{index}": position
    for (stage, index), position in zip(
        [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3), (5, 1), (5, 2), (5, 3)],
        [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        strict=True,
    )
}
_VGG_FACE_LINEAR = {"fc6": 0, "fc7": 3, "fc8": 6}


def build_classifier(architecture: str, classes: int, *, width: int = 16) -> nn.Module:
    """Makes a classifier with random weights; `architecture` is one of `ARCHITECTURES`, `width` is the small one's.

    In threefold cross-validation on London (64x64, two expressions), 16 channels were as accurate as 32 at a quarter of
    the cost. Raises LsslError for any other name.
    """
    if architecture == "small":
        return SmallClassifier(classes, width)
    if architecture == "resnet50":
        return ResNet50(classes)
    if architecture == "vgg16":
        return VGG16(classes)
    raise LsslError(f"architecture is {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")


def load_pretrained(model: nn.Module, path: str | Path) -> list[str]:
    """Loads weights with torchvision's, timm's or VGG-Face's names into `model`; the last layer stays as it is if its
    size differs (another set of classes).

    Args:
        model: from `build_classifier`.
        path: a local `.safetensors` file, or a `.pth`/`.pt` state dict (read without pickle code execution).

    Returns the names of the model's parameters that the file did not fill. Raises LsslError naming the file if more
    than the last layer is missing or a shape differs, FileNotFoundError if there is no such file.
    """
    renamed = {_torchvision_name(model, key): value for key, value in read_weights(path).items()}
    own = model.state_dict()
    heads = ("fc.", "head.", "classifier.6.")
    kept = {}
    for key, value in renamed.items():
        if key not in own:
            continue
        if own[key].shape != value.shape:
            if key.startswith(heads):
                continue
            raise LsslError(f"{path}: {key} is {tuple(value.shape)}, the network has {tuple(own[key].shape)}")
        kept[key] = value
    missing = [key for key in own if key not in kept and not key.endswith("num_batches_tracked")]
    body = [key for key in missing if not key.startswith(heads)]
    if body:
        raise LsslError(
            f"{path} does not hold a {type(model).__name__}: {len(body)} parameters are missing ({body[0]}, ...)"
        )
    model.load_state_dict(kept, strict=False)
    return missing


def _torchvision_name(model: nn.Module, key: str) -> str:
    if not isinstance(model, VGG16):
        return key
    layer, _, rest = key.rpartition(".")
    if layer in _VGG_FACE_CONVOLUTIONS:
        return f"features_stack.{_VGG_FACE_CONVOLUTIONS[layer]}.{rest}"
    if layer in _VGG_FACE_LINEAR:
        return f"classifier.{_VGG_FACE_LINEAR[layer]}.{rest}"
    return key.replace("features.", "features_stack.", 1) if key.startswith("features.") else key


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
        """Logits (N, classes) of images (N, 3, H, W) in [-1, 1]; other sizes are resampled to `image_size`."""
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

    No code in the file is run. Raises FileNotFoundError, or LsslError for a file that is not an exported classifier.
    """
    path, weights, about = FILE.read(path, device)
    try:
        (group,) = AttributeSchema.from_dict(about["schema"]).groups
        width = len(weights["stages.0.weight"]) if about["architecture"] == "small" else 0
        network = build_classifier(about["architecture"], len(group.values), width=width)
        network.load_state_dict(weights)
        trained = TrainedClassifier(network, group, about["architecture"], int(about["image_size"]), about.get("info"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FILE.unusable(path, about, error) from None
    return trained.requires_grad_(False).eval().to(device)

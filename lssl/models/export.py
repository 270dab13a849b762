"""The trained generator in one file: weights, attribute schema and settings in `generator.safetensors`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lssl.data.dataset import heatmap_side
from lssl.data.schema import AttributeSchema
from lssl.errors import LsslError
from lssl.models.cyclegan import CycleGANGenerator, SimulatedToReal
from lssl.models.files import NetworkFile
from lssl.models.generator import Generator
from lssl.models.icgan import IcGAN
from lssl.models.moving import MovingGenerator
from lssl.models.simgan import Refiner
from lssl.models.stargan import StarGANGenerator
from lssl.models.starganv2 import StarGANv2

FILE = NetworkFile("lssl-generator-1", "generator.safetensors", "generator", "lssl train")


#: The networks that a file may hold, by class name; all are called alike, `network(image, side, y)`.
KINDS: dict[str, Callable[..., nn.Module]] = {
    kind.__name__: kind
    for kind in (
        Generator,
        MovingGenerator,
        Refiner,
        StarGANGenerator,
        StarGANv2,
        CycleGANGenerator,
        SimulatedToReal,
        IcGAN,
    )
}


#: Generators that come with the package, each with its model card.
WEIGHTS = Path(__file__).parents[1] / "weights"


def built_in_generators() -> list[str]:
    """Names that can be given wherever a generator's file or run folder can."""
    return sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))


class TrainedGenerator(nn.Module):
    """A generator that knows its attributes and its input: what `lssl.load_generator` returns.

    Attributes:
        network: the `Generator`, or another of `KINDS`, which are called alike.
        schema: the attributes that y encodes.
        image_size: side in pixels of the pictures it was trained on.
        heatmap_sigma: sigma of the landmark heatmaps in pixels (unused without a side image).
        task: "attribute-synthesis" or "pose-normalization".
        info: further facts, plain values: name of the training data, its subjects, alignment, iterations.
    """

    def __init__(
        self,
        network: nn.Module,
        schema: AttributeSchema,
        image_size: int,
        heatmap_sigma: float | None = None,
        task: str = "attribute-synthesis",
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.schema = schema
        self.image_size = image_size
        self.heatmap_sigma = image_size / 64 if heatmap_sigma is None else heatmap_sigma
        self.task = task
        self.info = dict(info or {})

    def side_image(self, landmarks: Tensor) -> Tensor | None:
        """The side image (N, S, H, W) for landmarks (N, 68, 2) in pixels; None for a generator without one."""
        if not self.network.side_channels:
            return None
        size = (self.image_size, self.image_size)
        return heatmap_side(landmarks, size, sigma=self.heatmap_sigma, channels=self.network.side_channels)

    def forward(self, image: Tensor, side: Tensor | None, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """(x, s, y) -> (x', s'), as `Generator`; see there for shapes and ranges."""
        output: tuple[Tensor, Tensor | None] = self.network(image, side, y)
        return output

    @torch.inference_mode()
    def translate(self, image: Tensor, landmarks: Tensor | None, y: Tensor, y_source: Tensor | None = None) -> Tensor:
        """Translates images (N, 3, H, W) in [-1, 1] with landmarks (N, 68, 2) in pixels to attributes y (N, A): x'.

        `y_source` (N, A): what the images show, if known; moving generators and CycleGAN's pairs use it. Raises ValueError if the
        generator needs landmarks and gets none.
        """
        if landmarks is None and self.network.side_channels:
            raise ValueError("this generator was trained with landmark heatmaps: give landmarks")
        side = None if landmarks is None else self.side_image(landmarks)
        source = (y_source,) if getattr(self.network, "takes_source", False) else ()
        translated: Tensor = self.network(image, side, y, *source)[0]
        return translated.clamp(-1, 1)


def save_generator(path: str | Path, trained: TrainedGenerator) -> None:
    """Writes weights, schema and settings atomically to one `.safetensors` file."""
    network = trained.network
    about = {
        "schema": trained.schema.to_dict(),
        "architecture": type(network).__name__,
        "network": network.settings(),
        "image_size": trained.image_size,
        "heatmap_sigma": trained.heatmap_sigma,
        "task": trained.task,
        "info": trained.info,
    }
    FILE.write(path, network, about)


def load_generator(path: str | Path, device: torch.device | str = "cpu") -> TrainedGenerator:
    """Reads `generator.safetensors` (or the run folder that holds it, or a built-in one by its name); ready to
    translate, gradients off.

    No code in the file is run. Raises FileNotFoundError, or LsslError for a file that is not an exported generator.
    """
    # A folder of the same name that holds no generator, such as a data set `london/`, does not hide the built-in one.
    own = Path(path).is_file() or (Path(path) / FILE.name).is_file()
    if str(path) in built_in_generators() and not own:
        path = WEIGHTS / f"{path}.safetensors"
    if re.match(r"https?:/", str(path)):
        raise LsslError(f"{path} is a web address: download it first, and give the file's path")
    try:
        path, weights, about = FILE.read(path, device)
    except FileNotFoundError as error:
        names = " and ".join(built_in_generators())
        raise FileNotFoundError(f"{error}, or name a built-in one ({names})") from None
    try:
        schema = AttributeSchema.from_dict(about["schema"])
        network = KINDS[about.get("architecture", "Generator")](**about["network"])
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FILE.unusable(path, about, error) from None
    trained = TrainedGenerator(
        network, schema, about["image_size"], about["heatmap_sigma"], about["task"], about.get("info")
    )
    return trained.requires_grad_(False).eval().to(device)

"""The networks of CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593), and its pairs as one generator.

All convolutions have a bias, and all instance norms are without scale and offset, as in the authors' code. In the
arguments' descriptions, "there" means: in the authors' setting.
"""

import torch
from torch import Tensor, nn

from lssl.models.blocks import Described, start_normal
from lssl.models.generator import changed
from lssl.ops import pixel_shuffle_instance_norm


class InstanceNorm(nn.Module):
    """Normalises each picture's channels to mean 0 and variance 1, then applies "relu", "leaky_relu" 0.2 or "none"."""

    def __init__(self, activation: str = "relu") -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(x, upscale_factor=1, activation=self.activation, negative_slope=0.2)


class DomainGenerator(nn.Module):
    """From one domain to another: image (N, 3, H, W) in [-1, 1], with sides divisible by 4, to an image of that shape.

    Args:
        width: channels w of the first layer (64 there).
        residual_blocks: blocks of 4 w channels (6 at 128 pixels, 9 at 256 there).
        output: "direct": x' is the head's tanh (as there). "warp": as in `Generator`, for few photographs.
    """

    def __init__(self, width: int = 64, residual_blocks: int = 6, output: str = "direct") -> None:
        super().__init__()
        if output not in ("direct", "warp"):
            raise ValueError(f'output must be "direct" or "warp", not "{output}"')
        self.output = output
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), InstanceNorm()]
        for level in (1, 2):
            layers += [nn.Conv2d(width * level, 2 * width * level, 3, 2, 1), InstanceNorm()]
        layers += [_ResidualBlock(4 * width) for _ in range(residual_blocks)]
        for level in (4, 2):
            layers += [
                nn.ConvTranspose2d(width * level, width * level // 2, 3, 2, 1, output_padding=1),
                InstanceNorm(),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 6 if output == "warp" else 3, 7)]
        self.layers = nn.Sequential(*layers)
        start_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[2] % 4 or image.shape[3] % 4:
            raise ValueError(f"image sides must be divisible by 4, got {tuple(image.shape)}")
        head = self.layers(image)
        return torch.tanh(head) if self.output == "direct" else changed(image, head).clamp(-1, 1)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            InstanceNorm("none"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PatchDiscriminator(nn.Module):
    """A score for each 70x70 patch of a picture (1: real, 0: fake): (N, 3, H, W) -> (N, 1, H / 8 - 2, W / 8 - 2).

    Args:
        width: channels w of the first layer (64 there); the last layer but one has 8 w.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level, stride in ((1, 2), (2, 2), (4, 1)):
            layers += [nn.Conv2d(width * level, 2 * width * level, 4, stride, 1), InstanceNorm("leaky_relu")]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))
        start_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        score: Tensor = self.layers(image)
        return score


class CycleGANGenerator(Described):
    """All values of one attribute by K - 1 pairs of generators, each between its first value (neutral) and another.

    Called like `Generator`: `generator(image, side, y)` gives (x', None). CycleGAN has no y; here y picks the
    generator. What the picture shows, `y_source`, must be known: one generator leads from neutral to c, another from c
    to neutral (`faithful`); from c to d it goes by c -> neutral -> d, a composition that the method itself does not
    have. If the picture shows the target already, the result is the identity pass that the method is trained for.
    Without `y_source` the picture is taken to be neutral, unless there are only two values: then it is taken to show
    the other one, and the generator leaves a picture that shows the target already as it is.

    Args:
        attribute_dim: length of y: K, or 1 for a binary attribute.
        width, residual_blocks, output: as in `DomainGenerator`.
    """

    takes_source = True

    def __init__(self, attribute_dim: int, width: int = 64, residual_blocks: int = 6, output: str = "direct") -> None:
        super().__init__(attribute_dim=attribute_dim, width=width, residual_blocks=residual_blocks, output=output)
        if attribute_dim < 1:
            raise ValueError(f"attribute_dim must be at least 1, not {attribute_dim}")
        self.attribute_dim = attribute_dim
        self.side_channels = 0
        pairs = max(1, attribute_dim - 1)
        #: from neutral to value k + 1, and back
        self.there = nn.ModuleList(DomainGenerator(width, residual_blocks, output) for _ in range(pairs))
        self.back = nn.ModuleList(DomainGenerator(width, residual_blocks, output) for _ in range(pairs))

    def value(self, y: Tensor) -> Tensor:
        """The index (N,) of the attribute's value that y (N, A) is nearest to."""
        return (y[:, 0] > 0.5).long() if self.attribute_dim == 1 else y.argmax(1)

    def forward(
        self,
        image: Tensor,
        side: Tensor | None,  # noqa: ARG002
        attributes: Tensor,
        y_source: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Image (N, 3, H, W) in [-1, 1], the target y (N, A) and, if known, the picture's own y, to (x', None)."""
        target = self.value(attributes)
        if y_source is not None:
            source = self.value(y_source)
        elif len(self.there) == 1:
            source = 1 - target
        else:
            source = torch.zeros_like(target)
        same = source == target
        # Where nothing is to change, the generator that leads to that value is used.
        back = torch.where(same & (source == 0), 1, torch.where(same, 0, source))
        image = _by_value(self.back, image, back)
        return _by_value(self.there, image, target), None


class SimulatedToReal(Described):
    """One `DomainGenerator`, called like `Generator`: `generator(image, side, y)` uses only the image."""

    def __init__(self, attribute_dim: int, width: int = 64, residual_blocks: int = 6, output: str = "direct") -> None:
        super().__init__(attribute_dim=attribute_dim, width=width, residual_blocks=residual_blocks, output=output)
        self.attribute_dim = attribute_dim
        self.side_channels = 0
        self.there = DomainGenerator(width, residual_blocks, output)

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Image (N, 3, H, W) in [-1, 1] to (x', None)."""
        return self.there(image), None


def _by_value(generators: nn.ModuleList, image: Tensor, value: Tensor) -> Tensor:
    """Each picture translated by generator `value - 1`; unchanged where value is 0."""
    result = image.clone()
    for k, generator in enumerate(generators):
        rows = (value == k + 1).nonzero()[:, 0]
        if len(rows):
            result[rows] = generator(image[rows]).to(result.dtype)
    return result


def faithful(source: Tensor, target: Tensor) -> Tensor:
    """(N,) bool: whether a single generator of CycleGAN translates from value `source` to `target`, both (N,)."""
    return (source == 0) | (target == 0) | (source == target)

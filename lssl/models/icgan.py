"""The networks of IcGAN (Perarnau et al. 2016, https://arxiv.org/abs/1611.06355): a conditional GAN and two encoders.

y is in {-1, 1} here: one-hot with -1 for "not". The authors' networks are for 64 pixels; for another power of two they
have more or fewer layers of the same kind. In the arguments' descriptions, "there" means: in the authors' setting.
"""

import torch
from torch import Tensor, nn

from lssl.models.blocks import Described, start_normal

LATENT = 100


def levels(image_size: int) -> int:
    """log2(S) - 3: the number of layers between 4x4 maps and pictures of half the size S. Raises ValueError for a size
    that is not a power of two of at least 16."""
    if image_size < 16 or image_size & (image_size - 1):
        raise ValueError(f"IcGAN's networks are for 16, 32, 64, 128 ... pixels, not {image_size}")
    return image_size.bit_length() - 4


class LatentGenerator(nn.Module):
    """Paints a face from z (N, 100) and y (N, A) in {-1, 1}: (N, 3, S, S) in [-1, 1].

    Args:
        attribute_dim: length of y.
        image_size: S, a power of two.
        width: channels w of the last layer but one (64 there); each layer before it has twice as many.
    """

    def __init__(self, attribute_dim: int, image_size: int = 64, width: int = 64) -> None:
        super().__init__()
        channels = width * 2 ** levels(image_size)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(LATENT + attribute_dim, channels, 4),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        for _ in range(levels(image_size)):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1), nn.BatchNorm2d(channels // 2), nn.ReLU()]
            channels //= 2
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh())
        start_normal(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        image: Tensor = self.layers(torch.cat([z, y.to(z.dtype)], 1)[:, :, None, None])
        return image


class ConditionalDiscriminator(nn.Module):
    """One logit per picture (N, 3, S, S), (N,): is it real, and does it have the attributes y (N, A) in {-1, 1}?

    Args:
        attribute_dim: length of y, which is concatenated as planes after the first layer.
        image_size: S, a power of two.
        width: channels w of the first layer (64 there).
    """

    def __init__(self, attribute_dim: int, image_size: int = 64, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2))
        channels = width + attribute_dim
        layers: list[nn.Module] = []
        for level in range(levels(image_size)):
            wider = width * 2 ** (level + 1)
            layers += [nn.Conv2d(channels, wider, 4, 2, 1), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            channels = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4))
        start_normal(self)

    def forward(self, image: Tensor, y: Tensor) -> Tensor:
        features = self.first(image)
        planes = y.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
        logit: Tensor = self.layers(torch.cat([features, planes], 1))
        return logit.flatten()


class Encoder(nn.Module):
    """A face (N, 3, S, S) in [-1, 1] to a vector (N, outputs): z, or y in about {-1, 1}.

    Args:
        outputs: length of the vector.
        image_size: S, a power of two.
        width: channels w of the first layer (32 there); each further layer doubles them.
        convolutions: the number of 5x5 convolutions of stride 2 (4 there).
        hidden: width of the hidden linear layer; 0: that of its input.
    """

    def __init__(
        self, outputs: int, image_size: int = 64, width: int = 32, convolutions: int = 4, hidden: int = 0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for level in range(convolutions):
            layers += [
                nn.Conv2d(channels, width * 2**level, 5, 2, 2),
                nn.BatchNorm2d(width * 2**level),
                nn.ReLU(),
            ]
            channels = width * 2**level
        flat = channels * (image_size // 2**convolutions) ** 2
        hidden = hidden or flat
        layers += [nn.Flatten(), nn.Linear(flat, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, outputs))
        start_normal(self)

    def forward(self, image: Tensor) -> Tensor:
        vector: Tensor = self.layers(image)
        return vector


class IcGAN(Described):
    """Generates a face anew from what the encoder keeps of it, with other attributes: G(E_z(x), y).

    Called like `Generator`: `network(image, side, y)` gives (x', None), y in [0, 1] as everywhere in LSSL. The method
    `attributes`, E_y, tells what the picture itself shows.

    Args:
        attribute_dim: length of y.
        image_size: S, a power of two. Above 64 pixels E_z gets one more convolution for each doubling, and its hidden
            layer is 4,096 wide at the authors' width: with four convolutions it alone would have 268 million weights.
        width: channels of G's last layer but one and of the critic's first (64 there); the encoders have half.
    """

    def __init__(self, attribute_dim: int, image_size: int = 64, width: int = 64) -> None:
        super().__init__(attribute_dim=attribute_dim, image_size=image_size, width=width)
        self.attribute_dim, self.image_size = attribute_dim, image_size
        self.side_channels = 0
        half, convolutions = max(1, width // 2), min(4, levels(image_size) + 1)
        more = max(0, levels(image_size) - levels(64))
        hidden = 128 * half if more else 0
        self.generator = LatentGenerator(attribute_dim, image_size, width)
        self.encoder_z = Encoder(LATENT, image_size, half, convolutions + more, hidden)
        self.encoder_y = Encoder(attribute_dim, image_size, half, convolutions, 16 * half)

    def attributes(self, image: Tensor) -> Tensor:
        """What E_y finds in images (N, 3, S, S): y (N, A), each about 0 or 1."""
        return (self.encoder_y(image) + 1) / 2

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Image (N, 3, S, S) in [-1, 1] and y (N, A) in [0, 1] to (x' in [-1, 1], None)."""
        return self.generator(self.encoder_z(image), 2 * attributes - 1), None

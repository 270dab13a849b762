"""StarGAN's generator (Choi et al. 2018, https://arxiv.org/abs/1711.09020); the critic is `Discriminator`."""

import torch
from torch import Tensor, nn

from lssl.models.blocks import ConvNorm, Described, ResidualBlock
from lssl.models.generator import changed
from lssl.ops import pixel_shuffle_instance_norm


class StarGANGenerator(Described):
    """(x, y) -> x': y is replicated over space and concatenated with x at the input.

    Called like `Generator`: `generator(image, side, attributes)` gives (x', None) and ignores the side image. All
    padding is with zeros: y's planes are constant, and with a reflected border the first instance norm would leave
    nothing of them. The norms use each picture's own statistics, in training and in use; the authors' code keeps
    running averages, so that the network in use differs from the one that was trained.

    Args:
        attribute_dim: length of y.
        width: channels w of the first layer (64 in the authors' setting); each of the two down-samplings doubles them.
        residual_blocks: blocks of 4 w channels (6 in the authors' setting).
        output: "direct": x' is the head's tanh (the authors'). "warp": as in `Generator`, for few photographs.
    """

    def __init__(self, attribute_dim: int, width: int = 64, residual_blocks: int = 6, output: str = "direct") -> None:
        super().__init__(attribute_dim=attribute_dim, width=width, residual_blocks=residual_blocks, output=output)
        if attribute_dim < 1:
            raise ValueError(f"attribute_dim must be at least 1, not {attribute_dim}")
        if output not in ("direct", "warp"):
            raise ValueError(f'output must be "direct" or "warp", not "{output}"')
        self.attribute_dim = attribute_dim
        self.side_channels = 0
        self.output = output
        self.layers = nn.Sequential(
            ConvNorm(3 + attribute_dim, width, 7),
            ConvNorm(width, 2 * width, 4, stride=2),
            ConvNorm(2 * width, 4 * width, 4, stride=2),
            *(ResidualBlock(4 * width) for _ in range(residual_blocks)),
            _Upsampling(4 * width, 2 * width),
            _Upsampling(2 * width, width),
        )
        self.image_head = nn.Conv2d(width, 6 if output == "warp" else 3, 7, padding=3, bias=False)
        if output == "warp":
            with torch.no_grad():  # starts near the identity
                self.image_head.weight.mul_(0.1)

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Image (N, 3, H, W) in [-1, 1], with sides divisible by 4, and y (N, A) to (x' in [-1, 1], None)."""
        if image.shape[2] % 4 or image.shape[3] % 4:
            raise ValueError(f"image sides must be divisible by 4, got {tuple(image.shape)}")
        planes = attributes.to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        head = self.image_head(self.layers(torch.cat([image, planes], 1)))
        return (torch.tanh(head) if self.output == "direct" else changed(image, head).clamp(-1, 1)), None


class _Upsampling(nn.Module):
    """Transposed 4x4 convolution of stride 2, affine instance norm, ReLU: (N, in, H, W) -> (N, out, 2 H, 2 W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False)
        self.weight = nn.Parameter(torch.ones(out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(self.conv(x), self.weight, self.bias, 1, activation="relu")

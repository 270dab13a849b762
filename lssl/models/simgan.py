"""The networks of SimGAN (Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828), with the attribute head that the
paper adds for its comparison (3.2). "There" means: in SimGAN's own setting."""

import torch
from torch import Tensor, nn

from lssl.models.blocks import Described
from lssl.models.discriminator import CriticOutput


class _RefinerBlock(nn.Module):
    """relu(x + conv3(relu(conv3(x)))), at the picture's own resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(self.first(x).relu())).relu()


class Refiner(Described):
    """SimGAN's refiner R: (x, y) -> x', residual blocks that never leave the picture's resolution.

    Called like `Generator`, so that either can be trained, exported and used: `refiner(image, side, attributes)` gives
    (x', None) and ignores the side image. SimGAN itself has no y; the paper's Fig. 7 shows it with one.

    Args:
        attribute_dim: length of y, which is replicated over space and concatenated with the input.
        width: feature maps (64 there).
        blocks: residual blocks (4 for eyes, 10 for hands there).
        output: "direct": x' is the head's tanh (as there). "residual": the head's output is added to x.
    """

    def __init__(self, attribute_dim: int, width: int = 64, blocks: int = 4, output: str = "direct") -> None:
        super().__init__(attribute_dim=attribute_dim, width=width, blocks=blocks, output=output)
        if output not in ("direct", "residual"):
            raise ValueError(f'output must be "direct" or "residual", not "{output}"')
        self.attribute_dim = attribute_dim
        self.side_channels = 0
        self.output = output
        self.enter = nn.Conv2d(3 + attribute_dim, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_RefinerBlock(width) for _ in range(blocks)))
        self.leave = nn.Conv2d(width, 3, 1)
        if output == "residual":
            with torch.no_grad():  # starts near the identity
                self.leave.weight.mul_(0.1)
                self.leave.bias.zero_()  # type: ignore[union-attr]

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Image (N, 3, H, W) in [-1, 1] and y (N, A) to (x' in [-1, 1], None)."""
        planes = attributes.to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        change = self.leave(self.blocks(self.enter(torch.cat([image, planes], 1)).relu()))
        return (torch.tanh(change) if self.output == "direct" else (image + change).clamp(-1, 1)), None


class LocalDiscriminator(nn.Module):
    """SimGAN's discriminator: one logit per patch of a single image ("refined": positive), and attribute logits.

    Two 3x3 stride-2 convolutions (1.5 w, w), a 3x3 maximum pool, a 3x3 and a 1x1 convolution (w / 2), a 1x1 head; w is
    64 there. The attribute head is a linear layer on the same features.

    Args:
        attribute_dim: number of attribute logits.
        image_size: side of the square input; must be divisible by 4.
        width: w.
    """

    def __init__(self, attribute_dim: int, image_size: int = 128, width: int = 64) -> None:
        super().__init__()
        if image_size % 4:
            raise ValueError(f"image_size must be divisible by 4, got {image_size}")
        half = max(1, width // 2)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, width * 3 // 2, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width * 3 // 2, width, 3, 2, 1),
            nn.ReLU(),
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(width, half, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 1),
            nn.ReLU(),
        )
        self.realism_head = nn.Conv2d(half, 1, 1)
        self.attribute_head = nn.Linear(half * (image_size // 4) ** 2, attribute_dim)

    def forward(self, x: Tensor) -> CriticOutput:
        features = self.trunk(x)
        return CriticOutput(self.realism_head(features), self.attribute_head(features.flatten(1)))

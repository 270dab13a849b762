"""The PatchGAN critic with an attribute head (paper 3.1, 4.1, Fig. 5 bottom)."""

from typing import NamedTuple

from torch import Tensor, nn


class CriticOutput(NamedTuple):
    """`realism` (N, 1, h, w): D_src, one score per patch; `attributes` (N, A): D_cls, logits."""

    realism: Tensor
    attributes: Tensor


class Discriminator(nn.Module):
    """Scores realism and classifies attributes of a pair (x, s) or of a single image (pose normalization).

    The paper's setting is `width=64, num_layers=6` at 128x128; `in_channels` is 3 + side channels for pairs.

    Args:
        attribute_dim: number of attribute logits.
        in_channels: channels of the input (N, C, H, W): the image's, plus the side image's for pairs.
        image_size: side of the square input, or (height, width).
        width: channels w of the first layer; each further layer doubles them.
        num_layers: the number of 4x4 stride-2 convolutions with leaky ReLU, without norms.
        negative_slope: of the leaky ReLU.
        init: "pytorch": PyTorch's default (the authors' code), or "he": He et al. 2015, with which signals keep their
            magnitude from layer to layer in spite of there being no norms.
    """

    def __init__(
        self,
        attribute_dim: int,
        in_channels: int = 4,
        image_size: int | tuple[int, int] = 128,
        width: int = 64,
        num_layers: int = 6,
        init: str = "pytorch",
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        height, across = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, across) < 2**num_layers or (isinstance(image_size, int) and image_size % 2**num_layers):
            raise ValueError(f"image_size must be divisible by {2**num_layers} ({num_layers} layers), got {image_size}")
        channels = in_channels
        trunk: list[nn.Module] = []
        for level in range(num_layers):
            trunk += [nn.Conv2d(channels, width * 2**level, 4, 2, 1), nn.LeakyReLU(negative_slope)]
            channels = width * 2**level
        self.trunk = nn.Sequential(*trunk)
        self.realism_head = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.attribute_head = nn.Linear(
            channels * (height >> num_layers) * (across >> num_layers), attribute_dim, bias=False
        )
        if init == "he":
            for layer in self.trunk:
                if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                    nn.init.kaiming_normal_(layer.weight, negative_slope, nonlinearity="leaky_relu")
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> CriticOutput:
        return self.heads(self.trunk(x))

    def heads(self, features: Tensor) -> CriticOutput:
        """Both heads on the trunk's features (N, C, h, w)."""
        return CriticOutput(self.realism_head(features), self.attribute_head(features.flatten(1)))

    def realism(self, x: Tensor) -> Tensor:
        """Only D_src, (N, C, H, W) to (N, 1, h, w)."""
        score: Tensor = self.realism_head(self.trunk(x))
        return score

    def realism_layers(self) -> nn.Sequential:
        """The layers that lead from the input to the realism score, for the analytic gradient penalty."""
        return nn.Sequential(*self.trunk, self.realism_head)

"""The encoder-decoder generator (paper 3.1, 4.1, Fig. 5 top)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.models.blocks import ConvNorm, Described, ResidualBlock

OUTPUTS = ("direct", "warp")
_FLOW_GRID = 16  # a flow has this many independent vectors along a side


def move(image: Tensor, flow: Tensor) -> Tensor:
    """Samples image (N, C, H, W) at each pixel's position plus flow (N, 2, H, W), in half-sides of the image (x, y).

    The flow is smoothed to a 16x16 grid first, so that it can bend a face but not break it up; outside, the border is
    repeated.
    """
    height, width = flow.shape[2:]
    block = max(1, min(height, width) // _FLOW_GRID)
    smooth = F.interpolate(F.avg_pool2d(flow, block), size=(height, width), mode="bilinear", align_corners=False)
    still = torch.eye(2, 3, dtype=flow.dtype, device=flow.device).expand(flow.shape[0], 2, 3)
    places = F.affine_grid(still, list(image.shape), align_corners=False) + smooth.permute(0, 2, 3, 1)
    return F.grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=False)


def changed(image: Tensor, head: Tensor) -> Tensor:
    """shade(move(image, flow), light) + paint, not clamped, for an image (N, C, H, W) in [-1, 1] and a head's output
    (N, C + 3, H, W): C channels of paint, two of flow, one of light. Zeros leave the image unchanged."""
    paint, flow, light = head.float().split([image.shape[1], 2, 1], 1)
    return (move(image.float(), 0.2 * flow) + 1) * (0.5 * light).exp() - 1 + 0.25 * paint


class Generator(Described):
    """Translates a face image x and its side image s to the attributes y: (x, s, y) -> (x', s').

    `encode` gives the attribute-free latent Genc(x, s), `decode` turns it into a face with attributes, Gdec(latent, y).
    The paper's setting is `width=64, num_downsamplings=4, residual_blocks=6, output="direct"`.

    Args:
        attribute_dim: length of y.
        image_channels: channels of x, values in [-1, 1].
        side_channels: channels of s, values in [-1, 1]; 0 leaves the side image out (Table 1's ablation).
        width: channels w of the first layer; each down-sampling doubles them.
        num_downsamplings: the number d of stride-2 convolutions; image sides must be divisible by 2**d.
        residual_blocks: residual blocks at the latent's resolution.
        output: "direct": x' is the head's tanh (paper). "warp", beyond the paper, for few photographs and short runs:
            x' = `changed(x, head)`, where three more channels of the head move and shade x, so that skin is preserved.
    """

    def __init__(
        self,
        attribute_dim: int,
        image_channels: int = 3,
        side_channels: int = 1,
        width: int = 64,
        num_downsamplings: int = 4,
        residual_blocks: int = 6,
        output: str = "direct",
    ) -> None:
        super().__init__(
            attribute_dim=attribute_dim,
            image_channels=image_channels,
            side_channels=side_channels,
            width=width,
            num_downsamplings=num_downsamplings,
            residual_blocks=residual_blocks,
            output=output,
        )
        if attribute_dim < 1:
            raise ValueError(f"attribute_dim must be at least 1, not {attribute_dim}")
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, not '{output}'")
        self.attribute_dim = attribute_dim
        self.side_channels = side_channels
        self.num_downsamplings = num_downsamplings
        self.output = output
        self.image_channels = image_channels

        channels = width
        encoder: list[nn.Module] = [ConvNorm(image_channels + side_channels, width, 7)]
        for _ in range(num_downsamplings):
            encoder.append(ConvNorm(channels, 2 * channels, 4, stride=2))
            channels *= 2
        encoder += [ResidualBlock(channels) for _ in range(residual_blocks)]
        self.encoder = nn.Sequential(*encoder)
        self.latent_channels = channels

        channels += attribute_dim
        decoder: list[nn.Module] = []
        for level in reversed(range(num_downsamplings)):
            # Not for the paper's output: with equal weights, the first norm would remove what y's planes add.
            alike = output != "direct"
            decoder.append(ConvNorm(channels, width * 2**level, 3, upscale_factor=2, alike_start=alike))
            channels = width * 2**level
        self.decoder = nn.Sequential(*decoder)
        painted = image_channels + (3 if output == "warp" else 0)
        self.image_head = nn.Conv2d(channels, painted, 7, padding=3, bias=False)
        self.side_head = nn.Conv2d(channels, side_channels, 7, padding=3, bias=False) if side_channels else None
        if output != "direct":
            with torch.no_grad():  # starts near the identity
                self.image_head.weight.mul_(0.1)

    def encode(self, image: Tensor, side: Tensor | None) -> Tensor:
        """Genc: image (N, 3, H, W) and side image (N, S, H, W) to the latent `(N, w 2**d, H / 2**d, W / 2**d)`."""
        factor = 2**self.num_downsamplings
        if image.shape[2] % factor or image.shape[3] % factor:
            raise ValueError(
                f"image sides must be divisible by {factor} ({self.num_downsamplings} down-samplings), "
                f"got {tuple(image.shape)}"
            )
        if not self.side_channels:
            pair = image
        elif side is None or side.shape[1] != self.side_channels:
            found = "none" if side is None else f"{side.shape[1]} channels"
            raise ValueError(f"this generator takes a side image of {self.side_channels} channels, got {found}")
        else:
            pair = torch.cat([image, side], 1)
        latent: Tensor = self.encoder(pair)
        return latent

    def decode(self, latent: Tensor, attributes: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Gdec: latent and attributes (N, A) to the image (N, 3, H, W) and the side image, in [-1, 1].

        `image`, the encoder's input, is needed unless `output` is "direct".
        """
        y = attributes.to(latent.dtype)[:, :, None, None].expand(-1, -1, *latent.shape[2:])
        features = self.decoder(torch.cat([latent, y], 1))
        side = None if self.side_head is None else torch.tanh(self.side_head(features))
        painted = self.image_head(features)
        if self.output == "direct":
            return torch.tanh(painted), side
        if image is None:
            raise ValueError(f'a generator with output="{self.output}" needs the input image to decode')
        return changed(image, painted).clamp(-1, 1), side

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.decode(self.encode(image, side), attributes, image)

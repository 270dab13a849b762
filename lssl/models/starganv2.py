"""StarGAN v2's networks (Choi et al. 2020, https://arxiv.org/abs/1912.01865): written from the paper and its appendix.

A domain is one combination of attribute values that occurs in the data; `domain_weights` says how much of each y asks for.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.models.blocks import Described
from lssl.models.generator import changed
from lssl.ops import pixel_shuffle_instance_norm

LATENT, STYLE = 16, 64  # lengths of z and s
_SLOPE = 0.2


def domain_weights(y: Tensor, kinds: Tensor, widths: Sequence[int]) -> Tensor:
    """How much of each domain y asks for: y (N, A) and the domains' own y (K, A) to (N, K) with rows that sum to 1.

    One-hot for a y that is a domain's own; between two domains for a y between theirs. widths: the lengths of y's groups,
    1 for a binary one (`AttributeGroup.width`).
    """
    weights = torch.ones(len(y), len(kinds), dtype=y.dtype, device=y.device)
    start = 0
    for width in widths:
        asked, own = y[:, start : start + width], kinds[:, start : start + width].to(y).T
        weights = weights * (asked @ own if width > 1 else asked * own + (1 - asked) * (1 - own))
        start += width
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-6)


def first_width(image_size: int) -> int:
    """The authors' channels at the pictures' resolution: 2^14 / S, at most 512."""
    return min(2**14 // image_size, 512)


class StyledGenerator(nn.Module):
    """G: image (N, 3, S, S) in [-1, 1] and style (N, 64) to (N, 3, S, S).

    log2(S) - 4 blocks halve the picture and double the channels, two more keep both; the same number, each with the style
    as scale and shift of its instance norms (AdaIN), leads back.

    Args:
        image_size: S, a power of 2, at least 16.
        width: channels at full resolution; 0: `first_width`.
        max_width: at most so many channels anywhere.
        output: "direct": the last layer's values (the authors'). "warp": as in `Generator`, for few photographs.
    """

    def __init__(self, image_size: int, width: int = 0, max_width: int = 512, output: str = "direct") -> None:
        super().__init__()
        if output not in ("direct", "warp"):
            raise ValueError(f'output must be "direct" or "warp", not "{output}"')
        self.output = output
        first = min(width or first_width(image_size), max_width)
        channels = _channels(first, max_width, _halvings(image_size) - 4)
        self.from_image = nn.Conv2d(3, first, 3, padding=1)
        self.encode = nn.ModuleList(
            _Block(a, b, normalize=True, halve=True) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.encode.extend(_Block(channels[-1], channels[-1], normalize=True) for _ in range(2))
        self.decode = nn.ModuleList(_StyledBlock(channels[-1], channels[-1]) for _ in range(2))
        self.decode.extend(
            _StyledBlock(b, a, double=True) for a, b in reversed(list(zip(channels, channels[1:], strict=False)))
        )
        self.norm = _Norm(first)
        self.to_image = nn.Conv2d(first, 6 if output == "warp" else 3, 1)
        start_he(self)
        if output == "warp":
            with torch.no_grad():  # starts near the identity
                self.to_image.weight.mul_(0.1)

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        x = self.from_image(image)
        for block in self.encode:
            x = block(x)
        for block in self.decode:
            x = block(x, style)
        head: Tensor = self.to_image(self.norm(x))
        return head if self.output == "direct" else changed(image, head)


class MappingNetwork(nn.Module):
    """F: z (N, 16) to a style for each domain, (N, K, 64)."""

    def __init__(self, domains: int, width: int = 512) -> None:
        super().__init__()
        self.shared = nn.Sequential(*_perceptron(LATENT, *[width] * 4), nn.ReLU())
        self.own = nn.ModuleList(nn.Sequential(*_perceptron(*[width] * 4, STYLE)) for _ in range(domains))
        start_he(self)

    def forward(self, z: Tensor) -> Tensor:
        shared = self.shared(z)
        return torch.stack([own(shared) for own in self.own], 1)


class StyleEncoder(nn.Module):
    """E: image (N, 3, S, S) to the style that it has in each domain, (N, K, 64)."""

    def __init__(self, domains: int, image_size: int, width: int = 0, max_width: int = 512) -> None:
        super().__init__()
        self.trunk, channels = _trunk(image_size, width, max_width)
        self.own = nn.ModuleList(nn.Linear(channels, STYLE) for _ in range(domains))
        start_he(self)

    def forward(self, image: Tensor) -> Tensor:
        features = self.trunk(image).flatten(1)
        return torch.stack([own(features) for own in self.own], 1)


class DomainDiscriminator(nn.Module):
    """D: image (N, 3, S, S) and the weights of its domains (N, K) to the logit of "real" there, (N,)."""

    def __init__(self, domains: int, image_size: int, width: int = 0, max_width: int = 512) -> None:
        super().__init__()
        self.trunk, channels = _trunk(image_size, width, max_width)
        self.head = nn.Conv2d(channels, domains, 1)
        start_he(self)

    def forward(self, image: Tensor, weights: Tensor) -> Tensor:
        return (self.head(self.trunk(image)).flatten(1) * weights).sum(1)


class StarGANv2(Described):
    """G with the mean style of each domain: what a run exports, called like `Generator`.

    Args:
        kinds: y of each domain, K rows of A numbers.
        widths: the lengths of y's groups.
        image_size, width, max_width, output: as in `StyledGenerator`.
    """

    styles: Tensor
    kinds: Tensor

    def __init__(
        self,
        kinds: Sequence[Sequence[float]],
        widths: Sequence[int],
        image_size: int,
        width: int = 0,
        max_width: int = 512,
        output: str = "direct",
    ) -> None:
        kinds = [list(map(float, kind)) for kind in kinds]
        shape = {"image_size": image_size, "width": width, "max_width": max_width, "output": output}
        super().__init__(kinds=kinds, widths=list(widths), **shape)
        self._widths = list(widths)
        self.attribute_dim = sum(widths)
        self.side_channels = 0
        self.generator = StyledGenerator(image_size, width, max_width, output)
        self.register_buffer("kinds", torch.tensor(kinds), persistent=False)
        self.register_buffer("styles", torch.zeros(len(kinds), STYLE))

    @torch.no_grad()
    def use_styles(self, mapping: nn.Module, count: int = 500) -> None:
        """Takes as each domain's style the mean of F(z) over `count` z's, always the same ones."""
        z = torch.randn(count, LATENT, generator=torch.Generator().manual_seed(0)).to(self.styles.device)
        self.styles.copy_(mapping(z).mean(0))

    def forward(self, image: Tensor, side: Tensor | None, attributes: Tensor) -> tuple[Tensor, None]:  # noqa: ARG002
        """Image (N, 3, S, S) in [-1, 1] and y (N, A) to (x' in [-1, 1], None)."""
        weights = domain_weights(attributes.to(self.styles.dtype), self.kinds, self._widths)
        return self.generator(image, (weights @ self.styles).to(image.dtype)).clamp(-1, 1), None


def start_he(network: nn.Module) -> None:
    """Weights from He's normal distribution (fan in, gain sqrt 2), biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _Norm(nn.Module):
    """Affine instance norm and leaky ReLU, fused."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(x, self.weight, self.bias, 1, activation="leaky_relu", negative_slope=_SLOPE)


class _StyledNorm(nn.Module):
    """Instance norm whose scale and shift come from the style, and leaky ReLU, fused."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(STYLE, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.affine(style).chunk(2, 1)
        return pixel_shuffle_instance_norm(x, 1 + scale, shift, 1, activation="leaky_relu", negative_slope=_SLOPE)


class _Block(nn.Module):
    """(shortcut(x) + residual(x)) / sqrt 2, with norm and activation before each 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, normalize: bool = False, halve: bool = False) -> None:
        super().__init__()
        self.halves = halve
        self.before = nn.ModuleList(_Norm(in_channels) if normalize else nn.LeakyReLU(_SLOPE) for _ in range(2))
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.second = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(self.before[0](x))
        residual = self.second(self.before[1](F.avg_pool2d(first, 2) if self.halves else first))
        x = x if self.shortcut is None else self.shortcut(x)
        return ((F.avg_pool2d(x, 2) if self.halves else x) + residual) / math.sqrt(2)


class _StyledBlock(nn.Module):
    """As `_Block`, with the style in the norms; may double the picture (nearest neighbours) before the first convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, double: bool = False) -> None:
        super().__init__()
        self.doubles = double
        self.norms = nn.ModuleList((_StyledNorm(in_channels), _StyledNorm(out_channels)))
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        first = self.norms[0](x, style)
        residual = self.second(self.norms[1](self.first(_twice(first) if self.doubles else first), style))
        x = (
            x if self.shortcut is None else self.shortcut(x)
        )  # before doubling: the same values for a quarter of the work
        return ((_twice(x) if self.doubles else x) + residual) / math.sqrt(2)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _perceptron(*widths: int) -> list[nn.Module]:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [*([nn.ReLU()] if layers else []), nn.Linear(a, b)]
    return layers


def _halvings(image_size: int) -> int:
    """log2 S; raises ValueError for a size that is not a power of 2, or too small."""
    halvings = image_size.bit_length() - 1
    if image_size < 16 or image_size != 2**halvings:
        raise ValueError(f"StarGAN v2 needs pictures whose side is a power of 2, at least 16, not {image_size}")
    return halvings


def _channels(first: int, max_width: int, blocks: int) -> list[int]:
    return [min(first * 2**block, max_width) for block in range(blocks + 1)]


def _trunk(image_size: int, width: int, max_width: int) -> tuple[nn.Sequential, int]:
    """(N, 3, S, S) to (N, C, 1, 1), and C: what encoder and discriminator share."""
    first = min(width or first_width(image_size), max_width)
    channels = _channels(first, max_width, _halvings(image_size) - 2)
    last = channels[-1]
    trunk = nn.Sequential(
        nn.Conv2d(3, first, 3, padding=1),
        *(_Block(a, b, halve=True) for a, b in zip(channels, channels[1:], strict=False)),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(last, last, 4),
        nn.LeakyReLU(_SLOPE),
    )
    return trunk, last

"""A generator that moves a face before it paints: the generator of `lssl/methods/standard.py`, beyond the paper.

An expression is a movement first, a change of light second, and only then new colours (teeth, the inside of a mouth).
So the network outputs the three separately: a smooth flow and a smooth tone, from a small picture of the face, and
paint with its opacity, from the face after the movement. Moved parts keep the photograph's own pixels, so that skin and
hair stay sharp at any size; an `Edit` can be applied to the large photograph that the crop came from.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.models.blocks import Described
from lssl.ops import pixel_shuffle_instance_norm

_WIDEST = 192  # channels of the painter's deepest levels
Affine = tuple[Tensor, Tensor]


class Edit(NamedTuple):
    """A change to a picture: flow and tone are smooth and apply at any size; paint and opacity are in network pixels.

    flow (N, 2, g, g): offset from each position to where to look, in half-sides of the picture (x, y). tone
    (N, 3, g, g): logarithm of the gain of each colour above black. paint (N, 3, S, S) in [-1, 1] covers the moved
    picture by opacity (N, 1, S, S) in [0, 1].
    """

    flow: Tensor
    tone: Tensor
    paint: Tensor
    opacity: Tensor


def look_up(image: Tensor, flow: Tensor) -> Tensor:
    """Samples image (N, C, H, W) in [-1, 1] at each pixel's position plus flow (N, 2, g, g) in half-sides; the border is
    repeated outside. Bicubic: bilinear sampling blurs small pictures, and an expression with them (docs/generated-faces.md)."""
    size = image.shape[2:]
    flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
    still = torch.eye(2, 3, dtype=flow.dtype, device=flow.device).expand(flow.shape[0], 2, 3)
    places = F.affine_grid(still, list(image.shape), align_corners=False) + flow.permute(0, 2, 3, 1)
    return F.hardtanh(F.grid_sample(image, places, mode="bicubic", padding_mode="border", align_corners=False))


def shade(image: Tensor, tone: Tensor) -> Tensor:
    """image (N, 3, H, W) in [-1, 1] with its light changed by tone (N, 3, g, g)."""
    gain = F.interpolate(tone, size=image.shape[2:], mode="bilinear", align_corners=False).exp()
    return F.hardtanh((image + 1) * gain - 1)


class ConditionalBlock(nn.Module):
    """Convolution, pixel shuffle, instance norm whose scale and shift depend on y (Dumoulin et al. 2017), activation.

    (N, in, H, W), affine -> (N, out, H * upscale_factor / stride, W * upscale_factor / stride), with `affine` the
    scale and shift (N, out) that `Conditional.affines` computes from y. In this way y affects the picture from the first
    iteration on; if it were concatenated as planes, the norm would leave little of it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        attribute_dim: int,
        kernel_size: int = 3,
        stride: int = 1,
        upscale_factor: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.upscale_factor, self.activation = upscale_factor, activation
        padding = (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels * upscale_factor**2, kernel_size, stride, padding, bias=False)
        if upscale_factor > 1:  # equal, so that training does not start from a checkerboard (Aitken et al. 2017)
            with torch.no_grad():
                copies = self.conv.weight.unflatten(0, (out_channels, upscale_factor**2))
                copies.copy_(copies[:, :1].clone().expand_as(copies))
        self.weight = nn.Parameter(torch.ones(out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.modulation = nn.Linear(attribute_dim, 2 * out_channels, bias=False)
        nn.init.normal_(self.modulation.weight, std=0.3)

    def forward(self, x: Tensor, affine: Affine) -> Tensor:
        activation = "relu" if self.activation else "none"
        return pixel_shuffle_instance_norm(self.conv(x), *affine, self.upscale_factor, activation=activation)


class Gathered(NamedTuple):
    """The parameters of all conditional blocks of a network, T output channels together; blocks one after another.

    rows (2 T, A): the modulations, first those of the scales, then those of the shifts. weight, bias (T,).
    """

    blocks: list[ConditionalBlock]
    rows: Tensor
    weight: Tensor
    bias: Tensor


class Conditional(nn.Module):
    """A network of conditional blocks, whose scales and shifts `affines` computes together: on a GPU each of many small
    operations would take as long."""

    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gathered: Gathered | None = None

    def conditional_blocks(self) -> list[ConditionalBlock]:
        return [module for module in self.modules() if isinstance(module, ConditionalBlock)]

    def set_order(self) -> None:
        """To be called when all blocks are there."""
        firsts, shifts, start = [], [], 0
        for block in self.conditional_blocks():
            count = len(block.weight)
            firsts.append(torch.arange(start, start + count))
            shifts.append(torch.arange(start + count, start + 2 * count))
            start += 2 * count
        self.register_buffer("order", torch.cat(firsts + shifts), persistent=False)

    def gather(self) -> Gathered:
        blocks = self.conditional_blocks()
        rows = torch.cat([block.modulation.weight for block in blocks]).index_select(0, self.order)
        dtype = torch.promote_types(rows.dtype, torch.float32)
        weight, bias = (torch.cat([getattr(block, name) for block in blocks]) for name in ("weight", "bias"))
        return Gathered(blocks, rows.to(dtype), weight.to(dtype), bias.to(dtype))

    def affines(self, y: Tensor) -> dict[nn.Module, Affine]:
        """The scale and shift (N, out), float32, of every conditional block for attributes y (N, A).

        They are w (1 + scale) and b (1 + scale) + shift, with a block's own w and b, and scale and shift from its
        `modulation` of y.
        """
        blocks, rows, weight, bias = self.gathered or self.gather()
        with torch.autocast(y.device.type, enabled=False):
            scale, shift = F.linear(y.to(rows.dtype), rows).chunk(2, 1)
            scale = 1 + scale
            weight, bias = weight * scale, torch.addcmul(shift, bias, scale)
        sizes = [len(block.weight) for block in blocks]
        return dict(zip(blocks, zip(weight.split(sizes, 1), bias.split(sizes, 1), strict=True), strict=True))


class ConditionalResidual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both norms conditional on y."""

    def __init__(self, channels: int, attribute_dim: int) -> None:
        super().__init__()
        self.first = ConditionalBlock(channels, channels, attribute_dim)
        self.second = ConditionalBlock(channels, channels, attribute_dim, activation=False)

    def forward(self, x: Tensor, affine: Mapping[nn.Module, Affine]) -> Tensor:
        return x + self.second(self.first(x, affine[self.first]), affine[self.second])


class Mover(Conditional):
    """(x, s) at g x g pixels and y, to a flow (N, 2, g, g) and a tone (N, 3, g, g); both start close to zero."""

    smoothing: Tensor

    def __init__(self, in_channels: int, attribute_dim: int, width: int, residual_blocks: int = 4) -> None:
        super().__init__()
        a = attribute_dim
        self.blocks = nn.ModuleList(
            [
                ConditionalBlock(in_channels, width, a, 7),
                ConditionalBlock(width, 2 * width, a, 4, stride=2),
                ConditionalBlock(2 * width, 4 * width, a, 4, stride=2),
                *(ConditionalResidual(4 * width, a) for _ in range(residual_blocks)),
                ConditionalBlock(4 * width, 2 * width, a, upscale_factor=2),
                ConditionalBlock(2 * width, width, a, upscale_factor=2),
            ]
        )
        self.head = nn.Conv2d(width, 5, 5, padding=2)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            assert self.head.bias is not None
            self.head.bias.zero_()
        self.register_buffer("smoothing", _binomial(5, 5), persistent=False)
        self.set_order()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        affine = self.affines(y)
        for block in self.blocks:
            x = block(x, affine if isinstance(block, ConditionalResidual) else affine[block])
        with torch.autocast(x.device.type, enabled=False):
            rough = F.pad(self.head(x.float()), (2, 2, 2, 2), mode="replicate")
            smooth = F.conv2d(rough, self.smoothing, groups=5)
        flow, tone = smooth.split([2, 3], 1)
        return 0.2 * flow, 0.5 * torch.tanh(tone)


class Painter(Conditional):
    """The moved (x, s) and y, to colours (N, 3, S, S) in [-1, 1] and their opacity (N, 1, S, S): a U-Net.

    smooth: whether its output has no waves of two pixels: else what it cannot make out, such as single teeth, become dots.
    """

    smoothing: Tensor

    def __init__(
        self, in_channels: int, attribute_dim: int, width: int, num_downsamplings: int, smooth: bool = False
    ) -> None:
        super().__init__()
        a = attribute_dim
        self.first = nn.Conv2d(in_channels, width, 5, padding=2)
        widths = [min(width * 2**level, _WIDEST) for level in range(num_downsamplings + 1)]
        self.down = nn.ModuleList(
            ConditionalBlock(fine, coarse, a, 4, stride=2) for fine, coarse in zip(widths, widths[1:])
        )
        self.middle = nn.ModuleList(ConditionalResidual(widths[-1], a) for _ in range(3))
        self.up = nn.ModuleList()
        channels = widths[-1]
        for level in reversed(range(num_downsamplings)):
            self.up.append(ConditionalBlock(channels, widths[level], a, upscale_factor=2))
            channels = 2 * widths[level]  # with the skipped features
        self.last = ConditionalBlock(channels, width, a)
        self.head = nn.Conv2d(width, 4, 5, padding=2)
        with torch.no_grad():
            self.head.weight.mul_(0.3)
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -2.0]))  # nearly transparent
        self.smooth = smooth
        self.register_buffer("smoothing", _binomial(3, 4), persistent=False)
        self.set_order()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        affine = self.affines(y)
        features = torch.relu(self.first(x))
        skipped = [features]
        for block in self.down:
            features = block(features, affine[block])
            skipped.append(features)
        features = skipped.pop()
        for block in self.middle:
            features = block(features, affine)
        for block in self.up:
            features = torch.cat([block(features, affine[block]), skipped.pop()], 1)
        with torch.autocast(x.device.type, enabled=False):
            painted = self.head(self.last(features.float(), affine[self.last]))
            if self.smooth:
                painted = F.conv2d(F.pad(painted, (1, 1, 1, 1), mode="replicate"), self.smoothing, groups=4)
        colours, opacity = painted.split([3, 1], 1)
        return colours, torch.sigmoid(opacity)


class MovingGenerator(Described):
    """Translates a face x and its side image s to the attributes y: (x, s, y) -> (x', s'); called like `Generator`.

    s' is s after the movement: the landmarks go where the flow carries them. With `takes_source`, also (x, s, y, y_source),
    where y_source is what x shows. People differ, and who has a wide mouth seems to smile: a generator that is told
    that this face does not knows that its mouth has all the way to go.

    Args:
        attribute_dim: length of y.
        image_size: side S of the pictures, at least 16 and divisible by 2**d, where d is `painter_levels`.
        side_channels: channels of s, values in [-1, 1]; 0 leaves the side image out.
        width: channels of the painter's first layer.
        movement_width: channels of the mover's first layer.
        takes_source: whether y_source is an input. At first it changes nothing.
        paint_size: the side at which the painter works, if less than S; what it paints is enlarged. Then it is this that
            must be at least 16 and divisible by 2**d.
        smooth_paint: whether the paint has no waves of two pixels (`Painter`).
    """

    image_channels = 3

    def __init__(
        self,
        attribute_dim: int,
        image_size: int,
        side_channels: int = 1,
        width: int = 24,
        movement_width: int = 32,
        takes_source: bool = False,
        paint_size: int | None = None,
        smooth_paint: bool = False,
    ) -> None:
        super().__init__(
            attribute_dim=attribute_dim,
            image_size=image_size,
            side_channels=side_channels,
            width=width,
            movement_width=movement_width,
            takes_source=takes_source,
            paint_size=paint_size,
            smooth_paint=smooth_paint,
        )
        if attribute_dim < 1:
            raise ValueError(f"attribute_dim must be at least 1, not {attribute_dim}")
        painted = paint_size or image_size
        levels = painter_levels(painted)
        if painted % 2**levels or not 16 <= painted <= image_size:
            name = "paint_size must be at most image_size," if paint_size else "image_size must be"
            raise ValueError(f"{name} at least 16 and divisible by {2**levels}, not {painted}")
        self.attribute_dim, self.image_size, self.side_channels = attribute_dim, image_size, side_channels
        self.paint_size = painted
        self.grid, self.takes_source = grid_size(image_size), takes_source
        conditions = attribute_dim * (2 if takes_source else 1)
        self.mover = Mover(3 + side_channels, conditions, movement_width)
        self.painter = Painter(3 + side_channels, conditions, width, levels, smooth_paint)
        with torch.no_grad():
            for block in self.modules():
                if isinstance(block, ConditionalBlock):
                    block.modulation.weight[:, attribute_dim:].zero_()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Passes within share what does not depend on the pictures or y, and its gradients. Weights must not change."""
        networks = (self.mover, self.painter)
        for network in networks:
            network.gathered = network.gather()
        try:
            yield
        finally:
            for network in networks:
                network.gathered = None

    def conditions(self, attributes: Tensor, source: Tensor | None = None) -> Tensor:
        """What the blocks are conditioned on: attributes (N, A), with `takes_source` also the source (N, A); without it, 0."""
        if not self.takes_source:
            return attributes
        return torch.cat([attributes, torch.zeros_like(attributes) if source is None else source.to(attributes)], 1)

    def move(
        self, image: Tensor, side: Tensor | None, attributes: Tensor, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Only the flow and the tone, see `Edit`."""
        pair = self._pair(image, side)
        small = F.interpolate(pair, size=(self.grid, self.grid), mode="area")
        flow, tone = self.mover(small, self.conditions(attributes, source).to(pair.dtype))
        return flow.float(), tone.float()

    def edit(
        self, image: Tensor, side: Tensor | None, attributes: Tensor, source: Tensor | None = None
    ) -> tuple[Edit, Tensor, Tensor | None]:
        """The edit, and the picture and its side image after movement and tone but without paint.

        image (N, 3, S, S) and side (N, C, S, S) in [-1, 1], attributes (N, A), source (N, A): see `forward`.
        """
        flow, tone = self.move(image, side, attributes, source)
        moved = look_up(self._pair(image, side).float(), flow)
        moved_image, moved_side = moved.split([3, self.side_channels], 1) if self.side_channels else (moved, None)
        moved_image = shade(moved_image, tone)
        seen = moved_image if moved_side is None else torch.cat([moved_image, moved_side], 1)
        if self.paint_size < self.image_size:
            seen = F.interpolate(seen, size=(self.paint_size, self.paint_size), mode="area")
        colours, opacity = self.painter(seen, self.conditions(attributes, source).to(seen.dtype))
        if self.paint_size < self.image_size:
            painted = torch.cat([colours, opacity], 1)
            painted = F.interpolate(painted, size=image.shape[2:], mode="bilinear", align_corners=False)
            colours, opacity = painted.split([3, 1], 1)
        paint = F.hardtanh(moved_image + 2 * torch.tanh(colours.float()))
        return Edit(flow, tone, paint, opacity.float()), moved_image, moved_side

    def forward(
        self, image: Tensor, side: Tensor | None, attributes: Tensor, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """attributes (N, A): what the results should show. source (N, A): what the pictures show; 0, or None, where it is
        not known, and ignored without `takes_source`."""
        edit, moved, moved_side = self.edit(image, side, attributes, source)
        return moved + edit.opacity * (edit.paint - moved), moved_side

    def _pair(self, image: Tensor, side: Tensor | None) -> Tensor:
        if image.shape[2:] != (self.image_size, self.image_size):
            raise ValueError(f"this generator takes pictures of {self.image_size} pixels, got {tuple(image.shape)}")
        if not self.side_channels:
            return image
        if side is None or side.shape[1] != self.side_channels:
            found = "none" if side is None else f"{side.shape[1]} channels"
            raise ValueError(f"this generator takes a side image of {self.side_channels} channels, got {found}")
        return torch.cat([image, side], 1)


def _binomial(taps: int, channels: int) -> Tensor:
    """(channels, 1, taps, taps): the weights of a low-pass filter for each of the channels."""
    row = torch.tensor([float(math.comb(taps - 1, k)) for k in range(taps)]) / 2 ** (taps - 1)
    return (row[:, None] * row)[None, None].repeat(channels, 1, 1, 1)


def painter_levels(size: int) -> int:
    """The number of the painter's down-samplings of pictures of `size` pixels a side."""
    return max(2, (size // 32).bit_length() - 1)


def grid_size(image_size: int) -> int:
    """The side g of flow and tone: half the picture's, at most 64 (at `Framing`'s scale, 16 between the eyes)."""
    return min(64, max(16, image_size // 2)) // 4 * 4

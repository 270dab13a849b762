"""Generator, discriminator, parser: the paper's shapes, what is configurable, errors."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lssl.models import Discriminator, FaceParser, Generator
from lssl.models.blocks import ConvNorm
from lssl.models.generator import move


def convolutions(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, nn.Conv2d)]


@pytest.fixture(scope="module")
def paper_generator() -> Generator:
    with torch.device("meta"):
        return Generator(attribute_dim=8, side_channels=3)


def test_paper_encoder_shapes(paper_generator):
    expected = [(64, 6, 7, 7), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1024, 512, 4, 4)]
    expected += [(1024, 1024, 3, 3)] * 12
    assert convolutions(paper_generator.encoder) == expected


def test_paper_decoder_shapes(paper_generator):
    # 3x3 to four times half the channels, then the shuffle quarters them
    expected = [(4 * 512, 1024 + 8, 3, 3), (4 * 256, 512, 3, 3), (4 * 128, 256, 3, 3), (4 * 64, 128, 3, 3)]
    assert convolutions(paper_generator.decoder) == expected
    assert paper_generator.image_head.weight.shape == (3, 64, 7, 7)
    assert paper_generator.side_head.weight.shape == (3, 64, 7, 7)


def test_paper_generator_parameter_count(paper_generator):
    convolution = (
        49 * 6 * 64
        + 16 * (64 * 128 + 128 * 256 + 256 * 512 + 512 * 1024)
        + 12 * 9 * 1024**2
        + 9 * (1032 * 2048 + 512 * 1024 + 256 * 512 + 128 * 256)
        + 2 * 49 * 64 * 3
    )
    norms = 2 * (64 + 128 + 256 + 512 + 1024 + 12 * 1024 + 512 + 256 + 128 + 64)
    assert sum(p.numel() for p in paper_generator.parameters()) == convolution + norms


def test_paper_discriminator_shapes():
    with torch.device("meta"):
        critic = Discriminator(8, in_channels=6)
    expected = [(64, 6, 4, 4)] + [(64 * 2 ** (k + 1), 64 * 2**k, 4, 4) for k in range(5)]
    assert convolutions(critic.trunk) == expected
    assert critic.realism_head.weight.shape == (1, 2048, 3, 3)
    assert critic.attribute_head.weight.shape == (8, 2048 * 2 * 2)
    assert all(m.negative_slope == 0.01 for m in critic.trunk if isinstance(m, nn.LeakyReLU))
    output = critic(torch.zeros(2, 6, 128, 128, device="meta"))
    assert output.realism.shape == (2, 1, 2, 2)
    assert output.attributes.shape == (2, 8)


@pytest.mark.parametrize(("downs", "size"), [(1, 16), (2, 16), (3, 32)])
@pytest.mark.parametrize("output", ["direct", "warp"])
@pytest.mark.parametrize("side_channels", [0, 1, 3])
def test_generator_shapes_and_range(downs, size, output, side_channels):
    torch.manual_seed(0)
    network = Generator(
        3, side_channels=side_channels, width=4, num_downsamplings=downs, residual_blocks=1, output=output
    )
    image = torch.rand(2, 3, size, size) * 2 - 1
    side = torch.rand(2, side_channels, size, size) * 2 - 1 if side_channels else None
    latent = network.encode(image, side)
    assert latent.shape == (2, 4 * 2**downs, size // 2**downs, size // 2**downs)
    fake, fake_side = network(image, side, torch.eye(3)[:2])
    assert fake.shape == image.shape
    assert fake.abs().max() <= 1
    assert (fake_side is None) == (side_channels == 0)
    if fake_side is not None:
        assert fake_side.shape == side.shape


def test_attributes_change_the_output():
    torch.manual_seed(0)
    network = Generator(2, width=4, num_downsamplings=2, residual_blocks=1)
    image, side = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    latent = network.encode(image, side)
    a, _ = network.decode(latent, torch.tensor([[1.0, 0.0]]))
    b, _ = network.decode(latent, torch.tensor([[0.0, 1.0]]))
    assert not torch.allclose(a, b)


def test_generator_equals_plain_pytorch():
    """The fused blocks against conv, pixel shuffle, InstanceNorm2d and ReLU with the same weights."""
    torch.manual_seed(0)
    network = Generator(2, width=4, num_downsamplings=1, residual_blocks=1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)

    def norm(block, x):
        return nn.functional.instance_norm(x, weight=block.weight, bias=block.bias, eps=1e-5)

    image, side, y = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8), torch.eye(2)
    x = torch.cat([image, side], 1)
    for block in network.encoder[:2]:
        x = norm(block, block.conv(x)).relu()
    first, second = network.encoder[2].first, network.encoder[2].second
    x = x + norm(second, second.conv(norm(first, first.conv(x)).relu()))
    x = torch.cat([x, y[:, :, None, None].expand(-1, -1, 4, 4)], 1)
    for block in network.decoder:
        x = norm(block, nn.functional.pixel_shuffle(block.conv(x), 2)).relu()
    fake, fake_side = network(image, side, y)
    torch.testing.assert_close(fake, network.image_head(x).tanh(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fake_side, network.side_head(x).tanh(), rtol=1e-4, atol=1e-5)


def test_realism_layers_are_the_forward():
    torch.manual_seed(0)
    critic = Discriminator(2, 4, 16, 4, 3)
    x = torch.randn(2, 4, 16, 16)
    assert torch.equal(critic.realism_layers()(x), critic(x).realism)
    assert torch.equal(critic.realism(x), critic(x).realism)


def test_settings_rebuild_the_generator():
    network = Generator(3, side_channels=0, width=4, num_downsamplings=1, residual_blocks=2, output="warp")
    other = Generator(**network.settings())
    assert {k: v.shape for k, v in other.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_parser_is_a_unet_of_depthwise_blocks():
    network = FaceParser(width=8, num_levels=2).eval()
    assert network(torch.zeros(1, 3, 16, 24)).shape == (1, 4, 16, 24)
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 2 * 2 + 2
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)


def test_errors():
    with pytest.raises(ValueError, match="divisible by 4"):
        Generator(2, width=4, num_downsamplings=2)(
            torch.zeros(1, 3, 18, 18), torch.zeros(1, 1, 18, 18), torch.zeros(1, 2)
        )
    with pytest.raises(ValueError, match="side image of 1 channels, got none"):
        Generator(2, width=4, num_downsamplings=1).encode(torch.zeros(1, 3, 8, 8), None)
    with pytest.raises(ValueError, match="at least 1"):
        Generator(0)
    with pytest.raises(ValueError, match="direct"):
        Generator(2, output="sigmoid")
    with pytest.raises(ValueError, match="must be divisible by 64"):
        Discriminator(2, image_size=96)
    with pytest.raises(ValueError, match="divisible by 16"):
        FaceParser()(torch.zeros(1, 3, 24, 24))


def test_move_by_nothing_and_by_a_shift():
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(move(image, torch.zeros(2, 2, 32, 32)), image)
    right = torch.zeros(2, 2, 32, 32)
    right[:, 0] = 2 * 4 / 32  # half-sides: 4 pixels
    torch.testing.assert_close(move(image, right)[..., :-4], image[..., 4:])


def test_a_warped_output_starts_near_the_input():
    torch.manual_seed(0)
    network = Generator(2, side_channels=0, width=8, num_downsamplings=2, residual_blocks=1, output="warp")
    image = F.interpolate(torch.rand(1, 3, 4, 4) * 2 - 1, size=(32, 32), mode="bilinear")
    assert (network(image, None, torch.eye(2)[:1])[0] - image).abs().mean() < 0.1


def test_subpixel_channels_start_alike():
    block = ConvNorm(4, 3, 3, upscale_factor=2, alike_start=True)
    weight = block.conv.weight.reshape(3, 4, 4, 3, 3)
    assert torch.equal(weight, weight[:, :1].expand_as(weight))
    assert not torch.equal(weight[0], weight[1])

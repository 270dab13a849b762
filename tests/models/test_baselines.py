"""StarGAN, StarGAN v2, CycleGAN, IcGAN: the papers' shapes and numbers of parameters, what y does, export and reload."""

import pytest
import torch
from torch import nn

from lssl.data import AttributeSchema
from lssl.models import Discriminator
from lssl.models.cyclegan import CycleGANGenerator, DomainGenerator, PatchDiscriminator, faithful
from lssl.models.export import TrainedGenerator, load_generator, save_generator
from lssl.models.icgan import ConditionalDiscriminator, Encoder, IcGAN, LatentGenerator
from lssl.models.stargan import StarGANGenerator
from lssl.models.starganv2 import (
    DomainDiscriminator,
    MappingNetwork,
    StarGANv2,
    StyledGenerator,
    StyleEncoder,
    domain_weights,
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("attributes", "generator", "critic"),
    [(2, 8_421_120, 44_737_472), (7, 8_436_800, 44_778_432), (8, 8_439_936, 44_786_624)],
)
def test_stargan_parameters_at_128(attributes, generator, critic):
    with torch.device("meta"):
        assert count(StarGANGenerator(attributes)) == generator
        assert count(Discriminator(attributes, in_channels=3, image_size=128)) == critic


@pytest.mark.parametrize(
    ("domains", "mapping", "encoder", "critic"),
    [(2, 2_438_272, 20_799_744, 20_735_106), (7, 6_542_272, 20_963_904, 20_737_671)],
)
def test_starganv2_parameters_at_128(domains, mapping, encoder, critic):
    with torch.device("meta"):
        assert count(StyledGenerator(128)) == 33_632_003
        assert count(MappingNetwork(domains)) == mapping
        assert count(StyleEncoder(domains, 128)) == encoder
        assert count(DomainDiscriminator(domains, 128)) == critic
    with pytest.raises(ValueError, match="not 96"):
        StyledGenerator(96)


def test_starganv2s_styles():
    torch.manual_seed(0)
    network = StarGANv2(torch.eye(3).tolist(), [3], 16, width=4)
    mapping = MappingNetwork(3, width=8)
    network.use_styles(mapping)
    torch.testing.assert_close(network.styles, mapping(torch.randn(200_000, 16)).mean(0), atol=0.15, rtol=0)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    half = network(image, None, torch.tensor([[0.5, 0.5, 0.0]]))[0]
    torch.testing.assert_close(half, network.generator(image, network.styles[None, :2].mean(1)).clamp(-1, 1))


def test_starganv2s_domains_are_combinations_of_values():
    kinds = torch.tensor(
        [[1.0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    )  # three expressions, and glasses without the first
    assert torch.equal(domain_weights(kinds, kinds, [3, 1]), torch.eye(3))
    assert torch.equal(
        domain_weights(torch.tensor([[0, 0.25, 0.75, 1]]), kinds, [3, 1]), torch.tensor([[0, 0.25, 0.75]])
    )


def test_cyclegan_parameters():
    with torch.device("meta"):
        assert count(DomainGenerator(residual_blocks=6)) == 7_837_699
        assert count(DomainGenerator(residual_blocks=9)) == 11_378_179
        assert count(PatchDiscriminator()) == 2_764_737
        assert count(CycleGANGenerator(2)) + 2 * count(PatchDiscriminator()) == 21_204_872
        assert count(CycleGANGenerator(7)) == 6 * 2 * 7_837_699
    assert PatchDiscriminator(width=2)(torch.zeros(1, 3, 128, 128)).shape == (1, 1, 14, 14)


def test_icgan_parameters():
    with torch.device("meta"):
        assert count(LatentGenerator(7, 64)) == 3_635_011
        assert count(ConditionalDiscriminator(7, 64)) == 2_780_865
        small, large = IcGAN(7, 64), IcGAN(7, 128)
        assert count(small.encoder_z) == 18_278_244
        assert count(small.encoder_y) == 3_181_319
        assert count(large.generator) == 12_903_235
        assert count(ConditionalDiscriminator(7, 128)) == 11_180_737
        assert count(large.encoder_y) == 9_472_775
        # five convolutions and a layer of 4,096
        assert large.encoder_z.layers[-4].weight.shape == (4096, 512 * 4 * 4)


def test_icgan_starts_as_its_authors_say():
    torch.manual_seed(0)
    network = Encoder(100, 64)
    convolution, norm = network.layers[3], network.layers[4]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert convolution.bias.abs().max() == 0
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
    assert norm.bias.abs().max() == 0
    with pytest.raises(ValueError, match="not 96"):
        IcGAN(2, 96)


def with_styles(output: str) -> StarGANv2:
    network = StarGANv2(torch.eye(3).tolist(), [3], 16, width=4, output=output)
    network.use_styles(MappingNetwork(3, width=8))
    return network


SMALL = [
    StarGANGenerator(3, width=4, residual_blocks=1),
    StarGANGenerator(3, width=4, residual_blocks=1, output="warp"),
    with_styles("direct"),
    with_styles("warp"),
    CycleGANGenerator(3, width=4, residual_blocks=1),
    CycleGANGenerator(3, width=4, residual_blocks=1, output="warp"),
    IcGAN(3, 16, width=4),
    IcGAN(3, 32, width=4),
]


@pytest.mark.parametrize("network", SMALL)
def test_a_trained_one_is_one_generator_among_others(network, tmp_path):
    torch.manual_seed(0)
    size = network.settings().get("image_size", 16)
    schema = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"]})
    trained = TrainedGenerator(network.eval(), schema, size)
    save_generator(tmp_path / "generator.safetensors", trained)
    loaded = load_generator(tmp_path)
    assert type(loaded.network) is type(network)
    image, y = torch.rand(4, 3, size, size) * 2 - 1, torch.eye(3)[[0, 1, 2, 2]]
    made = loaded.translate(image, None, y)
    assert made.shape == image.shape
    assert made.abs().max() <= 1
    assert torch.equal(made, trained.translate(image, None, y))
    assert not torch.equal(made, trained.translate(image, None, y.roll(1, 0)))


@pytest.mark.parametrize("network", [StarGANGenerator(2, 4, 1, "warp"), DomainGenerator(4, 1, "warp")])
def test_a_moving_head_at_zero_leaves_the_picture(network):
    head = network.image_head if isinstance(network, StarGANGenerator) else network.layers[-1]
    with torch.no_grad():
        for values in head.parameters():
            values.zero_()
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    made = network(image, None, torch.eye(2))[0] if isinstance(network, StarGANGenerator) else network(image)
    torch.testing.assert_close(made, image, atol=1e-5, rtol=0)


class _Adds(nn.Module):
    """Marks the picture with the generator that it passed."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 10 * image + self.number


def marked(values: int) -> CycleGANGenerator:
    network = CycleGANGenerator(values, width=4, residual_blocks=1)
    network.there = nn.ModuleList(_Adds(k + 1) for k in range(len(network.there)))
    network.back = nn.ModuleList(_Adds(k + 5) for k in range(len(network.back)))
    return network


def route(network: CycleGANGenerator, source: int | None, target: int) -> float:
    y = torch.eye(network.attribute_dim) if network.attribute_dim > 1 else torch.tensor([[0.0], [1.0]])
    given = None if source is None else y[[source]]
    return network(torch.zeros(1, 3, 4, 4), None, y[[target]], given)[0].max().item()


def test_cyclegan_takes_the_pair_of_source_and_target():
    network = marked(4)
    assert route(network, 0, 2) == 2  # one generator: neutral to 2
    assert route(network, 3, 0) == 7  # 3 to neutral
    assert route(network, 1, 3) == 53  # composed
    assert route(network, 2, 2) == 2  # identity pass of the generator that ends there
    assert route(network, 0, 0) == 5
    assert route(network, None, 3) == 3  # treated as neutral
    assert route(network, None, 0) == 5
    source, target = torch.tensor([0, 3, 1, 2, 0]), torch.tensor([2, 0, 3, 2, 0])
    assert faithful(source, target).tolist() == [True, True, False, True, True]
    y = torch.eye(4)
    mixed = network(torch.zeros(5, 3, 4, 4), None, y[target], y[source])[0][:, 0, 0, 0]
    assert mixed.tolist() == [2, 7, 53, 2, 5]


@pytest.mark.parametrize("values", [1, 2])
def test_cyclegan_of_two_values_needs_no_source(values):
    network = marked(values)
    assert route(network, None, 1) == route(network, 0, 1) == 1
    assert route(network, None, 0) == route(network, 1, 0) == 5


def test_stargan_keeps_what_y_says_and_takes_each_picture_alone():
    torch.manual_seed(0)
    network = StarGANGenerator(2, width=4, residual_blocks=1).train()
    image, y = torch.rand(3, 3, 16, 16) * 2 - 1, torch.eye(2)[[0, 1, 0]]
    together = network(image, None, y)[0]
    alone = network.eval()(image[1:2], None, y[1:2])[0]
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)
    assert (network(image, None, 1 - y)[0] - together).abs().max() > 1e-3

"""The generator that moves before it paints."""

import pytest
import torch

from lssl.data import AttributeSchema
from lssl.models.export import TrainedGenerator, load_generator, save_generator
from lssl.models.moving import MovingGenerator, look_up, shade


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MovingGenerator(2, 32, width=4, movement_width=4)


@pytest.mark.parametrize("size", [32, 64, 96, 128])
@pytest.mark.parametrize("sides", [0, 1])
def test_shapes_follow_the_size(size, sides):
    network = MovingGenerator(3, size, sides, 4, 4)
    image = torch.rand(2, 3, size, size) * 2 - 1
    side = torch.rand(2, sides, size, size) if sides else None
    made, moved_side = network(image, side, torch.eye(3)[:2])
    assert made.shape == image.shape
    assert made.abs().max() <= 1
    assert (moved_side is None) == (side is None)
    made.mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_it_starts_near_its_input_and_y_reaches_the_picture(network):
    c = torch.linspace(-1, 1, 32)
    image = torch.sin(3 * c)[None, None, :, None] * torch.cos(2 * c)[None, None, None, :].expand(2, 3, 32, 32) * 0.8
    side = torch.zeros(2, 1, 32, 32)
    one, other = (network(image, side, y)[0] for y in (torch.eye(2), torch.eye(2).flip(0)))
    assert (one - image).abs().mean() < 0.2
    assert (one - other).abs().mean() > 0.01 * one.std()


def test_a_still_flow_leaves_the_picture_and_a_constant_one_shifts_it():
    image = torch.rand(1, 3, 24, 24) * 2 - 1
    torch.testing.assert_close(look_up(image, torch.zeros(1, 2, 8, 8)), image, atol=1e-5, rtol=0)
    shifted = look_up(image, torch.tensor([2 / 24 * 3, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 8, 8))
    torch.testing.assert_close(shifted[..., :-3], image[..., 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(shade(image, torch.zeros(1, 3, 8, 8)), image)
    brighter = shade(image, torch.full((1, 3, 8, 8), 0.2))
    assert (brighter >= image).all()


def test_paint_of_a_smaller_picture_is_enlarged(network):
    """The same weights in pictures of twice the size, which hold nothing finer: the same paint, enlarged."""
    large = MovingGenerator(2, 64, width=4, movement_width=4, paint_size=32)
    large.load_state_dict(network.state_dict())
    with torch.no_grad():
        for mover in (network.mover, large.mover):
            mover.head.weight.zero_()  # no movement: their flows' grids differ
        image, side, y = torch.rand(1, 3, 32, 32) * 0.8, torch.rand(1, 1, 32, 32), torch.eye(2)[:1]
        small = network.edit(image, side, y)[0]
        enlarged = [plane.repeat_interleave(2, 2).repeat_interleave(2, 3) for plane in (image, side)]
        edit = large.edit(*enlarged, y)[0]
    expected = torch.nn.functional.interpolate(small.opacity, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(edit.opacity, expected, atol=1e-4, rtol=0)
    assert small.opacity.std() > 0.003  # else the comparison would say nothing
    assert large.settings()["paint_size"] == 32


def test_smooth_paint_has_no_waves_of_two_pixels():
    torch.manual_seed(0)
    waves = {}
    for smooth in (False, True):
        network = MovingGenerator(2, 32, width=4, movement_width=4, smooth_paint=smooth)
        opacity = network.edit(torch.rand(4, 3, 32, 32), torch.rand(4, 1, 32, 32), torch.eye(2).repeat(2, 1))[0].opacity
        spectrum = torch.fft.rfft(torch.logit(opacity) - torch.logit(opacity).mean((2, 3), keepdim=True), dim=3).abs()
        waves[smooth] = spectrum[..., -1].mean() / spectrum.mean()
    assert waves[True] < 0.4 * waves[False]


def test_half_a_pixel_hardly_blurs():
    """A wave of four pixels keeps its height, of which bilinear sampling would leave cos(pi / 4) = 0.71."""
    wave = torch.sin(torch.arange(32) * torch.pi / 2 + 0.4) * 0.9
    shifted = look_up(wave.expand(1, 1, 32, 32), torch.tensor([1 / 32, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 8, 8))
    assert shifted[..., 4:-4].std() > 0.85 * wave[4:-4].std()
    assert look_up(wave.sign().expand(1, 1, 32, 32), torch.full((1, 2, 8, 8), 0.02)).abs().max() <= 1


def test_export_round_trip(network, tmp_path):
    schema = AttributeSchema.from_columns({"expression": ["happy", "neutral"]})
    trained = TrainedGenerator(network.eval(), schema, 32)
    save_generator(tmp_path / "generator.safetensors", trained)
    loaded = load_generator(tmp_path / "generator.safetensors")
    image, points = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 68, 2) * 30
    y = torch.eye(2)[:1]
    assert torch.equal(loaded.translate(image, points, y), trained.translate(image, points, y))


def test_wrong_inputs_are_named(network):
    with pytest.raises(ValueError, match="side image of 1 channels, got none"):
        network(torch.zeros(1, 3, 32, 32), None, torch.eye(2)[:1])
    with pytest.raises(ValueError, match="pictures of 32 pixels"):
        network(torch.zeros(1, 3, 64, 64), None, torch.eye(2)[:1])
    with pytest.raises(ValueError, match="image_size must be"):
        MovingGenerator(2, 66)
    with pytest.raises(ValueError, match="paint_size must be at most image_size"):
        MovingGenerator(2, 64, paint_size=128)


def test_what_a_face_shows_is_an_input_that_begins_without_effect(tmp_path):
    torch.manual_seed(0)
    network = MovingGenerator(2, 32, width=4, movement_width=4, takes_source=True)
    given = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(2, 1, 32, 32), torch.eye(2)
    untold = network(*given)[0]
    assert torch.equal(network(*given, torch.eye(2).flip(0))[0], untold)
    network(*given, torch.eye(2))[0].mean().backward()
    weights = [m.modulation.weight for m in network.modules() if hasattr(m, "modulation")]
    assert all(weight.shape[1] == 4 and weight.grad[:, 2:].any() for weight in weights)
    with torch.no_grad():
        for weight in weights:
            weight[:, 2:] = 0.5 * torch.randn_like(weight[:, 2:])
    assert torch.equal(network(*given, torch.zeros(2, 2))[0], network(*given)[0])
    assert not torch.allclose(network(*given, torch.eye(2))[0], untold)

    trained = TrainedGenerator(network.eval(), AttributeSchema.from_columns({"expression": ["happy", "neutral"]}), 32)
    save_generator(tmp_path / "generator.safetensors", trained)
    loaded, points = load_generator(tmp_path / "generator.safetensors"), torch.rand(2, 68, 2) * 30
    told, not_told = (loaded.translate(given[0], points, given[2], source) for source in (torch.eye(2), None))
    assert torch.equal(told, trained.translate(given[0], points, given[2], torch.eye(2)))
    assert not torch.equal(told, not_told)


def test_a_generator_that_takes_no_source_ignores_it(network):
    given = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(2, 1, 32, 32), torch.eye(2)
    assert torch.equal(network(*given, torch.eye(2))[0], network(*given)[0])


def test_gathered_passes_have_the_values_and_gradients_of_single_ones():
    torch.manual_seed(0)
    network = MovingGenerator(2, 32, width=4, movement_width=4, takes_source=True)
    given = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 1, 32, 32) * 2 - 1

    def there_and_back() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        network.zero_grad()
        image, side = network(*given, torch.eye(2), torch.eye(2).flip(0))
        back = network(image, side, torch.eye(2).flip(0), torch.eye(2))[0]
        (back * torch.linspace(-1, 1, 32)).mean().backward()
        return back.detach(), {name: p.grad.clone() for name, p in network.named_parameters()}

    single, gradients = there_and_back()
    with network.gathering():
        gathered, others = there_and_back()
    assert torch.equal(gathered, single)
    assert gradients["mover.blocks.0.modulation.weight"].any()
    torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        network.mover.blocks[0].weight.mul_(2)
    assert not torch.equal(network(*given, torch.eye(2))[0], single)  # nothing is held beyond the block

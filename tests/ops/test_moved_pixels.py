"""moved_pixels: the formula's values, its border, bad input. What an edit does: tests/inference/test_full_size.py."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from lssl.data.tiles import bicubic
from lssl.ops.moved_pixels import NATIVE, lanczos, moved_pixels, moved_pixels_reference

pytestmark = pytest.mark.skipif(not NATIVE, reason="the native operators are not built")


def a_call(seed: int, height: int, width: int, size: int, grid: int, scale: float, angle: float) -> list[torch.Tensor]:
    """A photograph of soft noise, and an edit with sharp paint whose mask and shift reach beyond the photograph's border."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height // 3 + 2, width // 3 + 2, generator=g)
    photograph = (255 * interpolate(noise, (height, width), mode="bilinear")[0]).byte().movedim(0, -1).contiguous()
    smooth = interpolate(torch.randn(1, 5, 4, 4, generator=g), (grid, grid), mode="bicubic", align_corners=True)[0]
    paint = torch.rand(4, size, size, generator=g) * 3 - 1.5
    paint[0] = (paint[0].clamp(0, 1) > 0.7).float() * 0.9
    mask = (torch.rand(size, size, generator=g) * 1.4 - 0.2).clamp(0, 1)
    turn = torch.tensor([[torch.tensor(angle).cos(), torch.tensor(angle).sin()]], dtype=torch.float64)
    matrix = scale * torch.cat([turn, turn.flip(1) * torch.tensor([-1.0, 1.0])])
    offset = torch.tensor([size / 2, size / 2]) - matrix @ torch.tensor([width / 2, height / 2], dtype=torch.float64)
    return [photograph, 4 * smooth[:2], 0.4 * smooth[2:], paint, mask, torch.cat([matrix, offset[:, None]], 1)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 99),
    st.tuples(st.integers(1, 70), st.integers(1, 90)),
    st.sampled_from([(16, 16), (32, 16), (64, 32)]),
    st.floats(0.2, 1.5),
    st.floats(-3.0, 3.0),
)
def test_values_are_the_formulas(
    seed: int, shape: tuple[int, int], sizes: tuple[int, int], scale: float, angle: float
) -> None:
    call = a_call(seed, *shape, *sizes, scale, angle)
    made = moved_pixels(*call, (0, 0, shape[1], shape[0]))
    away = (made.int() - moved_pixels_reference(*call).int()).abs()
    assert away.max() <= 1  # float32 and float64 round a few values differently
    assert (away > 0).sum() <= max(3, 0.005 * away.numel())


def test_pixels_outside_the_box_are_left_and_samples_may_lie_apart() -> None:
    call = a_call(0, 120, 150, 32, 16, 0.2, 0.1)
    whole = moved_pixels(*call, (0, 0, 150, 120))
    part = moved_pixels(*call, (40, 30, 90, 80))
    expected = call[0].clone()
    assert not torch.equal(whole, expected)
    assert torch.equal(part[:30], expected[:30])
    assert torch.equal(part[30:80, :40], expected[30:80, :40])
    away = (moved_pixels(*call, (0, 0, 150, 120), 2).int() - whole.int()).abs()
    assert 0 < away.max() <= 6


def test_any_number_of_threads_gives_the_same_bits() -> None:
    call = a_call(1, 300, 300, 64, 32, 0.2, 0.3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = moved_pixels(*call, (0, 0, 300, 300), 3)
        torch.set_num_threads(3)
        assert torch.equal(moved_pixels(*call, (0, 0, 300, 300), 3), alone)
    finally:
        torch.set_num_threads(threads)


def test_torch_knows_it_and_wrong_input_is_refused() -> None:
    photograph, shift, tone, paint, mask, similarity = a_call(0, 20, 30, 16, 16, 0.5, 0.0)
    smooth = torch.cat([shift, tone, torch.zeros(3, 16, 16)]).permute(1, 2, 0).contiguous()
    planes = smooth, paint.permute(1, 2, 0).contiguous(), mask[..., None]
    operator = torch.ops.lssl.moved_pixels.default
    call = (photograph, *planes, similarity, 0, 0, 30, 20, 1)
    torch.library.opcheck(operator, call, test_utils=("test_schema", "test_faketensor"))
    for wrong, message in (
        ((photograph.float(), *planes, similarity, 0, 0, 30, 20, 1), "photograph must be"),
        ((photograph, planes[0][..., :5], *planes[1:], similarity, 0, 0, 30, 20, 1), "smooth must be"),
        ((photograph, *planes, similarity.float(), 0, 0, 30, 20, 1), "similarity must be"),
        ((photograph, *planes, similarity, 0, 0, 31, 20, 1), "the box must lie"),
        ((photograph, *planes, similarity, 0, 0, 30, 20, 0), "step must be positive"),
    ):
        with pytest.raises(RuntimeError, match=message):
            operator(*wrong)


def test_shifts_that_are_no_numbers_read_nothing_outside() -> None:
    call = a_call(2, 60, 70, 32, 16, 0.4, 0.1)
    for value in (float("nan"), float("inf"), -float("inf")):
        call[1][:, 4:9] = value
        made = moved_pixels(*call, (0, 0, 70, 60))
        assert made.shape == call[0].shape


def test_fine_detail_stays_between_pixels() -> None:
    wave = torch.cos(2 * torch.pi * 3 / 8 * torch.arange(96.0)).expand(1, 1, 16, 96)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(96.0), indexing="ij")

    def half_a_pixel_away(sample: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
        places = torch.stack([(x + 1) / 48 - 1, (y + 0.5) / 8 - 1], 2)[None]
        moved = sample(wave, places)[0, 0, :, 8:-8]
        return float(moved.square().mean().sqrt() * 2**0.5)

    assert half_a_pixel_away(lanczos) == pytest.approx(0.764, abs=0.01)
    assert half_a_pixel_away(bicubic) == pytest.approx(0.628, abs=0.01)


def test_a_whole_pixel_away_every_value_is_kept_and_the_border_repeated() -> None:
    g = torch.Generator().manual_seed(0)
    planes = torch.rand(1, 3, 9, 11, generator=g)
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    places = torch.stack([2 * (x + 2.5) / 11 - 1, 2 * (y + 0.5) / 9 - 1], 2)[None]
    found = lanczos(planes, places)
    torch.testing.assert_close(found[..., :9], planes[..., 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[..., 10], planes[..., 10], atol=1e-5, rtol=0)

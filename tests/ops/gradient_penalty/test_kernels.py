"""The kernels of the gradient penalty against their references."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lssl.ops._library import native_available
from lssl.ops.gradient_penalty import kernels

pytestmark = pytest.mark.skipif(not native_available(), reason="the native operators are not built")

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SHAPES = [(3, 5, 7, 9), (2, 6, 64, 33), (1, 1, 1, 1), (4, 3), (0, 3, 4, 4), (3, 0, 2, 2), (2, 3, 4, 4, 5), (5, 1)]
LAYOUTS = ["contiguous", "channels last", "transposed", "strided"]


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def sample(
    shape: tuple[int, ...], dtype: torch.dtype, device: str, layout: str = "contiguous", seed: int = 0
) -> Tensor:
    """Normal numbers in the layout asked for, where the shape has it."""
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(device, dtype)
    if layout == "channels last" and len(shape) in (4, 5):
        x = x.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    if layout == "transposed":
        x = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "strided":
        x = torch.stack([x, x], -1)[..., 0]
    return x


def weights(count: int, dtype: torch.dtype, device: str) -> Tensor:
    alpha = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return alpha.to(device, torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_interpolate(shape: tuple[int, ...], dtype: torch.dtype, layout: str, device: str):
    real, fake = sample(shape, dtype, device, layout), sample(shape, dtype, device, seed=1)
    alpha = weights(shape[0], dtype, device)
    expected = kernels.penalty_interpolate_reference(real, fake, alpha)
    for first, second, a in ((real, fake, alpha), (fake, real, 1 - alpha)):
        torch.testing.assert_close(kernels.penalty_interpolate(first, second, a), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_cotangent(shape: tuple[int, ...], dtype: torch.dtype, layout: str, device: str):
    gradient = sample(shape, dtype, device, layout)
    for target in (1.0, 0.0):
        found = kernels.penalty_cotangent(gradient, target)
        expected = kernels.penalty_cotangent_reference(gradient, target)
        assert found[0].shape == ()
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_cotangent_of_large_small_and_zero_gradients(device: str):
    gradient = torch.tensor([[1e15, 1e15], [1e-15, 0.0], [0.0, 0.0]], device=device)
    penalty, cotangent = kernels.penalty_cotangent(gradient, 1.0)
    torch.testing.assert_close(penalty, torch.tensor(2e30 / 3, device=device))
    expected = torch.tensor([[2e15 / 3, 2e15 / 3], [-2 / 3, 0.0], [0.0, 0.0]], device=device)
    torch.testing.assert_close(cotangent, expected)
    assert kernels.penalty_cotangent(torch.full((1, 3), float("nan"), device=device), 1.0)[0].isnan()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 1000),
    dtype=st.sampled_from(DTYPES),
    slope=st.sampled_from([0.0, 0.01, -0.5, 2.0]),
    seed=st.integers(0, 9),
)
def test_slopes(count: int, dtype: torch.dtype, slope: float, seed: int):
    check_slopes(sample((count,), dtype, "cpu", seed=seed), sample((count,), dtype, "cpu", seed=seed + 1), slope)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_slopes_of_activations(layout: str, dtype: torch.dtype, slope: float, device: str):
    shape = (3, 5, 17, 19)
    activation, tangent = sample(shape, dtype, device, layout), sample(shape, dtype, device, layout, seed=1)
    activation[0, 0, 0, :5] = torch.tensor([0.0, -0.0, float("nan"), float("inf"), -float("inf")])
    tangent[0, 0, 1, :2] = float("inf")
    check_slopes(activation, tangent, slope)


def check_slopes(activation: Tensor, tangent: Tensor, slope: float) -> None:
    mine, theirs = activation.clone(), activation.clone()
    packed = kernels.penalty_rectify_(mine, slope)
    unpacked = kernels.penalty_rectify_reference_(theirs, slope)
    torch.testing.assert_close(mine, theirs, equal_nan=True)
    assert packed.numel() == (activation.numel() + 7) // 8
    mine, theirs = tangent.clone(), tangent.clone()
    kernels.penalty_slope_(mine, packed, slope)
    kernels.penalty_slope_reference_(theirs, unpacked, slope)
    torch.testing.assert_close(mine, theirs, equal_nan=True)


def test_reference_slopes_are_autograds(device: str):
    x = sample((4, 50), torch.float64, device)
    x[0, :3] = torch.tensor([0.0, -0.0, float("nan")])
    for slope in (0.0, 0.3):
        leaf = x.clone().requires_grad_()
        output = torch.nn.functional.leaky_relu(leaf, slope) if slope else leaf.relu()
        signal = sample((4, 50), torch.float64, device, seed=3)
        (expected,) = torch.autograd.grad(output, leaf, signal)
        found = signal.clone()
        kernels.penalty_slope_(found, kernels.penalty_rectify_(x.clone(), slope), slope)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_on_any_number_of_threads(dtype: torch.dtype):
    gradient, other = sample((3, 6, 128, 127), dtype, "cpu"), sample((3, 6, 128, 127), dtype, "cpu", seed=1)
    alpha = weights(3, dtype, "cpu")

    def everything() -> list[Tensor]:
        rectified = gradient.clone()
        packed = kernels.penalty_rectify_(rectified, 0.2)
        tangent = other.clone()
        kernels.penalty_slope_(tangent, packed, 0.2)
        mixed = kernels.penalty_interpolate(gradient, other, alpha)
        return [mixed, rectified, packed, tangent, *kernels.penalty_cotangent(gradient, 1.0)]

    threads = torch.get_num_threads()
    runs = []
    try:
        for count in (1, 2, 3, 1):
            torch.set_num_threads(count)
            runs.append(everything())
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(layout: str, dtype: torch.dtype, device: str):
    ops = torch.ops.lssl
    real, fake = sample((2, 3, 5, 6), dtype, device, layout), sample((2, 3, 5, 6), dtype, device, seed=1)
    torch.library.opcheck(ops.penalty_interpolate.default, (real, fake, weights(2, dtype, device)))
    torch.library.opcheck(ops.penalty_cotangent.default, (real, 1.0))
    if layout != "strided":
        torch.library.opcheck(ops.penalty_rectify_.default, (real, 0.1))
        packed = ops.penalty_rectify_(real.clone(), 0.1)
        torch.library.opcheck(ops.penalty_slope_.default, (real, packed, 0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ops, x: ops.penalty_interpolate(x, x[:, :1], torch.rand(2)), "fake must have real's shape"),
        (lambda ops, x: ops.penalty_interpolate(x, x.double(), torch.rand(2)), "fake must have real's dtype"),
        (lambda ops, x: ops.penalty_interpolate(x, x, torch.rand(3)), r"alpha must be \(N,\)"),
        (lambda ops, x: ops.penalty_interpolate(x, x, torch.rand(2).double()), r"alpha must be \(N,\), float32"),
        (lambda ops, x: ops.penalty_cotangent(x.int(), 1.0), "gradient must be float32"),
        (lambda ops, x: ops.penalty_rectify_(x[:, :, ::2], 0.1), "input must be dense"),
        (lambda ops, x: ops.penalty_rectify_(x[:1].expand(2, 3, 4, 4), 0.1), "input must be dense"),
        (lambda ops, x: ops.penalty_slope_(x, torch.zeros(3, dtype=torch.uint8), 0.1), "slopes must be what"),
    ],
)
def test_errors_name_the_argument(call, message: str):
    with pytest.raises(RuntimeError, match=message):
        call(torch.ops.lssl, torch.randn(2, 3, 4, 4))

"""pixel_shuffle_instance_norm: values, derivatives, memory formats, determinism, extremes, compilers, bad input."""

import os
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lssl.ops import PixelShuffleInstanceNorm, pixel_shuffle_instance_norm, reference
from lssl.ops._library import native_available
from lssl.ops.pixel_shuffle_instance_norm import ACTIVATIONS

needs_native = pytest.mark.skipif(not native_available(), reason="the native operators are not built")
property_test = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}
SLOPE = 0.2


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(params=ACTIVATIONS)
def activation(request: pytest.FixtureRequest) -> str:
    return request.param


class Sample(NamedTuple):
    input: Tensor
    weight: Tensor | None
    bias: Tensor | None
    upscale_factor: int
    activation: str

    def arguments(self) -> tuple:
        return *self, SLOPE

    def wide(self) -> "Sample":
        """The same numbers in float64."""
        weight, bias = (None if t is None else t.double() for t in (self.weight, self.bias))
        return self._replace(input=self.input.double(), weight=weight, bias=bias)

    def leaves(self) -> "Sample":
        tensors = (None if t is None else t.detach().requires_grad_() for t in self[:3])
        return Sample(*tensors, *self[3:])

    def tensors(self) -> list[Tensor]:
        return [t for t in self[:3] if t is not None]


def run(op, sample: Sample) -> Tensor:
    x, weight, bias, r, activation = sample
    return op(x, weight, bias, r, activation=activation, negative_slope=SLOPE)


def native(sample: Sample) -> Tensor:
    return run(pixel_shuffle_instance_norm, sample)


def expected(sample: Sample) -> Tensor:
    return run(reference.pixel_shuffle_instance_norm, sample)


def lay_out(x: Tensor, layout: str) -> Tensor:
    """The same values, in the named strides."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "sliced":
        return torch.stack([x, x + 1], -1)[..., 0]
    return x.contiguous()


def make(
    shape: tuple[int, int, int, int] = (2, 3, 4, 5),
    r: int = 2,
    activation: str = "relu",
    dtype: torch.dtype = torch.float32,
    layout: str = "contiguous",
    affine: str = "both",
    device: str = "cpu",
    seed: int = 0,
) -> Sample:
    """A sample of (N, C, H, W) -> input (N, C r^2, H, W); mean about 2, deviation about 3, before rounding to dtype."""
    g = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    x = torch.randn(n, c * r * r, h, w, generator=g, dtype=torch.float64) * 3 + 2
    narrow = torch.float64 if dtype == torch.float64 else torch.float32
    size = (n, c) if affine.endswith("a sample") else (c,)
    weight = (torch.randn(size, generator=g, dtype=torch.float64) + 1).to(device, narrow)
    bias = torch.randn(size, generator=g, dtype=torch.float64).to(device, narrow)
    return Sample(
        lay_out(x.to(device, dtype), layout),
        weight if affine.startswith(("both", "weight")) else None,
        bias if affine.startswith(("both", "bias")) else None,
        r,
        activation,
    )


@st.composite
def samples(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = tuple(TOLERANCE)) -> dict:
    sizes = st.one_of(st.integers(1, 9), st.sampled_from([16, 17, 24, 33]))
    return {
        "shape": (draw(st.integers(0, 3)), draw(st.one_of(st.integers(1, 5), st.just(35))), draw(sizes), draw(sizes)),
        "r": draw(st.sampled_from([1, 2, 2, 2, 3])),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "dtype": draw(st.sampled_from(dtypes)),
        "layout": draw(st.sampled_from(["contiguous", "channels_last", "transposed", "sliced"])),
        "affine": draw(st.sampled_from(["both", "both a sample", "weight", "weight a sample", "bias", "none"])),
        "seed": draw(st.integers(0, 2**16)),
    }


@property_test
@given(options=samples())
def test_values_are_the_float64_references(device, options):
    sample = make(device=device, **options)
    output, wanted = native(sample), expected(sample.wide())
    assert output.dtype == sample.input.dtype
    assert output.shape == wanted.shape
    tolerance = TOLERANCE[sample.input.dtype]
    torch.testing.assert_close(output.double(), wanted, rtol=tolerance, atol=10 * tolerance)


@property_test
@given(options=samples(), grad_layout=st.sampled_from(["contiguous", "channels_last", "sliced"]))
def test_gradients_are_the_float64_references(device, options, grad_layout):
    sample = make(device=device, **options).leaves()
    wide = sample.wide().leaves()
    output, wanted = native(sample), expected(wide)
    grad = lay_out(torch.randn(output.shape).to(output), grad_layout)
    found = torch.autograd.grad(output, sample.tensors(), grad)
    right = torch.autograd.grad(wanted, wide.tensors(), grad.double())
    tolerance = TOLERANCE[sample.input.dtype]
    # A plane of one value has a gradient of zero that is the difference of two numbers of up to grad / sqrt(eps).
    planes = wide.input.detach().flatten(2).shape[2] * sample.upscale_factor**2
    largest = 1e3 if planes == 1 else 1.0
    for name, a, b in zip(("input", "weight", "bias"), found, right, strict=False):
        scale = max(1.0, b.abs().max().item() if b.numel() else 0.0, largest)
        torch.testing.assert_close(a.double(), b, rtol=10 * tolerance, atol=10 * tolerance * scale, msg=name)


@needs_native
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("shape", [(8, 512, 8, 8), (2, 64, 32, 32), (3, 33, 64, 64)], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("affine", ["both", "both a sample"])
def test_decoder_shapes(device, shape, dtype, layout, affine):
    sample = make(shape, dtype=dtype, layout=layout, affine=affine, device=device)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(native(sample).double(), expected(sample.wide()), rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@needs_native
def test_memory_format_is_kept(device, r, layout):
    sample = make(r=r, layout=layout, device=device).leaves()
    output = native(sample)
    (grad,) = torch.autograd.grad(output.sum(), sample.input)
    wanted = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    assert output.is_contiguous(memory_format=wanted)
    assert grad.is_contiguous(memory_format=wanted)


@pytest.mark.parametrize(
    ("r", "affine", "layout"),
    [
        (1, "both", "contiguous"),
        (1, "none", "channels_last"),
        (2, "both", "contiguous"),
        (2, "weight", "contiguous"),
        (2, "none", "contiguous"),
        (2, "both", "channels_last"),
        (2, "both a sample", "contiguous"),
        (1, "both a sample", "channels_last"),
        (3, "both", "contiguous"),
    ],
)
def test_gradcheck_and_gradgradcheck(device, activation, r, affine, layout):
    sample = make((2, 2, 1, 3 if r < 3 else 1), r, activation, torch.float64, layout, affine, device).leaves()

    def call(*tensors: Tensor) -> Tensor:
        return native(Sample(*tensors, *[None] * (3 - len(tensors)), *sample[3:]))

    assert gradcheck(call, sample.tensors())
    assert gradgradcheck(call, sample.tensors())


@pytest.mark.parametrize("frozen", ["input", "weight", "bias"])
def test_second_derivatives_with_a_frozen_input(device, frozen):
    sample = make((2, 2, 1, 3), dtype=torch.float64, activation="leaky_relu", device=device).leaves()
    getattr(sample, frozen).requires_grad_(False)
    assert gradgradcheck(lambda *t: native(Sample(*t, *sample[3:])), sample[:3])


def test_third_derivative(device):
    sample = make((1, 2, 2, 2), dtype=torch.float64, activation="leaky_relu", device=device).leaves()

    def gradient(x: Tensor) -> Tensor:
        output = native(sample._replace(input=x))
        (grad,) = torch.autograd.grad((output**3).sum(), x, create_graph=True)
        return grad

    assert gradgradcheck(gradient, (sample.input,))


def test_forward_mode_derivatives(device):
    sample = make((2, 2, 1, 3), dtype=torch.float64, device=device).leaves()
    assert gradcheck(lambda *t: native(Sample(*t, *sample[3:])), sample[:3], check_forward_ad=True)
    tangent = torch.ones_like(sample.input)
    output, derivative = torch.func.jvp(lambda x: native(sample._replace(input=x)), (sample.input,), (tangent,))
    assert output.shape == derivative.shape
    torch.testing.assert_close(derivative, torch.zeros_like(derivative), atol=1e-9, rtol=0)  # a shift changes nothing


@needs_native
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(3, 5, 33, 17), (1, 70, 40, 40), (8, 64, 16, 16)], ids=str)
def test_same_bits_over_runs_and_thread_counts(device, layout, shape):
    sample = make(shape, activation="leaky_relu", layout=layout, device=device).leaves()
    output = native(sample)
    grad = torch.randn_like(output)
    first = (output, *torch.autograd.grad(output, sample.tensors(), grad))
    threads = torch.get_num_threads()
    try:
        for count in (1, 1, 2, 3, 5):
            torch.set_num_threads(count)
            output = native(sample)
            again = (output, *torch.autograd.grad(output, sample.tensors(), grad))
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)), count
    finally:
        torch.set_num_threads(threads)


@needs_native
def test_backward_keeps_the_input_and_two_numbers_a_plane(device):
    sample = make((2, 4, 8, 8), device=device).leaves()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        native(sample)
    known = {t.data_ptr() for t in sample.tensors()}
    others = [t for t in kept if t.data_ptr() not in known]
    assert sum(t.numel() for t in others) == 2 * 2 * 4


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_variance_survives_a_huge_mean(device, layout):
    sample = make((2, 4, 64, 64), activation="none", layout=layout, affine="none", device=device)
    shifted = sample._replace(input=(sample.input - 2) / 3 + 1e3)
    error = native(shifted).double() - expected(shifted.wide())
    assert error.abs().max() < 1e-3
    assert error.norm() < 1e-4 * expected(shifted.wide()).norm()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_outlier_of_a_million(device, layout, where):
    sample = make((1, 2, 32, 32), activation="none", layout=layout, device=device)
    pixel = {"first": 0, "middle": 16, "last": 31}[where]
    sample.input[:, :4, pixel, pixel] = 1e6
    torch.testing.assert_close(native(sample).double(), expected(sample.wide()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, -123.456, 1e20])
def test_a_constant_plane_gives_the_bias(device, value):
    sample = make((2, 3, 4, 4), activation="none", device=device)
    output = native(sample._replace(input=torch.full_like(sample.input, value)))
    assert torch.equal(output, sample.bias[:, None, None].expand_as(output))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_nan_stays_in_its_plane(device, activation, layout):
    sample = make((2, 3, 4, 4), activation=activation, layout=layout, device=device)
    sample.input[1, 4, 2, 2] = float("nan")
    output = native(sample)
    assert output[1, 1].isnan().all()
    assert output.isnan().sum() == output[1, 1].numel()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_one_pixel_planes(device, layout):
    sample = make((3, 5, 1, 1), r=1, layout=layout, device=device).leaves()
    output = native(sample)
    torch.testing.assert_close(output, sample.bias.relu()[:, None, None].expand_as(output))
    (grad,) = torch.autograd.grad(output.sum(), sample.input)
    assert grad.abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_empty(device, shape):
    sample = make(shape, device=device).leaves()
    output = native(sample)
    assert output.shape == (shape[0], shape[1], 8, 8)
    grads = torch.autograd.grad(output.sum(), sample.tensors())
    assert [g.shape for g in grads] == [t.shape for t in sample.tensors()]
    assert not any(g.any() for g in grads)


def test_module_is_instance_norm_with_more(device):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 5, device=device)
    module = PixelShuffleInstanceNorm(6, upscale_factor=1, device=device)
    torch.testing.assert_close(module(x), torch.nn.functional.instance_norm(x))
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]
    plain = PixelShuffleInstanceNorm(6, upscale_factor=1, affine=False, activation="relu")
    assert list(plain.parameters()) == []
    torch.testing.assert_close(plain.to(device)(x), module(x).relu())


def test_autocast_keeps_the_inputs_dtype(device):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, padding=1), PixelShuffleInstanceNorm(4)).to(device)
    with torch.autocast(device, torch.bfloat16):
        output = module(torch.randn(2, 3, 8, 8, device=device))
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_affine_in_the_inputs_low_precision(device, dtype):
    sample = make((2, 3, 8, 8), dtype=dtype, device=device)
    sample = sample._replace(weight=sample.weight.to(dtype), bias=sample.bias.to(dtype)).leaves()
    output = native(sample)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(output.double(), expected(sample.wide()), rtol=tolerance, atol=10 * tolerance)
    output.float().sum().backward()
    assert sample.weight.grad.dtype == dtype


@needs_native
@pytest.mark.parametrize(
    ("layout", "affine", "dtype"),
    [
        ("contiguous", "both", torch.float32),
        ("channels_last", "both", torch.bfloat16),
        ("sliced", "bias", torch.float32),
        ("channels_last", "none", torch.float64),
        ("channels_last", "both a sample", torch.float32),
    ],
)
def test_opcheck(device, layout, affine, dtype):
    sample = make((2, 2, 3, 4), dtype=dtype, layout=layout, affine=affine, device=device).leaves()
    options = (sample.upscale_factor, 1e-5, SLOPE)
    op = torch.ops.lssl.pixel_shuffle_instance_norm
    torch.library.opcheck(op.default, (*sample[:3], *options))
    output, mean, rstd = (t.detach() for t in op(*sample[:3], *options))
    grad = torch.randn_like(output).requires_grad_()
    arguments = (grad, sample.input, mean, rstd, sample.weight, sample.bias, *options)
    torch.library.opcheck(torch.ops.lssl.pixel_shuffle_instance_norm_backward.default, arguments)


@needs_native
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_compiles_whole(device, dynamic, layout):
    sample = make((2, 3, 4, 6), layout=layout, device=device).leaves()
    torch.compiler.reset()

    @torch.compile(backend="aot_eager", fullgraph=True, dynamic=dynamic)
    def compiled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return pixel_shuffle_instance_norm(x * 2, weight, bias, activation="relu") + 1

    wide = sample.wide().leaves()
    output, wanted = compiled(*sample[:3]), expected(wide._replace(input=wide.input * 2)) + 1
    torch.testing.assert_close(output.double(), wanted, rtol=1e-5, atol=1e-4)
    grad = torch.randn_like(output)
    found = torch.autograd.grad(output, sample.tensors(), grad)
    right = torch.autograd.grad(wanted, wide.tensors(), grad.double())
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@needs_native
def test_exports(device):
    module = PixelShuffleInstanceNorm(3, activation="relu").to(device)
    x = torch.randn(2, 12, 5, 5, device=device)
    exported = torch.export.export(module, (x,))
    assert "lssl.pixel_shuffle_instance_norm" in str(exported.graph)
    assert torch.equal(exported.module()(x), module(x))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"input": torch.zeros(12, 4, 4)}, "input"),
        ({"input": torch.zeros(2, 11, 4, 4)}, "input"),
        ({"input": torch.zeros(2, 12, 0, 4)}, "input"),
        ({"input": torch.zeros(2, 12, 4, 4, dtype=torch.int32)}, "input"),
        ({"weight": torch.zeros(4)}, "weight"),
        ({"weight": torch.zeros(3, device="meta")}, "weight"),
        ({"bias": torch.zeros(3, 1)}, "bias"),
        ({"bias": torch.zeros(3, 3)}, "bias"),
        ({"bias": torch.zeros(2, 3)}, "both"),
        ({"bias": torch.zeros(3, dtype=torch.int64)}, "bias"),
        ({"upscale_factor": 0}, "upscale_factor"),
        ({"eps": 0.0}, "eps"),
        ({"activation": "gelu"}, "activation"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_named(change, word):
    arguments = {"input": torch.zeros(2, 12, 4, 4), "weight": torch.ones(3), "bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=word):
        pixel_shuffle_instance_norm(**(arguments | change))


@needs_native
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((torch.zeros(2, 11, 4, 4), None, None, 2, 1e-5, 1.0), "input"),
        ((torch.zeros(2, 12, 4, 4), torch.ones(4), None, 2, 1e-5, 1.0), "weight"),
        ((torch.zeros(2, 12, 4, 4), None, torch.ones(3).double(), 2, 1e-5, 1.0), "bias"),
        ((torch.zeros(2, 12, 4, 4), torch.ones(2, 3), torch.ones(3), 2, 1e-5, 1.0), "bias"),
        ((torch.zeros(2, 12, 4, 4), torch.ones(1, 3), None, 2, 1e-5, 1.0), "weight"),
        ((torch.zeros(2, 12, 4, 4), None, None, 0, 1e-5, 1.0), "upscale_factor"),
        ((torch.zeros(2, 12, 4, 4).int(), None, None, 2, 1e-5, 1.0), "input"),
    ],
)
def test_the_operator_itself_checks(arguments, word):
    with pytest.raises(RuntimeError, match=word):
        torch.ops.lssl.pixel_shuffle_instance_norm(*arguments)


LEVEL_SCRIPT = """
import itertools, sys, torch
sys.path.insert(0, sys.argv[1])
import test_pixel_shuffle_instance_norm as tests
for dtype, r, layout, shape, affine in itertools.product(
    tests.TOLERANCE,
    (1, 2),
    ("contiguous", "channels_last"),
    ((2, 3, 5, 7), (1, 19, 8, 8), (2, 4, 3, 33)),
    ("both", "both a sample"),
):
    sample = tests.make(shape, r, "leaky_relu", dtype, layout, affine).leaves()
    wide = sample.wide().leaves()
    output, wanted = tests.native(sample), tests.expected(wide)
    tolerance = tests.TOLERANCE[dtype]
    torch.testing.assert_close(output.double(), wanted, rtol=tolerance, atol=10 * tolerance)
    grad = torch.randn_like(output)
    found = torch.autograd.grad(output, sample.tensors(), grad)
    right = torch.autograd.grad(wanted, wide.tensors(), grad.double())
    for a, b in zip(found, right):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=10 * tolerance * max(1, b.abs().max()))
print("checked")
"""


@needs_native
@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_every_simd_level(level):
    done = subprocess.run(
        [sys.executable, "-c", LEVEL_SCRIPT, os.path.dirname(__file__)],
        env=os.environ | {"LSSL_SIMD": level, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "checked", done.stderr[-2000:]

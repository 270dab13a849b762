"""landmark_heatmap: values, derivatives, visibility, extremes, bad input."""

import math
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lssl.ops import landmark_heatmap, reference
from lssl.ops._library import native_available
from lssl.ops.landmark_heatmap import REDUCTIONS

needs_native = pytest.mark.skipif(not native_available(), reason="the native operators are not built")
property_test = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(params=REDUCTIONS)
def reduction(request: pytest.FixtureRequest) -> str:
    return request.param


def sample(seed: int, n: int, k: int, size: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks in and around the window, one sigma each, three of four visible; float64."""
    g = torch.Generator().manual_seed(seed)
    landmarks = (torch.rand(n, k, 2, generator=g, dtype=torch.float64) * 1.4 - 0.2) * size
    sigma = torch.rand(k, generator=g, dtype=torch.float64) * 3 + 0.5
    return landmarks.to(device), sigma.to(device), (torch.rand(n, k, generator=g) < 0.75).to(device)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 3),
    k=st.integers(0, 7),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    dtype=st.sampled_from(list(TOLERANCE)),
    options=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@property_test
def test_values_and_gradients_are_those_of_the_reference(device, reduction, seed, n, k, size, dtype, options):
    tensor_sigma, some_hidden, strided = options
    landmarks, sigmas, visible = sample(seed, n, k, max(size), device)
    shown = visible if some_hidden else None
    landmarks = landmarks.to(dtype)
    if strided:
        landmarks = landmarks.mT.contiguous().mT
    landmarks.requires_grad_()
    sigmas = sigmas.float().requires_grad_()
    exact_landmarks, exact_sigmas = (t.detach().double().requires_grad_() for t in (landmarks, sigmas))
    output = landmark_heatmap(
        landmarks, *size, sigmas if tensor_sigma else 2.5, visible=shown, reduction=reduction
    )  # fmt: skip
    expected = reference.landmark_heatmap(
        exact_landmarks, *size, exact_sigmas if tensor_sigma else 2.5, visible=shown, reduction=reduction
    )
    assert output.dtype == dtype
    assert output.shape == (n, k if reduction == "none" else 1, *size)
    scale = k if reduction == "sum" else 1
    torch.testing.assert_close(output.double(), expected, atol=TOLERANCE[dtype] * scale, rtol=TOLERANCE[dtype])
    if dtype in (torch.bfloat16, torch.float16) or n * k == 0:
        return
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).to(device)
    inputs = (landmarks, sigmas) if tensor_sigma else (landmarks,)
    exact_inputs = (exact_landmarks, exact_sigmas) if tensor_sigma else (exact_landmarks,)
    found = torch.autograd.grad(output, inputs, weight)
    for gradient, exact in zip(found, torch.autograd.grad(expected, exact_inputs, weight.double()), strict=True):
        # A float32 sigma limits how closely gradients of float64 landmarks can agree.
        tolerance = max(50 * TOLERANCE[dtype], 2e-7)
        torch.testing.assert_close(gradient.double(), exact, atol=tolerance * (1 + exact.abs().max()), rtol=tolerance)


def test_formula_at_a_point(device):
    landmarks = torch.tensor([[[2.5, 1.0], [0.0, 3.0]]], device=device)
    maps = landmark_heatmap(landmarks, 5, 6, torch.tensor([2.0, 0.5], device=device)).cpu()
    assert maps[0, 0, 3, 1].item() == pytest.approx(math.exp(-(1.5**2 + 2**2) / 8), rel=1e-6)
    assert maps[0, 1, 3, 0].item() == 1
    assert maps[0, 1, 2, 0].item() == pytest.approx(math.exp(-2), rel=1e-6)


def test_reductions_agree_with_the_maps(device):
    landmarks, sigma, visible = sample(3, 2, 9, 40, device)
    maps = landmark_heatmap(landmarks, 40, 33, sigma, visible=visible)
    largest = landmark_heatmap(landmarks, 40, 33, sigma, visible=visible, reduction="max")
    assert torch.equal(largest, maps.amax(1, keepdim=True))
    total = landmark_heatmap(landmarks, 40, 33, sigma, visible=visible, reduction="sum")
    torch.testing.assert_close(total, maps.sum(1, keepdim=True))


def test_many_landmarks_and_odd_widths(device, reduction):
    landmarks, _, _ = sample(1, 1, 300, 90, device)
    output = landmark_heatmap(landmarks.float(), 77, 131, 1.5, reduction=reduction)
    expected = reference.landmark_heatmap(landmarks, 77, 131, 1.5, reduction=reduction)
    torch.testing.assert_close(output.double(), expected, atol=3e-6, rtol=3e-6)


def test_derivatives(device, reduction):
    landmarks, sigma, visible = sample(8, 2, 4, 9, device)

    def maps(landmarks: Tensor, sigma: Tensor) -> Tensor:
        return landmark_heatmap(landmarks, 8, 10, sigma, visible=visible, reduction=reduction)

    inputs = (landmarks.requires_grad_(), sigma.requires_grad_())
    assert gradcheck(maps, inputs)
    assert gradgradcheck(maps, inputs)


def test_of_equal_maxima_the_lowest_landmark_takes_the_gradient(device):
    landmarks = torch.tensor([[[9.0, 9.0], [4.0, 4.0], [4.0, 4.0]]], device=device, requires_grad=True)
    output = landmark_heatmap(landmarks, 8, 8, 1.0, reduction="max")
    output[0, 0, 3, 2].backward()
    assert torch.equal(landmarks.grad[0, [0, 2]], torch.zeros(2, 2, device=device))
    value = math.exp(-2.5)
    torch.testing.assert_close(landmarks.grad[0, 1].cpu(), torch.tensor([-2 * value, -value]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_hidden_landmarks_may_be_anything(device, reduction, value):
    landmarks, sigma, _ = sample(2, 2, 5, 20, device)
    visible = torch.ones(2, 5, dtype=torch.bool, device=device)
    visible[0, 1] = visible[1, 4] = False
    spoilt = landmarks.clone()
    spoilt[0, 1] = value
    spoilt[1, 4, 0] = value
    spoilt.requires_grad_()
    expected = landmark_heatmap(landmarks, 20, 24, sigma, visible=visible, reduction=reduction)
    output = landmark_heatmap(spoilt, 20, 24, sigma, visible=visible, reduction=reduction)
    assert torch.equal(output, expected)
    (gradient,) = torch.autograd.grad(output.square().sum(), spoilt, create_graph=True)
    assert gradient.isfinite().all()
    assert (gradient[~visible] == 0).all()
    (second,) = torch.autograd.grad(gradient.square().sum(), spoilt)
    assert second.isfinite().all()
    (plain,) = torch.autograd.grad(
        landmark_heatmap(spoilt, 20, 24, sigma, visible=visible, reduction=reduction).square().sum(), spoilt
    )
    torch.testing.assert_close(plain, gradient)


def test_visible_may_have_any_dtype(device):
    landmarks, sigma, visible = sample(2, 2, 5, 20, device)
    expected = landmark_heatmap(landmarks, 9, 9, sigma, visible=visible)
    for dtype in (torch.uint8, torch.int64, torch.float32):
        assert torch.equal(landmark_heatmap(landmarks, 9, 9, sigma, visible=visible.to(dtype)), expected)
    assert (expected[~visible] == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("hide_others", [False, True])
def test_visible_landmarks_must_be_finite(value, hide_others):
    landmarks = torch.zeros(2, 3, 2)
    landmarks[1, 2, 1] = value
    visible = torch.tensor([[0, 0, 0], [0, 0, 1]]) if hide_others else None
    with pytest.raises(RuntimeError, match=r"landmarks.* finite"):
        landmark_heatmap(landmarks, 4, 4, 1.0, visible=visible)
    with pytest.raises(RuntimeError, match=r"landmarks.* finite"):
        reference.landmark_heatmap(landmarks, 4, 4, 1.0, visible=visible)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_a_landmark_that_is_not_finite_gives_nan(reduction):
    landmarks = torch.full((1, 2, 2), 3.0, device="cuda")
    landmarks[0, 1] = math.nan
    output = landmark_heatmap(landmarks, 8, 8, 1.0, reduction=reduction)
    assert output[:, -1].isnan().all()


@pytest.mark.parametrize("far", [1e4, 1e9, 1e30, 3e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_outside_is_zero_without_nan(device, reduction, far, dtype):
    landmarks = torch.tensor([[[far, 3], [-far, far], [3, -far]]], dtype=dtype, device=device, requires_grad=True)
    sigma = torch.tensor([0.01, 1.0, 100.0], dtype=dtype, device=device, requires_grad=True)
    output = landmark_heatmap(landmarks, 7, 8, sigma, reduction=reduction)
    assert (output == 0).all()
    gradients = torch.autograd.grad(output.sum(), (landmarks, sigma), create_graph=True)
    assert all((gradient == 0).all() for gradient in gradients)
    second = torch.autograd.grad(sum(gradient.sum() for gradient in gradients), (landmarks, sigma))
    assert all(gradient.isfinite().all() for gradient in second)


@pytest.mark.parametrize("sigma", [1e-30, 1e-3, 1e6])
def test_extreme_sigma(device, sigma):
    landmarks = torch.tensor([[[2.0, 3.0]]], device=device)
    output = landmark_heatmap(landmarks, 6, 5, sigma)
    expected = torch.ones(1, 1, 6, 5) if sigma > 1 else torch.zeros(1, 1, 6, 5)
    expected[0, 0, 3, 2] = 1
    torch.testing.assert_close(output.cpu(), expected)


def test_half_precision_rounds_to_nearest_even(device):
    landmarks, sigma, _ = sample(5, 2, 6, 50, device)
    for dtype in (torch.bfloat16, torch.float16):
        low = landmarks.to(dtype)
        for reduction in REDUCTIONS:
            output = landmark_heatmap(low, 50, 61, sigma, reduction=reduction)
            assert torch.equal(output, landmark_heatmap(low.float(), 50, 61, sigma, reduction=reduction).to(dtype))


@pytest.mark.parametrize(("n", "k"), [(0, 3), (2, 0), (0, 0)])
def test_empty(device, reduction, n, k):
    landmarks = torch.zeros(n, k, 2, device=device, requires_grad=True)
    output = landmark_heatmap(landmarks, 4, 5, 1.0, reduction=reduction)
    assert output.shape == (n, k if reduction == "none" else 1, 4, 5)
    assert (output == 0).all()
    output.sum().backward()
    assert landmarks.grad.shape == landmarks.shape


def test_same_bits_on_every_run_and_thread_count(device, reduction):
    landmarks, sigma, visible = sample(9, 5, 40, 64, device)
    landmarks, sigma = landmarks.float().requires_grad_(), sigma.float().requires_grad_()
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 5, 1, 2):
            torch.set_num_threads(count)
            output = landmark_heatmap(landmarks, 64, 70, sigma, visible=visible, reduction=reduction)
            weight = torch.linspace(-1, 1, output.numel(), device=device).reshape(output.shape)
            results.append([output, *torch.autograd.grad(output, (landmarks, sigma), weight)])
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_without_native_operators(monkeypatch, reduction):
    landmarks, sigma, visible = sample(7, 2, 5, 20, "cpu")
    landmarks, sigma = landmarks.float(), sigma.float()
    expected = landmark_heatmap(landmarks, 20, 24, sigma, visible=visible, reduction=reduction)
    monkeypatch.setattr(sys.modules["lssl.ops.landmark_heatmap"], "use_native", lambda *tensors: False)
    output = landmark_heatmap(landmarks, 20, 24, sigma, visible=visible, reduction=reduction)
    torch.testing.assert_close(output, expected, atol=3e-6, rtol=3e-6)


POINTS = torch.zeros(2, 5, 2)


@pytest.mark.parametrize(
    ("landmarks", "height", "sigma", "options", "message"),
    [
        (POINTS[0], 4, 1.0, {}, r"landmarks must be \(N, K, 2\)"),
        (POINTS[..., :1], 4, 1.0, {}, r"landmarks must be \(N, K, 2\)"),
        (POINTS.int(), 4, 1.0, {}, "landmarks must be floating point"),
        (POINTS, 0, 1.0, {}, "height must be positive, got 0"),
        (POINTS, 4, 0.0, {}, "sigma must be positive"),
        (POINTS, 4, -1.0, {}, "sigma must be positive"),
        (POINTS, 4, math.nan, {}, "sigma must be positive"),
        (POINTS, 4, math.inf, {}, "sigma must be positive"),
        (POINTS, 4, torch.ones(4), {}, r"sigma must be a number or a floating point tensor of shape \(5,\)"),
        (POINTS, 4, torch.ones(5).int(), {}, "sigma must be a number"),
        (POINTS, 4, torch.ones(5, device="meta"), {}, "sigma must be on cpu"),
        (POINTS, 4, torch.tensor([1.0, 1, 0, 1, 1]), {}, r"sigma.* must be positive"),
        (POINTS, 4, torch.tensor([1.0, 1, math.nan, 1, 1]), {}, r"sigma.* must be positive"),
        (POINTS, 4, 1.0, {"visible": torch.ones(2, 4)}, r"visible must be \(2, 5\)"),
        (POINTS, 4, 1.0, {"visible": torch.ones(2, 5, device="meta")}, "visible must be on cpu"),
        (POINTS, 4, 1.0, {"reduction": "mean"}, "reduction must be one of none, sum, max, got 'mean'"),
    ],
)
def test_errors_name_the_argument(landmarks, height, sigma, options, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        landmark_heatmap(landmarks, height, 4, sigma, **options)


@needs_native
def test_opcheck(device, reduction):
    landmarks, sigma, visible = sample(4, 2, 5, 12, device)
    index = REDUCTIONS.index(reduction)
    forward, backward = torch.ops.lssl.landmark_heatmap.default, torch.ops.lssl.landmark_heatmap_backward.default
    for dtype in (torch.float64, torch.bfloat16):
        points = landmarks.to(dtype, copy=True)
        sigmas = sigma.to(torch.promote_types(dtype, torch.float32), copy=True)
        grad = torch.randn(2, 1 if index else 5, 9, 13, dtype=dtype, device=device)
        for differentiable in (False, True):
            for tensor in (grad, points, sigmas):
                tensor.requires_grad_(differentiable)
            torch.library.opcheck(forward, (points, sigmas, 0.0, visible, 9, 13, index))
            torch.library.opcheck(forward, (points, None, 2.0, None, 9, 13, index))
            torch.library.opcheck(backward, (grad, points, sigmas, 0.0, visible, index))
            torch.library.opcheck(backward, (grad, points, None, 2.0, None, index))


class Maps(torch.nn.Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, landmarks: Tensor, sigma: Tensor) -> Tensor:
        return landmark_heatmap(landmarks, 14, 15, sigma, reduction=self.reduction) + landmark_heatmap(
            landmarks, 14, 15, 2.0, visible=landmarks[..., 0] > 3, reduction=self.reduction
        )


@needs_native
def test_compiles_and_exports(device, reduction):
    module = Maps(reduction)
    inputs = [tuple(t.float() for t in sample(seed, n, 6, 15, device)[:2]) for seed, n in ((0, 2), (1, 3))]
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(module, inputs[0], dynamic_shapes=({0: batch}, None)).module()
    for landmarks, sigma in inputs:
        one, other = (tuple(t.clone().requires_grad_() for t in (landmarks, sigma)) for _ in range(2))
        expected, output = module(*one), compiled(*other)
        assert torch.equal(output, expected)
        assert torch.equal(exported(landmarks, sigma), expected)
        expected.square().sum().backward()
        output.square().sum().backward()
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(one, other, strict=True))


def test_autocast_changes_nothing(device):
    landmarks, sigma, _ = sample(1, 2, 5, 16, device)
    landmarks = landmarks.float()
    expected = landmark_heatmap(landmarks, 16, 16, sigma)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert torch.equal(landmark_heatmap(landmarks, 16, 16, sigma), expected)

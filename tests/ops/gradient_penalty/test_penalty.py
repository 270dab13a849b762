"""gradient_penalty: every implementation gives double backward's gradient, and is chosen only where it is known to."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lssl.models import Discriminator
from lssl.ops import gradient_penalty, reference
from lssl.ops.gradient_penalty import matrix_convolution
from lssl.ops.gradient_penalty.penalty import penalty_implementation


def seq(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def shared_layer() -> nn.Module:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    return seq(conv, nn.LeakyReLU(0.2), conv, nn.ReLU(), nn.Conv2d(3, 1, 3), conv.__class__(1, 1, 3))


def tied_weights() -> nn.Module:
    first, second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
    second.weight = first.weight
    return seq(first, nn.LeakyReLU(0.2), second)


def frozen() -> nn.Module:
    critic = seq(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
    critic[0].requires_grad_(False)
    critic[4].weight.requires_grad_(False)
    return critic


class Heads(nn.Module):
    """Several heads, without a description of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = seq(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.1))
        self.score, self.attributes = nn.Conv2d(4, 1, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.score(h), self.attributes(h.mean((2, 3)))


class Described(Heads):
    """Describes its layers, correctly."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.trunk(x)
        return {"attributes": self.attributes(h.mean((2, 3))), "realism": self.score(h)}

    def realism_layers(self) -> list[nn.Module]:
        return [self.trunk, self.score]


class Overridden(Discriminator):
    """Inherits realism_layers, but not the forward that they describe."""

    def forward(self, x: Tensor):
        return super().forward(2 * x)


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.leaky_relu(self.first(x), 0.2))


class Smooth(torch.autograd.Function):
    """Cubes, with a backward that can be differentiated and no forward-mode derivative."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class Cubed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Smooth.apply(x)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 0.1 * torch.rand((), device=x.device, dtype=x.dtype))


class Remembering(nn.Module):
    """Changes from call to call, without random numbers or buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.tanh() / self.calls


class Checkpointed(nn.Module):
    """Calls its layers again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Tanh()), nn.Conv2d(4, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, x, use_reentrant=False))


class Functions(nn.Module):
    """Calls convolutions and rectifiers as modules, functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3) / 5)
        self.back = nn.Parameter(torch.randn(4, 2, 3, 3) / 5)
        self.line = nn.Parameter(torch.randn(2, 2, 3) / 5)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(F.conv2d(x, self.weight, padding="same").tanh(), 0.3)
        h = F.conv_transpose2d(h.relu(), self.back, None, 2, 1, 1, groups=2, dilation=(2, 1))
        h = (
            F.relu(F.max_pool2d(h, 2), inplace=True)
            + F.conv2d(h[:, :2], self.weight[:, :2], stride=2, padding=1)[:, :1].relu_()
        )
        h = F.conv1d(h.flatten(2)[:, :2], self.line, None, 2, 1, 2)
        one = F.conv2d(h[0][None], self.weight[:1, :1, :1]) + F.conv2d(h[0, :1][None], self.weight[:1, :1, :1])[0]
        return (
            torch.relu(h).sum((1, 2)) + 0.1 * one.mean() + F.leaky_relu(h.clone().permute(2, 1, 0), inplace=True).mean()
        )


class Unusual(torch.Tensor):
    pass


def with_unusual_weight() -> nn.Module:
    critic = seq(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)).double()
    critic[0].weight = nn.Parameter(critic[0].weight.detach().as_subclass(Unusual))
    return critic


def hooked(register: str) -> nn.Module:
    critic = seq(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    if register == "forward":
        critic[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    else:
        critic[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] ** 2,))
    return critic


def replaced_method() -> nn.Module:
    critic = seq(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    original = critic[0].forward
    critic[0].forward = lambda x: original(x).tanh()
    return critic


def discriminator() -> nn.Module:
    return Discriminator(5, in_channels=3, image_size=12, width=4, num_layers=2)


ANALYTIC: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: seq(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(4, 1, 3, 1, 1)),
    "relu in place": lambda: seq(nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 1, 3, bias=False)),
    "rectified input": lambda: seq(nn.LeakyReLU(0.3), nn.Conv2d(3, 4, 3), nn.LeakyReLU(-0.5), nn.Conv2d(4, 1, 3)),
    "nested": lambda: seq(seq(nn.Identity(), nn.Conv2d(3, 4, 3)), seq(seq(nn.LeakyReLU(0.2)), nn.Conv2d(4, 2, 3))),
    "strides, dilation, groups": lambda: seq(
        nn.Conv2d(3, 6, (3, 2), (2, 1), (1, 2), (1, 2), groups=3, bias=False), nn.ReLU(), nn.Conv2d(6, 2, 2, groups=2)
    ),
    "transposed": lambda: seq(
        nn.ConvTranspose2d(3, 4, 4, 2, 1, output_padding=1, bias=False),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 6, 3, 2, groups=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(6, 1, 3),
    ),
    "same and valid": lambda: seq(
        nn.Conv2d(3, 4, 5, padding="same"), nn.ReLU(), nn.Conv2d(4, 1, 3, dilation=2, padding="valid")
    ),
    "linear": lambda: seq(nn.Flatten(), nn.Linear(432, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1, bias=False)),
    "linear over width": lambda: seq(nn.Linear(12, 8), nn.ReLU(inplace=True), nn.Flatten(2), nn.Linear(96, 3)),
    "no activation": lambda: seq(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 1, 3)),
    "pools": lambda: seq(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.AvgPool2d((2, 1), divisor_override=3),
        nn.AdaptiveAvgPool2d((2, None)),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(2),
    ),
    "pooled first": lambda: seq(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    "shared layer": shared_layer,
    "tied weights": tied_weights,
    "frozen": frozen,
    "dropout in eval": lambda: seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 3)).eval(),
    "compiled": lambda: torch.compile(seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))),
    "compiled part": lambda: seq(torch.compile(seq(nn.Conv2d(3, 4, 3), nn.ReLU())), nn.Conv2d(4, 1, 3)),
    "heads, described": Described,
    "discriminator": discriminator,
}
FORWARD: dict[str, Callable[[], nn.Module]] = {
    "tanh": lambda: seq(nn.Conv2d(3, 4, 4, 2, 1), nn.Tanh(), nn.Conv2d(4, 1, 3)),
    "instance norm": lambda: seq(
        nn.Conv2d(3, 4, 4, 2, 1), nn.InstanceNorm2d(4, affine=True), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)
    ),
    "group and layer norm": lambda: seq(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(400, 6), nn.LayerNorm(6), nn.GELU()
    ),
    "batch norm in eval": lambda: seq(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ELU(), nn.Conv2d(4, 1, 3)).eval(),
    "reflected padding": lambda: seq(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
    "uneven same": lambda: seq(nn.Conv2d(3, 4, 4, padding="same"), nn.ReLU(), nn.Conv2d(4, 1, 3)),
    "prelu": lambda: seq(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Conv2d(4, 1, 3)),
    "residual": lambda: seq(Residual(), nn.ReLU(), nn.Conv2d(3, 1, 3)),
    "spectral norm in eval": lambda: seq(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Conv2d(4, 1, 3)
    ).eval(),
    "weight norm": lambda: seq(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU()),
    "forward hook": lambda: hooked("forward"),
    "pre-hook": lambda: hooked("pre"),
    "replaced method": replaced_method,
    "subclassed layer": lambda: seq(Doubled(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)),
    "subclassed critic": lambda: Overridden(5, in_channels=3, image_size=12, width=4, num_layers=2),
    "heads": Heads,
    "compiled tanh": lambda: torch.compile(seq(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3))),
    "dropout in training": lambda: seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 3)),
    "batch norm in training": lambda: seq(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3)),
    "spectral norm in training": lambda: seq(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Conv2d(4, 1, 3)
    ),
    "no forward mode": lambda: seq(nn.Conv2d(3, 4, 3), Cubed(), nn.Conv2d(4, 1, 3)),
    "random numbers": lambda: seq(nn.Conv2d(3, 4, 3), Noisy(), nn.Tanh(), nn.Conv2d(4, 1, 3)),
    "remembers": lambda: seq(nn.Conv2d(3, 4, 3), Remembering(), nn.Conv2d(4, 1, 3)),
    "checkpointed": Checkpointed,
    "called functions": Functions,
    "function": lambda: seq(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3)).double().forward,
}
DOUBLE: dict[str, Callable[[], Callable]] = {
    "TorchScript": lambda: torch.jit.trace(
        seq(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3)).double(), torch.zeros(1, 3, 12, 12).double()
    ),
    "tensor subclass": lambda: with_unusual_weight(),
}
CRITICS = {**ANALYTIC, **FORWARD, **DOUBLE}
CHOICE = (
    dict.fromkeys(ANALYTIC, "analytic")
    | dict.fromkeys(FORWARD, "forward_over_reverse")
    | dict.fromkeys(DOUBLE, "double_backward")
)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def build(name: str, device: str = "cpu", dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    critic = CRITICS[name]()
    if isinstance(critic, nn.Module):
        critic = critic.to(device, dtype)
        if name == "pools":
            critic(torch.zeros(2, 3, 12, 12, device=device, dtype=dtype))  # its lazy layer takes its shape
    return critic


def images(device: str = "cpu", dtype: torch.dtype = torch.float64, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, count, 3, 12, 12, dtype=torch.float64, generator=generator)
    return real.to(device, dtype), fake.to(device, dtype), torch.rand(count, generator=generator).to(device)


def parameters(critic: Callable) -> list[nn.Parameter]:
    module = critic if isinstance(critic, nn.Module) else critic.__self__  # type: ignore[attr-defined]
    return list(module.parameters())


def gradients(critic: Callable, penalty: Tensor, factor: float = 10.0) -> list[Tensor]:
    """The gradients that `penalty` gives the critic's parameters, zero where it gives none."""
    for parameter in parameters(critic):
        parameter.grad = None
    (factor * penalty).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters(critic)]


def assert_same(critic: Callable, found: Tensor, expected: Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(found.detach(), expected.detach(), **tolerance)
    for mine, theirs in zip(gradients(critic, found), gradients(critic, expected), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerance)


TIGHT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("name", CRITICS)
def test_auto_gives_the_gradient_of_double_backward(name: str, device: str):
    if name in ("function", "TorchScript") and device == "cuda":
        pytest.skip("built on the CPU")
    real, fake, alpha = images(device)
    critic, twin = build(name, device), build(name, device)  # a copy, as some change from call to call
    assert penalty_implementation(critic, real)[0] == CHOICE[name]
    for _ in range(2):
        torch.manual_seed(5)
        found = gradient_penalty(critic, real, fake, alpha=alpha)
        torch.manual_seed(5)
        expected = reference.gradient_penalty(twin, real, fake, alpha=alpha)
        torch.testing.assert_close(found, expected, **TIGHT)
        assert found.dtype == torch.float64
        for mine, theirs in zip(gradients(critic, found), gradients(twin, expected), strict=True):
            torch.testing.assert_close(mine, theirs, **TIGHT)
    if isinstance(critic, nn.Module):
        for mine, theirs in zip(critic.buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(mine, theirs, **TIGHT)


@pytest.mark.parametrize("name", ANALYTIC)
def test_forward_over_reverse_agrees_on_piecewise_linear_critics(name: str):
    critic = build(name)
    real, fake, alpha = images()
    found = gradient_penalty(critic, real, fake, alpha=alpha, implementation="forward_over_reverse")
    assert_same(critic, found, reference.gradient_penalty(critic, real, fake, alpha=alpha), **TIGHT)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tanh", "1 (Tanh) is not a layer"),
        ("forward hook", "1 (LeakyReLU) has hooks"),
        ("reflected padding", "padding_mode 'reflect'"),
        ("subclassed critic", "overrides forward but not realism_layers"),
        ("replaced method", "0 (Conv2d) has a replaced method"),
        ("weight norm", "0 (ParametrizedConv2d)"),
        ("uneven same", "pads unevenly"),
        ("function", "not an nn.Module"),
        ("dropout in training", "2 (Dropout) is not a layer"),
    ],
)
def test_analytic_says_why_not(name: str, reason: str):
    real, fake, _ = images()
    with pytest.raises(ValueError, match="use implementation='auto'") as caught:
        gradient_penalty(build(name), real, fake, implementation="analytic")
    assert reason in str(caught.value)


def test_auto_says_why_not_earlier():
    real, _, _ = images()
    assert penalty_implementation(build("leaky"), real) == ("analytic", "")
    assert "1 (Tanh) is not a layer" in penalty_implementation(build("tanh"), real)[1]
    assert "is TorchScript, whose layers cannot be seen" in penalty_implementation(build("TorchScript"), real)[1]
    assert "has a tensor of an unusual type" in penalty_implementation(build("tensor subclass"), real)[1]


def test_forward_over_reverse_says_why_not():
    real, fake, _ = images()
    with pytest.raises(ValueError, match="is TorchScript"):
        gradient_penalty(build("TorchScript"), real, fake, implementation="forward_over_reverse")


def test_layers_are_taken_over_and_no_second_derivative_is_propagated():
    """A rectifier's second derivative, zero, is not propagated: convolutions see the tangent alone."""
    critic = build("residual")
    real, fake, alpha = images()
    penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation="forward_over_reverse")
    nodes, stack = set(), [penalty.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            stack.extend(following for following, _ in node.next_functions)
    names = {type(node).__name__ for node in nodes}
    assert {"_ConvolveBackBackward", "_RectifyBackBackward"} <= names
    assert not any("ConvolutionBackward0" in name or "ReluBackward" in name for name in names)


def test_a_global_hook_is_seen():
    critic = build("leaky")
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert penalty_implementation(critic, images()[0])[0] != "analytic"
    finally:
        handle.remove()
    assert penalty_implementation(critic, images()[0])[0] == "analytic"


@settings(max_examples=40, deadline=None)
@given(
    transposed=st.booleans(),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    slope=st.sampled_from([0.0, 0.01, 1.5]),
    size=st.tuples(st.integers(7, 11), st.integers(7, 11)),
    count=st.integers(1, 3),
    channels_last=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_convolution(
    transposed, kernel, stride, padding, dilation, groups, bias, slope, size, count, channels_last, seed
):
    torch.manual_seed(seed)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    first = kind(
        4, 6, kernel, stride, min(padding, dilation * (kernel - 1)), dilation=dilation, groups=groups, bias=bias
    )
    activation = nn.LeakyReLU(slope) if slope else nn.ReLU()
    critic = seq(first, activation, nn.Conv2d(6, 2, 1), activation, nn.AdaptiveAvgPool2d(2), nn.Flatten()).double()
    real, fake = torch.randn(2, count, 4, *size, dtype=torch.float64)
    if channels_last:
        critic, real = critic.to(memory_format=torch.channels_last), real.to(memory_format=torch.channels_last)
    alpha = torch.rand(count)
    found = gradient_penalty(critic, real, fake, alpha=alpha, target=0.3, implementation="analytic")
    assert_same(critic, found, reference.gradient_penalty(critic, real, fake, alpha=alpha, target=0.3), **TIGHT)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_matrix_convolutions_are_convolutions(monkeypatch: pytest.MonkeyPatch, memory_format: torch.memory_format):
    critic = seq(
        nn.Conv2d(3, 5, (4, 3), (2, 1), (1, 2), (1, 2)),
        nn.LeakyReLU(0.2),
        nn.Conv2d(5, 7, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
    )
    critic = critic.double().to(memory_format=memory_format)
    real, fake, alpha = images()
    expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
    monkeypatch.setattr(matrix_convolution, "_LEAST_WEIGHTS", 1)
    calls = []
    convolve = matrix_convolution.convolve
    monkeypatch.setattr(matrix_convolution, "convolve", lambda *a: calls.append(1) or convolve(*a))
    monkeypatch.setattr(matrix_convolution, "_MOST_POSITIONS", 1000)
    found = gradient_penalty(critic, real, fake, alpha=alpha, implementation="analytic")
    assert_same(critic, found, expected, **TIGHT)
    assert len(calls) == 3  # two forward, one tangent: the last layer's tangent is not needed


@pytest.mark.parametrize("implementation", ["auto", "forward_over_reverse", "double_backward"])
def test_empty_batch(implementation: str):
    critic = build("leaky")
    empty = torch.zeros(0, 3, 12, 12, dtype=torch.float64)
    penalty = gradient_penalty(critic, empty, empty, implementation=implementation)
    assert penalty == 0
    assert all((gradient == 0).all() for gradient in gradients(critic, penalty))


def test_zero_gradient_is_not_nan():
    critic = seq(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)).double()
    nn.init.constant_(critic[0].bias, -1e3)  # every ReLU is off: g = 0
    real, fake, alpha = images()
    penalty = gradient_penalty(critic, real, fake, alpha=alpha)
    assert penalty == 1
    assert all((gradient == 0).all() for gradient in gradients(critic, penalty))


def test_numerical_gradient():
    critic = build("transposed")
    real, fake, alpha = images(count=2)
    convolutions = [layer for layer in critic if hasattr(layer, "weight")]

    def penalty(*weights: Tensor) -> Tensor:
        for layer, weight in zip(convolutions, weights, strict=True):
            layer._parameters["weight"] = weight
        return gradient_penalty(critic, real, fake, alpha=alpha, implementation="analytic")

    assert torch.autograd.gradcheck(penalty, [layer.weight.detach().requires_grad_() for layer in convolutions])


def test_float32_is_as_good_as_double_backward(device: str):
    exact = build("discriminator", device)
    critic = copy.deepcopy(exact).float()
    real, fake, alpha = images(device)
    expected = gradients(exact, reference.gradient_penalty(exact, real, fake, alpha=alpha))
    for implementation in ("analytic", "forward_over_reverse"):
        penalty = gradient_penalty(critic, real.float(), fake.float(), alpha=alpha, implementation=implementation)
        assert penalty.dtype == torch.float32
        for mine, theirs in zip(gradients(critic, penalty), expected, strict=True):
            torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, device: str):
    exact = build("discriminator", device)
    critic = copy.deepcopy(exact).to(dtype)
    exact.load_state_dict(critic.state_dict())
    real, fake, alpha = images(device, dtype)
    expected = reference.gradient_penalty(exact, real.double(), fake.double(), alpha=alpha)
    found = gradient_penalty(critic, real, fake, alpha=alpha, implementation="analytic")
    assert found.dtype == dtype
    assert abs(found.double() - expected) < 0.02 * expected
    flat = [torch.cat([g.double().flatten() for g in gradients(c, p)]) for c, p in ((critic, found), (exact, expected))]
    assert torch.linalg.vector_norm(flat[0] - flat[1]) < 0.05 * torch.linalg.vector_norm(flat[1])


@pytest.mark.parametrize("name", ["discriminator", "pooled first", "instance norm"])
def test_autocast(name: str, device: str):
    critic = build(name, device, torch.float32)
    real, fake, alpha = images(device, torch.float32)
    with torch.autocast(device, torch.bfloat16):
        found = gradient_penalty(critic, real, fake, alpha=alpha)
        expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
        assert penalty_implementation(critic, real)[0] == CHOICE[name]
    assert found.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-3)
    mine, theirs = (torch.cat([g.flatten() for g in gradients(critic, p)]) for p in (found, expected))
    assert mine.dtype == torch.float32
    assert torch.linalg.vector_norm(mine - theirs) < 0.05 * torch.linalg.vector_norm(theirs)


def test_autocast_leaves_float64_alone():
    critic = build("leaky")
    real, fake, alpha = images()
    expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(critic, gradient_penalty(critic, real, fake, alpha=alpha), expected, **TIGHT)


def test_channels_last(device: str):
    critic = build("discriminator", device)
    real, fake, alpha = images(device)
    expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
    expected_gradients = gradients(critic, expected)
    critic.to(memory_format=torch.channels_last)
    last = [t.to(memory_format=torch.channels_last) for t in (real, fake)]
    for pair in (last, (last[0], fake), (real.transpose(2, 3).contiguous().transpose(2, 3), fake)):
        penalty = gradient_penalty(critic, *pair, alpha=alpha, implementation="analytic")
        torch.testing.assert_close(penalty, expected, **TIGHT)
        for mine, theirs in zip(gradients(critic, penalty), expected_gradients, strict=True):
            torch.testing.assert_close(mine, theirs, **TIGHT)


@pytest.mark.parametrize("implementation", ["analytic", "forward_over_reverse", "double_backward"])
def test_weights_of_the_mixture(implementation: str):
    critic = build("leaky")
    real, fake, alpha = images()

    def penalty(**options) -> Tensor:
        return gradient_penalty(critic, real, fake, implementation=implementation, **options).detach()

    drawn = penalty(generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, penalty(generator=torch.Generator().manual_seed(3)))
    assert torch.equal(drawn, penalty(alpha=torch.rand(4, generator=torch.Generator().manual_seed(3))))
    assert not torch.equal(drawn, penalty(generator=torch.Generator().manual_seed(4)))
    torch.manual_seed(3)
    assert torch.equal(drawn, penalty())
    assert torch.equal(penalty(alpha=alpha), penalty(alpha=alpha.view(-1, 1, 1, 1)))
    at_real = gradient_penalty(critic, real, real, implementation=implementation, alpha=alpha)
    torch.testing.assert_close(penalty(alpha=torch.ones(4)), at_real.detach(), **TIGHT)


@pytest.mark.parametrize("name", ["discriminator", "instance norm"])
def test_the_same_bits_every_time(name: str, device: str):
    critic = build(name, device, torch.float32)
    real, fake, alpha = images(device, torch.float32)
    runs = []
    for _ in range(3):
        penalty = gradient_penalty(critic, real, fake, alpha=alpha)
        runs.append([penalty.detach(), *gradients(critic, penalty)])
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("implementation", ["analytic", "forward_over_reverse", "double_backward"])
def test_images_are_constants_and_parameters_accumulate(implementation: str):
    critic = build("leaky")
    real, fake, alpha = images()
    before = real.clone(), fake.clone()
    real.requires_grad_()
    fake.requires_grad_()
    penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation=implementation)
    once = gradients(critic, penalty, 1.0)
    assert real.grad is None
    assert fake.grad is None
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])
    for _ in range(2):
        gradient_penalty(critic, real, fake, alpha=alpha, implementation=implementation).backward()
    for parameter, gradient in zip(critic.parameters(), once, strict=True):
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, 3 * gradient, **TIGHT)


def test_backward_twice_and_hooks_once():
    critic = build("discriminator")
    real, fake, alpha = images()
    calls: list[str] = []
    for name, parameter in critic.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: calls.append(name))
    penalty = gradient_penalty(critic, real, fake, alpha=alpha)
    penalty.backward(retain_graph=True)
    assert sorted(calls) == sorted(name for name, _ in critic.named_parameters() if "attribute" not in name)
    first = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    penalty.backward()
    for parameter, gradient in zip([p for p in critic.parameters() if p.grad is not None], first, strict=True):
        assert torch.equal(parameter.grad, 2 * gradient)


@pytest.mark.parametrize("implementation", ["analytic", "forward_over_reverse", "double_backward"])
def test_without_grad_mode(implementation: str):
    critic = build("leaky")
    real, fake, alpha = images()
    expected = reference.gradient_penalty(critic, real, fake, alpha=alpha)
    with torch.no_grad():
        penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation=implementation)
    assert not penalty.requires_grad
    torch.testing.assert_close(penalty, expected.detach(), **TIGHT)


@pytest.mark.parametrize(
    ("name", "implementation"), [("leaky", "analytic"), ("leaky", "forward_over_reverse"), ("tanh", "auto")]
)
def test_a_second_derivative_is_refused_not_wrong(name: str, implementation: str):
    critic = build(name)
    real, fake, alpha = images()
    penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation=implementation)
    with pytest.raises(RuntimeError, match="use implementation='double_backward'"):
        torch.autograd.grad(penalty, critic[0].weight, create_graph=True)


def test_weights_changed_before_backward_are_an_error():
    critic = build("leaky")
    real, fake, alpha = images()
    penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation="analytic")
    with torch.no_grad():
        critic[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        penalty.backward()


def train(implementation: str, device: str, steps: int = 3) -> list[Tensor]:
    """A WGAN-GP critic's training: realism of real and fake, penalty, attribute loss (paper eq. 1-3)."""
    torch.manual_seed(0)
    critic = discriminator().to(device, torch.float64)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2, betas=(0.5, 0.999))
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        real, fake = torch.randn(2, 4, 3, 12, 12, dtype=torch.float64, generator=generator).to(device)
        labels = torch.randint(0, 5, (4,), generator=generator).to(device)
        realism, attributes = critic(real)
        loss = critic(fake).realism.mean() - realism.mean() + nn.functional.cross_entropy(attributes, labels)
        penalty = gradient_penalty(critic, real, fake, generator=generator, implementation=implementation)
        optimizer.zero_grad()
        (loss + 10 * penalty).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in critic.parameters()]


@pytest.mark.parametrize("implementation", ["auto", "analytic", "forward_over_reverse"])
def test_training_gives_the_same_parameters(implementation: str, device: str):
    expected = train("double_backward", device)
    torch.manual_seed(0)
    start = list(discriminator().to(device, torch.float64).parameters())
    for found, wanted, initial in zip(train(implementation, device), expected, start, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)
        assert not torch.allclose(wanted, initial)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementation": "fast"}, "implementation must be one of auto"),
        ({"fake": torch.zeros(4, 3, 12, 11, dtype=torch.float64)}, r"fake must have real's shape \(4, 3, 12, 12\)"),
        ({"fake": torch.zeros(4, 3, 12, 12)}, "fake must have real's dtype"),
        ({"alpha": torch.zeros(3)}, "alpha must hold one floating-point weight per image"),
        ({"alpha": torch.zeros(4, dtype=torch.int64)}, "alpha must hold one floating-point weight per image"),
        ({"real": torch.zeros(4)}, "real must be floating-point images"),
        ({"real": torch.zeros(4, 3, 12, 12, dtype=torch.uint8)}, "real must be floating-point images"),
    ],
)
def test_errors_name_the_argument(change: dict, message: str):
    real, fake, alpha = images()
    arguments = {"real": real, "fake": fake, "alpha": alpha, "implementation": "auto", **change}
    with pytest.raises(ValueError, match=message):
        gradient_penalty(build("leaky"), **arguments)


def test_a_critic_without_a_tensor_is_an_error():
    real, fake, _ = images()
    with pytest.raises(TypeError, match="critic must return a tensor"):
        gradient_penalty(lambda x: {"score": x}, real, fake)


def test_weights_of_another_dtype_are_pytorchs_error():
    real, fake, _ = images()
    with pytest.raises(RuntimeError):
        gradient_penalty(build("leaky").float(), real, fake)


def test_cuda_graph():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    critic = build("discriminator", "cuda")
    real, fake, alpha = images("cuda")

    def step() -> Tensor:
        penalty = gradient_penalty(critic, real, fake, alpha=alpha, implementation="analytic")
        penalty.backward()
        return penalty.detach()

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
        for parameter in critic.parameters():
            parameter.grad = None
        expected = step()
        wanted = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    torch.cuda.current_stream().wait_stream(stream)
    for parameter in critic.parameters():
        parameter.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        graph.replay()
    assert torch.equal(captured, expected)
    found = [p.grad for p in critic.parameters() if p.grad is not None]
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, **TIGHT)

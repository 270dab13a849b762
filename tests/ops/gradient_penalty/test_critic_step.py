"""features_and_penalty gives what the trunk and gradient_penalty give one after the other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lssl.ops import features_and_penalty, reference
from lssl.ops.gradient_penalty import matrix_convolution


def seq(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def frozen() -> tuple[nn.Module, nn.Module]:
    trunk, head = plain()
    trunk[0].requires_grad_(False)
    trunk[2].bias.requires_grad_(False)
    return trunk, head


def frozen_trunk() -> tuple[nn.Module, nn.Module]:
    trunk, head = plain()
    return trunk.requires_grad_(False), head


def plain() -> tuple[nn.Module, nn.Module]:
    trunk = seq(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(4, 6, 4, 2, 1), nn.LeakyReLU(0.01))
    return trunk, nn.Conv2d(6, 1, 3, padding=1, bias=False)


def shared() -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    return seq(conv, nn.ReLU(inplace=True), conv, nn.LeakyReLU(0.2)), seq(conv, nn.Flatten(), nn.Linear(432, 1))


CRITICS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "plain": plain,
    "frozen": frozen,
    "frozen trunk": frozen_trunk,
    "shared": shared,
    "rectified input": lambda: (
        seq(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.AvgPool2d(2)),
        seq(nn.ReLU(), nn.Conv2d(4, 1, 3)),
    ),
    "transposed": lambda: (
        seq(nn.ConvTranspose2d(3, 4, 3, 2, groups=1), nn.ReLU(), nn.AdaptiveAvgPool2d(5)),
        seq(nn.LeakyReLU(0.3), nn.Conv2d(4, 1, 3)),
    ),
    "linear": lambda: (
        seq(nn.Linear(12, 7), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(252, 5)),
        seq(nn.ReLU(), nn.Linear(5, 1)),
    ),
    "empty head": lambda: (plain()[0], nn.Identity()),
    "no trunk": lambda: (nn.Identity(), seq(*plain()[0])),
    "smooth": lambda: (seq(nn.Conv2d(3, 4, 3), nn.Tanh()), nn.Conv2d(4, 1, 3)),
}


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def build(name: str, device: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    trunk, head = CRITICS[name]()
    return trunk.to(device, dtype), head.to(device, dtype)


def images(device: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(7, 3, 12, 12, dtype=torch.float64, generator=generator).to(device, dtype)
    return samples, samples[:3], samples[3:6], torch.rand(3, generator=generator).to(device)


def gradients(trunk: nn.Module, head: nn.Module, loss: Tensor, retain: bool = False) -> list[Tensor]:
    parameters = list(nn.ModuleList([trunk, head]).parameters())
    for parameter in parameters:
        parameter.grad = None
    loss.backward(retain_graph=retain)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]


def losses(head: nn.Module, features: Tensor, penalty: Tensor) -> dict[str, Tensor]:
    """A critic's step: both heads on the features, and the penalty."""
    of_features = head(features).mean() + features.square().mean()
    return {"both": of_features + 10 * penalty, "features": of_features, "penalty": 10 * penalty}


@pytest.mark.parametrize("part", ["both", "features", "penalty"])
@pytest.mark.parametrize("name", CRITICS)
def test_gives_what_its_parts_give(name: str, part: str, device: str):
    trunk, head = build(name, device)
    samples, real, fake, alpha = images(device)
    before = samples.clone()
    features, penalty = features_and_penalty(trunk, head, samples, real, fake, alpha=alpha, target=0.7)
    wanted_penalty = reference.gradient_penalty(seq(trunk, head), real, fake, alpha=alpha, target=0.7)
    wanted_features = trunk(samples.clone())
    assert torch.equal(samples, before)
    torch.testing.assert_close(features, wanted_features, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(penalty, wanted_penalty, rtol=1e-10, atol=1e-12)
    loss, wanted = (losses(head, f, p)[part] for f, p in ((features, penalty), (wanted_features, wanted_penalty)))
    if not wanted.requires_grad:
        pytest.skip("nothing to train here")
    for mine, theirs in zip(gradients(trunk, head, loss), gradients(trunk, head, wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_backward_twice(device: str):
    """What one pass overwrites does not affect the next: equal bits wherever PyTorch's convolutions give equal bits."""
    trunk, head = build("plain", device)
    samples, real, fake, alpha = images(device)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        loss = losses(head, *features_and_penalty(trunk, head, samples, real, fake, alpha=alpha))["both"]
        first = gradients(trunk, head, loss, retain=True)
        for mine, theirs in zip(gradients(trunk, head, loss), first, strict=True):
            assert torch.equal(mine, theirs)


def test_backward_twice_by_default(device: str):
    """cuDNN may add a weight gradient's terms in any order unless told otherwise: then equal up to rounding."""
    trunk, head = build("plain", device)
    samples, real, fake, alpha = images(device)
    loss = losses(head, *features_and_penalty(trunk, head, samples, real, fake, alpha=alpha))["both"]
    first = gradients(trunk, head, loss, retain=True)
    for mine, theirs in zip(gradients(trunk, head, loss), first, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


def test_matrix_convolutions(monkeypatch: pytest.MonkeyPatch):
    trunk, head = build("plain", "cpu")
    samples, real, fake, alpha = images("cpu")
    runs = []
    for least in (1 << 30, 1):
        monkeypatch.setattr(matrix_convolution, "_LEAST_WEIGHTS", least)
        loss = losses(head, *features_and_penalty(trunk, head, samples, real, fake, alpha=alpha))["both"]
        runs.append(gradients(trunk, head, loss))
    for mine, theirs in zip(*runs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_channels_last_and_float32(device: str):
    exact = build("plain", device)
    samples, real, fake, alpha = images(device)
    wanted = gradients(
        *exact,
        losses(exact[1], exact[0](samples), reference.gradient_penalty(seq(*exact), real, fake, alpha=alpha))["both"],
    )
    trunk, head = (module.float().to(memory_format=torch.channels_last) for module in exact)
    samples = samples.float().to(memory_format=torch.channels_last)
    step = features_and_penalty(trunk, head, samples, samples[:3], samples[3:6], alpha=alpha)
    for mine, theirs in zip(gradients(trunk, head, losses(head, *step)["both"]), wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)


def test_autocast(device: str):
    trunk, head = build("plain", device, torch.float32)
    samples, real, fake, alpha = images(device, torch.float32)
    with torch.autocast(device, torch.bfloat16):
        step = features_and_penalty(trunk, head, samples, real, fake, alpha=alpha)
        expected = trunk(samples), reference.gradient_penalty(seq(trunk, head), real, fake, alpha=alpha)
        assert step[0].dtype == expected[0].dtype
        totals = [losses(head, *pair)["both"] for pair in (step, expected)]
    mine, theirs = (torch.cat([g.flatten() for g in gradients(trunk, head, total)]) for total in totals)
    assert torch.linalg.vector_norm(mine - theirs) < 0.05 * torch.linalg.vector_norm(theirs)


def test_hooks_fire_once():
    trunk, head = build("plain", "cpu")
    samples, real, fake, alpha = images("cpu")
    fired: list[int] = []
    for parameter in nn.ModuleList([trunk, head]).parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: fired.append(id(p)))
    losses(head, *features_and_penalty(trunk, head, samples, real, fake, alpha=alpha))["both"].backward()
    assert len(fired) == len(set(fired)) == 5


def test_without_gradients_and_empty():
    trunk, head = build("plain", "cpu")
    samples, real, fake, alpha = images("cpu")
    with torch.no_grad():
        features, penalty = features_and_penalty(trunk, head, samples, real, fake, alpha=alpha)
    torch.testing.assert_close(features, trunk(samples).detach(), rtol=1e-10, atol=1e-12)
    assert not penalty.requires_grad
    features, penalty = features_and_penalty(trunk, head, samples[:0], real, fake, alpha=alpha)
    assert features.shape[0] == 0
    features, penalty = features_and_penalty(trunk, head, samples, real[:0], fake[:0])
    assert penalty == 0


def test_a_second_derivative_is_refused():
    trunk, head = build("plain", "cpu")
    samples, real, fake, alpha = images("cpu")
    features, _ = features_and_penalty(trunk, head, samples, real, fake, alpha=alpha)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(features.sum(), trunk[0].weight, create_graph=True)


def test_errors_name_the_argument():
    trunk, head = build("plain", "cpu")
    samples, real, fake, _ = images("cpu")
    with pytest.raises(ValueError, match="samples must be images like real's"):
        features_and_penalty(trunk, head, samples[..., 1:], real, fake)
    with pytest.raises(ValueError, match="fake must have real's shape"):
        features_and_penalty(trunk, head, samples, real, fake[:1])

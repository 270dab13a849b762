"""Each term against its equation."""

import pytest
import torch
from torch.nn import functional as F

from lssl.data import AttributeSchema
from lssl.models import Discriminator
from lssl.ops import r1_penalty
from lssl.training import losses

SCHEMA = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"], "glasses": ["0", "1"]})


def test_attribute_losses():
    chance = torch.Generator().manual_seed(0)
    logits, y = torch.randn(5, 4, generator=chance), SCHEMA.sample(5, chance)
    p = logits.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(losses.attribute_bce(logits, y), expected)
    softmax = losses.attribute_softmax(logits, y, SCHEMA)
    expected = -(y[:, :3] * logits[:, :3].log_softmax(1)).sum(1).mean()
    expected = expected + F.binary_cross_entropy(p[:, 3], y[:, 3])
    torch.testing.assert_close(softmax, expected)


def test_loss_at_chance_is_the_least_of_all_answers_that_are_alike():
    y = SCHEMA.sample(200, torch.Generator().manual_seed(0))
    share = y.mean(0, keepdim=True)
    logits = (share / (1 - share)).log()
    logits[:, :3] = share[:, :3].log()
    logits = logits.repeat(200, 1).requires_grad_()
    loss = losses.attribute_softmax(logits, y, SCHEMA)
    assert losses.softmax_at_chance(y, SCHEMA) == pytest.approx(loss.item(), rel=1e-5)
    assert torch.autograd.grad(loss, logits)[0].sum(0).abs().max() < 1e-6
    one_value = y[:1].repeat(5, 1)
    assert losses.softmax_at_chance(one_value, SCHEMA) == 0


def test_parsing_loss_is_zero_for_equal_maps_and_has_the_softmax_losses_gradient():
    torch.manual_seed(0)
    target, fake = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3, requires_grad=True)
    assert losses.parsing(target, target).abs() < 1e-6
    (gradient,) = torch.autograd.grad(losses.parsing(fake, target), fake)
    (plain,) = torch.autograd.grad(F.cross_entropy(fake, target.softmax(1)), fake)
    torch.testing.assert_close(gradient, plain)


def test_projection_ignores_what_all_values_share():
    y = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    score = losses.projection(logits, y, SCHEMA)
    moved = logits + torch.tensor([5.0, 5.0, 5.0, 0.0])
    torch.testing.assert_close(score, losses.projection(moved, y, SCHEMA))
    expected = (logits[:, :3] * (y[:, :3] - 1 / 3)).sum(1) + logits[:, 3] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(score.flatten(), expected)


def test_logistic_adversarial_losses():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0])
    expected = torch.log1p(torch.exp(fake)).mean() + torch.log1p(torch.exp(-real)).mean()
    torch.testing.assert_close(losses.logistic(real, fake), expected)
    torch.testing.assert_close(losses.generator_logistic(fake), torch.log1p(torch.exp(-fake)).mean())


def test_r1_is_the_squared_gradient_at_real_faces():
    torch.manual_seed(0)
    critic, real = Discriminator(4, 3, 16, 4, 2), torch.rand(3, 3, 16, 16)
    score = lambda x: critic.realism(x) + critic(x).attributes.sum(1)[:, None, None, None]  # noqa: E731
    x = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    expected = gradient.square().sum((1, 2, 3)).mean()
    penalty = r1_penalty(score, real)
    torch.testing.assert_close(penalty, expected)
    expected.backward()
    gradients = lambda: [torch.zeros_like(p) if p.grad is None else p.grad for p in critic.parameters()]  # noqa: E731
    wanted = gradients()
    critic.zero_grad()
    penalty.backward()
    torch.testing.assert_close(gradients(), wanted)


def test_every_term_has_a_label_and_a_panel():
    assert list(losses.TERMS)[:4] == ["d_real", "d_fake", "d_cls", "d_gp"]
    assert all(term.name == name and term.label and term.panel for name, term in losses.TERMS.items())

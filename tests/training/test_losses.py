"""Each term against its equation."""

import pytest
import torch
from torch.nn import functional as F

from lssl.data import AttributeSchema
from lssl.models import Discriminator, FaceParser, Generator
from lssl.training import losses
from lssl.training.config import LossConfig
from lssl.training.steps import Networks, StepBatch, critic_loss, generator_loss

SCHEMA = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"], "glasses": ["0", "1"]})


@pytest.fixture
def networks() -> Networks:
    torch.manual_seed(0)
    generator = Generator(4, width=4, num_downsamplings=1, residual_blocks=1)
    return Networks(generator, Discriminator(4, 4, 16, 4, 2), FaceParser(8, 2).eval().requires_grad_(False))


@pytest.fixture
def batch() -> StepBatch:
    chance = torch.Generator().manual_seed(0)
    image, side = torch.rand(3, 3, 16, 16, generator=chance) * 2 - 1, torch.rand(3, 1, 16, 16, generator=chance) * 2 - 1
    return StepBatch(image, side, SCHEMA.sample(3, chance), SCHEMA.sample(3, chance), torch.rand(3, generator=chance))


def test_attribute_losses():
    chance = torch.Generator().manual_seed(0)
    logits, y = torch.randn(5, 4, generator=chance), SCHEMA.sample(5, chance)
    p = logits.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(losses.attribute_classification(logits, y, SCHEMA), expected)
    softmax = losses.attribute_classification(logits, y, SCHEMA, "softmax")
    expected = -(y[:, :3] * logits[:, :3].log_softmax(1)).sum(1).mean()
    expected = expected + F.binary_cross_entropy(p[:, 3], y[:, 3])
    torch.testing.assert_close(softmax, expected)


@pytest.mark.parametrize("kind", ["bce", "softmax"])
def test_loss_at_chance_is_the_least_of_all_answers_that_are_alike(kind):
    y = SCHEMA.sample(200, torch.Generator().manual_seed(0))
    share = y.mean(0, keepdim=True)
    logits = (share / (1 - share)).log()
    if kind == "softmax":
        logits[:, :3] = share[:, :3].log()
    logits = logits.repeat(200, 1).requires_grad_()
    loss = losses.attribute_classification(logits, y, SCHEMA, kind)
    assert losses.chance_classification(y, SCHEMA, kind) == pytest.approx(loss.item(), rel=1e-5)
    assert torch.autograd.grad(loss, logits)[0].sum(0).abs().max() < 1e-6
    one_value = y[:1].repeat(5, 1)
    assert losses.chance_classification(one_value, SCHEMA, kind) == 0


def test_parsing_loss_is_zero_for_equal_maps_and_has_the_softmax_losses_gradient():
    torch.manual_seed(0)
    target, fake = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3, requires_grad=True)
    assert losses.parsing(target, target).abs() < 1e-6
    (gradient,) = torch.autograd.grad(losses.parsing(fake, target), fake)
    (plain,) = torch.autograd.grad(F.cross_entropy(fake, target.softmax(1)), fake)
    torch.testing.assert_close(gradient, plain)


def test_critic_loss_is_equation_7(networks, batch):
    config = LossConfig(critic_classification=2.0)
    loss, terms = critic_loss(networks, batch, config, SCHEMA)
    expected = terms["d_real"] + terms["d_fake"] + 10 * terms["d_gp"] + 2 * terms["d_cls"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for p in networks.critic.parameters())
    assert all(p.grad is None for p in networks.generator.parameters())


def test_generator_loss_is_equation_7(networks, batch):
    config = LossConfig(classification=2.0, bidirectional=3.0, latent=4.0, identity=5.0, parsing=6.0)
    loss, t = generator_loss(networks, batch, config, SCHEMA)
    expected = t["g_adv"] + 2 * t["g_cls"] + 3 * t["g_bi"] + 4 * t["g_latent"] + 5 * t["g_id"] + 6 * t["g_parse"]
    torch.testing.assert_close(loss, expected)
    fake, fake_side = networks.generator(batch.image, batch.side, batch.y)
    torch.testing.assert_close(t["g_id"], (fake - batch.image).abs().mean())
    back, side_back = networks.generator(fake, fake_side, batch.y_source)
    torch.testing.assert_close(t["g_bi"], (back - batch.image).abs().mean() + (side_back - batch.side).abs().mean())
    latent = networks.generator.encode(batch.image, batch.side)
    torch.testing.assert_close(t["g_latent"], (networks.generator.encode(fake, fake_side) - latent).abs().mean())
    loss.backward()
    assert all(p.grad is not None for p in networks.generator.parameters())


@pytest.mark.parametrize(
    ("setting", "term"),
    [
        ("classification", "g_cls"),
        ("bidirectional", "g_bi"),
        ("latent", "g_latent"),
        ("identity", "g_id"),
        ("parsing", "g_parse"),
    ],
)
def test_weight_zero_leaves_a_term_out(networks, batch, setting, term):
    _, terms = generator_loss(networks, batch, LossConfig(), SCHEMA)
    assert term in terms
    _, terms = generator_loss(networks, batch, LossConfig(**{setting: 0.0}), SCHEMA)
    assert term not in terms


def test_runs_without_side_image_and_with_image_classification(batch):
    torch.manual_seed(0)
    batch.side = None
    networks = Networks(Generator(4, side_channels=0, width=4, num_downsamplings=1), Discriminator(4, 3, 16, 4, 2))
    for step in (critic_loss, generator_loss):
        assert step(networks, batch, LossConfig(parsing=0), SCHEMA)[0].isfinite()


def test_image_classification_does_not_see_the_side_image(networks, batch):
    config = LossConfig(classify="image")
    _, terms = critic_loss(networks, batch, config, SCHEMA)
    batch.side = torch.zeros_like(batch.side)
    _, other = critic_loss(networks, batch, config, SCHEMA)
    assert torch.equal(terms["d_cls"], other["d_cls"])
    assert not torch.equal(terms["d_real"], other["d_real"])


@pytest.mark.parametrize("adversarial", ["wasserstein", "logistic"])
@pytest.mark.parametrize("classify", ["pair", "image", "luminance"])
def test_conditional_critic(networks, batch, adversarial, classify):
    networks.conditional = True
    config = LossConfig(parsing=0, adversarial=adversarial, classify=classify)
    loss, terms = critic_loss(networks, batch, config, SCHEMA)
    loss.backward()
    assert all(parameter.grad is not None for parameter in networks.critic.parameters())
    before = generator_loss(networks, batch, config, SCHEMA)[1]["g_adv"]
    before.backward()
    batch.y_source = batch.y_source.flip(0)
    assert not torch.equal(critic_loss(networks, batch, config, SCHEMA)[1]["d_real"], terms["d_real"])


def test_projection_ignores_what_all_values_share():
    y = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    score = losses.projection(logits, y, SCHEMA)
    moved = logits + torch.tensor([5.0, 5.0, 5.0, 0.0])
    torch.testing.assert_close(score, losses.projection(moved, y, SCHEMA))
    expected = (logits[:, :3] * (y[:, :3] - 1 / 3)).sum(1) + logits[:, 3] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(score.flatten(), expected)


def test_luminance_classification_sees_no_tint(networks, batch):
    config = LossConfig(classify="luminance")
    tint = torch.tensor([0.587, -0.299, 0.0])[:, None, None] * 0.2
    seen = networks.classified(batch.image, batch.side, config)
    torch.testing.assert_close(networks.classified(batch.image + tint, batch.side, config), seen)
    noise = torch.full((len(batch.image), 1, 16, 16), 0.25)
    torch.testing.assert_close(networks.classified(batch.image, batch.side, config, noise)[:, :3], seen[:, :3] + 0.25)


def test_logistic_adversarial_losses():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0])
    expected = torch.log1p(torch.exp(fake)).mean() + torch.log1p(torch.exp(-real)).mean()
    torch.testing.assert_close(losses.critic_adversarial(real, fake, "logistic"), expected)
    torch.testing.assert_close(losses.generator_adversarial(fake, "logistic"), torch.log1p(torch.exp(-fake)).mean())

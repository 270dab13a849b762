"""What the methods minimize, against the paper's equations."""

import pytest
import torch

from lssl.methods.run import prepare_run
from lssl.models import FaceParser
from lssl.models.parser_export import save_parser


@pytest.fixture
def paper(config, tmp_path):
    save_parser(tmp_path / "parser.safetensors", FaceParser(8, 2))
    config = config.with_overrides({"losses.parsing": 6.0, "losses.bidirectional": 3.0, "losses.classification": 2.0})
    return prepare_run(config, tmp_path / "run", parser_path=tmp_path / "parser.safetensors", quiet=True).method


def test_paper_critic_loss_is_equation_7(paper):
    batch = paper.batch(paper.draw(0))
    loss, terms = paper.critic_loss(batch)
    expected = terms["d_real"] + terms["d_fake"] + 10 * terms["d_gp"] + 2 * terms["d_cls"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is not None for p in paper.critic.parameters())
    assert all(p.grad is None for p in paper.generator.parameters())


def test_paper_generator_loss_is_equation_7(paper):
    batch = paper.batch(paper.draw(0))
    loss, t = paper.generator_loss(batch)
    expected = t["g_adv"] + 2 * t["g_cls"] + 3 * (t["g_bi"] + t["g_latent"]) + 10 * t["g_id"] + 6 * t["g_parse"]
    torch.testing.assert_close(loss, expected)
    fake, fake_side = paper.generator(batch.image, batch.side, batch.y)
    torch.testing.assert_close(t["g_id"], (fake - batch.image).abs().mean())
    back, side_back = paper.generator(fake, fake_side, batch.y_source)
    torch.testing.assert_close(t["g_bi"], (back - batch.image).abs().mean() + (side_back - batch.side).abs().mean())
    latent = paper.generator.encode(batch.image, batch.side)
    torch.testing.assert_close(t["g_latent"], (paper.generator.encode(fake, fake_side) - latent).abs().mean())
    loss.backward()
    assert all(p.grad is not None for p in paper.generator.parameters())


@pytest.mark.parametrize("name", ["paper", "standard"])
def test_runs_without_side_image(tiny, name, tmp_path):
    config = tiny(name).with_overrides({"network.side_channels": 0})
    method = prepare_run(config, tmp_path / "run", quiet=True).method
    batch = method.batch(method.draw(0))
    assert batch.side is None
    for update in method.updates():
        assert update.loss(batch)[0].isfinite()


@pytest.mark.parametrize(
    ("setting", "term"),
    [("classification", "g_cls"), ("bidirectional", "g_bi"), ("identity", "g_id"), ("penalty", "d_gp")],
)
def test_weight_zero_leaves_a_term_of_standard_out(standard, tmp_path, setting, term):
    for weight in (1.0, 0.0):
        config = standard.with_overrides({f"losses.{setting}": weight})
        method = prepare_run(config, tmp_path / "run", quiet=True).method
        batch = method.batch(method.draw(0))
        terms = {name for update in method.updates() for name in update.loss(batch)[1]}
        assert (term in terms) == (weight > 0)


def test_standard_classifies_the_image_alone_and_judges_it_as_one_of_y(standard, tmp_path):
    method = prepare_run(standard, tmp_path / "run", quiet=True).method
    batch = method.batch(method.draw(0))
    _, terms = method.critic_loss(batch)
    batch.side = torch.zeros_like(batch.side)
    _, other = method.critic_loss(batch)
    assert torch.equal(terms["d_cls"], other["d_cls"])
    assert not torch.equal(terms["d_real"], other["d_real"])
    batch.y_source = batch.y_source.flip(1)
    assert not torch.equal(method.critic_loss(batch)[1]["d_real"], other["d_real"])

"""What the methods minimize, against the paper's equations."""

from dataclasses import replace

import pytest
import torch

from lssl.methods.run import prepare_run
from lssl.models import FaceParser
from lssl.models.parser import save_parser
from lssl.ops import r1_penalty
from lssl.training.parts import PartCrops


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
    [
        ("classification", "g_cls"),
        ("bidirectional", "g_bi"),
        ("movement", "g_move"),
        ("paired", "g_pair"),
        ("penalty", "d_gp"),
    ],
)
def test_weight_zero_leaves_a_term_of_standard_out(standard, tmp_path, setting, term):
    for weight in (1.0, 0.0):
        config = standard.with_overrides({f"losses.{setting}": weight})
        method = prepare_run(config, tmp_path / "run", quiet=True).method
        batch = method.batch(method.draw(0))
        terms = {name for update in method.updates() for name in update.loss(batch)[1]}
        assert (term in terms) == (weight > 0)


def test_standard_judges_a_face_as_one_of_y(standard, tmp_path):
    method = prepare_run(standard, tmp_path / "run", quiet=True).method
    batch = method.batch(method.draw(0))
    before = method.critic_loss(batch)[1]
    batch.y_source = batch.y_source.flip(1)
    assert not torch.equal(method.critic_loss(batch)[1]["d_real"], before["d_real"])


def test_standard_asks_for_what_the_data_have_in_equal_parts(standard, tmp_path):
    method = prepare_run(standard, tmp_path / "run", quiet=True).method
    for step in range(5):
        batch = method.batch(method.draw(step))
        assert batch.y_source.sum(0).tolist() == [2.0, 2.0]  # a batch of four, two classes
        assert batch.known.tolist() == [1.0] * 4  # every subject of these faces has both


def test_standard_goes_on_from_its_own_picture_of_y(standard, tmp_path):
    method = prepare_run(standard.with_overrides({"data.jitter": 0.0}), tmp_path / "run", quiet=True).method
    batch = method.batch(method.draw(0))
    asked_for_their_own = batch.own.bool()
    assert asked_for_their_own.any()
    assert not asked_for_their_own.all()
    assert torch.equal(batch.target[asked_for_their_own], batch.image[asked_for_their_own])
    assert torch.equal(batch.after[asked_for_their_own], batch.before[asked_for_their_own])
    assert not torch.equal(batch.target[~asked_for_their_own], batch.image[~asked_for_their_own])


def test_parts_of_large_pictures_are_compared_at_the_painter_s_size():
    crops = PartCrops(64)
    large = torch.rand(1, 3, 128, 128) * 2 - 1
    small = torch.nn.functional.avg_pool2d(large, 2)
    landmarks, shift = torch.zeros(1, 68, 2), torch.zeros(1, 3, 2)
    for one, other in zip(crops(large, landmarks, shift), crops(small, landmarks, shift), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_d_cls_of_standard_begins_again_while_it_knows_nothing(standard, tmp_path):
    method = prepare_run(standard.with_overrides({"warm_up.updates": 100}), tmp_path / "run", quiet=True).method
    stages, weights = method.warm_up(), method.critic.attribute_head.weight
    first = next(stages)
    begun = weights.clone()
    second = next(stages)  # the loss is still at chance level
    assert second.update.learning_rate == first.update.learning_rate / 2
    assert not torch.equal(weights, begun)
    method.memory["warm_up_loss"].fill_(0.1)
    assert list(stages) == []


def test_d_cls_of_standard_that_never_begins_is_reported(standard, tmp_path):
    method = prepare_run(standard.with_overrides({"warm_up.updates": 100}), tmp_path / "run", quiet=True).method
    with pytest.warns(UserWarning, match="after 400 updates D_cls still recognises expression no better than chance"):
        assert len(list(method.warm_up())) == 4


def test_r1_of_standard_weighs_by_the_pixels_seen(standard, tmp_path):
    """At 16 pixels a side the critic of the whole face sees a 64th of what it sees at 128, those of parts a 256th of 256."""
    method = prepare_run(standard.with_overrides({"losses.penalty": 2.0}), tmp_path / "run", quiet=True).method
    assert method.size == 16
    batch = method.batch(method.draw(0))
    loss, terms = method.critic_loss(batch)
    method.weights = replace(method.weights, penalty=0.0)
    without = method.critic_loss(batch)[0]
    parts = [
        r1_penalty(lambda pictures, critic=critic, y=y: method._score(critic, pictures, y), real)
        for critic, real, y in zip(
            (method.parts.mouth, method.parts.eyes),
            method.crops(batch.image, batch.before, batch.shift),
            (batch.y_source, batch.y_source.repeat(2, 1)),
            strict=True,
        )
    ]
    torch.testing.assert_close(loss - without, 2 * (terms["d_gp"] / 64 + sum(parts) / 256), atol=1e-5, rtol=1e-3)


def test_standard_may_begin_with_the_weights_of_another_run(standard, tmp_path):
    first = prepare_run(standard, tmp_path / "first", quiet=True)
    first.save()
    config = standard.with_overrides({"network.start": str(tmp_path / "first"), "seed": 5})
    method = prepare_run(config, tmp_path / "second", quiet=True).method
    for own, theirs in zip(method.generator.parameters(), first.method.generator.parameters(), strict=True):
        torch.testing.assert_close(own, theirs)
    assert method.about(3)["start"] == str(tmp_path / "first")
    assert any(note.startswith("Begins with the weights of") for note in method.notes)


def test_the_movements_learning_rate_falls_during_its_warm_up(standard, tmp_path, monkeypatch):
    loop = prepare_run(standard.with_overrides({"warm_up.movement": 4}), tmp_path / "run", quiet=True)
    rates, run = [], loop.steps.run

    def recorded(update, plan, rate=1.0):
        rates.extend([rate] if update.name == "movement" else ())
        return run(update, plan, rate)

    monkeypatch.setattr(loop.steps, "run", recorded)
    loop.train()
    assert rates == pytest.approx([1, 0.7625, 0.525, 0.2875])

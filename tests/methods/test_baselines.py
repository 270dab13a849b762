"""StarGAN, StarGAN v2, CycleGAN, IcGAN: their losses against the formulas, stop and resume bit for bit, use of what they export."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lssl.data import AttributeSchema, read_metadata, to_float
from lssl.errors import LsslError
from lssl.inference.pose_normalization import load_normalizer, normalize_faces
from lssl.inference.synthesis import parse_targets, prepared_faces, translate_all
from lssl.methods.cyclegan import ImagePools
from lssl.methods.run import prepare_run
from lssl.methods.stargan import classification
from lssl.models.cyclegan import CycleGANGenerator, SimulatedToReal
from lssl.models.export import load_generator
from lssl.models.icgan import IcGAN
from lssl.models.stargan import StarGANGenerator
from lssl.models.starganv2 import StarGANv2
from lssl.training import TrainConfig
from lssl.training.checkpoint import latest_checkpoint, load_checkpoint
from lssl.training.steps import PlansInTurn
from tests.conftest import write_faces
from tests.methods.test_pose import write_pairs

METHODS = ("stargan", "starganv2", "cyclegan", "icgan")
PRESETS = [name + kind for name in METHODS for kind in ("", "-small")]
KINDS = {"stargan": StarGANGenerator, "starganv2": StarGANv2, "cyclegan": CycleGANGenerator, "icgan": IcGAN}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "three", values=("neutral", "happy", "sad"), size=32)


def small(preset: str, tiny: Callable[..., TrainConfig], faces: Path) -> TrainConfig:
    """Settings for a run of about a second, with the losses of a preset."""
    shape = tiny(preset.removesuffix("-small"), faces).to_dict()
    tree = TrainConfig.preset(preset).to_dict()
    sizes = {
        f"{section}.{name}": shape[section][name]
        for section in ("network", "data", "schedule", "output", "warm_up")
        for name in shape.get(section, ())
        if name not in ("output", "critic_init", "jitter", "ema", "critic_learning_rate")
    }
    return TrainConfig.from_dict(tree).with_overrides(
        {**sizes, "speed.bf16": "off", "speed.threads": 1, "output.sample_every": 6}
    )


def run(config: TrainConfig, out: Path, **options: bool) -> bool:
    return prepare_run(config, out, quiet=True, **options).train()


@pytest.fixture(params=PRESETS)
def preset(request, tiny, three) -> TrainConfig:
    return small(request.param, tiny, three)


def test_trains_stops_resumes_exports_and_is_used_as_any_generator(preset, three, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(preset, whole)
    assert (whole / "losses.png").is_file()
    assert len(list((whole / "samples").iterdir())) == 2
    trained = load_generator(whole)
    assert isinstance(trained.network, KINDS[preset.method])
    assert trained.info["method"] == preset.method
    assert trained.info["subjects"]
    faces = list(prepared_faces(read_metadata(three).split("test"), trained))
    made = translate_all(trained, faces, parse_targets(trained.schema, [], [1.0]))
    assert np.array(made).shape == (len(faces), 3, 32, 32, 3)

    loop = prepare_run(preset, parts, quiet=True)
    iterate = loop.iterate

    def stop_in_the_third(*arguments: object) -> None:
        iterate(*arguments)
        if loop.iteration == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.iterate = stop_in_the_third
    assert not loop.train()
    torch.manual_seed(99)  # whatever happens in between
    assert run(preset, parts, resume=True)
    a, b = (load_checkpoint(latest_checkpoint(out / "checkpoints")) for out in (whole, parts))
    assert equal(a, b)


def equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def prepared(preset: str, tiny: Callable[..., TrainConfig], faces: Path, out: Path):
    method = prepare_run(small(preset, tiny, faces), out, quiet=True).method
    return method, method.batch(method.draw(0))


def test_stargan_minimizes_its_formulas(tiny, three, tmp_path):
    method, batch = prepared("stargan", tiny, three, tmp_path / "run")
    generator, critic, image = method.generator, method.critic, batch.image
    fake = generator(image, None, batch.y)[0].detach()
    label, target = batch.y_source.argmax(1), batch.y.argmax(1)
    between = (
        batch.alpha[:, None, None, None] * image + (1 - batch.alpha[:, None, None, None]) * fake
    ).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).realism.sum(), between)
    penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    expected = critic(fake).realism.mean() - critic(image).realism.mean() + 10 * penalty
    expected = expected + F.cross_entropy(critic(image).attributes, label)
    torch.testing.assert_close(method.critic_loss(batch)[0], expected, atol=1e-4, rtol=1e-4)

    fake = generator(image, None, batch.y)[0]
    cycle = (generator(fake, None, batch.y_source)[0] - image).abs().mean()
    expected = -critic(fake).realism.mean() + F.cross_entropy(critic(fake).attributes, target) + 10 * cycle
    loss, terms = method.generator_loss(batch)
    torch.testing.assert_close(loss, expected)
    assert set(terms) == {"g_adv", "g_cls", "g_bi"}


def test_stargan_draws_its_targets_from_the_batch_and_the_generator_sees_the_last_one(tiny, three, tmp_path):
    method, _ = prepared("stargan", tiny, three, tmp_path / "run")
    updates = method.config.schedule.critic_updates
    for iteration in range(3):
        plans = [method.draw(iteration * (updates + 1) + k) for k in range(updates + 1)]
        assert equal(plans[-1], plans[-2])
        assert not equal(plans[-1], plans[0])
        batch = method.batch(plans[-1])
        assert sorted(batch.y.tolist()) == sorted(batch.y_source.tolist())


def test_starganv2_minimizes_its_formulas(tiny, three, tmp_path):
    method, batch = prepared("starganv2", tiny, three, tmp_path / "run")
    generator, mapping, encoder, critic = (
        method.networks[name] for name in ("generator", "mapping", "encoder", "critic")
    )
    rows, image, asked, was = range(len(batch.image)), batch.image, batch.target.argmax(1), batch.source.argmax(1)

    def logit(pictures, domain):
        return critic.head(critic.trunk(pictures)).flatten(1)[rows, domain]

    from_noise = [mapping(batch.z[:, k])[rows, asked] for k in range(2)]
    from_references = [encoder(reference)[rows, asked] for reference in batch.references]
    leaf = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(logit(leaf, was).sum(), leaf)
    for styles, critic_loss, generator_loss in (
        (from_noise, method.critic_loss, method.generator_loss),
        (from_references, method.critic_loss_of_references, method.generator_loss_of_references),
    ):
        fake = generator(image, styles[0])
        expected = F.softplus(-logit(image, was)).mean() + F.softplus(logit(fake, asked)).mean()
        expected = expected + gradient.square().flatten(1).sum(1).mean() / 2
        torch.testing.assert_close(critic_loss(batch)[0], expected)
        cycle = (generator(fake, encoder(image)[rows, was]) - image).abs().mean()
        style = (encoder(fake)[rows, asked] - styles[0]).abs().mean()
        diversity = (fake - generator(image, styles[1])).abs().mean()
        expected = F.softplus(-logit(fake, asked)).mean() + style - diversity + cycle
        torch.testing.assert_close(generator_loss(batch)[0], expected)
    assert [round(method.diversity(k), 6) for k in (0, 3, 6, 7)] == [1, 0.5, 0, 0]  # of 6 iterations


def test_starganv2s_references_show_what_is_asked_and_teach_the_generator_alone(tiny, three, tmp_path):
    loop = prepare_run(small("starganv2", tiny, three), tmp_path / "run", quiet=True)
    method = loop.method
    plan = method.draw(0)
    assert all(equal(plan, method.draw(k)) for k in range(4))
    assert not equal(plan, method.draw(4))
    for stream in method.references:
        assert torch.equal(method.train_set.y[plan[f"{stream.name}.rows"]], plan["y"])
    before = {name: [p.clone() for p in network.parameters()] for name, network in method.networks.items()}

    def moved() -> set[str]:
        """The networks that changed since the last look."""
        changed = set()
        for name, network in method.networks.items():
            now = [p.detach().clone() for p in network.parameters()]
            if not equal(now, [p.detach() for p in before[name]]):
                changed.add(name)
            before[name] = now
        return changed

    found = []
    for update in method.updates():
        loop.steps.run(update, plan)
        found.append(moved())
    assert found == [{"critic"}, {"critic"}, {"generator", "mapping", "encoder"}, {"generator"}]


def test_a_network_may_have_a_learning_rate_of_its_own(tiny, three, tmp_path):
    """Adam's first step is the learning rate, whatever the gradient."""
    loop = prepare_run(small("starganv2", tiny, three), tmp_path / "run", quiet=True)
    method = loop.method
    names = "mapping", "encoder"
    before = [
        method.networks[name].own[0].bias if name == "encoder" else method.networks[name].shared[0].bias
        for name in names
    ]
    start = [bias.detach().clone() for bias in before]
    loop.steps.run(method.updates()[2], method.draw(0), 0.5)
    steps = [(bias - was).abs().max().item() for bias, was in zip(before, start, strict=True)]
    rate = 0.5 * method.config.schedule.learning_rate
    assert steps == pytest.approx([0.01 * rate, rate], rel=1e-2)


def test_stargans_classification():
    chance = torch.Generator().manual_seed(0)
    one = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"]})
    logits, y = torch.randn(4, 3, generator=chance), torch.eye(3)[[0, 2, 1, 1]]
    torch.testing.assert_close(classification(logits, y, one), F.cross_entropy(logits, y.argmax(1)))
    binary = AttributeSchema.from_columns({"smile": ["0", "1"], "glasses": ["0", "1"], "hat": ["0", "1"]})
    y = (y > 0.5).float()
    expected = -(y * logits.sigmoid().log() + (1 - y) * (1 - logits.sigmoid()).log()).sum() / 4
    torch.testing.assert_close(classification(logits, y, binary), expected)


def test_cyclegan_minimizes_its_formulas(tiny, three, tmp_path):
    method, batch = prepared("cyclegan", tiny, three, tmp_path / "run")
    a = batch.neutral
    expected = torch.zeros(())
    for k, b in enumerate(batch.others):
        there, back = method.generator.there[k], method.generator.back[k]
        d_b, d_a = method.critics[2 * k], method.critics[2 * k + 1]
        adversarial = (d_b(there(a)) - 1).square().mean() + (d_a(back(b)) - 1).square().mean()
        cycle = (back(there(a)) - a).abs().mean() + (there(back(b)) - b).abs().mean()
        identity = (there(b) - b).abs().mean() + (back(a) - a).abs().mean()
        expected = expected + adversarial + 10 * cycle + 0.5 * 10 * identity
    torch.testing.assert_close(method.generator_loss(batch)[0], expected)

    expected = torch.zeros(())
    for k, b in enumerate(batch.others):
        for critic, real, fake in (
            (method.critics[2 * k], b, method.generator.there[k](a)),
            (method.critics[2 * k + 1], a, method.generator.back[k](b)),
        ):
            expected = expected + 0.5 * ((critic(real) - 1).square().mean() + critic(fake).square().mean())
    torch.testing.assert_close(method.critic_loss(batch)[0], expected)  # the pools are empty: fakes are the new ones


def test_cyclegans_domains_are_the_values_of_one_attribute(tiny, three, tmp_path):
    method, batch = prepared("cyclegan", tiny, three, tmp_path / "run")
    assert [domain.y.unique(dim=0).tolist() for domain in method.domains] == [[row] for row in torch.eye(3).tolist()]
    assert len(batch.others) == 2
    table = (three / "metadata.csv").read_text().splitlines()
    lines = [table[0] + ",hat", *(f"{line},{n % 2}" for n, line in enumerate(table[1:]))]
    (three / "metadata.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(LsslError, match="one attribute, not expression, hat: choose one"):
        prepare_run(small("cyclegan", tiny, three), tmp_path / "two", quiet=True)


def test_a_pool_keeps_50_and_returns_older_ones_half_of_the_time():
    pools, size, batch = ImagePools(2, 6, 4, 4, "cpu"), 6, 4
    chance = torch.Generator().manual_seed(0)
    kept: list[list[float]] = [[], []]
    old = new = 0
    for exchange in range(200):
        plan = pools.draw(exchange, chance)
        assert plan["place"].shape == plan["swap"].shape == (2, batch)
        for number in range(2):
            values = torch.randint(-127, 128, (batch,), generator=chance) / 127.5
            made = values[:, None, None, None].expand(-1, 3, 4, 4)
            seen = pools.exchange(number, made, plan)[:, 0, 0, 0]
            for k in range(batch):
                place = int(plan["place"][number, k])
                if plan["swap"][number, k]:
                    assert seen[k].item() == pytest.approx(kept[number][place], abs=1.5 / 255)
                    kept[number][place] = values[k].item()
                    old += 1
                else:
                    assert seen[k] == values[k]
                    if len(kept[number]) < size:
                        assert place == len(kept[number])
                        kept[number].append(values[k].item())
                    else:
                        assert place == size  # not kept
                        new += 1
            stored = to_float(pools.images[number, : len(kept[number]), 0, 0, 0])
            torch.testing.assert_close(stored, torch.tensor(kept[number]), atol=1 / 127, rtol=0)
    assert 0.45 < old / (old + new) < 0.55
    with pytest.raises(LsslError, match="smaller than the batch"):
        ImagePools(1, 2, 4, 4, "cpu")


def test_icgan_minimizes_its_formulas(tiny, three, tmp_path):
    method, batch = prepared("icgan", tiny, three, tmp_path / "run")
    for y in (batch.y, batch.y_source, batch.y_wrong):
        assert set(y.unique().tolist()) == {-1.0, 1.0}
    assert (batch.y_wrong != batch.y_source).any(1).all()
    generator, critic = method.generator, method.critic
    fake = generator(batch.z, batch.y).detach()
    real, wrong, made = (
        critic(*pair).sigmoid()
        for pair in ((batch.image, batch.y_source), (batch.image, batch.y_wrong), (fake, batch.y))
    )
    expected = -real.log().mean() - 0.5 * (1 - wrong).log().mean() - 0.5 * (1 - made).log().mean()
    torch.testing.assert_close(method.critic_loss(batch)[0], expected)
    expected = -critic(generator(batch.z, batch.y), batch.y).sigmoid().log().mean()
    torch.testing.assert_close(method.generator_loss(batch)[0], expected)

    loss, _ = method.latent_loss(batch)
    image = generator.eval()(batch.z, batch.y)  # with the statistics that the update has just refreshed
    torch.testing.assert_close(loss, (method.encoder_z(image) - batch.z).square().mean())
    loss, _ = method.attribute_loss(batch)
    torch.testing.assert_close(loss, (method.encoder_y(batch.image) - batch.y_source).square().mean())


def test_icgan_trains_one_stage_after_the_other(tiny, three, tmp_path):
    loop = prepare_run(small("icgan", tiny, three), tmp_path / "run", quiet=True)
    plans, moved = PlansInTurn(loop.method.draw, 0), []
    for _ in range(6):
        before = {name: [p.detach().clone() for p in net.parameters()] for name, net in loop.method.networks.items()}
        loop.iterate(plans, 1.0)
        moved.append(
            {
                name
                for name, net in loop.method.networks.items()
                if any(not torch.equal(p, old) for p, old in zip(net.parameters(), before[name], strict=True))
            }
        )
    assert moved == [{"generator", "critic"}] * 4 + [{"encoder_z", "encoder_y"}] * 2  # 0.625 of 6


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_the_authors(name):
    config = TrainConfig.preset(name)
    assert config.method == name.removesuffix("-small")
    assert config.data.flip == ("auto" if name.endswith("-small") else "on")
    if name.endswith("-small"):
        assert config.data.jitter == 0.5
        return
    assert config.data.jitter == 0
    v2 = name == "starganv2"
    assert config.schedule.ema == (0.9995 if v2 else 0)
    assert config.schedule.betas == ((0.0, 0.99) if v2 else (0.5, 0.999))
    assert config.speed.bf16 == "off"
    rate, batch_size = {"stargan": (1e-4, 16), "starganv2": (1e-4, 8), "cyclegan": (2e-4, 1), "icgan": (2e-4, 64)}[name]
    assert (config.schedule.learning_rate, config.schedule.batch_size) == (rate, batch_size)


def test_cyclegan_normalizes_the_pose(tiny, tmp_path):
    pairs = write_pairs(tmp_path / "pairs", size=32)
    config = small("cyclegan_pose", tiny, pairs).with_overrides({"data.folder": str(pairs), "schedule.ema": 0.9})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(config, whole)
    model = load_normalizer(whole)
    assert isinstance(model.network, SimulatedToReal)
    assert normalize_faces(model, np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 32, 3), np.uint8)).shape[0] == 2
    run(config.with_overrides({"schedule.iterations": 4, "schedule.decay_start": 0.75}), parts)
    assert run(config, parts, resume=True)
    a, b = (load_checkpoint(latest_checkpoint(out / "checkpoints")) for out in (whole, parts))
    assert equal(a["networks"], b["networks"])
    assert equal(a["memory"], b["memory"])

    method = prepare_run(config, tmp_path / "again", quiet=True).method
    batch = method.batch(method.draw(0))
    a, b, there, back = batch.pairs.image, batch.pairs.real, method.generator.there, method.back
    d_b, d_a = method.critics
    adversarial = (d_b(there(a)) - 1).square().mean() + (d_a(back(b)) - 1).square().mean()
    cycle = (back(there(a)) - a).abs().mean() + (there(back(b)) - b).abs().mean()
    identity = (there(b) - b).abs().mean() + (back(a) - a).abs().mean()
    torch.testing.assert_close(method.generator_loss(batch)[0], adversarial + 10 * cycle + 5 * identity)


def test_simgan_as_its_authors_have_it(tiny, tmp_path):
    """Two refiner updates an iteration, no penalty, half of the fakes from the history, which grows with D's updates."""
    preset = TrainConfig.preset("simgan-paper")
    assert preset.settings.refiner.updates == 2
    assert preset.settings.network.output == "direct"
    assert (preset.settings.warm_up.refiner, preset.settings.warm_up.updates) == (1000, 200)
    pairs = write_pairs(tmp_path / "pairs")
    more = {"refiner.updates": 2, "history.size": 9, "warm_up.refiner": 2, "network.refiner_blocks": 1}
    config = tiny("simgan", pairs).with_overrides({**more, "network.side_channels": 3})
    method = prepare_run(config, tmp_path / "run", quiet=True).method
    assert [update.times for update in method.updates()] == [2, 2]
    _, terms = method.critic_loss(method.batch(method.draw(0)))
    assert set(terms) == {"d_real", "d_fake", "d_cls"}
    # One of D's warm-up, then two an iteration of 4 steps, each with two new faces.
    places = [method.draw(step)["history.places"].tolist() for step in (0, 1, 4)]
    assert places[:2] == [[2, 3], [4, 5]]
    assert places[2] == [6, 7]

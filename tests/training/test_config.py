"""Settings: presets, files, flags, errors that name what is wrong."""

import pytest

from lssl.training.config import PRESETS, ConfigError, TrainConfig


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_round_trip(name, tmp_path):
    config = TrainConfig.preset(name)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert TrainConfig.load(tmp_path / "config.toml") == config


def test_paper_preset_is_the_paper():
    config = TrainConfig.preset("paper")
    weights = config.losses
    assert (weights.bidirectional, weights.latent, weights.identity, weights.parsing, weights.penalty) == (10,) * 5
    assert (weights.classification, weights.critic_classification) == (1, 1)
    assert (weights.attribute_loss, weights.classify) == ("bce", "pair")
    schedule = config.schedule
    assert (schedule.learning_rate, schedule.beta1, schedule.beta2) == (1e-4, 0.5, 0.999)
    assert (schedule.batch_size, schedule.critic_updates, schedule.constant_epochs) == (8, 5, 100)
    assert (schedule.ema, schedule.critic_warmup, config.data.jitter) == (0, 0, 0)
    assert config.data.flip
    network = config.network
    assert (network.width, network.num_downsamplings, network.residual_blocks) == (64, 4, 6)
    assert (network.critic_width, network.critic_layers, network.output) == (64, 6, "direct")
    speed = config.speed
    assert (speed.bf16, speed.compile, speed.cuda_graphs, speed.channels_last) == ("off", False, False, False)


def test_overrides():
    config = TrainConfig().with_overrides(
        {"losses.identity": "5", "speed.compile": True, "data.attributes": "expression, yaw", "data.folder": "a b"}
    )
    assert config.losses.identity == 5.0
    assert config.speed.compile is True
    assert config.data.attributes == ("expression", "yaw")
    assert config.data.folder == "a b"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"losses.idenity": 1}, "no setting 'losses.idenity'; there are: .*identity"),
        ({"loss.identity": 1}, "no setting 'loss.identity'; sections are"),
        ({"schedule.iterations": 0}, "at least 1"),
        ({"schedule.iterations": "many"}, "must be int, not 'many'"),
        ({"network.output": "mask"}, "direct, residual"),
        ({"schedule.ema": 1.0}, "ema must lie"),
        ({"task": "x"}, "attribute-synthesis"),
    ],
)
def test_errors(overrides, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig().with_overrides(overrides)


def test_file_errors(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        TrainConfig.load(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("[losses\n")
    with pytest.raises(ConfigError, match=r"a\.toml: not TOML"):
        TrainConfig.load(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("[losses]\nx = 1\n")
    with pytest.raises(ConfigError, match=r"a\.toml: no setting 'losses\.x'"):
        TrainConfig.load(tmp_path / "a.toml")


def test_text_with_quotes_round_trips(tmp_path):
    config = TrainConfig().with_overrides({"data.folder": 'a "b" \\ c'})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert TrainConfig.load(tmp_path / "c.toml") == config

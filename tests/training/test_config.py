"""Settings: presets, files, flags, errors that name what is wrong."""

import ast
import dataclasses
import inspect
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import get_type_hints

import pytest

import lssl
from lssl.errors import LsslError
from lssl.training.config import TrainConfig, method_settings, methods, presets

LSSL = Path(lssl.__file__).parent


@pytest.mark.parametrize("name", presets())
def test_presets_load_and_round_trip(name, tmp_path):
    config = TrainConfig.preset(name)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert TrainConfig.load(tmp_path / "config.toml") == config


def test_paper_preset_is_the_paper_and_names_all_that_decides_it():
    config = TrainConfig.preset("paper")
    weights = config.settings.losses
    assert (weights.bidirectional, weights.identity, weights.parsing, weights.penalty) == (10,) * 4
    assert weights.classification == 1
    schedule = config.schedule
    assert (schedule.learning_rate, schedule.beta1, schedule.beta2) == (1e-4, 0.5, 0.999)
    assert (schedule.batch_size, schedule.critic_updates, schedule.iterations) == (8, 5, 10_000)
    assert (schedule.ema, schedule.decay_start, config.data.jitter) == (0, 1, 0)
    assert config.data.flip == "on"
    network = config.settings.network
    assert (network.width, network.num_downsamplings, network.residual_blocks) == (64, 4, 6)
    assert (network.critic_width, network.critic_layers, network.side_channels) == (64, 6, 3)
    assert (config.speed.bf16, config.speed.tf32) == ("off", True)
    named = tomllib.loads((files("lssl") / "presets" / "paper.toml").read_text())
    decisive = {"network", "losses", "schedule"}
    for section in decisive:
        apart = {"critic_learning_rate"}  # 0: the same
        assert named[section].keys() == config.to_dict()[section].keys() - apart
    assert config.to_dict().keys() == named.keys()


def test_quick_is_a_shorter_narrower_standard_with_weaker_moves():
    quick, standard = TrainConfig.preset("quick").to_dict(), TrainConfig.preset("standard").to_dict()
    for section, name in (
        ("schedule", "iterations"),
        ("network", "width"),
        ("network", "movement_width"),
        ("data", "jitter"),
    ):
        assert quick[section].pop(name) < standard[section].pop(name)
    faster = {
        "schedule": ("learning_rate", "critic_learning_rate"),
        "warm_up": ("movement", "movement_learning_rate", "updates", "learning_rate"),
    }
    for section, names in faster.items():
        for name in names:
            assert quick[section].pop(name) > standard[section].pop(name)
    assert quick == standard


def test_finetune_is_a_short_standard_that_begins_with_trained_weights():
    finetune, standard = TrainConfig.preset("finetune").to_dict(), TrainConfig.preset("standard").to_dict()
    assert finetune["network"].pop("start") == "generated"
    assert standard["network"].pop("start") == ""
    assert finetune["schedule"].pop("iterations") < standard["schedule"].pop("iterations")
    for updates in ("movement", "paint"):
        assert finetune["warm_up"].pop(updates) > standard["warm_up"].pop(updates) == 0
    assert finetune["losses"].pop("penalty") < standard["losses"].pop("penalty")
    assert finetune["warm_up"].pop("movement_learning_rate") < standard["warm_up"].pop("movement_learning_rate")
    assert finetune == standard


def test_a_method_is_a_file_and_has_a_preset():
    assert {"paper", "standard", "pose", "simgan"} <= set(methods())
    assert {TrainConfig.preset(name).method for name in presets()} == set(methods())


def test_the_same_run_with_another_method():
    config = TrainConfig.preset("pose").with_overrides({"network.width": 7, "seed": 3, "losses.frontal": 1.0})
    other = config.for_method("simgan")
    assert (other.method, other.seed, other.settings.network.width) == ("simgan", 3, 7)
    assert other.schedule == config.schedule
    assert not other.has("losses.frontal")
    other = config.with_overrides({"schedule.iterations": 9}).for_method("cyclegan_pose")
    assert (other.schedule.iterations, other.settings.network.width) == (9, 7)
    assert (
        other.settings.losses.penalty == TrainConfig.preset("cyclegan_pose").settings.losses.penalty
    )  # not pose's own
    paper = TrainConfig.preset("paper")
    assert paper.for_method("pose").settings.network.width == paper.settings.network.width


def test_overrides():
    config = TrainConfig().with_overrides(
        {"losses.identity": "5", "speed.tf32": "false", "data.attributes": "expression, yaw", "data.folder": "a b"}
    )
    assert config.settings.losses.identity == 5.0
    assert config.speed.tf32 is False
    assert config.data.attributes == ("expression", "yaw")
    assert config.data.folder == "a b"
    for value, switch in ((True, "on"), ("false", "off"), ("auto", "auto")):
        assert TrainConfig().with_overrides({"speed.bf16": value}).speed.bf16 == switch


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"losses.idenity": 1}, "no setting 'losses.idenity'; there are: .*identity"),
        ({"loss.identity": 1}, "no setting 'loss.identity'; sections are"),
        ({"schedule.iterations": 0}, "at least 1"),
        ({"schedule.iterations": "many"}, "must be a whole number, not 'many'"),
        ({"speed.bf16": "maybe"}, "speed.bf16 is 'maybe', expected one of: auto, on, off"),
        ({"schedule.ema": 1.0}, "ema must lie"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"schedule.learning_rate": "nan"}, "learning_rate must be a number above 0, not nan"),
        ({"method": "standard"}, "settings of the method paper; standard has a preset of its own"),
    ],
)
def test_errors(overrides, message):
    with pytest.raises(LsslError, match=message):
        TrainConfig().with_overrides(overrides)


def test_file_errors(tmp_path):
    with pytest.raises(LsslError, match=r"none\.toml: No such file"):
        TrainConfig.load(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("[losses\n")
    with pytest.raises(LsslError, match=r"a\.toml: not TOML"):
        TrainConfig.load(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text('method = "stargon"')
    with pytest.raises(LsslError, match=r"method is 'stargon', expected one of: cyclegan, .*paper, pose, simgan"):
        TrainConfig.load(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("[losses]\nx = 1\n")
    with pytest.raises(LsslError, match=r"a\.toml: no setting 'losses\.x'"):
        TrainConfig.load(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[schedule]\niteration = 5\n", r"'schedule.iteration' \(did you mean iterations\?\); there are"),
        ("[Shedule]\niterations = 5\n", r"'Shedule' \(did you mean schedule\?\)"),
        ("[schedule]\nlearning-rate = 0.1\n", r"did you mean learning_rate\?"),
        ('seed = "1"\n', "'seed' must be a whole number, not '1'; remove the quotation marks"),
        ("seed = 1.5\n", "'seed' must be a whole number, not 1.5"),
        ("seed = 2026-11-27\n", "'seed' must be a whole number, not datetime.date"),
        ("[data]\nflip = 1\n", "data.flip is '1', expected one of: auto, on, off"),
        ("[data]\nflip = True\n", "write true and false in small letters"),
        ("[data]\nattributes = 5\n", "'data.attributes' must be a list of names, not 5"),
        ("seed = None\n", "leave the setting out instead"),
        ("seed: 1\n", "write name = value"),
        ("[schedule]\nlearning_rate = 0,0001\n", "write a decimal point, not a comma"),
        ('[data]\nfolder = "C:\\Users\\x"\n', "write a path with / or in single quotes"),
        ("[schedule]\nlearning_rate = inf\n", r"a\.toml: schedule\.learning_rate must be a number above 0, not inf"),
        ("seed = 1\nseed = 2\n", "not TOML"),
    ],
)
def test_what_people_write_is_named_with_the_fix(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(LsslError, match=message):
        TrainConfig.load(tmp_path / "a.toml")


def test_a_whole_number_may_be_written_with_a_point(tmp_path):
    (tmp_path / "a.toml").write_text("[schedule]\niterations = 1e3\n")
    assert TrainConfig.load(tmp_path / "a.toml").schedule.iterations == 1000


def test_text_with_quotes_round_trips(tmp_path):
    config = TrainConfig().with_overrides({"data.folder": 'a "b" \\ c'})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert TrainConfig.load(tmp_path / "c.toml") == config


def attributes_read(*paths: Path) -> set[str]:
    """Names that the sources read as attributes; a dataclass's check of its own values does not count."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__":
            return
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        for child in ast.iter_child_nodes(node):
            visit(child)

    for path in paths:
        visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("name", methods())
def test_every_setting_of_a_method_is_read(name):
    """By its own file, or by the one that defines its section."""
    settings = method_settings(name)
    file = Path(inspect.getfile(settings))
    for section, kind in get_type_hints(settings).items():
        read = attributes_read(file, Path(inspect.getfile(kind)))
        fields = {field.name for field in dataclasses.fields(kind)}
        assert {section, *fields} - read <= {"losses"}, section  # `FaceMethod.weights` is the section `losses`


def test_every_common_setting_is_read():
    read = attributes_read(*(path for path in LSSL.rglob("*.py") if path.name != "config.py"))
    for section in ("data", "faces", "schedule", "speed", "output"):
        fields = {field.name for field in dataclasses.fields(getattr(TrainConfig(), section))}
        through_config = {"beta1", "beta2", "critic_learning_rate"}  # read as `betas` and `critic_rate`
        assert fields - read - through_config == set(), section


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_windows_saved(tmp_path, encoding):
    config = TrainConfig.preset("quick").with_overrides({"seed": 3})
    (tmp_path / "a.toml").write_bytes(config.to_toml().replace("\n", "\r\n").encode(encoding))
    assert TrainConfig.load(tmp_path / "a.toml") == config


def test_any_folder_name_comes_back(tmp_path):
    name = 'a "b"\\c\nd\te ü \x7f'
    (tmp_path / "a.toml").write_text(TrainConfig().with_overrides({"data.folder": name}).to_toml(), encoding="utf-8")
    assert TrainConfig.load(tmp_path / "a.toml").data.folder == name

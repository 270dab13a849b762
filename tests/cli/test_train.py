"""`lssl train` from its command line to its report."""

import json

import pytest
from click.testing import CliRunner

from lssl.cli.main import main
from lssl.methods.run import default_preset
from tests.data.faces import write_folder

TINY = [
    "network.width=4",
    "network.movement_width=4",
    "network.critic_width=4",
    "warm_up.updates=3",
    "schedule.batch_size=4",
    "output.sample_faces=2",
    "output.log_every=1",
    "faces.size=32",
    "faces.subjects=8",
    "faces.expressions=neutral,happy",
    "speed.threads=1",
]


def train(out, *more):
    settings = [argument for one in TINY for argument in ("--set", one)]
    result = CliRunner().invoke(main, ["train", "--out", str(out), *settings, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "run"
    return out, train(out, "--iterations", "101")


def test_a_run_says_by_its_hundredth_iteration_whether_it_learns(judged):
    _, said = judged
    assert said.count("Iteration 100: D_cls ") == 1
    assert "of the way asked of them" in said


def test_a_run_ends_with_what_it_learnt_class_by_class(judged):
    out, said = judged
    assert f"On 2 people not seen in training (more in {out}/report.html):" in said
    assert "\n  happy  " in said
    assert json.loads((out / "results.json").read_text())["portraits"]["people"] == 2
    assert (out / "report.html").is_file()


def test_a_run_begins_with_another_ones_weights(judged, tmp_path):
    first, _ = judged
    said = train(tmp_path / "run", "--start-from", str(first), "--iterations", "1", "--no-report")
    assert f"Begins with the weights of {first}, which knows neutral, happy\n" in said
    assert f'start = "{first}"' in (tmp_path / "run" / "config.toml").read_text()


def test_a_data_set_on_a_cpu_begins_with_a_trained_generator(tmp_path):
    data = write_folder(tmp_path / "faces")
    assert default_preset({"data.folder": data}, "cpu") == "finetune"
    assert default_preset({"data.folder": data, "network.start": "london", "seed": 1}, "cpu") == "finetune"
    assert default_preset({"data.folder": data, "network.paint_size": 32}, "cpu") == "finetune"
    assert default_preset({"data.folder": data, "network.width": 4}, "cpu") == "standard"
    assert default_preset({"data.folder": data, "network.width": 4, "network.start": "mine"}, "cpu") == "finetune"
    assert default_preset({"seed": 1}, "cpu") == "quick"
    (data / "landmarks.npy").unlink()
    assert default_preset({"data.folder": data}, "cpu") == "standard"


def test_a_method_that_begins_with_new_weights_says_so(tmp_path):
    command = ["train", "--preset", "paper", "--start-from", "london", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert (
        "--start-from is for the presets standard, finetune, few and quick; paper begins with new weights"
        in result.output
    )


def test_the_last_page_can_be_left_out(tmp_path):
    said = train(tmp_path / "run", "--iterations", "2", "--no-report")
    assert "Done:" in said
    assert said.index("[schedule]") < said.index("Done:")
    assert "people not seen in training" not in said.split("Done:")[1]
    assert not (tmp_path / "run" / "report.html").exists()


def test_what_is_wrong_is_said_without_the_configuration(tmp_path):
    for wrong in (["--data", str(tmp_path / "absent")], ["--data", str(tmp_path)]):
        result = CliRunner().invoke(main, ["train", "--out", str(tmp_path / "run"), *wrong])
        assert result.exit_code == 1
        assert str(tmp_path) in result.output
        assert "[schedule]" not in result.output

"""`lssl evaluate`: the group, and its experiments from the command line to the page."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from lssl.cli.main import main
from lssl.data import FaceFolderWriter, FaceRow, detect

TINY = [
    *("--set", "network.width=4", "--set", "network.movement_width=4", "--set", "network.critic_width=4"),
    *("--set", "schedule.iterations=1", "--set", "warm_up.updates=0"),
    *("--set", "schedule.batch_size=4", "--classifier-iterations", "3", "--quiet"),
]


def run(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate") / "faces"
    writer = FaceFolderWriter(root, attributes=["expression", "lighting"], settings={})
    chance = np.random.default_rng(0)
    for subject in range(6):
        for value in ("neutral", "happy"):
            image = chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            points = chance.uniform(4, 28, (68, 2)).astype(np.float32)
            split = "test" if subject > 3 else "train"
            attributes = {"expression": value, "lighting": "normal"}
            writer.add(FaceRow(f"{subject}_{value}", image, f"s{subject}", split, attributes, landmarks=points))
    writer.finish()
    return root


@pytest.fixture(autouse=True)
def spare_time(monkeypatch):
    monkeypatch.setattr("lssl.training.loop.draw_losses", lambda rows, path: None)
    monkeypatch.setattr(detect, "available", lambda: False)


def test_help_names_every_experiment():
    result = run("--help")
    assert result.exit_code == 0
    for name in ("transfer", "augmentation", "ablation", "images", "activations", "pose"):
        assert name in result.output
        assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("experiment", "options", "title"),
    [
        ("transfer", [], "Recognised by a classifier of real faces"),
        ("augmentation", ["--counts", "2,4", "--folds", "1"], "Classifiers trained with synthesized faces"),
    ],
)
def test_table_on_the_console_and_in_the_files(faces, tmp_path, experiment, options, title):
    out = tmp_path / "out"
    said = [word for word in TINY if word != "--quiet"]  # prints errors only
    result = run(experiment, "--data", faces, "--quick", "--out", out, *options, *said)
    assert result.exit_code == 0, result.output
    assert title in result.output
    results = json.loads((out / "results.json").read_text())
    assert results["folds"][0]["test"] == ["s4", "s5"]
    assert results["settings"]["attribute"] == "expression"
    with (out / "results.csv").open() as file:
        assert {row["table"] for row in csv.DictReader(file)} >= {title}
    assert title in (out / "report.html").read_text()
    again = run(experiment, "--data", faces, "--quick", "--out", out, *options, *TINY, "--seed", 3)
    assert again.exit_code == 1
    assert "other settings" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--attribute", "lighting"], "one class only (normal)"),
        (["--folds", "9"], "9 folds of 6 subjects"),
        (["--set", "losses.magic=1"], "no setting 'losses.magic'"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
    ],
)
@pytest.mark.parametrize("experiment", ["transfer", "augmentation", "ablation"])
def test_what_is_wrong_is_said_before_any_work(faces, tmp_path, experiment, options, message):
    result = run(experiment, "--data", faces, "--out", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_how_to_go_on(faces, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lssl.evaluation.experiments.transfer_report.transfer", stop)
    result = run("transfer", "--data", faces, "--quick", "--out", tmp_path / "out", *TINY)
    assert result.exit_code == 130
    assert "run the same command again to continue" in result.output

"""`lssl train-classifier`: what it writes and says, and what it refuses before any work."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from lssl.cli.main import main
from lssl.data import FaceFolderWriter, FaceRow
from lssl.models.classifier import load_classifier


def run(*arguments):
    return CliRunner().invoke(main, ["train-classifier", *map(str, arguments)])


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("classifier") / "faces"
    writer = FaceFolderWriter(root, attributes=["expression"], settings={})
    chance = np.random.default_rng(0)
    for subject in range(6):
        for k, value in enumerate(("neutral", "happy")):
            image = chance.integers(0, 160, (32, 32, 3), dtype=np.uint8)
            image[6 + 14 * k : 11 + 14 * k, 6:26] = 250
            split = "test" if subject > 3 else "train"
            writer.add(FaceRow(f"{subject}_{value}", image, f"s{subject}", split, {"expression": value}))
    writer.finish()
    return root


def test_folder_with_report_and_classifier(faces, tmp_path):
    out = tmp_path / "out"
    options = ["--data", faces, "--out", out, "--iterations", 40, "--jitter", 0.2]
    result = run(*options)
    assert result.exit_code == 0, result.output
    assert "Accuracy by class" in result.output
    for name in ("confusion.png", "report.html", "results.json", "results.csv"):
        assert (out / name).is_file()
    results = json.loads((out / "results.json").read_text())
    assert np.sum(results["confusion"]) == 4
    assert results["subjects"] == {"train": ["s0", "s1", "s2", "s3"], "test": ["s4", "s5"]}
    classifier = load_classifier(out)
    assert classifier.classes == ("neutral", "happy")
    assert classifier.info["test_accuracy"] == results["accuracy"]
    assert classifier.info["subjects"] == ["s0", "s1", "s2", "s3"]
    again = run(*options)
    assert again.exit_code == 1
    assert "holds a classifier already" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attribute", "age"], "no column 'age'; it has: expression"),
        (["--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(faces, tmp_path, options, message):
    result = run("--data", faces, "--out", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_are_named(faces, tmp_path):
    from safetensors.torch import save_file
    from torch import zeros

    save_file({"conv1.weight": zeros(3, 3)}, tmp_path / "other.safetensors")
    result = run("--data", faces, "--out", tmp_path / "out", "--weights", tmp_path / "other.safetensors")
    assert result.exit_code == 1
    assert "other.safetensors does not hold a SmallClassifier" in result.output

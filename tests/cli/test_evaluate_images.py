"""`lssl evaluate images` from the command line."""

import csv
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import AttributeGroup
from lssl.models.classifier import SmallClassifier, TrainedClassifier, save_classifier


@pytest.fixture
def folders(tmp_path):
    """Two plain folders of ten pictures, with equal names, and a classifier."""
    chance = np.random.default_rng(0)
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for n in range(10):
            Image.fromarray(chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / name / f"{n}.png")
    torch.manual_seed(0)
    group = AttributeGroup("expression", ("neutral", "happy"))
    save_classifier(
        tmp_path / "classifier.safetensors", TrainedClassifier(SmallClassifier(2, 32).eval(), group, "small", 32)
    )
    return tmp_path


def run(folders, *arguments):
    options = ["--network", str(folders / "classifier.safetensors"), "--out", str(folders / "out"), "--device", "cpu"]
    identity = ["--identity-network", str(folders / "classifier.safetensors")]
    return CliRunner().invoke(main, ["evaluate", "images", *arguments, *options, *identity])


def test_writes_page_json_and_csv_and_prints_the_tables(folders):
    result = run(folders, str(folders / "real"), str(folders / "fake"))
    assert result.exit_code == 0, result.output
    assert "FID, all pictures" in result.output
    assert "identity distance" in result.output
    results = json.loads((folders / "out" / "results.json").read_text())
    assert results["network"].startswith("classifier")
    assert results["pairs"] == 10
    rows = {r["row"] for r in csv.DictReader((folders / "out" / "results.csv").open())}
    assert {"KID", "precision", "SSIM"} <= rows
    assert "data:image/png" in (folders / "out" / "report.html").read_text()


def test_a_repeat_reads_the_kept_features_and_other_settings_are_refused(folders):
    real, fake = str(folders / "real"), str(folders / "fake")
    first = run(folders, real, fake)
    kept = sorted((folders / "out" / "state" / "features").glob("*.npy"))
    assert len(kept) == 2
    times = [path.stat().st_mtime_ns for path in kept]
    again = run(folders, real, fake)
    assert [path.stat().st_mtime_ns for path in kept] == times
    tables = [r.output[r.output.index("Distances") :] for r in (first, again)]
    assert tables[0] == tables[1]
    other = run(folders, real, fake, "--seed", "1")
    assert other.exit_code == 1
    assert "seed: 0 then, 1 now" in other.output
    assert run(folders, real, fake, "--seed", "1", "--overwrite").exit_code == 0


def test_errors_come_at_once_and_name_the_fix(folders):
    real = str(folders / "real")
    for arguments, message in (
        ((real, str(folders / "nothing")), "no such folder"),
        ((real, real, "--split", "test"), "no metadata.csv, so there is no split"),
        ((real, real, "--attribute", "smile"), "has no column 'smile'"),
        ((real, real, "--lpips", str(folders / "classifier.safetensors")), "give torchvision's AlexNet or VGG-16"),
    ):
        result = run(folders, *arguments)
        assert result.exit_code == 1
        assert message in result.output
    assert not (folders / "out").exists()

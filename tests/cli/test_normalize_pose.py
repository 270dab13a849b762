"""`lssl normalize-pose` on rendered photographs, with an untrained generator: the chain, its folder, its errors."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import AttributeSchema, read_metadata
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, save_generator

SIZE = 64


def run(*arguments):
    return CliRunner().invoke(main, ["normalize-pose", *map(str, arguments)])


def save(path, *, task="pose-normalization", size=SIZE):
    torch.manual_seed(0)
    network = Generator(2, 3, 3, 4, 2, 1, output="warp")
    schema = AttributeSchema.from_columns({"expression": ["neutral", "happy"]})
    save_generator(path, TrainedGenerator(network, schema, size, task=task, info={"rendering": {"background": "blur"}}))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model") / "generator.safetensors")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A data set folder of one person at two yaws, with two expressions each."""
    root = tmp_path_factory.mktemp("data") / "faces"
    config = GenerateConfig(1, ("neutral", "happy"), yaw=(0.0, 30.0), size=SIZE, test_fraction=0.0)
    write_generated(root, FaceGenerator(load_embedded_model(), config), model="embedded")
    return root


def test_the_whole_chain_and_a_drawn_folder(model, photographs, tmp_path):
    out = tmp_path / "out"
    result = run(model, photographs, "-o", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    simulated, normalized = read_metadata(out / "simulated"), read_metadata(out)
    assert normalized.file_names == simulated.file_names
    assert normalized.columns["expression"].count("happy") == 2
    assert simulated.info["settings"]["background"] == "blur"  # as in the training
    name = simulated.file_names[0]
    with Image.open(out / "comparisons" / name.removeprefix("images/")) as comparison:
        assert comparison.size == (3 * SIZE, SIZE)
        parts = np.split(np.asarray(comparison).astype(int), 3, axis=1)
    assert 0 < np.abs(parts[1] - parts[2]).mean() < 40  # an untrained generator that moves changes little
    again = run(model, photographs, "-o", out, "--workers", 1)
    assert again.exit_code == 0
    assert "is complete" in again.output

    # Normalizing what render-frontal drew gives the same bits.
    drawn = run(model, out / "simulated", "-o", tmp_path / "drawn")
    assert drawn.exit_code == 0, drawn.output
    assert not (tmp_path / "drawn" / "simulated").exists()
    assert (tmp_path / "drawn" / name).read_bytes() == (out / name).read_bytes()

    happy = run(model, out / "simulated", "-o", tmp_path / "happy", "--to", "happy")
    assert happy.exit_code == 0, happy.output
    assert set(read_metadata(tmp_path / "happy", attributes=()).columns["expression"]) == {"happy"}
    assert (tmp_path / "happy" / name).read_bytes() != (out / name).read_bytes()

    large = run(save(tmp_path / "large.safetensors", size=128), out / "simulated", "-o", tmp_path / "large")
    assert large.exit_code == 1
    assert "64x64, but the model was trained at 128x128" in large.output
    assert "--size 128" in large.output


def test_a_photograph_without_a_face_is_named_and_the_rest_goes_on(model, photographs, tmp_path):
    from lssl.data.landmark_files import write_pts

    folder = read_metadata(photographs)
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(folder.image_path(0).read_bytes())
    write_pts(good.with_suffix(".pts"), folder.landmarks[0])
    bad.write_bytes(good.read_bytes())
    write_pts(bad.with_suffix(".pts"), np.random.default_rng(0).uniform(5, 60, (68, 2)).astype(np.float32))
    result = run(model, good, bad, "-o", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 1
    assert "bad.png: the " in result.output
    assert read_metadata(tmp_path / "out").file_names == ["images/good.png"]
    assert run(model, good, bad, "-o", tmp_path / "out", "--workers", 1).exit_code == 1
    alone = run(model, bad, "-o", tmp_path / "none", "--workers", 1)
    assert alone.exit_code == 1
    assert "nothing could be used" in alone.output


def test_errors_come_before_work(model, photographs, tmp_path):
    out = tmp_path / "out"
    other = save(tmp_path / "other.safetensors", task="attribute-synthesis")
    cases = [
        ((other, photographs), "trained for attribute-synthesis"),
        ((tmp_path / "none.safetensors", photographs), "no such generator"),
        ((model, photographs, "--to", "bored"), "no attribute value 'bored'"),
        ((model, tmp_path / "none.jpg"), "none.jpg: no such file"),
    ]
    for arguments, message in cases:
        result = run(*arguments, "-o", out)
        assert result.exit_code == 1
        assert message in result.output
        assert not (out / "simulated").exists()

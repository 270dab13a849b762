"""Pose normalization and SimGAN: training on pairs, stop and resume bit for bit, use of the trained network."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data import AttributeSchema, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.pairs import kept_attributes, near_frontal_photographs, spread_groups
from lssl.errors import LsslError
from lssl.inference.pose_normalization import load_normalizer, normalize_faces, normalize_folder, parse_changes
from lssl.methods.run import prepare_run
from lssl.methods.simgan import RefinedHistory
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, load_generator
from lssl.models.simgan import Refiner
from lssl.training import TrainConfig, losses
from lssl.training.checkpoint import latest_checkpoint, load_checkpoint

SIZE = 16
SCHEMA = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"], "glasses": ["0", "1"]})


def write_pairs(root: Path, *, size: int = SIZE, sides: bool = True) -> Path:
    """Simulated faces: grey, with a bar whose height is the expression; photographs: coloured, the bar moved by yaw."""
    chance = np.random.default_rng(0)
    writer = FaceFolderWriter(root, attributes=("expression",), settings={"background": "original", "model": "None"})
    for subject in range(6):
        colour = chance.integers(60, 200, 3)
        for k, value in enumerate(("neutral", "happy")):
            for yaw in (-30, 0, 30):
                simulated = np.full((size, size, 3), 128, np.uint8)
                simulated[10 + 2 * k : 12 + 2 * k, 4:12] = 200
                photograph = np.full((size, size, 3), colour, np.uint8)
                photograph[10 + 2 * k : 12 + 2 * k, 4 + yaw // 10 : 12 + yaw // 10] = 250
                writer.add(
                    FaceRow(
                        f"{subject}_{value}_{yaw:+d}",
                        simulated,
                        f"s{subject}",
                        "test" if subject == 5 else "train",
                        {"expression": value},
                        landmarks=chance.uniform(2, size - 2, (68, 2)).astype(np.float32),
                        side=photograph if sides else None,
                        extra={"yaw": f"{yaw + 1.5:.2f}", "error": "0.01"},
                    )
                )
    writer.finish(source="render-frontal")
    return root


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs")


@pytest.fixture(params=["pose", "simgan"])
def pose_config(request: pytest.FixtureRequest, tiny: Callable[..., TrainConfig], pairs: Path) -> TrainConfig:
    config = tiny(request.param, pairs).with_overrides({"network.side_channels": 3})
    if request.param == "simgan":
        more = {"history.size": 5, "network.refiner_blocks": 1, "warm_up.refiner": 2, "losses.identity": 10.0}
        return config.with_overrides(more)
    return config.with_overrides({"losses.frontal": 0.0})


def run(config: TrainConfig, out: Path, **options: bool) -> bool:
    return prepare_run(config, out, quiet=True, **options).train()


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_run_folder_and_use(pose_config, pairs, tmp_path):
    out = tmp_path / "run"
    assert run(pose_config, out)
    assert (out / "losses.png").is_file()
    assert len(list((out / "samples").iterdir())) == 3
    model = load_normalizer(out)
    assert model.schema.names == ["neutral", "happy"]  # the yaw is no attribute of a frontal face
    assert isinstance(model.network, Refiner if pose_config.method == "simgan" else Generator)
    assert model.info["rendering"] == {"background": "original", "model": "None"}
    folder = read_metadata(pairs)
    writer = FaceFolderWriter(tmp_path / "out", attributes=folder.attributes, settings={})
    normalize_folder(model, folder, writer)
    assert writer.finish() == len(folder)
    written = read_metadata(tmp_path / "out")
    assert written.file_names == folder.file_names
    assert written.columns["yaw"] == folder.columns["yaw"]
    assert np.array_equal(written.landmarks, folder.landmarks)
    assert (tmp_path / "out" / "comparisons" / "0_happy_+0.png").is_file()


@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_the_samples_show_what_is_learnt(pose_config, tmp_path, keep):
    more = {"losses.frontal": 3.0} if pose_config.method == "pose" else {}
    config = pose_config.with_overrides({"pose.keep": keep, "schedule.iterations": 1, **more})
    assert run(config, tmp_path / "run")
    with Image.open(tmp_path / "run" / "samples" / "iteration_00000001.png") as grid:
        # photograph, simulated, normalized, targets
        assert grid.width == 128 * (3 if keep == 1 or config.method == "simgan" else 3 + 2)


def test_stopped_and_resumed_is_bitwise_the_same(pose_config, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(pose_config, whole)
    loop = prepare_run(pose_config, parts, quiet=True)
    iterate = loop.iterate

    def stop_in_the_third(*arguments: object) -> None:
        iterate(*arguments)
        if loop.iteration == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.iterate = stop_in_the_third
    assert not loop.train()
    torch.manual_seed(99)  # whatever happens in between
    assert run(pose_config, parts, resume=True)
    a, b = (load_checkpoint(latest_checkpoint(out / "checkpoints")) for out in (whole, parts))
    assert same(a, b)
    if pose_config.method == "simgan":
        assert a["memory"]["history"].shape == (5 + 1, 3, SIZE, SIZE)


def test_a_run_of_one_method_is_not_resumed_as_the_other(pose_config, tmp_path):
    assert run(pose_config, tmp_path / "run")
    other = "pose" if pose_config.method == "simgan" else "simgan"
    config = pose_config.for_method(other)
    config = config.with_overrides({"network.critic_layers": 3} if config.has("network.critic_layers") else {})
    with pytest.raises(LsslError, match=f"checkpoint of the method {pose_config.method}, not {other}"):
        run(config, tmp_path / "run", resume=True)


def test_what_the_critic_takes_as_real(pairs):
    folder = read_metadata(pairs)
    frontal = near_frontal_photographs(folder, 10.0, 1)
    assert set(frontal.columns["yaw"]) == {"1.50"}
    assert all(name.startswith("side/") for name in frontal.file_names)
    assert len(near_frontal_photographs(folder, 10.0, 13)) == len(folder)  # too few: all
    without = replace(folder, columns={"expression": folder.columns["expression"]})
    assert len(near_frontal_photographs(without, 10.0, 1)) == len(folder)


@pytest.mark.parametrize("pose_config", ["pose"], indirect=True)
def test_batches(pose_config, tmp_path):
    """Where the target is kept, y is the photograph's own and the generator is told nothing."""
    method = prepare_run(pose_config.with_overrides({"pose.keep": 0.5}), tmp_path / "run", quiet=True).method
    kept = 0
    for step in range(20):
        batch = method.batch(method.draw(step))
        silent = (batch.given == 0).all(1)
        kept += int(silent.sum())
        assert torch.equal(batch.y[silent], batch.y_source[silent])
        assert torch.equal(batch.given[~silent], batch.y[~silent])
        assert batch.real.shape == batch.image.shape
        assert batch.y_real.sum(1).eq(1).all()
    assert 20 < kept < 60  # of 80, half are kept


def test_kept_attributes():
    assert kept_attributes(SCHEMA).tolist() == [0, 0, 0, 0.5]
    spread = spread_groups(torch.tensor([[True, False], [False, True]]), SCHEMA)
    assert spread.tolist() == [[True, True, True, False], [False, False, False, True]]


@pytest.mark.parametrize("pose_config", ["pose"], indirect=True)
def test_real_faces_of_another_folder(pose_config, pairs, tmp_path):
    method = prepare_run(pose_config.with_overrides({"pose.real_faces": str(pairs)}), tmp_path / "a", quiet=True).method
    assert method.batch(method.draw(0)).y_real is not None
    other = write_pairs(tmp_path / "other")
    table = (other / "metadata.csv").read_text()
    (other / "metadata.csv").write_text(table.replace("expression", "mood"))
    unlabelled = pose_config.with_overrides({"pose.real_faces": str(other)})
    with pytest.raises(LsslError, match=r"no column expression.*critic_sees_target=false"):
        prepare_run(unlabelled, tmp_path / "b", quiet=True)
    unlabelled = unlabelled.with_overrides({"network.critic_sees_target": False})
    assert run(unlabelled, tmp_path / "b")
    large = write_pairs(tmp_path / "large", size=32)
    with pytest.raises(LsslError, match="32x32"):
        prepare_run(pose_config.with_overrides({"pose.real_faces": str(large)}), tmp_path / "c", quiet=True)


@pytest.mark.parametrize("pose_config", ["pose"], indirect=True)
def test_folders_that_cannot_be_used(pose_config, tmp_path):
    bare = write_pairs(tmp_path / "bare", sides=False)
    with pytest.raises(LsslError, match=r"no side/.*render-frontal"):
        prepare_run(pose_config.with_overrides({"data.folder": str(bare)}), tmp_path / "run", quiet=True)
    with pytest.raises(LsslError, match="needs --data"):
        prepare_run(pose_config.with_overrides({"data.folder": ""}), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_history_is_half_of_the_fakes():
    history, chance = RefinedHistory(6, 4, 2), torch.Generator().manual_seed(0)
    batches = [torch.full((4, 3, 2, 2), value / 127.5 - 1) for value in (10.0, 20.0, 30.0, 40.0, 50.0)]
    exchange = lambda k: history.exchange(batches[k], history.draw(k, chance))  # noqa: E731
    assert torch.equal(exchange(0), batches[0])  # nothing to mix in yet
    second = exchange(1)
    assert torch.equal(second[:2], batches[1][:2])
    assert torch.equal(second[2:], batches[0][:2])
    for k in (2, 3, 4):
        exchange(k)
    values = history.images[:6, 0, 0, 0].tolist()
    assert 0 not in values
    assert values.count(50) == 2  # the newest are in, in place of older ones


def test_normalizing(tmp_path):
    torch.manual_seed(0)
    network = Generator(3, side_channels=1, width=4, num_downsamplings=1, residual_blocks=1)
    schema = AttributeSchema.from_columns({"expression": ["neutral", "happy", "sad"]})
    model = TrainedGenerator(network, schema, SIZE, task="pose-normalization").eval()
    chance = np.random.default_rng(0)
    simulated, photographs = chance.integers(0, 255, (2, 5, SIZE, SIZE, 3), dtype=np.uint8)
    faces = normalize_faces(model, simulated, photographs, batch_size=2)
    assert faces.shape == simulated.shape
    np.testing.assert_allclose(faces, normalize_faces(model, list(simulated), list(photographs)), atol=1)
    happy = normalize_faces(model, simulated, photographs, to=parse_changes(model, "happy"))
    assert not np.array_equal(faces, happy)
    assert len(normalize_faces(model, [], [])) == 0
    with pytest.raises(ValueError, match="simulated: expected pictures of shape"):
        normalize_faces(model, simulated[:, :8], photographs)
    with pytest.raises(ValueError, match="5 simulated faces, but 4 photographs"):
        normalize_faces(model, simulated, photographs[:4])
    with pytest.raises(LsslError, match="two values"):
        parse_changes(model, "happy,sad")
    model.info["keep"] = 1.0
    assert parse_changes(model, "") == {}
    with pytest.raises(LsslError, match=r"pose.keep=0\.5"):
        parse_changes(model, "happy")
    with pytest.raises(LsslError, match="attribute-synthesis"):
        normalize_faces(TrainedGenerator(network, schema, SIZE), simulated, photographs)


def test_a_refiner_is_exported_and_read_again(tmp_path):
    from lssl.models.export import save_generator

    torch.manual_seed(0)
    refiner = Refiner(2, width=4, blocks=1, output="residual")
    schema = AttributeSchema.from_columns({"expression": ["neutral", "happy"]})
    save_generator(tmp_path / "generator.safetensors", TrainedGenerator(refiner, schema, SIZE))
    again = load_generator(tmp_path)
    image, y = torch.rand(2, 3, SIZE, SIZE), schema.sample(2)
    torch.testing.assert_close(again(image, None, y)[0], refiner(image, None, y)[0])
    with pytest.raises(LsslError, match="attribute-synthesis"):
        load_normalizer(tmp_path)


@pytest.mark.parametrize("pose_config", ["pose"], indirect=True)
def test_frontal_targets_are_the_subjects_own_photographs(pose_config, pairs, tmp_path):
    config = pose_config.with_overrides({"losses.frontal": 1.0, "data.jitter": 0.0, "network.critic_init": "he"})
    method = prepare_run(config, tmp_path / "run", quiet=True).method
    rows, flip = method.faces.rows(0)
    batch = method.batch(method.draw(0))
    train_set = method.stream.train_set
    folder = train_set.folder
    for row, mirrored, y, target in zip(rows.tolist(), flip.tolist(), batch.y, batch.target, strict=True):
        value = method.schema.decode(y)[0]["expression"]
        (own,) = folder.rows_where(subject=folder.subjects[row], expression=value, yaw="1.50")
        expected = train_set.batch([own], flip=torch.tensor([mirrored])).side[0]
        assert torch.equal(target, expected)
    assert set(batch.target_weight[:, 0, 8, 8].tolist()) == {1.0}
    assert run(config, tmp_path / "trained")
    assert "g_front" in (tmp_path / "trained" / "metrics.jsonl").read_text()
    with pytest.raises(LsslError, match=r"no photograph within 0\.5 degrees"):
        prepare_run(config.with_overrides({"pose.near_frontal": 0.5}), tmp_path / "none", quiet=True)


def test_a_target_is_weighed_only_where_it_is_known():
    fake, target = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    weight = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    target[1] = 100
    assert losses.frontal(fake, target, weight) == pytest.approx(1.0)
    assert losses.frontal(fake, target, weight * 0) == 0

"""Updates captured once and replayed give the losses of updates that run as they are.

On a GPU (about a minute on an H100; builds nothing, needs the built library):

    python -m pytest -q tests/training/test_graphs.py -k cuda

Without one, the same loop runs over a recording of the operators (recording.py), which refuses what a CUDA graph refuses.
"""

import importlib.util
import json
import signal
import warnings
from pathlib import Path

import pytest
import torch

from lssl.methods.run import prepare_run
from lssl.training.config import TrainConfig
from lssl.training.distributed import Processes
from lssl.training.graphs import Graphs, PlanBuffer, PlansAhead
from lssl.training.loop import Loop
from tests.conftest import write_faces

_spec = importlib.util.spec_from_file_location("recording", Path(__file__).with_name("recording.py"))
assert _spec is not None
assert _spec.loader is not None
recording = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recording)

METHODS = ("paper", "standard", "pose", "simgan", "stargan", "starganv2", "cyclegan", "icgan")
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Drawn faces of 32 pixels beside photographs: themselves, upside down."""
    from PIL import Image, ImageOps

    faces = write_faces(tmp_path / "graph-faces", size=32)
    (faces / "side").mkdir()
    for path in (faces / "images").iterdir():
        with Image.open(path) as image:
            ImageOps.flip(image).save(faces / "side" / path.name)
    table = (faces / "metadata.csv").read_text().splitlines()
    rows = [f"{line},{'yaw' if k == 0 else '0.0'}" for k, line in enumerate(table)]
    (faces / "metadata.csv").write_text("\n".join(rows) + "\n")
    return faces


@pytest.fixture
def run_config(tiny, pairs):
    def make(method: str, **more: object) -> TrainConfig:
        settings = {
            "data.attributes": "expression",
            "network.refiner_blocks": 1,
            "warm_up.updates": 6,
            "warm_up.refiner": 6,
            "warm_up.movement": 6,
            "history.size": 5,
            "pose.keep": 0.5,
            "schedule.iterations": 50,
            "output.log_every": 1,
            "output.sample_every": 100,
            "output.checkpoint_every": 100,
        }
        config = tiny(method, pairs)
        given = {name: value for name, value in settings.items() if config.has(name)}
        return config.with_overrides({**given, **{name.replace("__", "."): v for name, v in more.items()}})

    return make


def losses_of(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def recorded(config: TrainConfig, out: Path, backend: object) -> Loop:
    """The run of a method on the CPU, its updates captured by a stand-in."""
    return prepare_run(config, out, quiet=True, graphs=Graphs(backend))


@pytest.mark.parametrize("method", METHODS)
def test_replayed_updates_have_the_losses_of_updates_as_they_are(run_config, tmp_path, method):
    config = run_config(method, schedule__iterations=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = recorded(config, tmp_path / "graph", recording.RecordingBackend())
        assert loop.train()
    assert set(loop.steps.graphs._captured) >= {update.name for update in loop.updates}
    with pytest.warns(UserWarning, match="cannot be captured .*RuntimeError: operation not permitted"):
        assert recorded(config, tmp_path / "eager", recording.RefusingBackend()).train()
    assert losses_of(tmp_path / "graph") == losses_of(tmp_path / "eager")


def test_a_stopped_run_of_replays_goes_on_as_an_uninterrupted_one(run_config, tmp_path):
    config = run_config("standard", schedule__iterations=14)
    assert recorded(config, tmp_path / "whole", recording.RecordingBackend()).train()
    loop = recorded(config, tmp_path / "parts", recording.RecordingBackend())
    iterate = loop.iterate

    def stop_after_nine(*arguments: object) -> None:
        iterate(*arguments)
        if loop.iteration == 9:
            signal.raise_signal(signal.SIGTERM)

    loop.iterate = stop_after_nine
    assert not loop.train()
    again = prepare_run(
        config, tmp_path / "parts", resume=True, quiet=True, graphs=Graphs(recording.RecordingBackend())
    )
    assert again.train()
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "parts")


def test_a_loss_that_reads_a_value_back_is_refused_and_runs_on(run_config, tmp_path):
    loop = recorded(run_config("paper", schedule__iterations=5), tmp_path / "run", recording.RecordingBackend())
    generator_loss = loop.method.generator_loss

    def reads(batch: object) -> object:
        loss, terms = generator_loss(batch)
        assert loss.item() == loss.item()
        return loss, terms

    loop.method.generator_loss = reads
    loop.updates = list(loop.method.updates())
    with pytest.warns(UserWarning, match="'generator' cannot be captured .*_local_scalar_dense"):
        assert loop.train()


def test_plans_drawn_ahead_come_in_order_and_must_be_alike():
    def draw(step: int) -> dict:
        return {"rows": torch.full((3 if step < 30 else 4,), step), "flip": torch.tensor([step % 2 == 0])}

    buffer = PlanBuffer(draw(0), torch.device("cpu"))
    plans = PlansAhead(draw, 5, buffer)
    for step in range(5, 30):
        plan = plans.next()
        assert plan["rows"].tolist() == [step] * 3
        assert plan["flip"].tolist() == [step % 2 == 0]
    with pytest.raises(ValueError, match=r"rows is torch.int64 \(4,\), but was torch.int64 \(3,\)"):
        plans.next()
    plans.close()


MOVING = ("standard", "pose")  # a moved picture's gradient has no deterministic algorithm on a GPU


def tolerance(method: str) -> dict[str, float]:
    return {"rel": 3e-2, "abs": 3e-3} if method in MOVING else {"rel": 2e-3, "abs": 2e-4}


@cuda
@pytest.mark.parametrize("method", METHODS)
def test_cuda_graphs_have_the_losses_of_eager_updates(run_config, tmp_path, method):
    """50 iterations, one seed, equal but for the arithmetic of float32."""
    config = run_config(
        method, speed__tf32=False, speed__deterministic=method not in MOVING, schedule__learning_rate=1e-4
    )
    processes = Processes(device=torch.device("cuda"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for graph in ("on", "off"):
            settings = config.with_overrides({"speed.graph": graph})
            loop = prepare_run(settings, tmp_path / graph, processes=processes, quiet=True)
            assert loop.train()
            assert (loop.steps.graphs is not None) == (graph == "on")
    for a, b in zip(losses_of(tmp_path / "on"), losses_of(tmp_path / "off"), strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], **tolerance(method)), (a["iteration"], name)


@cuda
@pytest.mark.parametrize("method", METHODS)
def test_cuda_run_resumed_goes_on_as_an_uninterrupted_one(run_config, tmp_path, method):
    config = run_config(
        method, speed__tf32=False, speed__deterministic=method not in MOVING, schedule__learning_rate=1e-4
    )
    processes = Processes(device=torch.device("cuda"))
    assert prepare_run(config, tmp_path / "whole", processes=processes, quiet=True).train()
    loop = prepare_run(config, tmp_path / "parts", processes=processes, quiet=True)
    iterate = loop.iterate

    def stop_after_twenty(*arguments: object) -> None:
        iterate(*arguments)
        if loop.iteration == 20:
            signal.raise_signal(signal.SIGTERM)

    loop.iterate = stop_after_twenty
    assert not loop.train()
    assert prepare_run(config, tmp_path / "parts", resume=True, processes=processes, quiet=True).train()
    for a, b in zip(losses_of(tmp_path / "whole"), losses_of(tmp_path / "parts"), strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], **tolerance(method)), (a["iteration"], name)


@cuda
def test_cuda_presets_are_captured_as_users_run_them(pairs, tmp_path):
    """bf16, channels-last, TF32, benchmark: no warning, finite losses."""
    for preset in ("paper", "standard"):
        smaller = {
            "network.width": 8,
            "network.movement_width": 8,
            "network.num_downsamplings": 2,
            "network.critic_width": 8,
            "network.critic_layers": 3,
            "losses.parsing": 0.0,
        }
        config = TrainConfig.preset(preset)
        config = config.with_overrides(
            {
                **{name: value for name, value in smaller.items() if config.has(name)},
                "data.folder": str(pairs),
                "data.attributes": "expression",
                "speed.bf16": "on",
                "schedule.iterations": 20,
            }
        )
        config = config.with_overrides({"warm_up.updates": 8} if config.has("warm_up.updates") else {})
        loop = prepare_run(config, tmp_path / preset, processes=Processes(device=torch.device("cuda")), quiet=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert loop.train()
        assert {update.name for update in loop.updates} <= set(loop.steps.graphs._captured)

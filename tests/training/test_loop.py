"""A run: its folder, bitwise resuming, kills, full disks, several processes."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

import lssl
from lssl.errors import LsslError
from lssl.methods.run import prepare_run
from lssl.training import TrainConfig
from lssl.training.checkpoint import checkpoints, latest_checkpoint, load_checkpoint, save_checkpoint


def run(config: TrainConfig, out: Path, **options: bool) -> bool:
    return prepare_run(config, out, quiet=True, **options).train()


def same(a: object, b: object) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses_of(out: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(out)]


def test_run_folder(config, tmp_path):
    out = tmp_path / "run"
    assert run(config, out)
    assert [row["iteration"] for row in rows(out)] == [2, 4, 6]
    expected = {"d_real", "d_fake", "d_gp", "d_cls", "g_adv", "g_cls", "g_bi", "g_latent", "g_id"}
    assert expected | {"iteration", "learning_rate", "seconds"} == set(rows(out)[0])
    assert sorted(p.name for p in (out / "samples").iterdir()) == [f"iteration_{k:08d}.png" for k in (0, 3, 6)]
    with Image.open(out / "losses.png") as figure:
        assert figure.width > 500
    assert [p.name for p in checkpoints(out / "checkpoints")] == ["iteration_00000004.pt", "iteration_00000006.pt"]
    assert TrainConfig.load(out / "config.toml").settings == config.settings
    trained = lssl.load_generator(out)
    assert trained.schema.names == ["neutral", "happy"]
    assert trained.info["subjects"] == [str(n) for n in range(8)]  # the last two of ten are the split test
    with Image.open(out / "samples" / "iteration_00000006.png") as grid:
        assert grid.size == (3 * 128, 3 * 128 + 20)


def test_stopped_and_resumed_is_bitwise_the_same(recipe, tmp_path):
    config = recipe
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(config, whole)
    loop = prepare_run(config, parts, quiet=True)
    iterate = loop.iterate

    def stop_in_the_third(*arguments: object) -> None:
        iterate(*arguments)
        if loop.iteration == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    loop.iterate = stop_in_the_third
    assert not loop.train()
    assert latest_checkpoint(parts / "checkpoints").name == "iteration_00000003.pt"
    torch.manual_seed(99)  # whatever happens in between
    assert run(config, parts, resume=True)
    a, b = (load_checkpoint(latest_checkpoint(out / "checkpoints")) for out in (whole, parts))
    assert same(a, b)
    assert losses_of(whole) == losses_of(parts)


def test_run_from_its_own_config_repeats(config, tmp_path):
    assert run(config, tmp_path / "a")
    assert run(TrainConfig.load(tmp_path / "a" / "config.toml"), tmp_path / "b")
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b")


def test_learns(config, tmp_path):
    """The reconstruction loss falls: the loop does optimize it."""
    config = config.with_overrides({"schedule.iterations": 60, "schedule.decay_start": 1.0, "output.log_every": 10})
    assert run(config, tmp_path / "run")
    values = [row["g_bi"] for row in rows(tmp_path / "run")]
    assert values[-1] < 0.8 * values[0]


COMMAND = [sys.executable, "-m", "lssl", "train", "--quiet", "--threads", "1", "--no-report"]


def start(config: TrainConfig, out: Path, *more: str, prefix: list[str] | None = None) -> subprocess.Popen:
    file = out.with_suffix(".toml")
    file.write_text(config.to_toml())
    command = [*(prefix or COMMAND), "--config", str(file), "--out", str(out), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for_checkpoint(out: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while latest_checkpoint(out / "checkpoints") is None:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no checkpoint: {process.communicate()[0]}")
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_9_loses_at_most_the_time_since_the_last_checkpoint(config, tmp_path):
    out = tmp_path / "run"
    long = config.with_overrides({"schedule.iterations": 100_000, "output.checkpoint_every": 1})
    process = start(long, out)
    wait_for_checkpoint(out, process)
    process.kill()
    process.communicate()
    newest = latest_checkpoint(out / "checkpoints")
    iteration = load_checkpoint(newest)["iteration"]
    assert iteration >= 1
    with (out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"iteration": iteration + 1, "g_adv": 0.0}) + '\n{"iteration": 7, "g_')  # cut short
    finish = long.with_overrides({"schedule.iterations": iteration + 4})
    assert run(finish, out, resume=True)
    numbers = [row["iteration"] for row in rows(out)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == iteration + 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_exits_cleanly(config, tmp_path, number):
    out = tmp_path / "run"
    process = start(config.with_overrides({"schedule.iterations": 100_000}), out)
    wait_for_checkpoint(out, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Stopped at iteration" in output
    assert "--resume" in output


def test_a_signal_while_warming_up_stops_at_once_and_the_same_command_begins_again(standard, tmp_path):
    config = standard.with_overrides({"warm_up.updates": 3})
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert run(config, whole)
    loop = prepare_run(config, torn, quiet=True)
    step, steps = loop.steps.run, []

    def stop_in_the_second(*arguments: object) -> None:
        step(*arguments)
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    loop.steps.run = stop_in_the_second
    assert not loop.train()
    assert len(steps) == 2
    assert loop.iteration == 0
    assert latest_checkpoint(torn / "checkpoints") is None
    assert run(config, torn)
    assert losses_of(torn) == losses_of(whole)


@pytest.mark.parametrize("learns_after", [1, 250, None])
def test_the_warm_up_goes_on_while_d_cls_knows_nothing(standard, tmp_path, learns_after):
    loop = prepare_run(standard.with_overrides({"warm_up.updates": 100}), tmp_path / "run", quiet=True)
    method, updates = loop.method, []

    def step(*_: object) -> None:
        updates.append(1)
        knows = learns_after is not None and len(updates) >= learns_after
        method.memory["warm_up_loss"].fill_(method.at_chance * (0.5 if knows else 1.0))

    loop.steps.run = step
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert loop._warm_up(None, [])
    assert any("no better than chance" in str(one.message) for one in said) == (learns_after is None)
    assert len(updates) == {1: 100, 250: 300, None: 400}[learns_after]


def test_a_new_beginning_forgets_the_optimizers_state_in_place(config, tmp_path):
    loop = prepare_run(config, tmp_path / "run", quiet=True)
    update = loop.updates[0]
    loop.steps.run(update, loop.method.draw(0))
    moments = [value for one in loop.steps.optimizers[update.networks].state.values() for value in one.values()]
    assert any(value.abs().sum() > 0 for value in moments)
    loop.steps.forget(update)
    assert all(value.abs().sum() == 0 for value in moments)


def test_the_warm_up_follows_the_loss_of_d_cls(standard, tmp_path):
    loop = prepare_run(standard, tmp_path / "run", quiet=True)
    method = loop.method
    with torch.no_grad():
        method.critic.attribute_head.weight.zero_()
    before = method.memory["warm_up_loss"].fill_(0.1).item()
    loop.steps.run(next(method.warm_up()).update, method.draw(0, warm_up=True))
    assert method.memory["warm_up_loss"].item() == pytest.approx(before + 0.02 * (math.log(2) - before), rel=1e-4)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(recipe, tmp_path):
    config = recipe
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(config, one)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "lssl"]
    process = start(
        config, two, "--device", "cpu", prefix=[*launcher, "train", "--quiet", "--threads", "1", "--no-report"]
    )
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    for a, b in zip(losses_of(one), losses_of(two), strict=True):
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=2e-3, abs=2e-4), name


def test_full_disk_is_one_clear_error_and_keeps_the_last_checkpoint(config, tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert run(config, out)
    before = latest_checkpoint(out / "checkpoints")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    longer = config.with_overrides({"schedule.iterations": 8})
    with pytest.raises(LsslError, match=rf"No space left.*last good checkpoint is .*{before.name}"):
        run(longer, out, resume=True)
    monkeypatch.undo()
    assert latest_checkpoint(out / "checkpoints") == before
    assert not list((out / "checkpoints").glob(".*"))
    assert run(longer, out, resume=True)


def test_not_finite_loss_is_one_clear_error(config, tmp_path):
    out = tmp_path / "run"
    assert run(config, out)
    before = latest_checkpoint(out / "checkpoints")
    with pytest.raises(LsslError, match=rf"not finite at iteration 8; the last good checkpoint is .*{before.name}"):
        run(config.with_overrides({"schedule.iterations": 8, "losses.identity": float("nan")}), out, resume=True)
    assert latest_checkpoint(out / "checkpoints") == before


def test_checkpoint_of_another_architecture(config, tmp_path):
    out = tmp_path / "run"
    assert run(config, out)
    with pytest.raises(LsslError, match=r"generator of another architecture: .*config\.toml"):
        run(config.with_overrides({"network.width": 8}), out, resume=True)
    with pytest.raises(LsslError, match="another architecture"):
        run(config.with_overrides({"network.residual_blocks": 2}), out, resume=True)
    with pytest.raises(LsslError, match="batch_size 4, but it is 8 now"):
        run(config.with_overrides({"schedule.batch_size": 8}), out, resume=True)


def test_checkpoints_run_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, ("true",))

    torch.save({"format": 1, "x": Evil()}, tmp_path / "iteration_00000001.pt")
    with pytest.raises(LsslError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "iteration_00000001.pt")
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(LsslError, match=r"half\.pt: not a readable checkpoint"):
        load_checkpoint(tmp_path / "half.pt")
    with pytest.raises(LsslError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    for k in range(5):
        save_checkpoint(tmp_path, k, {"x": torch.zeros(1)}, keep=2)
    assert [p.name for p in checkpoints(tmp_path)] == ["iteration_00000003.pt", "iteration_00000004.pt"]


def test_a_run_is_not_overwritten(config, tmp_path):
    assert run(config, tmp_path / "run")
    with pytest.raises(LsslError, match="holds a run already"):
        run(config, tmp_path / "run")
    with pytest.raises(LsslError, match="no checkpoint to resume from"):
        run(config, tmp_path / "empty", resume=True)

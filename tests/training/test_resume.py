"""Resuming after accidents to run folders: torn checkpoints, truncated settings, full disks, a second run."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

import lssl
from lssl.cli.main import main
from lssl.data.lock import unlock_folder
from lssl.errors import LsslError
from lssl.methods.run import prepare_run
from lssl.training import TrainConfig
from lssl.training.checkpoint import checkpoints, load_checkpoint


def run(config, out, **options) -> bool:
    return prepare_run(config, out, quiet=True, **options).train()


def train(*arguments):
    return CliRunner().invoke(main, ["train", "--no-report", *map(str, arguments)])


def weights(out) -> dict[str, bytes]:
    state = lssl.load_generator(out).network.state_dict()
    return {name: value.numpy().tobytes() for name, value in state.items()}


def cut(path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_torn_newest_checkpoint_is_named_and_the_one_before_it_goes_on(config, tmp_path, capsys, share) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert run(config, whole)
    shutil.copytree(whole, torn)
    newest = checkpoints(torn / "checkpoints")[-1]
    before = checkpoints(torn / "checkpoints")[-2]
    cut(newest, share)
    loop = prepare_run(config, torn, resume=True, quiet=True)
    said = capsys.readouterr().err
    assert f"{newest}: not a readable checkpoint" in said
    assert f"continuing from {before.name}" in said
    assert loop.train()
    assert checkpoints(torn / "checkpoints")[-1].name == newest.name
    assert weights(torn) == weights(whole)
    for path in checkpoints(torn / "checkpoints"):
        cut(path, 0.3)
    with pytest.raises(LsslError, match=r"not a readable checkpoint .*neither is any before it"):
        prepare_run(config, torn, resume=True, quiet=True)


def test_a_run_killed_before_it_delivered_delivers_when_resumed(config, tmp_path) -> None:
    assert run(config, tmp_path / "run")
    expected = weights(tmp_path / "run")
    (tmp_path / "run" / "generator.safetensors").unlink()
    assert run(config, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no settings in it"),
        ("# nothing\n", "has no settings in it"),
        ('method = "paper"\nseed = 0\n', "it has no data"),
    ],
)
def test_cut_settings_are_an_error_at_once(config, tmp_path, text, message) -> None:
    out = tmp_path / "run"
    assert run(config, out)
    (out / "config.toml").write_text(text)
    result = train("--out", out, "--resume")
    assert result.exit_code == 1
    assert f"config.toml {'' if message.startswith('has') else 'is not the complete file'}" in result.output
    assert message in result.output
    with pytest.raises(LsslError):
        TrainConfig.load_run(out / "config.toml")


def test_resume_without_a_checkpoint_says_so_at_once(tmp_path) -> None:
    result = train("--out", tmp_path / "run", "--resume")
    assert result.exit_code == 1
    assert "no checkpoint to resume from; repeat the command without --resume" in result.output
    assert not (tmp_path / "run").exists()


def test_a_full_disk_before_the_first_checkpoint_gives_advice_that_works(config, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    loop = prepare_run(config, tmp_path / "run", quiet=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((LsslError, OSError), match="No space left"):
        loop.train()
    monkeypatch.undo()
    assert not checkpoints(tmp_path / "run" / "checkpoints")
    assert run(config, tmp_path / "run")  # the command repeated, as it says


def test_a_second_run_in_one_folder_is_refused(config, tmp_path) -> None:
    out = tmp_path / "run"
    loop = prepare_run(config, out, quiet=True)
    code = (
        "from lssl.data.lock import lock_folder; from pathlib import Path; import sys; "
        "sys.exit(0 if lock_folder(Path(sys.argv[1])) else 3)"
    )
    other = [sys.executable, "-c", code, str(out)]
    assert subprocess.run(other, check=False).returncode == 3
    assert loop.train()
    unlock_folder(out)
    assert subprocess.run(other, check=False).returncode == 0


def test_a_checkpoint_of_another_version_is_not_called_damaged(tmp_path) -> None:
    path = tmp_path / "iteration_00000001.pt"
    torch.save({"format": 1, "iteration": 1}, path)
    with pytest.raises(LsslError, match=r"a checkpoint in layout 1, which another version of lssl wrote .*resume with"):
        load_checkpoint(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(LsslError, match="a PyTorch file, but not a checkpoint that `lssl train` wrote"):
        load_checkpoint(path)

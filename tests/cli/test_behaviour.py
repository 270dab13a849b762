"""What every command has in common: names of options, --quiet, --json, folders that cannot be written to."""

import json
import os
import re
import shlex
import subprocess
import sys
import zlib

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import read_metadata
from lssl.data.landmark_files import write_pts
from tests.apart import invoke_apart

#: Commands that ask the user or show pages; they print no result.
INTERACTIVE = {"doctor", "demo"}
#: Commands in which nothing is random.
WITHOUT_CHANCE = {
    "render-frontal",
    "normalize-pose",
    "synthesize",
    "video",
    "export",
    "face-model build",
    "face-model import",
}
WITHOUT_CHANCE |= {"evaluate activations", "morph"}


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {" ".join(words): command}
    context = click.Context(command)
    found: dict[str, click.Command] = {}
    for name in command.list_commands(context):
        found |= leaves(command.get_command(context, name), (*words, name))
    return found


COMMANDS = {words: command for words, command in leaves(main).items() if words not in INTERACTIVE}


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_options_have_one_name_everywhere(words) -> None:
    names = {name for option in COMMANDS[words].params for name in (*option.opts, *option.secondary_opts)}
    assert {"--quiet", "-q"} <= names
    assert "--json" in names
    assert {"--out", "-o"} <= names
    assert ("--seed" in names) == (words not in WITHOUT_CHANCE)
    assert not any("_" in name for name in names if name.startswith("--"))


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_an_unknown_option_is_wrong_usage(words) -> None:
    result = CliRunner().invoke(main, [*words.split(), "--no-such-option"])
    assert result.exit_code == 2
    assert "--no-such-option" in result.output


def test_json_is_all_that_is_on_standard_output(tmp_path) -> None:
    options = ["--subjects", "6", "--expressions", "neutral,happy", "--size", "32", "--json"]
    result = invoke_apart(main, ["generate-faces", str(tmp_path / "faces"), *options])
    assert json.loads(result.stdout)["faces"] == 12
    shown = invoke_apart(
        main,
        ["face-model", "show", "embedded", "-o", str(tmp_path / "s.png"), "--size", "32", "--modes", "1", "--json"],
    )
    assert json.loads(shown.stdout)["out"] == str(tmp_path / "s.png")


WRITING = {
    "generate-faces": ["generate-faces", "{out}", "--subjects", "6", "--size", "32"],
    "train": ["train", "--subjects", "8", "--size", "32", "-o", "{out}"],
    "train-parser": ["train-parser", "-o", "{out}"],
    "synthesize": ["synthesize", "3d", __file__, "--to", "happy", "-o", "{out}"],
}


@pytest.mark.parametrize("name", sorted(WRITING))
@pytest.mark.parametrize("below", ["", "/new"])
def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(tmp_path, monkeypatch, name, below) -> None:
    """As os.access reports it; the next test has a folder that really is read-only."""
    folder = tmp_path / "locked"
    folder.mkdir()
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (str(path) == str(folder) and mode & os.W_OK) and allowed(path, mode)
    )
    result = CliRunner().invoke(main, [word.replace("{out}", f"{folder}{below}") for word in WRITING[name]])
    assert result.exit_code == 1
    reason = f"{folder}: cannot be written to (permission denied); choose another folder, or make this one writable"
    assert reason in result.output
    assert not any(folder.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a mount namespace is Linux'")
def test_a_read_only_file_system_is_named(tmp_path) -> None:
    (tmp_path / "disk").mkdir()
    lssl = f"{sys.executable} -m lssl generate-faces {tmp_path}/disk/faces --subjects 6 --size 32"
    script = f"mount -t tmpfs -o ro none {tmp_path}/disk && {lssl}; echo code $?"
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    said = result.stdout + result.stderr
    if "unshare:" in said or "mount:" in said:
        pytest.skip(f"no mounts here: {said.strip()[:100]}")
    assert "disk: cannot be written to (its file system is read-only); choose another folder" in said
    assert "code 1" in said


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "{photographs}"],
        ["train-classifier", "--data", "{photographs}", "-o", "out"],
        ["evaluate", "transfer", "--data", "{photographs}", "-o", "out"],
    ],
)
def test_plain_photographs_where_a_prepared_folder_is_wanted_name_the_command_that_helps(tmp_path, words) -> None:
    photographs = tmp_path / "my photographs"
    for path in ("happy/a.png", "happy/b.png", "neutral/a.png", "neutral/b.png"):
        write_photograph(photographs / path)
    refused = CliRunner().invoke(main, [word.replace("{photographs}", str(photographs)) for word in words])
    assert refused.exit_code == 1
    command, folder = re.search(r"`lssl ([^`]+)`, and give (.*)", refused.output).groups()
    prepared = CliRunner().invoke(main, [*shlex.split(command), "--size", "32", "--workers", "1"])
    assert prepared.exit_code == 0, prepared.output
    assert len(read_metadata(folder)) == 4


def test_photographs_side_by_side_are_to_be_sorted_by_class_first(tmp_path) -> None:
    write_photograph(tmp_path / "a.png")
    refused = CliRunner().invoke(main, ["train", "--data", str(tmp_path)])
    assert "side by side: put them into a folder for each class" in refused.output


def write_photograph(path) -> None:
    chance = np.random.default_rng(zlib.crc32(path.as_posix().encode()))
    points = np.tile([[100.0, 100.0]], (68, 1)).astype(np.float32)
    points[36:42], points[42:48], points[48:68] = [70, 90], [130, 90], [100, 150]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(chance.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
    write_pts(path.with_suffix(".pts"), points)


MODELS_FIRST = {
    "synthesize a.jpg --to happy": "a.jpg is a picture; the model comes first: `lssl synthesize london a.jpg --to happy`",
    "synthesize clip.mp4 a.jpg --all": "clip.mp4 is a video; the model comes first: `lssl synthesize london clip.mp4 --to",
    "morph a.jpg b.jpg --through happy": "the model comes first: `lssl morph london a.jpg --through neutral,happy`",
    "normalize-pose a.JPG -o out": "a.JPG is a picture; the model comes first: `lssl normalize-pose runs/pose a.JPG -o",
    "augment a.jpg faces out": "a.jpg is a picture, where a model belongs: generator.safetensors, a run folder, or a",
    "export a.jpg --onnx": "a.jpg is a picture, where a model belongs",
    "demo a.jpg": "a.jpg is a picture, where a model belongs",
    "evaluate activations a.jpg faces": "a.jpg is a picture, where a model belongs",
    "evaluate transfer --data faces --model a.jpg": "a.jpg is a picture, where a model belongs",
    "evaluate figure --data faces --model mine=a.jpg": "a.jpg is a picture, where a model belongs",
}


@pytest.mark.parametrize("words", sorted(MODELS_FIRST))
def test_a_picture_where_the_model_belongs_is_answered_with_the_order(words) -> None:
    result = CliRunner().invoke(main, words.split(), prog_name="lssl")
    assert result.exit_code == 2
    assert MODELS_FIRST[words] in result.output


@pytest.mark.parametrize(
    "words",
    [
        "render-frontal {} -o out",
        "synthesize london {} --to happy",
        "synthesize {} photo.jpg --to happy",
        "prepare folder {} out",
        "train --data {}",
        "train --data={}",
        "train --set data.folder={}",
        "evaluate figure --data faces --model mine={}",
    ],
)
def test_a_web_address_is_to_be_downloaded_first(words) -> None:
    address = "https://example.org/photo.jpg?size=2"
    result = CliRunner().invoke(main, words.format(address).split())
    assert result.exit_code == 2
    assert f"{address} is a web address: download it first, and give the file's path" in result.output

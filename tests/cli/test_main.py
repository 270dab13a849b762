"""The program as a whole: how it is started, its version, and that no option is ignored."""

import ast
import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import lssl
from lssl.cli.evaluate_options import make_settings
from lssl.cli.main import _as_meant, main
from lssl.data.prepare import PrepareOptions
from lssl.evaluation.experiments.experiment import Settings
from lssl.face3d.generate import GenerateConfig
from lssl.inference.frontalize import Options as FrontalOptions
from lssl.inference.synthetic_folder import AugmentOptions
from lssl.methods.run import SHORT_NAMES

ROOT = Path(__file__).parents[2]


def test_a_bare_checkout_runs(tmp_path) -> None:
    """`python -m lssl` without an installation: no .pth file of one is read (-S), and no native library is there."""
    for folder in ("lssl", "cli"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
    for arguments in (["--version"], ["train", "--help"]):
        result = subprocess.run(
            [sys.executable, "-S", "-m", "lssl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": packages},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    assert "--preset" in result.stdout


def test_one_version() -> None:
    result = subprocess.run([sys.executable, "-m", "lssl", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == f"lssl, version {lssl.__version__}"


def commands() -> dict[str, click.Command]:
    """Every command and subcommand by its words."""
    found: dict[str, click.Command] = {}
    waiting: list[tuple[str, click.Command]] = [("", main)]
    while waiting:
        words, command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                waiting.append((f"{words} {name}".strip(), command.get_command(context, name)))
        else:
            found[words] = command
    return found


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_option_reaches_its_function(words) -> None:
    """A parameter that the function never reads is an option without effect; `**rest` counts as read as a whole."""
    command = commands()[words]
    function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(command.callback)))).body[0]
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    options = {option.name for option in command.params if option.expose_value}
    unread = {name for name in options & names if name not in read}
    assert unread == set()
    rest = function.args.kwarg
    assert options <= names or (rest is not None and rest.arg in read)


@pytest.mark.parametrize("words", [words for words in sorted(commands()) if words.startswith("evaluate ")])
def test_shared_options_of_experiments_are_settings(words) -> None:
    """What an experiment takes as `**options` is what `make_settings` takes."""
    command = commands()[words]
    signature = inspect.signature(inspect.unwrap(command.callback)).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values()):
        pytest.skip("takes each option by name")
    shared = {option.name for option in command.params if option.expose_value} - set(signature)
    assert shared <= set(inspect.signature(make_settings).parameters)


def test_every_option_of_train_stands_for_a_setting() -> None:
    command = commands()["train"]
    named = set(inspect.signature(inspect.unwrap(command.callback)).parameters)
    known = set(SHORT_NAMES)
    assert {option.name for option in command.params} - named <= known


@pytest.mark.parametrize("options", [AugmentOptions, GenerateConfig, FrontalOptions, PrepareOptions, Settings])
def test_every_field_of_the_options_is_read(options) -> None:
    """Below the command line: `--remove-light` once reached `Options` and nothing beyond."""
    read = set()
    for path in (ROOT / "lssl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
    assert {field.name for field in dataclasses.fields(options)} - read == set()


def mentions() -> list[tuple[str, str, str]]:
    """(place, command, option) of every `lssl COMMAND ... --option` in the documents, help texts and messages."""
    found = []
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    files += [path for folder in ("lssl", "cli", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    words = sorted(commands(), key=len, reverse=True)
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            for said in re.findall(r"\blssl ([a-z][^`#|]*)", line):
                for command in words:
                    if f"{said} ".startswith(f"{command} "):
                        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", said):
                            found.append((path.relative_to(ROOT).as_posix(), command, option))
                        break
    return found


def test_every_option_that_is_mentioned_exists() -> None:
    known = {words: {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
             for words, command in commands().items()}  # fmt: skip
    found = mentions()
    assert len(found) > 50
    assert [mention for mention in found if mention[2] not in known[mention[1]]] == []


def test_a_word_of_the_command_line_is_taken_as_meant(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert _as_meant("--out=~/faces") == "--out=/home/me/faces"
    assert _as_meant("~/a=b") == "/home/me/a=b"
    assert _as_meant("-photo.jpg") == "-photo.jpg"
    (tmp_path / "-photo.jpg").touch()
    assert _as_meant("-photo.jpg") == "./-photo.jpg"
    (tmp_path / "~").mkdir()
    assert _as_meant("~/faces") == "~/faces"


def test_a_seed_that_is_no_seed_is_wrong_usage(tmp_path) -> None:
    for seed in ("-1", "99999999999999999999", "1.5"):
        result = CliRunner().invoke(main, ["generate-faces", str(tmp_path / "a"), "--seed", seed])
        assert result.exit_code == 2
        assert "--seed" in result.output


def test_a_name_that_is_not_utf8_can_be_shown() -> None:
    words = [sys.executable, "-m", "lssl", "synthesize", "3d", b"/nowhere/ren\xe9.png", "--to", "happy"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    word = "Loading PyTorch ...\n"  # on a busy computer
    assert done.stderr.removeprefix(word) == "Error: /nowhere/ren\\udce9.png: no such file or folder\n"


def test_warnings_are_sentences_without_places_in_the_program() -> None:
    from lssl.cli.main import _plain

    inside = Path(lssl.__file__).parent / "methods" / "run.py"
    assert _plain("people are in both splits", UserWarning, str(inside), 7) == "Warning: people are in both splits\n"
    assert "elsewhere.py:7: UserWarning" in _plain("odd", UserWarning, "/elsewhere.py", 7)

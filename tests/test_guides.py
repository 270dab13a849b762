"""Every `lssl ...` line of the guides, the model cards and the examples in --help names commands and options that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lssl.cli.main import main

ROOT = Path(__file__).parents[1]
GUIDES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "lssl" / "weights").glob("*.md"), ROOT / "CONTRIBUTING.md"])
GUIDES.remove(ROOT / "docs" / "extending.md")  # adds commands of its own, which tests/test_extending.py runs


def in_guide(path: Path) -> Iterator[str]:
    """The command lines of its shell blocks, and those quoted in its sentences that have an option or a file."""
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S):
        yield from re.findall(r"^(?:\w+=\S+ )*(lssl .*)$", re.sub(r"\s*\\\n\s*", " ", block), re.M)
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for quoted in re.findall(r"`(lssl\s[^`]+)`", sentences):
        if " -" in quoted and "..." not in quoted and "[" not in quoted:
            yield " ".join(quoted.split())


def all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            assert part is not None
            yield from all_commands(part)


def parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks names, options and types of values; files are not looked for."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    monkeypatch.setattr(click.File, "convert", lambda self, value, param, ctx: value)
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{line}: no command {words[0]}"
        command, words = found, words[1:]
    try:
        command.make_context("lssl", list(words)).close()
    except click.exceptions.Exit:  # --help and --version
        pass
    except click.MissingParameter:
        assert "-" not in line[-2:]  # a sentence that names a command and an option, not all it needs
    except click.UsageError as error:
        pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_commands_of_the_guides_parse(path, monkeypatch) -> None:
    for line in in_guide(path):
        parse(line, monkeypatch)


def test_examples_in_help_parse(monkeypatch) -> None:
    seen = 0
    for command in all_commands(main):
        text = re.sub(r"\s*\\\n\s*", " ", f"{command.help}\n{command.epilog}")
        for line in re.findall(r"^ *(?:\w+=\S+ )*(lssl .*)$", text, re.M):
            parse(re.split(r"\s{2,}|;", line)[0], monkeypatch)  # what follows explains it
            seen += 1
    assert seen > 20

"""README.md does what it says: its Python blocks run as they stand, its commands are run on a small scale or parsed."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
import skimage
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Commands that are quick enough to run, by their first words, and what is made smaller for the test.
RUN = {
    "synthesize london": {},
    "synthesize 3d": {},
    "render-frontal": {"512": "128"},
    "generate-faces faces/": {"100": "6", "all": "neutral,happy", "-45,-30,-15,0,15,30,45": "0", "128": "32"},
    "prepare folder": {"128": "32"},
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def commands() -> list[list[str]]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lssl ")]


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    """A folder with the photograph that README names."""
    pytest.importorskip("dlib", reason="README's photographs come without landmarks: dlib finds them")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.data.astronaut()).crop((100, 0, 356, 256)).save("photo.jpg", quality=95)
    for name in ("happy", "neutral"):
        for k in range(2):
            (tmp_path / "photographs" / name).mkdir(parents=True, exist_ok=True)
            Image.open("photo.jpg").rotate(2 * k).save(tmp_path / "photographs" / name / f"{name}{k}.jpg")
    return tmp_path / "photo.jpg"


def test_python_blocks_run(photo) -> None:
    found: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), found)
    before = Image.open(photo)
    for name in ("neutral.jpg", "surprised.jpg"):
        assert Image.open(name).size == before.size
    assert Image.open("frontal.png").size == (256, 256)
    assert found["y"].shape == (2, 16, 32, 32)
    assert found["heat"].shape == (2, 1, 32, 32)


@pytest.mark.parametrize("begins", RUN)
def test_quick_commands_run(photo, begins) -> None:
    (words,) = [words for words in commands() if " ".join(words).startswith(begins)][:1]
    result = CliRunner().invoke(main, [RUN[begins].get(word, word) for word in words])
    assert result.exit_code == 0, result.output


def test_the_other_commands_parse(tmp_path, monkeypatch) -> None:
    """Checks names, options and types of values; the files that they would read do not exist and are not opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    others = [words for words in commands() if not any(" ".join(words).startswith(begins) for begins in RUN)]
    assert len(others) > 5
    for words in others:
        command: click.Command = main
        context = click.Context(main)
        while isinstance(command, click.Group):
            command = command.get_command(context, words[0]) or pytest.fail(f"no command {words[0]}")
            words = words[1:]
        command.make_context("lssl", list(words)).close()


def test_links_are_there() -> None:
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", README):
        assert "://" in target or (ROOT / target.partition("#")[0]).exists(), (text, target)


def test_links_for_a_package_index() -> None:
    spec = importlib.util.spec_from_file_location("absolute_links", ROOT / "docs" / "absolute_links.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.absolute(README, "https://github.com/someone/lssl/", "v1")
    assert "](https://github.com/someone/lssl/raw/v1/docs/london.jpg)" in text
    assert "](https://github.com/someone/lssl/blob/v1/docs/results.md)" in text
    assert all("://" in target for target in re.findall(r"\]\(([^)\s]+)\)", text))

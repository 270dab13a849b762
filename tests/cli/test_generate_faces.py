"""`lssl generate-faces`."""

import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data.folder import read_metadata

SMALL = ["--subjects", "2", "--expressions", "neutral,sad", "--size", "32", "--seed", "3"]
FORCED = [*SMALL, "--force"]


def run(*arguments):
    return CliRunner().invoke(main, ["generate-faces", *map(str, arguments)])


def test_it_writes_a_data_set_and_a_sheet(tmp_path):
    result = run(tmp_path / "faces", *FORCED, "--yaw", "-15,0", "--lighting", "weak", "--sheet", tmp_path / "s.png")
    assert result.exit_code == 0, result.output
    assert "8 faces in" in result.output
    assert "seed: 3" in result.output
    data = read_metadata(tmp_path / "faces")
    assert len(data) == 8
    assert set(data.columns["yaw"]) == {"-15", "0"}
    assert Image.open(tmp_path / "s.png").width == 2 * 96
    again = run(tmp_path / "faces", *FORCED, "--yaw", "-15,0", "--lighting", "weak")
    assert again.exit_code == 0, again.output


def test_another_request_needs_overwrite(tmp_path):
    assert run(tmp_path / "faces", *FORCED).exit_code == 0
    refused = run(tmp_path / "faces", *FORCED, "--yaw", "30")
    assert refused.exit_code == 1
    assert "other settings" in refused.output
    replaced = run(tmp_path / "faces", *FORCED, "--yaw", "30", "--overwrite")
    assert replaced.exit_code == 0, replaced.output
    assert set(read_metadata(tmp_path / "faces").columns["yaw"]) == {"30"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--expressions", "bored"], "unknown expression bored; known: neutral"),
        (["--yaw", "left"], "expected numbers"),
        (["--lighting", "noon"], "unknown lighting noon"),
        (["--model", "nowhere.npz"], "nowhere.npz: neither a file"),
        (["--sheet", "sheet.txt"], "expected a .png"),
    ],
)
def test_mistakes_are_named_before_any_work(tmp_path, arguments, message):
    result = run(tmp_path / "faces", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "faces").exists()


def test_each_split_has_people_and_requests_that_cannot_be_trained_on_are_refused(tmp_path):
    assert set(read_metadata_of(tmp_path / "two", *FORCED).splits) == {"train", "test"}
    for arguments, reason in (
        (["--subjects", 1], "one split is empty"),
        (["--expressions", "happy"], "no attribute has two values"),
        (["--size", 40], "pictures of 40 pixels, which is not divisible by 16"),
        ([], "2 training faces, fewer than the batch of 8"),
    ):
        result = run(tmp_path / str(len(reason)), *SMALL, *arguments)
        assert result.exit_code == 1, result.output
        assert "`lssl train` would refuse this folder: " in result.output
        assert reason in result.output
        assert result.output.strip().endswith("Ask for other faces, or add --force")
        assert not (tmp_path / str(len(reason))).exists()
    enough = run("-o", tmp_path / "enough", *SMALL, "--subjects", 10, "--quiet")
    assert (enough.exit_code, enough.output) == (0, "")


def read_metadata_of(out, *arguments):
    assert run(out, *arguments).exit_code == 0
    return read_metadata(out)

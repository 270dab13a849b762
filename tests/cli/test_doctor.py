"""`lssl doctor` tells the truth about this installation."""

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

import lssl
from lssl.cli.doctor import Extra, command
from lssl.ops import build_info


def test_json_is_what_the_library_says():
    result = CliRunner().invoke(command, ["--json"])
    report = json.loads(result.output)
    assert report["native"] == build_info()
    assert set(report["backends"]) >= {"pixel_shuffle_instance_norm", "rasterize"}
    assert report["backends"]["rasterize"]["cpu"] == "native"


def test_text_names_every_operator():
    output = CliRunner().invoke(command).output
    for op in (
        "pixel_shuffle_instance_norm",
        "gradient_penalty",
        "landmark_heatmap",
        "rasterize",
        "interpolate",
    ):
        assert op in output


def test_the_landmarks_file_is_not_for_commercial_use(monkeypatch):
    monkeypatch.setattr(Extra, "installed", lambda extra: True)
    report = json.loads(CliRunner().invoke(command, ["--json"]).output)
    assert "300-W" in report["licences"]["dlib's 68 landmarks"]
    assert "excludes commercial use" in " ".join(CliRunner().invoke(command).output.split())


def test_an_extra_that_is_not_there_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(Extra, "installed", lambda extra: False)
    output = CliRunner().invoke(command).output
    assert "pip install starlette uvicorn" in output
    assert "faces in photographs cannot be found" in output
    assert "dlib's 68 landmarks" not in output


def test_every_built_in_generator_has_its_licence():
    report = json.loads(CliRunner().invoke(command, ["--json"]).output)
    shipped = (Path(lssl.__file__).parent / "weights").glob("*.safetensors")
    assert {f"weights: {weights.stem}" for weights in shipped} <= set(report["licences"])


def test_without_native_library_it_says_why_and_how_to_fix_it():
    result = subprocess.run(
        [sys.executable, "-m", "lssl", "doctor", "--json"],
        env={**os.environ, "LSSL_NATIVE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(result.stdout)
    assert report["backends"]["rasterize"]["cpu"] == "reference"
    assert any("LSSL_NATIVE" in entry["lack"] and "pip install" in entry["fix"] for entry in report["advice"])


def test_help_lists_every_command_without_importing_torch():
    code = """
import sys
from lssl.cli.main import main
main(["--help"], standalone_mode=False)
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "doctor" in result.stdout
    assert result.stdout.endswith("False\n")

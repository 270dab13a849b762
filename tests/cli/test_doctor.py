"""`lssl doctor` tells the truth about this installation."""

import json
import os
import subprocess
import sys

from click.testing import CliRunner

from lssl.cli.doctor import command
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

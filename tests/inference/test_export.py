"""`lssl export`: ONNX and .pt2 files that do what the network does, without lssl's operators."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from lssl import ops
from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema
from lssl.inference.export import export_generator, largest_difference
from lssl.models.export import TrainedGenerator, save_generator
from lssl.models.generator import Generator
from lssl.models.moving import MovingGenerator
from tests.apart import invoke_apart

SCHEMA = AttributeSchema((AttributeGroup("expression", ("neutral", "happy")),))
SIZE = 16
CLOSE = 1e-3


def generator(kind: str) -> TrainedGenerator:
    torch.manual_seed(0)
    told = kind == "told"
    network = Generator(2, 3, 1, 4, 2, 1) if kind == "direct" else MovingGenerator(2, SIZE, 1, 4, 4, takes_source=told)
    if told:
        for module in network.modules():
            if hasattr(module, "modulation"):
                nn.init.normal_(module.modulation.weight, std=0.3)
    return TrainedGenerator(network, SCHEMA, SIZE).eval().requires_grad_(False)


def onnx_by_command(folder: Path, kind: str, *options: str) -> tuple[Path, dict[str, Any]]:
    """The file that `lssl export --onnx` writes of a saved generator, and what the command says."""
    save_generator(folder / "generator.safetensors", generator(kind))
    path = folder / "it.onnx"
    result = invoke_apart(main, ["export", str(folder), "--onnx", "-o", str(path), "--json", *options])
    assert result.exit_code == 0, result.output
    return path, json.loads(result.stdout)


@pytest.fixture
def model(tmp_path):
    save_generator(tmp_path / "generator.safetensors", generator("moving"))
    return tmp_path


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxscript", reason="pip install 'lssl[export]'")
    pytest.importorskip("onnxruntime", reason="pip install 'lssl[export]'")
    return pytest.importorskip("onnx", reason="pip install 'lssl[export]'")


@pytest.mark.parametrize(("kind", "side"), [("moving", "landmarks"), ("told", "landmarks"), ("direct", "heatmap")])
def test_onnx_does_what_the_network_does(tmp_path, onnx, kind, side, caplog) -> None:
    path, said = onnx_by_command(tmp_path, kind, "--side", side)
    assert said["difference"] < CLOSE
    assert "onnxscript" not in {record.name.partition(".")[0] for record in caplog.records}, (
        "its remarks are not for users"
    )
    assert "[-1, 1]" in said["input image"]
    assert largest_difference(generator(kind), path, side=side, faces=1) < CLOSE, "of any number of faces"
    model = onnx.load(path)
    names = ["image", side, "attributes", *(["source"] if kind == "told" else [])]
    assert [entry.name for entry in model.graph.input] == names
    assert {node.domain for node in model.graph.node} <= {"", "pkg.onnxscript.torch_lib.common"}
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert "[-1, 1]" in about["input image"]
    assert "neutral, happy" in about["input attributes"]
    assert side in " ".join(about)
    assert json.loads(about["attributes"]) == SCHEMA.to_dict()


def test_onnx_without_the_native_library(tmp_path, onnx, monkeypatch) -> None:
    """The references are traced then, which have no operator of lssl; the heatmap is drawn in the file."""
    monkeypatch.setattr("lssl.ops._library._missing", "this test does without it")
    monkeypatch.setattr("lssl.ops._library._warned", True)
    assert not ops.build_info()["native"]
    _, said = onnx_by_command(tmp_path, "direct")
    assert said["difference"] < CLOSE
    assert "landmarks" in said["input landmarks"]


@pytest.mark.parametrize("kind", ["moving", "told"])
def test_pt2_does_what_the_network_does_with_pytorchs_operators_alone(tmp_path, kind) -> None:
    path = export_generator(generator(kind), tmp_path / "a.pt2", "pt2")
    assert largest_difference(generator(kind), path) < CLOSE
    extra = {"lssl.json": ""}
    program = torch.export.load(path, extra_files=extra)
    assert "lssl" not in {str(node.target).split(".")[0] for node in program.graph.nodes}
    assert "landmarks" in extra["lssl.json"]
    assert ("what the image shows now; 0 if that is not known" in extra["lssl.json"]) == (kind == "told")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["london"], 2, "--onnx or --pt2"),
        (["london", "--onnx", "-o", "a.txt"], 2, "does not end in .onnx"),
        (["3d", "--pt2"], 1, "3d is not a network"),
        (["absent", "--pt2"], 1, "no such generator"),
    ],
)
def test_the_command_refuses(arguments, code, message) -> None:
    result = CliRunner().invoke(main, ["export", *arguments])
    assert (result.exit_code, message in result.output) == (code, True), result.output


def test_the_stages_are_said_unless_quiet(model, monkeypatch) -> None:
    made = model / "m.pt2"
    monkeypatch.setattr("lssl.inference.export.export_generator", lambda *_, **__: made)
    monkeypatch.setattr("lssl.inference.export.largest_difference", lambda *_, **__: 0.0)
    arguments = ["export", str(model), "--pt2", "-o", str(made)]
    said = invoke_apart(main, arguments).stdout
    assert (
        0 <= said.find(f"Exporting {model} to {made}") < said.find("comparing its results") < said.find("agrees with")
    )
    assert invoke_apart(main, [*arguments, "--quiet"]).output == ""
    apart = invoke_apart(main, [*arguments, "--json"])
    assert json.loads(apart.stdout)["out"] == str(made)
    assert "Exporting" in apart.stderr


def test_onnx_asks_for_its_extra(model, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else find(name))
    result = CliRunner().invoke(main, ["export", str(model), "--onnx", "-o", str(model / "m.onnx")])
    assert result.exit_code == 1
    assert "pip install 'lssl[export]'" in result.output
    assert not (model / "m.onnx").exists()


class Heatmap(nn.Module):
    def forward(self, landmarks):
        return ops.landmark_heatmap(landmarks, 8, 8, 1.0)


class Interpolation(nn.Module):
    def forward(self, triangle, barycentric, faces, attributes):
        return ops.interpolate(triangle, barycentric, faces, attributes)


class Raster(nn.Module):
    def forward(self, vertices, faces):
        return ops.rasterize(vertices, faces, 8, 8)


@pytest.mark.parametrize("module", [ops.PixelShuffleInstanceNorm(2), Heatmap(), Interpolation(), Raster()])
def test_script_and_fx_refuse_and_say_what_to_use(module) -> None:
    with pytest.raises(Exception, match=r"torch.export.export|keyword-only arguments"):
        torch.jit.script(module)
    with pytest.raises(
        (TypeError, torch.fx.proxy.TraceError), match=r"torch.export.export|must be a tensor, got Proxy"
    ):
        torch.fx.symbolic_trace(module)

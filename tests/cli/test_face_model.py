"""`lssl face-model`."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.face3d import BilinearFaceModel
from lssl.face3d.embedded import load_embedded_model


@pytest.fixture(scope="module")
def scan_files():
    path = Path(__file__).parents[1] / "face3d" / "scan_files.py"
    spec = importlib.util.spec_from_file_location("lssl_test_scan_files", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    return CliRunner().invoke(main, ["face-model", *map(str, arguments)])


@pytest.fixture(scope="module")
def scans(scan_files, tmp_path_factory):
    """A folder of scans of 4 people, one missing, and the landmark file."""
    model, folder = load_embedded_model(), tmp_path_factory.mktemp("scans")
    for person, shapes in enumerate(scan_files.people(model, 4)):
        for name, vertices in zip(scan_files.NAMES, shapes, strict=True):
            if (person, name) != (2, "happy"):
                scan_files.write_obj(folder / f"p{person}_{name}.obj", vertices, model.topology.faces)
    marks = folder / "landmarks.txt"
    marks.write_text(" ".join(map(str, model.topology.landmarks)))
    return folder, marks


def test_build_reports_and_writes_a_model(scans, tmp_path):
    folder, marks = scans
    out = tmp_path / "model.npz"
    result = run("build", folder, "-o", out, "--landmarks", marks, "--folds", "2")
    assert result.exit_code == 0, result.output
    for words in ("4 identities, 4 expressions", "1 scans missing", "Variance kept", "Reconstruction: rms", "happy"):
        assert words in result.output
    model = BilinearFaceModel.load(out)
    assert set(model.expressions) == {"neutral", "happy", "surprised", "sad"}
    assert model.num_albedo > 0
    sheet = run("show", out, "-o", tmp_path / "sheet.png", "--size", "40", "--modes", "2")
    assert sheet.exit_code == 0, sheet.output
    assert np.asarray(Image.open(tmp_path / "sheet.png")).std() > 10


def test_build_refuses_what_it_cannot_use(scans, tmp_path):
    folder, marks = scans
    out = tmp_path / "model.npz"
    nothing = run("build", tmp_path, "-o", out, "--landmarks", marks)
    assert nothing.exit_code == 1
    assert "<identity>_<expression>" in nothing.output
    few = tmp_path / "few.txt"
    few.write_text("1 2 3")
    assert "3 numbers; expected 68" in run("build", folder, "-o", out, "--landmarks", few).output
    away = run("build", folder, "-o", tmp_path / "no" / "model.npz", "--landmarks", marks)
    assert "does not exist" in away.output
    parts = tmp_path / "parts.txt"
    parts.write_text("skin\nantenna\n")
    assert (
        "line 2: unknown part 'antenna'"
        in run("build", folder, "-o", out, "--landmarks", marks, "--parts", parts).output
    )
    assert not out.exists()


def test_import_facewarehouse_and_facescape(scan_files, tmp_path):
    model = load_embedded_model()
    marks = scan_files.write_facewarehouse(tmp_path / "fw", model, count=3)
    out = tmp_path / "fw.npz"
    result = run("import", "facewarehouse", tmp_path / "fw", "-o", out, "--landmarks", marks)
    assert result.exit_code == 0, result.output
    assert "expressions: neutral, angry" in result.output
    assert BilinearFaceModel.load(out).topology.num_vertices == model.topology.num_vertices
    scan_files.write_facescape(tmp_path / "fs.npz", model)
    result = run("import", "facescape", tmp_path / "fs.npz", "-o", tmp_path / "out.npz")
    assert result.exit_code == 0, result.output


def test_import_names_wrong_files(tmp_path):
    (tmp_path / "not.npz").write_bytes(b"not a model")
    for kind in ("ict", "facewarehouse", "facescape"):
        result = run("import", kind, tmp_path / "not.npz", "-o", tmp_path / "out.npz")
        assert result.exit_code == 1
        assert "not.npz" in result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "out.npz").exists()


def test_show_names_wrong_files(tmp_path):
    assert "neither a file nor a built-in" in run("show", tmp_path / "none.npz", "-o", tmp_path / "s.png").output
    assert "expected a .png" in run("show", "embedded", "-o", tmp_path / "s.txt").output
    (tmp_path / "file").touch()
    assert "file is a file; give a folder" in run("show", "embedded", "-o", tmp_path / "file" / "s.png").output
    assert "none does not exist; create it first" in run("show", "embedded", "-o", tmp_path / "none" / "s.png").output

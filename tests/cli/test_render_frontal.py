"""`lssl render-frontal` on rendered photographs with landmark files."""

import csv

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl.cli.render_frontal import command
from lssl.data.folder import read_metadata
from lssl.data.landmarks import write_pts
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.framing import portrait_camera
from lssl.face3d.lighting import Lighting
from lssl.face3d.render import render


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """left.png, right.png (one person at yaw -30 and 30, with .pts) and nobody.png (no face, wild points)."""
    folder = tmp_path_factory.mktemp("portraits")
    model = load_embedded_model()
    generator = torch.Generator().manual_seed(5)
    identity, albedo = model.sample_identity(1, generator), model.albedo(model.sample_albedo(1, generator))
    vertices = model.vertices(identity, model.expressions["happy"][None])
    points = vertices[:, torch.from_numpy(model.topology.landmarks).long()]
    for name, yaw in (("left", -30.0), ("right", 30.0)):
        camera = portrait_camera(points, 160, yaw=yaw)
        image = render(vertices, albedo, model.topology, camera, Lighting.named("normal"), 160).images[0]
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{name}.png")
        write_pts(folder / f"{name}.pts", model.landmarks(camera.project(vertices))[0, :, :2].numpy())
    Image.fromarray(np.zeros((160, 160, 3), np.uint8)).save(folder / "nobody.png")
    write_pts(folder / "nobody.pts", np.random.default_rng(0).uniform(5, 150, (68, 2)).astype(np.float32))
    return folder


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_folder_that_training_takes_and_fits(portraits, tmp_path):
    result = run(
        portraits / "left.png", portraits / "right.png", "-o", tmp_path / "out", "--size", "64", "--workers", "1"
    )
    assert result.exit_code == 0, result.output
    folder = read_metadata(tmp_path / "out")
    assert len(folder) == 2
    assert folder.side_path(0).is_file()
    rows = {row["file_name"]: row for row in csv.DictReader((tmp_path / "out" / "fits.csv").open())}
    assert abs(float(rows["images/left.png"]["yaw"]) + 30) < 4
    assert (tmp_path / "out" / "comparisons" / "left.png").is_file()
    again = run(
        portraits / "left.png", portraits / "right.png", "-o", tmp_path / "out", "--size", "64", "--workers", "1"
    )
    assert again.exit_code == 0
    assert "is complete" in again.output


def test_views_of_one_subject_give_one_face_with_mesh(portraits, tmp_path):
    result = run(
        *(portraits / "left.png", portraits / "right.png", "--views-of-one-subject", "--mesh", "obj"),
        *("-o", tmp_path / "out", "--size", "64", "--background", "original"),
    )
    assert result.exit_code == 0, result.output
    assert len(read_metadata(tmp_path / "out")) == 1
    assert (tmp_path / "out" / "meshes" / "left.obj").read_text().count("\nv ") > 1000


def test_what_is_no_face_is_named_and_the_rest_goes_on(portraits, tmp_path):
    result = run(
        portraits / "nobody.png", portraits / "left.png", "-o", tmp_path / "out", "--size", "64", "--workers", "1"
    )
    assert result.exit_code == 2
    assert "nobody.png: the fit is not to be trusted" in result.output
    assert len(read_metadata(tmp_path / "out")) == 1


def test_errors_come_before_work_and_name_the_fix(portraits, tmp_path):
    missing = run(tmp_path / "none.jpg", "-o", tmp_path / "out")
    assert missing.exit_code == 1
    assert "none.jpg: no such file" in missing.output
    unknown = run(portraits / "left.png", "--expression", "bored", "-o", tmp_path / "out")
    assert "neutral" in unknown.output
    one_file = run(
        portraits / "left.png", portraits / "right.png", "--landmarks", portraits / "left.pts", "-o", tmp_path / "out"
    )
    assert "give a folder" in one_file.output

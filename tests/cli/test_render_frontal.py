"""`lssl render-frontal` on rendered photographs with landmark files."""

import csv

import numpy as np
import pytest
import torch
import trimesh
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import detect
from lssl.data.folder import read_metadata
from lssl.data.landmark_files import read_landmarks, write_pts
from lssl.data.writer import FaceFolderWriter, FaceRow
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.scene.framing import portrait_camera
from lssl.face3d.scene.lighting import Lighting
from lssl.face3d.scene.render import render
from lssl.inference import frontalize


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
    return CliRunner().invoke(main, ["render-frontal", *map(str, arguments)])


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
    assert result.exit_code == 1
    assert "nobody.png: the " in result.output
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


def test_what_was_done_to_a_photographs_values_is_said(portraits, tmp_path):
    grey = np.asarray(Image.open(portraits / "left.png").convert("L")).astype(np.uint16) * 4
    Image.fromarray(grey).save(tmp_path / "ten.png")
    (tmp_path / "ten.pts").write_bytes((portraits / "left.pts").read_bytes())
    result = run(tmp_path / "ten.png", "-o", tmp_path / "out", "--size", "32", "--workers", "1")
    assert "ten.png: 10 bits per value stretched to 8" in result.output


def test_remove_light_and_distance_reach_the_picture_and_the_fit(portraits, tmp_path):
    options = ("--size", "64", "--workers", "1")
    assert run(portraits / "left.png", "-o", tmp_path / "plain", *options).exit_code == 0
    assert run(portraits / "left.png", "-o", tmp_path / "even", *options, "--remove-light").exit_code == 0
    assert run(portraits / "left.png", "-o", tmp_path / "near", *options, "--distance", "40").exit_code == 0
    plain, even = (np.asarray(Image.open(tmp_path / n / "images" / "left.png")).astype(int) for n in ("plain", "even"))
    assert np.abs(plain - even).max() > 20
    poses = [np.load(tmp_path / name / "fits" / "left.npz")["pose"] for name in ("plain", "even", "near")]
    assert np.array_equal(poses[0], poses[1])
    assert np.abs(poses[0][0, :3] - poses[2][0, :3]).max() > 0.5  # degrees
    refused = run(portraits / "left.png", "-o", tmp_path / "plain", *options, "--remove-light")
    assert "other settings" in refused.output


def test_doubtful_faces_are_drawn_and_named(portraits, tmp_path):
    dim = np.asarray(Image.open(portraits / "left.png")) // 8
    Image.fromarray(dim).save(tmp_path / "dim.png")
    (tmp_path / "dim.pts").write_bytes((portraits / "left.pts").read_bytes())
    options = ("-o", tmp_path / "out", "--size", "64", "--workers", "1")
    for _ in range(2):  # a complete folder repeats its warnings
        result = run(tmp_path / "dim.png", portraits / "left.png", *options)
        assert result.exit_code == 0, result.output
        assert "dim.png is doubtful: hardly any light" in result.output
        assert "doubtful: 1 of 2 faces; fits.csv says why" in result.output
    rows = {row["file_name"]: row for row in csv.DictReader((tmp_path / "out" / "fits.csv").open())}
    assert rows["images/dim.png"]["doubt"] == "hardly any light"
    assert rows["images/left.png"]["doubt"] == ""


@pytest.fixture
def prepared(portraits, tmp_path):
    """A data set folder of two rows: one person smiling, at yaw -30 and 30."""
    writer = FaceFolderWriter(tmp_path / "prepared", attributes=("expression", "yaw"), settings={})
    for name, yaw in (("left", "-30"), ("right", "30")):
        image = np.asarray(Image.open(portraits / f"{name}.png"))
        points = read_landmarks(portraits / f"{name}.pts")
        attributes = {"expression": "happy", "yaw": yaw}
        writer.add(FaceRow(name, image, "someone", "train", attributes, landmarks=points))
    writer.finish()
    return tmp_path / "prepared"


def test_prepared_folder_keeps_its_attributes_but_the_yaw(prepared, tmp_path):
    result = run(prepared, "-o", tmp_path / "out", "--size", "64", "--expression", "neutral", "--workers", "2")
    assert result.exit_code == 0, result.output
    folder = read_metadata(tmp_path / "out")
    assert folder.attributes == ("expression",)
    assert folder.subjects == ["someone", "someone"]
    assert folder.columns["expression"] == ["neutral", "neutral"]
    assert folder.columns["photograph_expression"] == ["happy", "happy"]
    assert folder.columns["photograph_yaw"] == ["-30", "30"]
    assert abs(float(folder.columns["yaw"][0]) + 30) < 4


def test_faces_of_a_subject_in_a_folder_are_views_when_asked(prepared, tmp_path):
    result = run(prepared, "-o", tmp_path / "out", "--size", "64", "--views-of-one-subject")
    assert result.exit_code == 0, result.output
    folder = read_metadata(tmp_path / "out")
    assert len(folder) == 1
    assert folder.columns["views"] == ["2"]
    assert folder.columns["photograph_yaw"] == ["-30 30"]


def test_an_interrupted_run_goes_on_where_it_was(portraits, tmp_path, monkeypatch):
    arguments = (
        portraits / "left.png",
        portraits / "right.png",
        "-o",
        tmp_path / "out",
        "--size",
        "64",
        "--workers",
        1,
    )
    draw, drawn = frontalize.frontalize, []

    def stop_at_the_second(job, options, out):
        if drawn:
            raise KeyboardInterrupt
        drawn.append(job.key)
        return draw(job, options, out)

    monkeypatch.setattr(frontalize, "frontalize", stop_at_the_second)
    assert run(*arguments).exit_code == 130
    monkeypatch.setattr(frontalize, "frontalize", lambda job, *rest: (drawn.append(job.key), draw(job, *rest))[1])
    assert run(*arguments).exit_code == 0
    assert drawn == ["left", "right"]
    assert len(read_metadata(tmp_path / "out")) == 2


def test_overwriting_leaves_nothing_of_the_run_before(portraits, tmp_path):
    options = ("-o", tmp_path / "out", "--size", "64", "--workers", "1")
    assert run(portraits / "left.png", portraits / "right.png", *options).exit_code == 0
    assert run(portraits / "right.png", *options, "--overwrite", "--turntable").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out" / "comparisons").iterdir()) == ["right.png"]
    with Image.open(tmp_path / "out" / "turntables" / "right.gif") as film:
        assert film.n_frames > 20


@pytest.mark.parametrize("kind", ["obj", "glb"])
def test_the_mesh_opens_elsewhere_with_its_texture(portraits, tmp_path, kind):
    result = run(portraits / "left.png", "-o", tmp_path / "out", "--size", "64", "--mesh", kind)
    assert result.exit_code == 0, result.output
    loaded = trimesh.load(tmp_path / "out" / "meshes" / f"left.{kind}", force="mesh")
    material = loaded.visual.material
    picture = material.image if kind == "obj" else material.baseColorTexture
    assert picture.size == (512, 256)
    assert len(loaded.visual.uv) == len(loaded.vertices) > 1000
    # The tip of the nose is skin, and in the middle of the texture.
    nose = loaded.vertices[:, 2].argmax()
    u, v = loaded.visual.uv[nose]
    assert u == pytest.approx(0.5, abs=0.02)
    red, green, blue = picture.convert("RGB").getpixel((int(u * 512), int((1 - v) * 256)))
    assert red > green > blue


def test_no_face_at_all_is_exit_code_one(portraits, tmp_path):
    result = run(portraits / "nobody.png", "-o", tmp_path / "out", "--size", "64")
    assert result.exit_code == 1
    assert "nothing could be used" in result.output


def test_photographs_and_folders_do_not_mix(prepared, portraits, tmp_path):
    mixed = run(prepared, portraits / "left.png", "-o", tmp_path / "out")
    assert mixed.exit_code == 1
    assert "is a data set folder: give a single one" in mixed.output
    (tmp_path / "empty").mkdir()
    nothing = run(tmp_path / "empty", "-o", tmp_path / "out")
    assert nothing.exit_code == 1
    assert "holds no picture that can be read, and no metadata.csv either" in nothing.output


def test_without_dlib_photographs_need_landmark_files(portraits, tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)
    (tmp_path / "bare.png").write_bytes((portraits / "left.png").read_bytes())
    result = run(tmp_path / "bare.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bare.png has no landmarks: finding faces needs dlib" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")
def test_no_face_and_two_faces_in_a_photograph_are_named(tmp_path):
    astronaut = pytest.importorskip("skimage.data").astronaut()[:256]
    Image.fromarray(astronaut).save(tmp_path / "one.png")
    Image.fromarray(np.concatenate([astronaut, astronaut[:, ::-1]], 1)).save(tmp_path / "two.png")
    Image.fromarray(np.full((200, 200, 3), 128, np.uint8)).save(tmp_path / "none.png")
    photographs = [tmp_path / f"{name}.png" for name in ("none", "one", "two")]
    result = run(*photographs, "-o", tmp_path / "out", "--size", "64", "--workers", "1")
    assert result.exit_code == 1
    assert "none.png: no face found" in result.output
    assert "two.png: 2 faces found" in result.output
    assert len(read_metadata(tmp_path / "out")) == 1

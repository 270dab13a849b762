import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema, FaceFolderWriter, FaceRow, detect
from lssl.data.landmark_files import write_pts
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, save_generator
from tests.apart import invoke_apart

SCHEMA = AttributeSchema((AttributeGroup("expression", ("neutral", "happy", "sad")),))


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "generator.safetensors"
    network = Generator(3, 3, 1, 8, 2, 1)
    save_generator(path, TrainedGenerator(network, SCHEMA, 32))
    return path


def points(centre=(100, 80), unit=30.0):
    found = np.tile(np.array(centre, np.float32), (68, 1))
    angle = np.linspace(np.pi, 0, 17)
    found[:17] += unit * np.stack([1.15 * np.cos(angle), 1.8 * np.sin(angle)], 1).astype(np.float32)
    found[17:27, 1] -= 0.4 * unit
    found[36:42, 0] -= 0.5 * unit
    found[42:48, 0] += 0.5 * unit
    found[48:68, 1] += 0.97 * unit
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "data"
    writer = FaceFolderWriter(root, attributes=["expression"], settings={})
    rng = np.random.default_rng(0)
    for subject in range(4):
        for expression in ("neutral", "happy", "sad"):
            image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            split = "test" if subject == 3 else "train"
            row = FaceRow(f"{subject}_{expression}", image, f"s{subject}", split, {"expression": expression},
                          landmarks=points((15.5, 13), 8))  # fmt: skip
            writer.add(row)
    writer.finish()
    return root


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(path)
    write_pts(path.with_suffix(".pts"), points())
    return path


def test_photographs_to_pictures_grid_and_pasted(tmp_path, model) -> None:
    a, b = photo(tmp_path / "x" / "a.jpg"), photo(tmp_path / "y" / "a.jpg")
    result = run("synthesize", model, a, b, "--to", "happy,sad", "--paste", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "taken to show: expression neutral" in result.output
    assert "2 faces to 2 targets" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a-2_happy.png",
        "a-2_happy_photo.png",
        "a-2_sad.png",
        "a-2_sad_photo.png",
        "a_happy.png",
        "a_happy_photo.png",
        "a_sad.png",
        "a_sad_photo.png",
        "grids",
    ]
    with Image.open(tmp_path / "out" / "a_happy_photo.png") as pasted:
        assert pasted.size == (200, 200)
    with Image.open(tmp_path / "out" / "grids" / "grid_01.png") as grid:
        assert grid.width == 3 * 128
        assert grid.height > 2 * 128


def test_a_prepared_folder_and_all_targets(tmp_path, model, data) -> None:
    result = run("synthesize", model, data, "--all", "--split", "test", "--intensity", "0.5,1", "-o", tmp_path / "o")
    assert result.exit_code == 0, result.output
    assert "3 faces to 6 targets" in result.output
    assert (tmp_path / "o" / "3_happy_sad_0.5.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--to", "glad"], 1, "no attribute value 'glad'; known are expression: neutral, happy, sad"),
        ([], 2, "name what to change to"),
        (["--to", "sad", "--all"], 2, "either --to VALUE,... or --all"),
        (["--to", "sad", "--intensity", "2"], 2, "is not between 0 and 1.5"),
        (["--to", "sad", "--intensity", "much"], 2, "is not a number"),
        (["--to", "sad", "--source", "old"], 1, "no attribute value 'old'"),
    ],
)
def test_wrong_words_are_answered_before_any_work(tmp_path, model, arguments, code, message) -> None:
    result = run("synthesize", model, photo(tmp_path / "a.png"), *arguments, "-o", tmp_path / "out")
    assert result.exit_code == code
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model_is_named(tmp_path) -> None:
    (tmp_path / "m.safetensors").write_text("no")
    picture = photo(tmp_path / "a.png")
    result = run("synthesize", tmp_path / "m.safetensors", picture, "--all")
    assert result.exit_code == 1
    assert "m.safetensors: not a safetensors file" in result.output
    result = run("synthesize", tmp_path / "absent", picture, "--all")
    assert result.exit_code == 1
    assert "no such generator" in result.output


@pytest.mark.skipif(not detect.available(), reason="dlib or its models are not installed")
def test_bad_photographs_are_named_and_the_rest_goes_on(tmp_path, model) -> None:
    good = photo(tmp_path / "good.png")
    Image.new("RGB", (200, 200), (90, 140, 90)).save(tmp_path / "grass.png")
    (tmp_path / "broken.png").write_bytes(b"")
    result = run("synthesize", model, tmp_path / "grass.png", good, tmp_path / "broken.png", "--to", "sad",
                 "-o", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 1
    assert "grass.png: no face found" in result.output
    assert "broken.png: the file is empty" in result.output
    assert "1 face to 1 target in" in result.output
    assert (tmp_path / "out" / "good_sad.png").is_file()


def test_augment_writes_resumes_and_refuses(tmp_path, model, data) -> None:
    arguments = ["augment", model, data, tmp_path / "out", "--per-class", 4]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "12 faces in" in result.output
    assert run(*arguments).exit_code == 0
    other = run(*arguments, "--seed", 1)
    assert other.exit_code == 1
    assert "made with other settings (seed: 0 then, 1 now)" in other.output
    assert run(*arguments, "--seed", 1, "--overwrite").exit_code == 0
    wrong = run("augment", model, data, tmp_path / "x", "--attribute", "age")
    assert wrong.exit_code == 1
    assert "no attribute 'age'" in wrong.output
    assert run("augment", model, data, tmp_path / "x", "--intensity", 1, 0.5).exit_code == 2


@pytest.mark.slow
def test_augment_under_torchrun_gives_the_same_folder(tmp_path, model, data) -> None:
    assert run("augment", model, data, tmp_path / "one", "--per-class", 20).exit_code == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [
        *torchrun,
        "-m",
        "lssl",
        "augment",
        model,
        data,
        tmp_path / "two",
        "--per-class",
        "20",
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"60 faces in", done.stdout)

    def files(root):
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_train_parser_command(tmp_path, data) -> None:
    out = tmp_path / "parser"
    arguments = ["train-parser", "--data", data, "-o", out, "--iterations", 3, "--width", 8, "--device", "cpu"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "masks drawn from the 68 landmarks" in result.output
    assert re.search(r"skin +0\.\d+", result.output)
    assert (out / "maps.png").is_file()
    again = run(*arguments)
    assert again.exit_code == 1
    assert "holds a parser already" in again.output
    absent = run("train-parser", "--data", tmp_path / "nowhere", "-o", tmp_path / "p")
    assert absent.exit_code == 1
    assert "no such folder" in absent.output


ASTRONAUT = [
    [179, 104], [179, 116], [180, 127], [181, 139], [185, 151], [191, 160], [200, 169], [209, 176], [221, 178],
    [232, 177], [243, 171], [253, 164], [260, 154], [265, 144], [268, 132], [270, 120], [272, 108], [186, 94],
    [192, 88], [200, 87], [208, 89], [216, 92], [236, 93], [244, 91], [252, 91], [260, 92], [265, 98], [225, 103],
    [225, 111], [225, 119], [225, 127], [214, 131], [219, 132], [224, 134], [229, 133], [234, 132], [195, 101],
    [200, 98], [207, 98], [212, 104], [206, 104], [199, 104], [238, 105], [244, 101], [250, 101], [255, 104],
    [250, 107], [244, 106], [201, 140], [209, 139], [218, 139], [223, 141], [229, 140], [237, 140], [245, 141],
    [237, 151], [229, 155], [222, 156], [216, 155], [208, 150], [204, 141], [217, 143], [223, 144], [229, 143],
    [243, 142], [229, 150], [223, 150], [217, 150],
]  # fmt: skip


def test_3d_edits_a_photograph_at_its_own_size(tmp_path):
    photograph = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(photograph).save(tmp_path / "astronaut.png")
    write_pts(tmp_path / "astronaut.pts", np.array(ASTRONAUT, np.float32))
    done = run("synthesize", "3d", tmp_path / "astronaut.png", "--to", "neutral,surprised", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for name in ("neutral", "surprised"):
        edited = np.asarray(Image.open(tmp_path / "out" / f"astronaut_{name}.png"))
        assert edited.shape == photograph.shape
        changed = (edited != photograph).any(-1)
        assert changed[80:190, 175:275].mean() > 0.3
        assert not changed[300:].any()
        assert not changed[:, :90].any()
    assert (tmp_path / "out" / "grids" / "grid_01.png").is_file()


def test_3d_edits_a_prepared_folder_and_names_faces_that_do_not_fit(tmp_path, data):
    done = run("synthesize", "3d", data, "--to", "happy", "--limit", "2", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "the 3D face does not fit" in done.output


def test_3d_says_which_expressions_it_knows(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "one.png")
    done = run("synthesize", "3d", tmp_path / "one.png", "--to", "bored")
    assert done.exit_code != 0
    assert "contemptuous" in done.output


ODD = ("neutral", "n/a", "../up", "a,b", "x+y", "k=v", "dark", "Mu\u0308de")


@pytest.fixture(scope="module")
def odd_model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("odd") / "generator.safetensors"
    schema = AttributeSchema((AttributeGroup("mood", ODD), AttributeGroup("light=x", ("bright", "b+d"))))
    save_generator(path, TrainedGenerator(Generator(schema.dimension, 3, 1, 8, 2, 1), schema, 32))
    return path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("n/a", {"a_n_a.png"}),
        ("../up", {"a_up.png"}),
        ("a,b", {"a_a_b.png"}),
        ('"a,b",dark', {"a_a_b.png", "a_dark.png"}),
        ("x+y", {"a_x+y.png"}),
        ("x+y+bright", {"a_x+y+bright.png"}),
        ("b+d+k=v", {"a_b+d+k_v.png"}),
        ("mood=k=v", {"a_k_v.png"}),
        ("light=x=b+d", {"a_b+d.png"}),
        ("M\u00fcde", {"a_M\u00fcde.png"}),
    ],
)
def test_any_class_can_be_asked_for_and_is_written_beside_the_others(odd_model, tmp_path, words, names) -> None:
    photo(tmp_path / "a.png")
    arguments = [odd_model, tmp_path / "a.png", "--to", words, "-o", tmp_path / "out", "--json", "--quiet"]
    result = invoke_apart(main, ["synthesize", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    written = [path for path in (tmp_path / "out").rglob("*.png") if path.parent.name != "grids"]
    assert {path.name for path in written} == names
    assert {path.parent for path in written} == {tmp_path / "out"}
    assert json.loads(result.stdout)["files"] == [str(path) for path in sorted(written)]


def test_all_targets_of_names_that_look_alike_stay_apart(tmp_path) -> None:
    schema = AttributeSchema((AttributeGroup("mood", ("a b", "a_b", "A/B", "neutral")),))
    path = tmp_path / "generator.safetensors"
    save_generator(path, TrainedGenerator(Generator(schema.dimension, 3, 1, 8, 2, 1), schema, 32))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        photo(tmp_path / folder / "p.png")
    result = run("synthesize", path, tmp_path / "one", tmp_path / "two" / "p.png", "--all", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 8
    again = run("synthesize", path, tmp_path / "out", "--all", "-o", tmp_path / "more")  # the grids are not among them
    assert "8 faces" not in again.output or again.exit_code == 1
    assert "grid" not in again.output


def test_a_folder_of_photographs_names_what_it_cannot_read(model, tmp_path) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    result = run("synthesize", model, tmp_path / "in", "--to", "happy", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "ffmpeg" in result.output
    assert (tmp_path / "out" / "a_happy.png").is_file()

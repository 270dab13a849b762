"""`lssl.FaceEditor`: what `lssl synthesize` does, for a program's own pictures."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageCms

import lssl
from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema
from lssl.data.landmark_files import read_landmarks, write_pts
from lssl.errors import LsslError
from lssl.face3d import FaceGenerator, GenerateConfig
from lssl.face3d.embedded import load_embedded_model
from lssl.inference.model_edit import ModelEditor
from lssl.models.export import TrainedGenerator, save_generator
from lssl.models.generator import Generator
from lssl.models.moving import MovingGenerator

SCHEMA = AttributeSchema(
    (AttributeGroup("expression", ("neutral", "happy", "sad")), AttributeGroup("lighting", ("normal", "dark")))
)
SIZE = 32
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photograph(folder: Path, image: np.ndarray, landmarks: np.ndarray) -> Path:
    """a.png, stored on its side as a telephone stores it, with a.pts beside it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    stored = Image.fromarray(image).transpose(Image.Transpose.ROTATE_90)
    stored.save(folder / "a.png", exif=exif, icc_profile=PROFILE)
    write_pts(folder / "a.pts", landmarks)
    return folder / "a.png"


def moving() -> TrainedGenerator:
    torch.manual_seed(0)
    network = MovingGenerator(SCHEMA.dimension, SIZE, 1, 4, 4)
    with torch.no_grad():
        network.mover.head.weight.mul_(20)
        network.painter.head.bias[3] = 0.5
    return TrainedGenerator(network, SCHEMA, SIZE).eval().requires_grad_(False)


def direct() -> TrainedGenerator:
    torch.manual_seed(0)
    return TrainedGenerator(Generator(SCHEMA.dimension, 3, 1, 8, 2, 1), SCHEMA, SIZE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def faces():
    """Two generated faces with room around them: pictures (280, 280, 3), landmarks (68, 2)."""
    config = GenerateConfig(subjects=2, expressions=("neutral",), size=160, background="plain", variation=0)
    generator = FaceGenerator(load_embedded_model(), config)
    margin = ((60, 60), (60, 60), (0, 0))
    return [
        (np.pad(face.image.permute(1, 2, 0).numpy(), margin, mode="edge"), face.landmarks.numpy() + 60)
        for face in generator.render(generator.cells)
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    found = {"moving": moving(), "direct": direct(), "3d": ModelEditor.load()}
    for name in ("moving", "direct"):
        save_generator(root / f"{name}.safetensors", found[name])
    return found, {"moving": root / "moving.safetensors", "direct": root / "direct.safetensors", "3d": "3d"}


@pytest.mark.parametrize("name", ["moving", "direct", "3d"])
def test_as_the_command(tmp_path, models, faces, name) -> None:
    image, landmarks = faces[0]
    photograph(tmp_path, image, landmarks)
    arguments = ["synthesize", models[1][name], tmp_path / "a.png", "--to", "happy", "--intensity", "0.8"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--paste", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    written = tmp_path / "out" / ("a_happy_photo.png" if name == "direct" else "a_happy.png")
    editor = lssl.FaceEditor(models[1][name])
    made = editor.edit(image, "happy", 0.8, landmarks=read_landmarks(tmp_path / "a.pts"))
    assert not np.array_equal(made, image)
    with Image.open(written) as result:
        assert np.array_equal(made, np.asarray(result))
        assert result.info["icc_profile"] == PROFILE
        exif = result.getexif()
        assert exif[0x010F] == "maker"
        assert 0x0112 not in exif, "the pixels are upright"
    from_file = editor.edit(tmp_path / "a.png", "happy", 0.8, landmarks=read_landmarks(tmp_path / "a.pts"))
    assert np.array_equal(np.asarray(from_file), made)
    assert from_file.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("name", ["moving", "3d"])
def test_a_batch_is_its_pictures_one_by_one(models, faces, name) -> None:
    editor = lssl.FaceEditor(models[0][name])
    images, marks = zip(*faces, strict=True)
    single = [editor.edit(image, "happy", landmarks=points) for image, points in faces]
    made = editor.edit(list(images), "happy", landmarks=marks)
    assert isinstance(made, list)
    assert all(np.array_equal(a, b) for a, b in zip(made, single, strict=True))
    assert np.array_equal(editor.edit(np.stack(images), "happy", landmarks=marks), np.stack(single))
    tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    made = editor.edit(tensor / 127.5 - 1, "happy", landmarks=marks)
    assert made.shape == tensor.shape
    assert torch.allclose((made + 1) * 127.5, torch.from_numpy(np.stack(single)).permute(0, 3, 1, 2).float(), atol=1e-3)


def test_a_tensor_outside_the_face_is_left_bit_for_bit(models, faces) -> None:
    image, landmarks = faces[0]
    given = torch.from_numpy(image).permute(2, 0, 1).double() / 127.5 - 1 + 1e-4
    given = given.clamp(-1, 1)
    made = lssl.FaceEditor(models[0]["moving"]).edit(given, "sad", landmarks=torch.from_numpy(landmarks))
    assert made.dtype == torch.float64
    assert torch.equal(made[:, :4], given[:, :4])
    assert not torch.equal(made, given)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_pil_images_keep_what_they_are(models, faces, mode, orientation) -> None:
    image, landmarks = faces[0]
    seen = Image.fromarray(image)
    stored = seen.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else seen
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    given = stored.convert(mode)
    given.info |= {"exif": exif.tobytes(), "icc_profile": PROFILE}
    before = given.copy()
    made = lssl.FaceEditor(models[0]["moving"]).edit(given, "happy", landmarks=landmarks)
    assert made.size == given.size
    assert made.mode == (mode if mode not in ("P", "CMYK") else "RGB")
    assert made.getexif()[0x0112] == orientation
    assert ("icc_profile" in made.info) == (mode not in ("P", "CMYK"))
    assert given == before
    a, b = np.asarray(given.convert(made.mode)), np.asarray(made)
    assert np.array_equal(a[:4], b[:4]), "away from the face every bit is kept"
    assert np.array_equal(a[:, :4], b[:, :4])
    assert not np.array_equal(a, b)


def test_several_faces(models, faces) -> None:
    (first, marks), (second, others) = faces
    both = np.concatenate([first, second], 1)
    places = np.stack([marks, others + [280, 0]])
    editor = lssl.FaceEditor(models[0]["3d"], landmarks=lambda image: places)
    changed = [np.abs(made.astype(int) - both).max(2) > 0 for made in
               (editor.edit(both, "happy"), editor.edit(both, "happy", faces="all"))]  # fmt: skip
    sides = [(c[:, :280].any(), c[:, 280:].any()) for c in changed]
    assert sorted(sides[0]) == [False, True], "the largest alone"
    assert sides[1] == (True, True)


def test_an_open_photograph_is_edited_again_and_again(models, faces) -> None:
    image, landmarks = faces[0]
    for name in ("moving", "direct", "3d"):
        editor = lssl.FaceEditor(models[0][name])
        opened = editor.open(Image.fromarray(image), landmarks=landmarks)
        assert np.array_equal(
            np.asarray(opened.edit("happy", 0.5)), editor.edit(image, "happy", 0.5, landmarks=landmarks)
        )
        assert np.array_equal(opened.edited_pixels({"happy": 0.5}), np.asarray(opened.edit("happy", 0.5)))
        assert np.array_equal(opened.edited_pixels({"happy": 0, "sad": 0}), image)
        blend = opened.edited_pixels({"happy": 0.6, "sad": 0.4})
        assert not np.array_equal(blend, opened.edited_pixels({"happy": 0.6}))
        assert np.array_equal(opened.pixels, image)


def test_what_can_be_asked_for(models) -> None:
    assert lssl.FaceEditor(models[0]["moving"]).attributes == ["neutral", "happy", "sad", "normal", "dark"]
    shares = lssl.FaceEditor(models[0]["moving"]).target({"happy+dark": 0.5, "sad": 1}, 0.5).shares
    assert shares == {("expression", "happy"): 0.25, ("lighting", "dark"): 0.25, ("expression", "sad"): 0.5}


@pytest.mark.parametrize(
    ("image", "to", "options", "message"),
    [
        (np.zeros((40, 40, 3)), "happy", {}, "uint8 .height, width, 3.*multiply by 255"),
        (np.zeros((40, 40), np.uint8), "happy", {}, "uint8 .height, width, 3"),
        (torch.zeros(40, 40, 3), "happy", {}, r"\(3, height, width\)"),
        (torch.full((3, 40, 40), 200.0), "happy", {}, r"must lie in \[-1, 1\]; got 200 to 200"),
        (np.zeros((9, 40, 3), np.uint8), "happy", {}, "only 40x9 pixels"),
        (np.zeros((40, 40, 3), np.uint8), "happy", {"faces": "some"}, "expected 'largest' or 'all'"),
        (np.zeros((40, 40, 3), np.uint8), "happy", {"landmarks": np.zeros((5, 2))}, r"\(68, 2\)"),
        (np.zeros((40, 40, 3), np.uint8), "happy", {"landmarks": np.zeros((0, 68, 2))}, "no face found"),
        (np.zeros((40, 40, 3), np.uint8), "happy", {"source": "old"}, "no attribute value 'old'"),
        (np.zeros((2, 40, 40, 3), np.uint8), "happy", {"landmarks": np.zeros((1, 68, 2))}, "landmarks of 1 pictures"),
        (np.zeros((2, 40, 40, 3), np.uint8), "happy", {"landmarks": np.zeros((2, 68, 2))}, "picture 0: "),
        ("absent.jpg", "happy", {}, "absent.jpg: no such file"),
    ],
)  # fmt: skip
def test_errors_say_what_is_expected(models, image, to, options, message) -> None:
    with pytest.raises(LsslError, match=message):
        lssl.FaceEditor(models[0]["moving"]).edit(image, to, **options)


def test_unknown_words_and_numbers(models, faces) -> None:
    image, landmarks = faces[0]
    opened = lssl.FaceEditor(models[0]["moving"]).open(image, landmarks=landmarks)
    for wish, message in (
        ("glad", "known are expression"),
        ({"happy": 2}, "between 0 and 1.5"),
        ({"sad": -1}, "between"),
    ):
        with pytest.raises(LsslError, match=message):
            opened.edit(wish)
    with pytest.raises(TypeError, match="not int"):
        lssl.FaceEditor(models[0]["moving"]).edit(3, "happy")


def test_folders_of_a_built_ins_name_do_not_hide_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("3d", "london"):
        (tmp_path / name).mkdir()
    assert isinstance(lssl.FaceEditor("3d").model, ModelEditor)
    london = lssl.FaceEditor("london")
    assert london.model.schema.knows("happy")
    assert "CC BY" in (london.card or "")


def test_nothing_of_training_is_imported() -> None:
    code = (
        "import sys, lssl; lssl.FaceEditor('london'); lssl.FaceEditor('3d'); "
        "print([name for name in sys.modules if name.startswith(('lssl.training', 'lssl.methods'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frontal_as_the_command(tmp_path, faces) -> None:
    path = photograph(tmp_path, *faces[0])
    result = CliRunner().invoke(main, ["render-frontal", str(path), "-o", str(tmp_path / "out"), "--size", "64"])
    assert result.exit_code == 0, result.output
    landmarks = read_landmarks(tmp_path / "a.pts")
    made = lssl.frontal(Image.open(path), size=64, landmarks=landmarks)
    assert made.size == (64, 64)
    assert made.info["icc_profile"] == PROFILE
    assert 0x0112 not in made.getexif()
    with Image.open(tmp_path / "out" / "images" / "a.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(made))
        assert written.info["icc_profile"] == PROFILE
    tensor = torch.from_numpy(faces[0][0]).permute(2, 0, 1)[None] / 127.5 - 1
    assert lssl.frontal(tensor, size=64, landmarks=[landmarks]).shape == (1, 3, 64, 64)
    for wrong in ({"size": 5}, {"background": "sea"}, {"expression": "glad"}):
        with pytest.raises(LsslError, match=next(iter(wrong))):
            lssl.frontal(faces[0][0], **wrong)


def test_a_folder_for_others(tmp_path, models, faces) -> None:
    image, landmarks = faces[0]
    editor = lssl.FaceEditor(models[0]["moving"])
    editor.save_pretrained(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "config.json",
        "generator.safetensors",
    ]
    settings = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert settings["attributes"] == {"expression": ["neutral", "happy", "sad"], "lighting": ["normal", "dark"]}
    again = lssl.FaceEditor.from_pretrained(tmp_path / "mine")
    assert "expression: neutral, happy, sad" in again.card
    both = [e.edit(image, {"happy": 0.5, "dark": 1}, landmarks=landmarks) for e in (editor, again)]
    assert np.array_equal(*both)
    (tmp_path / "mine" / "README.md").write_text("# My faces")
    lssl.FaceEditor.from_pretrained(tmp_path / "mine").save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == "# My faces"
    assert "CC BY 4.0" in lssl.FaceEditor.from_pretrained("london").card
    with pytest.raises(LsslError, match="no weights to save"):
        lssl.FaceEditor(models[0]["3d"]).save_pretrained(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match="absent"):
        lssl.FaceEditor.from_pretrained(tmp_path / "absent")


def test_the_hub(tmp_path, models, monkeypatch) -> None:
    editor = lssl.FaceEditor(models[0]["moving"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LsslError, match="pip install huggingface_hub"):
        editor.push_to_hub("me/faces")
    with pytest.raises(LsslError, match=r"me/faces: there is no such folder.*pip install huggingface_hub"):
        lssl.FaceEditor.from_pretrained("me/faces")
    editor.save_pretrained(tmp_path / "faces")
    calls = []

    class HfApi:
        def __init__(self, token):
            calls.append(token)

        def create_repo(self, repository, private, exist_ok):
            calls.append((repository, private, exist_ok))

        def upload_folder(self, repo_id, folder_path, commit_message):
            calls.append(sorted(path.name for path in Path(folder_path).iterdir()))
            return f"https://hub/{repo_id}"

    fake = SimpleNamespace(HfApi=HfApi, snapshot_download=lambda name, allow_patterns: str(tmp_path / "faces"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    assert editor.push_to_hub("me/faces", private=True, token="secret") == "https://hub/me/faces"
    assert calls == ["secret", ("me/faces", True, True), ["README.md", "config.json", "generator.safetensors"]]
    assert lssl.FaceEditor.from_pretrained("me/faces").attributes == editor.attributes

"""Generated faces: cells, determinism, variation, the folder, the data set that renders when asked."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data.folder import read_metadata
from lssl.errors import LsslError
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.face3d.scene.backgrounds import background
from lssl.face3d.sheet import folder_sheet

CONFIG = GenerateConfig(
    subjects=3, expressions=("neutral", "happy"), yaw=(-30.0, 0.0, 30.0), lighting=("normal", "dark"), size=48, seed=7
)


@pytest.fixture(scope="module")
def model():
    return load_embedded_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "faces"
    write_generated(root, FaceGenerator(model, CONFIG), model="embedded")
    return root


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_there_is_a_cell_for_every_combination(model, folder):
    data = read_metadata(folder)
    assert len(data) == 3 * 2 * 3 * 2
    assert data.attributes == ("expression", "yaw", "lighting")
    cells = set(zip(data.subjects, *(data.columns[name] for name in data.attributes), strict=True))
    assert len(cells) == len(data)
    assert data.landmarks.shape == (36, 68, 2)
    assert data.has_masks
    assert {name: len(set(data.columns[name])) for name in data.attributes} == {
        "expression": 2,
        "yaw": 3,
        "lighting": 2,
    }


def test_a_subject_is_in_one_split(folder):
    data = read_metadata(folder)
    splits = {(subject, split) for subject, split in zip(data.subjects, data.splits, strict=True)}
    assert len(splits) == 3
    assert {split for _, split in splits} == {"train", "test"}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(model, folder, tmp_path):
    write_generated(tmp_path / "again", FaceGenerator(model, CONFIG), model="embedded")
    assert contents(tmp_path / "again") == contents(folder)
    write_generated(tmp_path / "other", FaceGenerator(model, replace(CONFIG, seed=8)), model="embedded")
    pictures = [contents(tmp_path / name) for name in ("again", "other")]
    assert all(pictures[0][key] != pictures[1][key] for key in pictures[0] if key.startswith("images"))


def test_an_interrupted_run_goes_on_to_the_same_bytes(model, folder, tmp_path, monkeypatch):
    generator = FaceGenerator(model, CONFIG)
    rendered = []

    def stop_after_two(cells):
        if len(rendered) == 2:
            raise KeyboardInterrupt
        rendered.append(len(cells))
        return FaceGenerator.render(generator, cells)

    monkeypatch.setattr(generator, "render", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        write_generated(tmp_path / "faces", generator, model="embedded")
    assert 0 < len(list((tmp_path / "faces" / "images").iterdir())) < len(generator.cells)
    write_generated(tmp_path / "faces", FaceGenerator(model, CONFIG), model="embedded")
    assert contents(tmp_path / "faces") == contents(folder)


def test_other_settings_and_other_files_are_refused(model, folder, tmp_path):
    root = tmp_path / "faces"
    shutil.copytree(folder, root)
    with pytest.raises(LsslError, match="seed: 7 then, 9 now"):
        write_generated(root, FaceGenerator(model, replace(CONFIG, seed=9)), model="embedded")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(LsslError, match="not empty"):
        write_generated(tmp_path / "mine", FaceGenerator(model, CONFIG), model="embedded")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


def test_a_cell_is_the_same_face_in_a_smaller_request(model):
    small = replace(CONFIG, subjects=1, expressions=("happy",), yaw=(30.0,), lighting=("dark",))
    alone = FaceGenerator(model, small)
    face = alone.render(alone.cells)[0]
    whole = FaceGenerator(model, CONFIG)
    same = next(f for f in whole.render(whole.cells[:12]) if f.cell == face.cell)
    assert (same.image.int() - face.image.int()).abs().max() <= 1
    assert torch.allclose(same.landmarks, face.landmarks, atol=1e-3)


def test_cells_vary_naturally_and_less_when_asked(model):
    faces = FaceGenerator(model, replace(CONFIG, subjects=12, lighting=("normal",), yaw=(0.0,)))
    varied = faces.render(faces.cells)
    assert np.std([f.yaw for f in varied]) > 0.5
    happy = [f.intensity for f in varied if f.cell.expression == "happy"]
    assert 0.6 < min(happy) < max(happy) < 1.2
    assert all(f.intensity == 0 for f in varied if f.cell.expression == "neutral")
    still = FaceGenerator(model, replace(CONFIG, variation=0.0, yaw=(30.0,)))
    assert all(f.yaw == 30 and f.pitch == 0 for f in still.render(still.cells[:4]))


def test_identities_look_different_and_stay_themselves(model):
    plain = replace(CONFIG, subjects=4, variation=0.0, background="plain", yaw=(0.0,), lighting=("normal",))
    generator = FaceGenerator(model, plain)
    faces = {(f.cell.subject, f.cell.expression): f.image.float() for f in generator.render(generator.cells)}
    same = [(faces[s, "neutral"] - faces[s, "happy"]).abs().mean() for s in range(4)]
    other = [(faces[s, "neutral"] - faces[t, "neutral"]).abs().mean() for s in range(4) for t in range(s)]
    assert min(other) > 1.5 * max(same)


def test_turned_faces_hide_landmarks_and_say_so(model, folder):
    turned = FaceGenerator(model, replace(CONFIG, yaw=(-75.0,), expressions=("neutral",), lighting=("normal",)))
    for face in turned.render(turned.cells):
        assert not face.visible[[36, 39, 17, 48]].all()
        assert face.visible[[42, 45, 26]].all()
    data = read_metadata(folder)
    for row in data.rows_where(yaw="0"):
        seen = data.columns["visible"][row]
        assert len(seen) == 68
        assert set(seen) <= {"v", "h"}
        assert seen.count("h") < 8


def test_positive_yaw_turns_to_the_right_of_the_picture(folder):
    data = read_metadata(folder)
    for row in range(len(data)):
        points = data.landmarks[row]
        nose = points[30, 0] - (points[0, 0] + points[16, 0]) / 2
        yaw = float(data.columns["yaw"][row])
        if yaw:
            assert np.sign(nose) == np.sign(yaw)
        assert float(data.columns["yaw_degrees"][row]) == pytest.approx(yaw, abs=4)


def test_dark_pictures_are_darker(folder):
    data = read_metadata(folder)
    light = {"normal": [], "dark": []}
    for row in range(len(data)):
        light[data.columns["lighting"][row]].append(np.asarray(Image.open(data.image_path(row))).mean())
    assert max(light["dark"]) < min(light["normal"])


def test_masks_hold_all_parts_where_the_landmarks_are(folder):
    data = read_metadata(folder)
    for row in data.rows_where(yaw="0"):
        mask = np.asarray(Image.open(data.mask_path(row)))
        assert set(np.unique(mask)) == {0, 1, 2, 3}
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = data.landmarks[row, eye].mean(0).round().astype(int)
            assert 3 in mask[y - 1 : y + 2, x - 1 : x + 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expressions": ("bored",)}, "unknown expression bored; known: neutral"),
        ({"lighting": ("noon",)}, "unknown lighting noon"),
        ({"hair": ("mohawk",)}, "unknown hair mohawk; known: model, none, short"),
        ({"hair": ()}, "one hair"),
        ({"yaw": (120.0,)}, "yaw 120"),
        ({"yaw": (0.0, 0.2)}, "given twice"),
        ({"background": "beach"}, "unknown background"),
        ({"subjects": 0}, "at least one subject"),
    ],
)
def test_a_request_that_cannot_be_is_refused(model, change, message):
    with pytest.raises(ValueError, match=message):
        FaceGenerator(model, replace(CONFIG, **change))


def rendered(model, hair, **change):
    plain = replace(CONFIG, subjects=1, expressions=("neutral",), variation=0.0, background="plain", size=96)
    generator = FaceGenerator(model, replace(plain, hair=(hair,), yaw=(0.0,), lighting=("normal",), **change))
    return generator.render(generator.cells)[0]


def test_hair_covers_what_its_style_says(model):
    own, none, sweep = (rendered(model, hair) for hair in ("model", "none", "sweep"))
    assert none.visible.all()
    assert torch.equal(own.landmarks, sweep.landmarks)
    eyes = [int((half == 3).sum()) for half in sweep.mask.chunk(2, dim=1)]
    assert min(eyes) == 0
    assert max(eyes) > 5
    assert sum(not bool(seen) for seen in sweep.visible[36:48]) >= 3
    brows = int(own.landmarks[17:27, 1].min())
    fringe, hat = rendered(model, "fringe"), rendered(model, "hat")
    for covered in (fringe, hat):
        assert (covered.mask[: brows - 2] > 0).sum() < 0.5 * (none.mask[: brows - 2] > 0).sum()
        assert (covered.mask[brows + 4 :] > 0).sum() > 0.8 * (own.mask[brows + 4 :] > 0).sum()


def test_long_hair_hangs_beside_the_chin_and_short_hair_does_not(model):
    short, long = (rendered(model, hair) for hair in ("short", "long"))
    chin, left = int(short.landmarks[8, 1]), int(short.landmarks[3, 0])
    wall = short.image[:, 2, 2]
    beside = (slice(None), slice(chin - 6, chin), slice(left - 4, left - 2))
    assert (short.image[beside].int() - wall.int()[:, None, None]).abs().max() < 12
    assert (long.image[beside].int() - wall.int()[:, None, None]).abs().amax(0).min() > 25


def test_a_subject_keeps_its_hair_and_the_folder_says_which(model, tmp_path):
    config = replace(CONFIG, subjects=8, expressions=("neutral",), lighting=("normal",), hair=("none", "long", "hat"))
    write_generated(tmp_path / "faces", FaceGenerator(model, config), model="embedded")
    data = read_metadata(tmp_path / "faces")
    worn = set(zip(data.subjects, data.columns["hair"], strict=True))
    assert len(worn) == 8
    assert {hair for _, hair in worn} == {"none", "long", "hat"}
    assert "hair" not in data.attributes


def test_lights_have_their_colour_and_dim_is_dim(model):
    def face(lighting):
        generator = FaceGenerator(model, replace(CONFIG, subjects=1, yaw=(0.0,), lighting=(lighting,)))
        picture = generator.render(generator.cells[:1])[0]
        return picture.image[:, picture.mask > 0].float().mean(1)

    normal, warm, cold, dim = (face(name) for name in ("normal", "warm", "cold", "dim"))
    assert warm[0] / warm[2] > 2 * normal[0] / normal[2]
    assert cold[0] / cold[2] < 0.8 * normal[0] / normal[2]
    assert dim.mean() < 0.65 * normal.mean()


def test_backgrounds_are_in_range_and_follow_the_light():
    wall = background("random", 33, np.random.default_rng(0))
    assert wall.shape == (3, 33, 33)
    assert -1 <= wall.min() < wall.max() <= 1
    dim = background("random", 33, np.random.default_rng(0), light=0.1)
    assert (dim <= wall + 1e-6).all()
    assert dim.mean() < wall.mean()


def test_the_contact_sheet_shows_expressions_poses_and_lightings(folder):
    picture = folder_sheet(folder, subjects=2)
    assert picture.width == 3 * 96  # small faces are shown larger, so that names fit
    assert picture.height > 5 * 96

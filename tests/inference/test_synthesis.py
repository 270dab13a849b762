import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data import AttributeGroup, AttributeSchema, FaceFolderWriter, FaceRow, read_metadata
from lssl.data.landmark_files import write_pts
from lssl.errors import LsslError
from lssl.inference.face_orders import plan_changes
from lssl.inference.synthesis import (
    InputFace,
    Target,
    parse_targets,
    paste_back,
    prepared_faces,
    read_photograph,
    source_values,
    source_vector,
    target_vector,
    translate_all,
    translate_batch,
)
from lssl.inference.synthetic_folder import AugmentOptions, augment_folder
from lssl.models import Generator
from lssl.models.export import TrainedGenerator
from lssl.models.moving import MovingGenerator
from lssl.training.distributed import Processes

SCHEMA = AttributeSchema(
    (
        AttributeGroup("expression", ("neutral", "happy", "sad")),
        AttributeGroup("lighting", ("normal", "dark")),
    )
)
SIZE = 32


class Painter(torch.nn.Module):
    """Stands for a trained generator: writes y into the picture's corner and darkens it by `dark`."""

    side_channels = 1

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image, side, y):
        assert side is not None
        output = image - y[:, 4, None, None, None] * 0.5
        output[:, :, 0, : y.shape[1]] = y[:, None] - 0.5
        return output, side


@pytest.fixture
def model():
    return TrainedGenerator(Painter(), SCHEMA, SIZE)


def face_points(width, centre):
    """68 rough landmarks of a frontal face `width` pixels between its eyes' centres."""
    points = np.tile(np.array(centre, np.float32), (68, 1))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] += width * np.stack([1.15 * np.cos(angle), 1.85 * np.sin(angle)], 1).astype(np.float32)
    points[17:27] += np.stack([np.linspace(-0.9, 0.9, 10) * width, np.full(10, -0.4 * width)], 1)
    ring = np.linspace(0, 2 * np.pi, 7)[:-1]
    for start, side in ((36, -0.5), (42, 0.5)):
        points[start : start + 6] += width * np.stack([side + 0.18 * np.cos(ring), 0.08 * np.sin(ring)], 1)
    points[48:68] += np.array([0, 0.97 * width], np.float32)
    points[48:60, 0] += np.linspace(-0.4, 0.4, 12) * width
    return points


def photograph(path: Path, size=300) -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 200, (12, 12, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    image = (image + rng.integers(-12, 12, image.shape)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    write_pts(path.with_suffix(".pts"), face_points(60, (150, 130)))
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthesis") / "data"
    writer = FaceFolderWriter(root, attributes=["expression", "lighting"], settings={})
    rng = np.random.default_rng(0)
    for subject in range(6):
        for expression in ("neutral", "happy", "sad"):
            lighting = "dark" if subject % 2 else "normal"
            image = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
            writer.add(
                FaceRow(
                    f"{subject}_{expression}",
                    image,
                    f"s{subject}",
                    "test" if subject == 5 else "train",
                    {"expression": expression, "lighting": lighting},
                    landmarks=face_points(8, (15.5, 13.5)),
                )
            )
    writer.finish()
    return read_metadata(root)


def test_targets_in_users_words() -> None:
    assert [t.name for t in parse_targets(SCHEMA, [], [1])] == ["neutral", "happy", "sad", "normal", "dark"]
    both = parse_targets(SCHEMA, ["happy+dark"], [1])[0]
    assert both.values == {"expression": "happy", "lighting": "dark"}
    assert [t.name for t in parse_targets(SCHEMA, ["sad"], [0.5, 1])] == ["sad 0.5", "sad 1"]
    with pytest.raises(LsslError, match="no attribute value 'glad'"):
        parse_targets(SCHEMA, ["glad"], [1])
    with pytest.raises(LsslError, match="two values of one attribute"):
        parse_targets(SCHEMA, ["happy+sad"], [1])


def test_intensity_goes_from_the_source_to_the_target_and_beyond(model) -> None:
    source = source_values(model, ["dark"])
    assert source == {"expression": "neutral", "lighting": "dark"}
    for intensity in (0.0, 0.5, 1.0, 1.5):
        y = target_vector(SCHEMA, source, Target({"expression": "happy"}, intensity, "happy"))
        assert y.tolist() == [1 - intensity, intensity, 0, 0, 1]


def test_where_no_value_is_called_neutral_a_photograph_shows_what_training_faces_at_rest_do() -> None:
    schema = AttributeSchema((AttributeGroup("class", ("grin", "resting", "sulk")), SCHEMA.groups[1]))

    def taken_for(*given: str, **info: object) -> dict[str, str]:
        model = TrainedGenerator(MovingGenerator(schema.dimension, SIZE, 1, 4, 4), schema, SIZE, info=info)
        return source_values(model, given)

    assert taken_for() == {"class": "grin", "lighting": "normal"}
    assert taken_for(rest={"class": "resting"}) == {"class": "resting", "lighting": "normal"}
    assert taken_for("sulk", rest={"class": "resting"})["class"] == "sulk"
    assert taken_for(rest={"class": "gone", "lighting": "dark"}) == {"class": "grin", "lighting": "normal"}


def test_a_face_that_is_asked_for_what_it_is_taken_to_show_is_of_unknown_source(model) -> None:
    source = source_values(model, [])
    neutral, happy = (SCHEMA.encode({**source, "expression": value}) for value in ("neutral", "happy"))
    moving = TrainedGenerator(MovingGenerator(SCHEMA.dimension, SIZE, 1, 4, 4, takes_source=True), SCHEMA, SIZE)
    assert source_vector(moving, source, happy).tolist() == neutral.tolist()
    assert not source_vector(moving, source, neutral).any()
    assert source_vector(model, source, neutral).tolist() == neutral.tolist()  # pairs must know

    face = InputFace("a", np.full((SIZE, SIZE, 3), 90, np.uint8), np.full((68, 2), 9, np.float32), source)
    seen = []
    moving.network.register_forward_pre_hook(lambda _, given: seen.append(given[3]))
    translate_batch(moving, [face, face], [Target({"expression": value}, 1, value) for value in ("happy", "neutral")])
    assert seen[0].tolist() == [neutral.tolist(), [0.0] * SCHEMA.dimension]


def test_a_photograph_is_framed_as_the_training_faces_were(tmp_path, model) -> None:
    photograph(tmp_path / "a.png")
    face = read_photograph(tmp_path / "a.png", model, source_values(model, []))
    assert face.image.shape == (SIZE, SIZE, 3)
    eyes = face.landmarks[36:42].mean(0), face.landmarks[42:48].mean(0)
    assert abs(np.hypot(*(eyes[1] - eyes[0])) - SIZE / 4) < 0.1
    model.info["alignment"] = {"crop_scale": 2.5, "eye_line": 0.4}
    closer = read_photograph(tmp_path / "a.png", model, source_values(model, []))
    eyes = closer.landmarks[36:42].mean(0), closer.landmarks[42:48].mean(0)
    assert abs(np.hypot(*(eyes[1] - eyes[0])) - SIZE / 2.5) < 0.1
    assert abs((eyes[0][1] + eyes[1][1]) / 2 - (0.4 * SIZE - 0.5)) < 0.1


def test_translations_carry_their_targets(folder, model) -> None:
    faces = list(prepared_faces(folder, model))
    targets = parse_targets(SCHEMA, ["happy", "neutral+dark"], [1])
    results = translate_all(model, faces[:5], targets, batch_size=2)
    assert len(results) == 5
    for face, pictures in zip(faces[:5], results, strict=True):
        for target, picture in zip(targets, pictures, strict=True):
            written = (picture[0, :5, 0].astype(float) / 127.5 - 1 + 0.5).round().astype(int)
            expected = SCHEMA.encode({**face.source, **target.values}).int().tolist()
            assert written.tolist() == expected


def test_a_prepared_folder_must_fit_the_model(folder, model, tmp_path) -> None:
    other = TrainedGenerator(Painter(), SCHEMA, 64)
    with pytest.raises(LsslError, match=r"is 32x32, but the model was trained at 64x64; .*--size 64"):
        list(prepared_faces(folder, other))
    strange = AttributeSchema((AttributeGroup("age", ("young", "old")),))
    with pytest.raises(LsslError, match="has no column 'age'"):
        list(prepared_faces(folder, TrainedGenerator(Painter(), strange, SIZE)))
    fewer = AttributeSchema((AttributeGroup("expression", ("neutral", "happy")),))
    with pytest.raises(LsslError, match="no value 'sad'"):
        list(prepared_faces(folder, TrainedGenerator(Painter(), fewer, SIZE)))


def test_pasting_an_unchanged_face_leaves_the_photograph(tmp_path, model) -> None:
    image = photograph(tmp_path / "a.png")
    face = read_photograph(tmp_path / "a.png", model, source_values(model, []))
    assert np.abs(paste_back(face, face.image).astype(int) - image).max() <= 1


def test_pasting_changes_the_face_and_only_the_face(tmp_path, model) -> None:
    image = photograph(tmp_path / "a.png")
    face = read_photograph(tmp_path / "a.png", model, source_values(model, []))
    result = paste_back(face, np.full_like(face.image, 255))
    assert result.shape == image.shape
    assert result[140:160, 140:160].min() > 240
    changed = np.abs(result.astype(int) - image).max(2)
    assert changed[:8].max() == 0
    assert changed[-8:].max() == 0
    # feathered: along a line out of the face the change fades in many small steps
    line = result[150, 150:].astype(float).mean(1) - image[150, 150:].astype(float).mean(1)
    assert line[0] > 30
    assert abs(line[-10:]).max() < 1


def test_no_face_two_faces_and_no_folder_are_named(tmp_path, model, monkeypatch) -> None:
    from lssl.data import detect

    photograph(tmp_path / "a.png")
    (tmp_path / "a.pts").unlink()
    found = detect.Face((0, 0, 9, 9), face_points(60, (150, 130)), 1.0)
    for faces, message in (([], "a.png: no face found"), ([found, found], "a.png: 2 faces found")):
        monkeypatch.setattr(detect, "find_faces", lambda image, faces=faces: faces)
        with pytest.raises(LsslError, match=message):
            read_photograph(tmp_path / "a.png", model, source_values(model, []))
    read_photograph(tmp_path / "a.png", model, source_values(model, []), largest_face=True)


def rows_of(root):
    with (root / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files_of(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_augmented_faces_carry_their_labels_and_nobody_from_the_test_set(folder, model, tmp_path) -> None:
    options = AugmentOptions(per_class=25, intensity=(1.0, 1.0))
    assert augment_folder(model, folder, tmp_path / "out", options) == 75
    rows = rows_of(tmp_path / "out")
    assert {row["expression"] for row in rows} == {"neutral", "happy", "sad"}
    assert all(row["was"] != row["expression"] for row in rows)
    assert {row["subject"] for row in rows} == {f"s{k}" for k in range(5)}
    for row in rows[::7]:
        with Image.open(tmp_path / "out" / row["file_name"]) as image:
            corner = np.array(image)[0, :5, 0].astype(float)
        y = SCHEMA.encode({name: row[name] for name in ("expression", "lighting")})
        assert (corner / 127.5 - 1 + 0.5).round().astype(int).tolist() == y.int().tolist()
    made = read_metadata(tmp_path / "out")
    assert made.attributes == ("expression", "lighting")
    assert made.schema().group("expression").values == ("neutral", "happy", "sad")


def test_the_plan_uses_every_face_before_one_comes_twice(folder) -> None:
    train = folder.split("train")
    group = SCHEMA.group("expression")
    orders = [order for order in plan_changes(train, group, 20, (0.8, 1.2), 0) if order.value == "happy"]
    assert len({(order.row, order.mirrored) for order in orders}) == 20
    assert len({order.row for order in orders[:10]}) == 10
    assert all(0.8 <= order.intensity <= 1.2 for order in orders)
    only_happy = train.select(train.rows_where(expression="happy"))
    with pytest.raises(LsslError, match="every face has expression 'happy'"):
        plan_changes(only_happy, group, 1, (1.0, 1.0), 0)


class Rank(Processes):
    """A process of several whose barriers do nothing: the test calls the ranks one after another."""

    def wait(self) -> None:
        pass


def test_processes_and_interruptions_leave_the_same_bytes(folder, tmp_path) -> None:
    torch.manual_seed(0)
    network = Generator(5, 3, 1, 8, 2, 1)
    model = TrainedGenerator(network, SCHEMA, SIZE).eval()
    options = AugmentOptions(per_class=20)
    augment_folder(model, folder, tmp_path / "one", options)

    class Stop(Exception):
        pass

    def stop_at_once(total, done):
        def advance(count):
            raise Stop

        return advance

    with pytest.raises(Stop):
        augment_folder(model, folder, tmp_path / "torn", options, progress=stop_at_once)
    assert not (tmp_path / "torn" / "metadata.csv").exists()
    assert augment_folder(model, folder, tmp_path / "torn", options, processes=Rank(1, 2)) is None
    assert augment_folder(model, folder, tmp_path / "torn", options, processes=Rank(0, 2)) == 60
    assert files_of(tmp_path / "torn") == files_of(tmp_path / "one")

    with torch.no_grad():
        network.image_head.weight.add_(0.01)
    with pytest.raises(LsslError, match="model_weights"):
        augment_folder(model, folder, tmp_path / "one", options)

import json
import math

import numpy as np
import pytest
import torch

from lssl.data import FaceFolderWriter, FaceRow
from lssl.errors import LsslError
from lssl.models import FaceParser
from lssl.models.parser import load_parser_with_info, save_parser
from lssl.training import parser_training
from lssl.training.parser_data import augment, open_parser_faces
from lssl.training.parser_training import (
    ParserConfig,
    load_parser,
    parse,
    parser_iou,
    parser_maps,
    train_parser,
    train_parser_for_run,
    write_parser_run,
)


def draw(rng, size=32):
    """A coloured disc (skin) with blue eyes and red lips at random places, its labels, and landmarks on its parts."""
    y, x = np.mgrid[0:size, 0:size]
    cx, cy, r = size / 2 + rng.uniform(-2, 2), size / 2 + rng.uniform(-2, 2), size * rng.uniform(0.3, 0.38)
    labels = np.zeros((size, size), np.uint8)
    labels[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = 1
    labels[(np.abs(x - cx) < 0.45 * r) & (np.abs(y - cy - 0.5 * r) < 0.14 * r)] = 2
    for side in (-1, 1):
        labels[(np.abs(x - cx - side * 0.45 * r) < 0.2 * r) & (np.abs(y - cy + 0.3 * r) < 0.15 * r)] = 3
    colours = np.array([[70, 90, 80], [220, 180, 150], [200, 40, 50], [40, 60, 210]])
    image = colours[labels] + rng.normal(0, 8, (size, size, 3))
    points = np.zeros((68, 2), np.float32)
    around = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([cx + r * np.cos(around), cy + r * np.sin(around)], 1)
    points[17:27] = np.stack([np.linspace(cx - 0.6 * r, cx + 0.6 * r, 10), np.full(10, cy - 0.6 * r)], 1)
    points[27:36] = [cx, cy]
    ring = np.linspace(0, 2 * np.pi, 7)[:-1]
    for start, side in ((36, -1), (42, 1)):
        eye = [cx + side * 0.45 * r, cy - 0.3 * r] + 0.2 * r * np.stack([np.cos(ring), 0.7 * np.sin(ring)], 1)
        points[start : start + 6] = eye
    ring = np.linspace(0, 2 * np.pi, 13)[:-1]
    points[48:60] = [cx, cy + 0.5 * r] + 0.45 * r * np.stack([np.cos(ring), 0.35 * np.sin(ring)], 1)
    points[60:68] = [cx, cy + 0.5 * r]
    return image.clip(0, 255).astype(np.uint8), labels, points


def make_folder(root, *, subjects=12, masks=True, size=32, test=3):
    rng = np.random.default_rng(0)
    writer = FaceFolderWriter(root, attributes=[], settings={})
    for subject in range(subjects):
        for number in range(2):
            image, labels, points = draw(rng, size)
            split = "test" if subject >= subjects - test else "train"
            key = f"{subject:02d}_{number}"
            mask = labels if masks else None
            writer.add(FaceRow(key, image, f"s{subject}", split, {}, landmarks=points, mask=mask))
    writer.finish()
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("parser") / "data")


@pytest.fixture(scope="module")
def trained(folder):
    faces = open_parser_faces(folder)
    return faces, train_parser(faces, ParserConfig(width=8, iterations=120, batch_size=8, log_every=20))


def test_it_learns_the_parts_of_people_it_has_not_seen(trained) -> None:
    faces, result = trained
    assert len(faces.train) == 18
    assert len(faces.test) == 6
    assert result.iterations == 120
    assert result.iou["skin"] > 0.75
    assert result.iou["lips"] > 0.45
    assert result.iou["eyes"] > 0.45
    untrained = parser_iou(FaceParser(8, 3).eval(), faces, faces.test)
    assert untrained["skin"] < result.iou["skin"]
    assert not any(p.requires_grad for p in result.parser.parameters())
    assert not result.parser.training


def test_same_seed_same_weights_and_the_callers_randomness_is_untouched(folder) -> None:
    faces = open_parser_faces(folder)
    config = ParserConfig(width=8, iterations=5, batch_size=4, seed=3)
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    first = train_parser(faces, config).parser.state_dict()
    assert torch.equal(before, torch.rand(1))
    second = train_parser(faces, config).parser.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_iou_of_the_labels_themselves_is_one(trained, monkeypatch) -> None:
    faces, result = trained
    monkeypatch.setattr(parser_training, "parse", lambda parser, images: faces.labels[faces.test])
    assert parser_iou(result.parser, faces, faces.test) == {"skin": 1, "lips": 1, "eyes": 1}
    shifted = faces.labels[faces.test].clone()
    shifted[shifted == 2] = 1
    monkeypatch.setattr(parser_training, "parse", lambda parser, images: shifted)
    assert parser_iou(result.parser, faces, faces.test)["lips"] == 0


def test_masks_may_be_drawn_from_landmarks(tmp_path) -> None:
    root = make_folder(tmp_path / "data", masks=False)
    faces = open_parser_faces(root)
    assert faces.source == "masks drawn from the 68 landmarks"
    assert set(faces.labels.unique().tolist()) == {0, 1, 2, 3}
    with pytest.raises(LsslError, match="no mask for some pictures"):
        open_parser_faces(root, masks="folder")
    (root / "landmarks.npy").unlink()
    with pytest.raises(LsslError, match=r"neither masks/ nor landmarks.npy"):
        open_parser_faces(root)


def test_without_a_test_split_some_people_are_held_out(tmp_path) -> None:
    faces = open_parser_faces(make_folder(tmp_path / "data", test=0))
    assert len(faces.test) == 2
    assert len(faces.train) == 22
    with pytest.raises(LsslError, match="at least two subjects"):
        open_parser_faces(make_folder(tmp_path / "one", subjects=1, test=0))


def test_odd_sizes_are_refused_by_name(tmp_path) -> None:
    faces = open_parser_faces(make_folder(tmp_path / "data", size=30))
    with pytest.raises(LsslError, match="sides divisible by 4"):
        train_parser(faces, ParserConfig(iterations=1))


def test_augmentation_moves_labels_with_pixels(folder) -> None:
    faces = open_parser_faces(folder)
    colours = torch.tensor([[70, 90, 80], [220, 180, 150], [200, 40, 50], [40, 60, 210]], dtype=torch.uint8)
    clean = colours[faces.labels.long()].permute(0, 3, 1, 2)
    images, labels = augment(clean, faces.labels, torch.Generator().manual_seed(0))
    assert images.shape == clean.shape
    assert labels.dtype == torch.int64
    assert images.abs().max() <= 1
    assert (labels != faces.labels).float().mean() > 0.05
    lips, skin = images[:, 0] - images[:, 2], labels
    assert lips[skin == 2].mean() > lips[skin == 3].mean() + 0.5


def test_a_saved_parser_is_the_same_parser(trained, tmp_path) -> None:
    faces, result = trained
    write_parser_run(tmp_path / "out", faces, ParserConfig(width=8), result)
    parser, info = load_parser_with_info(tmp_path / "out")
    assert torch.equal(parse(parser, faces.images), parse(result.parser, faces.images))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report == info
    assert math.isclose(report["iou"]["skin"], result.iou["skin"], abs_tol=1e-3)
    assert (tmp_path / "out" / "maps.png").is_file()
    iterations = [json.loads(line)["iteration"] for line in (tmp_path / "out" / "metrics.jsonl").open()]
    assert iterations == [20, 40, 60, 80, 100, 120]
    sheet = parser_maps(parser, faces.images[:2], faces.labels[:2])
    assert sheet.width == 6 * 128


@pytest.mark.parametrize("damage", ["absent", "text", "foreign"])
def test_a_file_that_is_no_parser_is_named(tmp_path, damage) -> None:
    path = tmp_path / "parser.safetensors"
    if damage == "text":
        path.write_text("hello")
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(LsslError, match=r"parser.safetensors"):
        load_parser(path)
    if damage == "foreign":
        with pytest.raises(LsslError, match="not a face parser"):
            load_parser_with_info(path)


def test_the_way_that_training_takes(folder, tmp_path) -> None:
    path = tmp_path / "run" / "parser.safetensors"
    train_parser_for_run(folder, path, iterations=3, width=8, progress=False)
    assert isinstance(load_parser(path), FaceParser)
    assert path.with_name("parser_maps.png").is_file()


def test_an_interruption_keeps_what_was_learnt(folder, tmp_path) -> None:
    def stop(iteration, loss):
        raise KeyboardInterrupt

    faces = open_parser_faces(folder)
    config = ParserConfig(width=8, iterations=50, batch_size=4, log_every=4)
    result = train_parser(faces, config, on_log=stop)
    assert result.interrupted
    assert result.iterations == 4
    save_parser(tmp_path / "p.safetensors", result.parser)


def test_damaged_masks_are_named(tmp_path) -> None:
    from PIL import Image

    root = make_folder(tmp_path / "data")
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(root / "masks" / "03_1.png")
    with pytest.raises(LsslError, match=r"03_1.png has label 9, but the labels are 0 background, 1 skin"):
        open_parser_faces(root)
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(root / "masks" / "03_1.png")
    with pytest.raises(LsslError, match=r"03_1.png has shape \(16, 32\)"):
        open_parser_faces(root)

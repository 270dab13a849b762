"""Table 3 on drawn faces with known answers: no leaks, resuming; and the drawing of frontal faces."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema, FaceFolderWriter, FaceRow, read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments import contenders, pose_report
from lssl.evaluation.experiments.experiment import Settings
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.pose import (
    FRONTAL,
    RAW,
    Method,
    frontal_yaw,
    measure_method,
    method_pictures,
    open_turned,
    render_faces,
)
from lssl.evaluation.experiments.pose_report import evaluate_pose
from lssl.models.classifier import TrainedClassifier
from lssl.models.export import TrainedGenerator
from lssl.training.classifier_training import ClassifierConfig
from lssl.training.config import TrainConfig

SIZE, VALUES, YAWS = 32, ("neutral", "happy", "sad"), ("-45", "0", "45")
BARS = (6, 14, 22)
GROUP = AttributeGroup("expression", VALUES)


def draw(subject, place):
    """One colour per person, and a bar at one of three places: the expression, as seen from the front."""
    pixels = np.full((SIZE, SIZE, 3), np.random.default_rng(subject).integers(30, 150, 3), np.uint8)
    pixels[BARS[place] : BARS[place] + 4, 6:26] = 250
    return pixels


def write(root, source="test", subjects=6, rows=None):
    """Turned faces show the next expression's bar, so that a classifier of frontal faces is always wrong about them."""
    writer = FaceFolderWriter(root, attributes=["expression", "yaw"], settings={})
    points = np.random.default_rng(0).uniform(4, 28, (68, 2)).astype(np.float32)
    for subject in range(subjects):
        for k, value in enumerate(VALUES):
            for yaw in YAWS:
                picture = draw(subject, k if yaw == "0" else (k + 1) % 3)
                split = "test" if subject < 2 else "train"
                attributes = {"expression": value, "yaw": yaw}
                writer.add(
                    FaceRow(f"{subject:02d}_{value}_{yaw}", picture, f"s{subject:02d}", split, attributes, points)
                )
    writer.finish(source=source)
    return root


def write_frontal(root, subjects=6, without=()):
    """Perfect simulated faces: the frontal drawing, and the turned one in side/."""
    writer = FaceFolderWriter(root, attributes=["expression"], settings={})
    points = np.random.default_rng(0).uniform(4, 28, (68, 2)).astype(np.float32)
    for subject in range(subjects):
        for k, value in enumerate(VALUES):
            for yaw in YAWS:
                key = f"{subject:02d}_{value}_{yaw}"
                if key in without:
                    continue
                side = draw(subject, k if yaw == "0" else (k + 1) % 3)
                row = FaceRow(
                    key, draw(subject, k), f"s{subject:02d}", "train", {"expression": value}, points, side=side
                )
                writer.add(replace(row, extra={"yaw": yaw}))
    writer.finish()
    return root


class BarReader(torch.nn.Module):
    """Stands for a perfect classifier of frontal faces: which of the three places is brightest."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image):
        return torch.stack([image[:, :, top : top + 4, 6:26].mean((1, 2, 3)) for top in BARS], 1) * 100


def reader():
    return TrainedClassifier(BarReader(), GROUP, "small", SIZE)


class ShowsPhotograph(torch.nn.Module):
    """Stands for a normalizer that gives the photograph back."""

    side_channels = 3

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, image, side, y):
        return side, None


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "faces")


@pytest.fixture
def frontal(tmp_path):
    return write_frontal(tmp_path / "frontal")


@pytest.fixture
def settings(data):
    training = TrainConfig(method="pose").with_overrides(
        {
            "network.width": 4,
            "network.num_downsamplings": 2,
            "network.residual_blocks": 1,
            "network.side_channels": 3,
            "network.critic_width": 4,
            "network.critic_layers": 3,
            "schedule.iterations": 2,
            "schedule.batch_size": 4,
            "schedule.critic_updates": 1,
            "output.sample_faces": 2,
        }
    )
    return Settings(
        data=data, folds=2, training=training, judge=ClassifierConfig(iterations=4, batch_size=4), quiet=True
    )


def row(table, name):
    return next(line for line in table.rows if line[0] == name)


def test_yaws_are_read_by_size_and_bad_columns_are_named(data):
    folder = read_metadata(data)
    assert frontal_yaw(folder, "yaw") == {"-45": -45, "0": 0, "45": 45}
    with pytest.raises(LsslError, match="name it with --yaw-column"):
        frontal_yaw(folder, "angle")
    for values, message in (
        (["left"], r"'left' in column 'yaw' of images/00_\w+_-45\.png is no angle"),
        (["45"], "no face has yaw 0"),
        (["0"], "turned"),
    ):
        with pytest.raises(LsslError, match=message):
            frontal_yaw(replace(folder, columns={"yaw": values * len(folder)}), "yaw")


def test_each_method_makes_its_pictures_and_a_missing_frontal_face_leaves_the_photograph(data, tmp_path):
    folder = read_metadata(data)
    faces = open_turned(folder, "yaw", write_frontal(tmp_path / "some", without=("00_happy_45",)))
    rows = [k for k, name in enumerate(folder.file_names) if "00_happy_" in name]  # yaw -45, 0, 45
    fold = Fold(0, ("s02",), ("s00",))
    turned, front = draw(0, 2), draw(0, 1)

    def made(method):
        return [picture.tolist() for picture in method_pictures(method, fold, faces, rows)]

    at = {folder.columns["yaw"][r]: k for k, r in enumerate(rows)}
    expected = {"-45": turned.tolist(), "0": front.tolist(), "45": turned.tolist()}
    assert made(RAW) == [expected[yaw] for yaw in at]
    expected["-45"] = front.tolist()
    assert made(FRONTAL) == [expected[yaw] for yaw in at]
    model = TrainedGenerator(ShowsPhotograph(), AttributeSchema((GROUP,)), SIZE, task="pose-normalization")
    assert made(Method("n", "n", lambda fold: model)) == made(RAW)


def test_only_the_folds_test_faces_are_measured_at_their_yaw(data, frontal):
    folder = read_metadata(data)
    faces = open_turned(folder, "yaw", frontal)
    fold = Fold(0, ("s02", "s03"), ("s00", "s01"))
    raw = measure_method(RAW, fold, reader(), faces)["confusion"]
    turned = measure_method(FRONTAL, fold, reader(), faces)["confusion"]
    assert raw["0"] == turned["0"] == turned["45"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert raw["45"] == [[0, 2, 0], [0, 0, 2], [2, 0, 0]]


def test_tables_of_a_perfect_frontal_rendering(settings, frontal, tmp_path, monkeypatch):
    monkeypatch.setattr(pose_report, "train_fold_classifier", lambda *args, **options: reader())
    report = evaluate_pose(settings, tmp_path / "out", "lssl", normalizers=(), frontal_folder=frontal)
    accuracy, gain, signed, classes = report.tables
    assert accuracy.header == ["faces", "0", "±45"]
    assert row(accuracy, "photographs")[1:] == [(100, 0), (0, 0)]
    assert row(accuracy, "simulated frontal")[1:] == [(100, 0), (100, 0)]
    assert row(gain, "simulated frontal over photographs")[1:] == [(0, 0), (100, 0)]
    assert signed.header == ["faces", "-45", "0", "+45"]
    assert classes.header == ["class", "±45 photographs", "±45 simulated frontal"]
    assert row(classes, "sad")[1:] == [0, 100]
    assert "18 at 0, 36 at ±45" in accuracy.note
    assert not any("Table 3" in line[0] for line in accuracy.rows)


def test_the_papers_figures_stand_beside_its_data_set_only(frontal, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(pose_report, "train_fold_classifier", lambda *args, **options: reader())
    scans = replace(settings, data=write(tmp_path / "scans", source="bu3dfe"))
    accuracy = evaluate_pose(scans, tmp_path / "out", "lssl", normalizers=(), frontal_folder=frontal).tables[0]
    assert row(accuracy, "Table 3, BU-3DFE: LSSL") == ["Table 3, BU-3DFE: LSSL", None, 64.05]


def test_nobody_tested_is_seen_and_a_stopped_run_goes_on(settings, frontal, tmp_path, monkeypatch):
    seen: set[tuple[str, int, str]] = set()
    running: list[tuple[str, int]] = []
    opened = Image.open

    def spying(path, *args, **options):
        if running and isinstance(path, str | Path) and Path(path).parent.name in ("images", "side"):
            seen.add((*running[-1], f"s{Path(path).stem[:2]}"))
        return opened(path, *args, **options)

    def watched(module, name):
        trainer = getattr(module, name)

        def train(*args, **options):
            where = next(a for a in args if isinstance(a, Path))
            running.append((name, int(next(p for p in where.parts if p.startswith("fold-"))[5:])))
            try:
                return trainer(*args, **options)
            finally:
                running.pop()

        monkeypatch.setattr(module, name, train)

    monkeypatch.setattr(Image, "open", spying)
    names = ("train_fold_classifier", "train_fold_generator")
    watched(pose_report, "train_fold_classifier")
    watched(contenders, "train_fold_generator")
    out = tmp_path / "out"
    first = evaluate_pose(settings, out, "lssl", frontal_folder=frontal)
    same = next(table for table in first.tables if table.title == "What was the same")
    facts = dict(zip(same.header, row(same, "normalized (LSSL)"), strict=True))
    assert (facts["trainings"], facts["iterations"], facts["batch"]) == (2, 2, 4)
    assert facts["trained (M)"] > facts["used (M)"] > 0
    assert facts["seconds"][0] > 0
    folds = json.loads((out / "results.json").read_text())["folds"]
    assert {s for fold in folds for s in fold["test"]} == {f"s{n:02d}" for n in range(6)}
    for name in names:
        for fold in folds:
            assert {who for n, f, who in seen if (n, f) == (name, fold["fold"])} == set(fold["train"])

    def refuse(*args, **options):
        raise AssertionError("measured again")

    monkeypatch.setattr(pose_report, "measure_method", refuse)
    again = evaluate_pose(settings, out, "lssl", frontal_folder=frontal)
    assert [t.rows for t in again.tables] == [t.rows for t in first.tables]
    (out / "state" / "fold-01-lssl.json").unlink()
    with pytest.raises(AssertionError, match="measured again"):
        evaluate_pose(settings, out, "lssl", frontal_folder=frontal)


def test_a_further_normalizer_adds_a_row_to_what_is_there(settings, frontal, tmp_path, monkeypatch):
    model = TrainedGenerator(ShowsPhotograph(), AttributeSchema((GROUP,)), SIZE, task="pose-normalization")
    monkeypatch.setattr(pose_report, "train_fold_classifier", lambda *args, **options: reader())
    monkeypatch.setattr(contenders, "train_fold_generator", lambda *args, **options: model)
    out = tmp_path / "out"
    evaluate_pose(settings, out, "lssl", normalizers=(), frontal_folder=frontal)
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "state").glob("fold-*.json")}
    table = evaluate_pose(settings, out, "lssl", normalizers=("lssl", "simgan"), frontal_folder=frontal).tables[0]
    names = ["photographs", "simulated frontal", "normalized (LSSL)", "normalized (SimGAN)"]
    assert [line[0] for line in table.rows] == names
    assert row(table, "normalized (SimGAN)")[1:] == row(table, "photographs")[1:]
    assert all((out / "state" / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_further_seeds_are_further_trainings_of_classifier_and_normalizer(settings, frontal, tmp_path, monkeypatch):
    model = TrainedGenerator(ShowsPhotograph(), AttributeSchema((GROUP,)), SIZE, task="pose-normalization")
    seeds = {"judge": [], "normalizer": []}

    def judged(config, *args, **options):
        seeds["judge"].append(config.seed)
        return reader()

    def trained(config, *args, **options):
        seeds["normalizer"].append(config.seed)
        return model

    monkeypatch.setattr(pose_report, "train_fold_classifier", judged)
    monkeypatch.setattr(contenders, "train_fold_generator", trained)
    out = tmp_path / "out"
    one = evaluate_pose(settings, out, "lssl", frontal_folder=frontal)
    two = evaluate_pose(settings, out, "lssl", frontal_folder=frontal, seeds=2)
    assert seeds == {"judge": [0, 0, 1, 1], "normalizer": [0, 0, 1, 1]}
    results = json.loads((out / "results.json").read_text())["fold_results"]
    assert {key: len(runs) for key, runs in results.items()} == {"raw": 4, "frontal": 4, "lssl": 4}
    assert "2 folds and 2 seeds" in two.tables[0].note
    faces = [table.note.split("faces: ")[1] for table in (one.tables[0], two.tables[0])]
    assert faces[0] == faces[1]  # the same faces, tested twice


def test_faces_are_drawn_from_the_front_without_their_yaw(tmp_path):
    from lssl.face3d import FaceGenerator, GenerateConfig
    from lssl.face3d.embedded import load_embedded_model
    from lssl.face3d.generated import write_generated

    wanted = GenerateConfig(1, ("neutral", "happy"), (0.0, 30.0), size=48)
    write_generated(tmp_path / "faces", FaceGenerator(load_embedded_model(), wanted), model="embedded")
    folder = read_metadata(tmp_path / "faces")
    render_faces(folder, tmp_path / "drawn", size=48)
    drawn = open_turned(folder, "yaw", tmp_path / "drawn")
    assert drawn.place == [0, 1, 2, 3]
    assert "yaw" not in drawn.simulated.attributes
    assert [pictures[0].shape for pictures in drawn.drawn([1])] == [(48, 48, 3), (48, 48, 3)]
    time = (tmp_path / "drawn" / "metadata.csv").stat().st_mtime_ns
    render_faces(folder, tmp_path / "drawn", size=48)
    assert (tmp_path / "drawn" / "metadata.csv").stat().st_mtime_ns == time


def test_what_cannot_be_is_refused_before_work(settings, frontal, tmp_path, data):
    leaky = replace(settings, training=settings.training.with_overrides({"pose.real_faces": str(data)}))
    leaky = replace(settings, training=settings.training.with_overrides({"pose.real_faces": str(data)}))
    with pytest.raises(LsslError, match=r"pose\.real_faces may show people who are tested"):
        evaluate_pose(leaky, tmp_path / "out", "lssl", frontal_folder=frontal)
    with pytest.raises(LsslError, match="name it with --yaw-column"):
        evaluate_pose(settings, tmp_path / "out", "lssl", yaw_column="angle", frontal_folder=frontal)
    assert not (tmp_path / "out").exists()
    write_frontal(tmp_path / "few", subjects=1)
    (tmp_path / "few" / "side").rename(tmp_path / "few" / "aside")
    with pytest.raises(LsslError, match="was not written by `lssl render-frontal`"):
        open_turned(read_metadata(data), "yaw", tmp_path / "few")

    result = CliRunner().invoke(
        main, ["evaluate", "pose", "--data", str(data), "--yaw-column", "angle", "--out", str(tmp_path / "cli")]
    )
    assert result.exit_code == 1
    assert "has no column 'angle' with the yaw in degrees" in result.output

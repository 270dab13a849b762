"""Units whose answer is known: an encoder whose first layer copies brightness looks at the brightest spot."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lssl.cli.main import main
from lssl.data import AttributeGroup, AttributeSchema, FaceFolderWriter, FaceRow, read_metadata
from lssl.errors import LsslError
from lssl.evaluation.experiments.activation_report import show_activations
from lssl.evaluation.experiments.activations import (
    REGIONS,
    Unit,
    choose_units,
    encoder_layer,
    find_peaks,
    open_faces,
    region_of,
    summarise_units,
    unit_maps,
    unit_thresholds,
)
from lssl.evaluation.report import Report
from lssl.models import Generator
from lssl.models.export import TrainedGenerator, save_generator

SIZE = 32
SCHEMA = AttributeSchema((AttributeGroup("expression", ("neutral", "happy")),))


def landmarks():
    """A frontal face in a 32 x 32 picture: eyes at y 13, mouth at y 23, chin at y 29."""
    angle = np.linspace(np.pi, 0, 17)
    points = [np.stack([15.5 + 10 * np.cos(angle), 14 + 15 * np.sin(angle)], 1)]
    for x in (10, 21):
        points.append(np.stack([np.linspace(x - 3, x + 3, 5), np.full(5, 10.0)], 1))
    points.append(np.stack([np.full(4, 15.5), np.linspace(13, 17, 4)], 1))
    points.append(np.stack([np.linspace(13.5, 17.5, 5), np.full(5, 18.5)], 1))
    turn = np.linspace(0, 2 * np.pi, 7)[:-1] + np.pi
    for x in (10, 21):
        points.append(np.stack([x + 2 * np.cos(turn), 13 + np.sin(turn)], 1))
    for radius, count in ((4, 12), (2.5, 8)):
        turn = np.linspace(0, 2 * np.pi, count + 1)[:-1] + np.pi
        points.append(np.stack([15.5 + radius * np.cos(turn), 23 + radius / 2 * np.sin(turn)], 1))
    return np.concatenate(points).astype(np.float32)


SPOTS = {"p0": (15, 23), "p1": (10, 13), "p2": (16, 23), "p3": (30, 2)}  # mouth, eye, mouth, surroundings


@pytest.fixture
def folder(tmp_path):
    """One dark picture per person, two for p0, with a bright spot at `SPOTS`; all have the yaw of a frontal face."""
    writer = FaceFolderWriter(tmp_path / "faces", attributes=["expression", "yaw"], settings={})
    for person, value, glow in [(p, "neutral", 200) for p in SPOTS] + [("p0", "happy", 180)]:
        picture = np.random.default_rng(0).integers(0, 30, (SIZE, SIZE, 3), dtype=np.uint8)
        x, y = SPOTS[person]
        picture[y, x] = glow
        values = {"expression": value, "yaw": "0"}
        writer.add(FaceRow(f"{person}_{value}", picture, person, "train", values, landmarks=landmarks()))
    writer.finish()
    return tmp_path / "faces"


@pytest.fixture
def model():
    """Layer 1's unit 0 copies brightness, unit 1 its negative; the rest is random."""
    torch.manual_seed(0)
    network = Generator(2, side_channels=1, width=4, num_downsamplings=2, residual_blocks=1)
    weight = network.encoder[0].conv.weight
    with torch.no_grad():
        weight[:2] = 0
        weight[0, :3, 3, 3] = 1
        weight[1, :3, 3, 3] = -1
    return TrainedGenerator(network.requires_grad_(False).eval(), SCHEMA, SIZE)


def test_layers_are_described_as_the_paper_builds_them():
    paper = TrainedGenerator(Generator(2, width=4), SCHEMA, 128)
    fifth = encoder_layer(paper, 5)
    assert (fifth.units, fifth.size, fifth.receptive_field) == (64, (8, 8), 7 + 3 * (1 + 2 + 4 + 8))
    assert fifth.kind == "4x4 convolution, stride 2"
    assert encoder_layer(paper, 1).size == (128, 128)
    assert encoder_layer(paper, 6).receptive_field == fifth.receptive_field + 2 * 2 * 16
    with pytest.raises(LsslError, match="layers 1 to 11"):
        encoder_layer(paper, 12)


def test_a_peak_lies_where_the_picture_makes_it(folder, model):
    faces = open_faces(read_metadata(folder), model)
    peaks = find_peaks(model, faces, encoder_layer(model, 1))
    for row, person in enumerate(faces.folder.subjects):
        assert tuple(peaks.place[row, 0]) == SPOTS[person]
    assert (peaks.contrast[:, 0] > 10).all()


def test_positions_of_coarse_maps_are_pixels_of_the_picture(folder, model):
    faces = open_faces(read_metadata(folder), model)
    layer = encoder_layer(model, 3)
    assert layer.size == (8, 8)
    place = find_peaks(model, faces, layer).place
    assert set(np.unique(place)) <= {1.5 + 4 * k for k in range(8)}


def test_regions_of_a_face():
    points = np.array([[15, 23], [21, 13], [10, 9], [15, 16], [15, 5], [8, 20], [1, 1]], np.float32)
    found = region_of(points, landmarks(), (SIZE, SIZE))
    assert found == ["mouth", "eyes", "brows", "nose", "forehead", "cheeks and chin", "surroundings"]
    assert set(found) == set(REGIONS)


def test_top_faces_are_of_different_people_and_name_the_region(folder, model):
    faces = open_faces(read_metadata(folder), model)
    peaks = find_peaks(model, faces, encoder_layer(model, 1))
    units = summarise_units(peaks, faces.folder, faces.size, 4)
    bright = next(unit for unit in units if unit.number == 0)
    assert len({faces.folder.subjects[row] for row in bright.rows}) == 4
    assert bright.region == "mouth"
    assert bright.share == 0.5


def test_every_region_has_its_turn():
    units = [Unit(k, [0], region, 1.0, float(k)) for k, region in enumerate(["eyes", "eyes", "eyes", "mouth"])]
    chosen = choose_units(units, 2)
    assert [(unit.region, unit.number) for unit in chosen] == [("mouth", 3), ("eyes", 2)]
    assert len(choose_units(units, 10)) == 4


def test_thresholds_are_quantiles_over_all_faces(folder, model):
    faces = open_faces(read_metadata(folder), model)
    layer = encoder_layer(model, 2)
    batch = faces.batch(list(range(len(faces))))
    maps = model.network.encoder[:2](torch.cat([batch.image, batch.side], 1))
    expected = np.quantile(maps[:, 3].numpy(), 0.9)
    assert unit_thresholds(model, faces, layer, [0, 3], 0.9)[1] == pytest.approx(expected, rel=1e-5)


def test_maps_are_enlarged_about_the_same_place(folder, model):
    faces = open_faces(read_metadata(folder), model)
    row = faces.folder.subjects.index("p1")
    (heat,) = unit_maps(model, faces, encoder_layer(model, 1), Unit(0, [row], "", 1, 1), 4 * SIZE)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs((x + 0.5) / 4 - 0.5 - SPOTS["p1"][0]) < 0.5
    assert abs((y + 0.5) / 4 - 0.5 - SPOTS["p1"][1]) < 0.5


def test_the_sheet_is_bright_at_the_peak_and_dim_elsewhere(folder, model):
    faces = open_faces(read_metadata(folder), model)
    sheet = show_activations(Report("t", "c", 0), model, faces, layer=1, chosen=[0], pictures=1, quantile=0.999)
    left = sheet.shape[1] - 128 - 4  # the picture ends the row, with the sheet's gap beside it
    tile = sheet[4 : 4 + 128, left : left + 128].astype(int)
    row = find_peaks(model, faces, encoder_layer(model, 1)).value[:, 0].argmax()
    x, y = SPOTS[faces.folder.subjects[row]]
    assert tile[4 * y + 2, 4 * x + 2].sum() > 300
    assert tile[100:, :20].mean() < 60


def test_command_and_its_errors(folder, model, tmp_path):
    save_generator(tmp_path / "generator.safetensors", model)

    def run(*options):
        base = ["evaluate", "activations", str(tmp_path / "generator.safetensors"), str(folder), "--device", "cpu"]
        return CliRunner().invoke(main, [*base, "--out", str(tmp_path / "out"), *options])

    result = run("--layer", "3", "--units", "4", "--pictures", "3")
    assert result.exit_code == 0, result.output
    assert "Where the layer's units look" in result.output
    for name in ("report.html", "results.json", "results.csv", "activations.png"):
        assert (tmp_path / "out" / name).is_file()
    assert "layers 1 to 4" in run("--layer", "9").output
    assert "layer 1 has units 0 to 3" in run("--layer", "1", "--unit", "2,9").output
    assert "expected numbers" in run("--unit", "a").output


def test_pictures_of_another_size_are_refused(folder, model):
    other = TrainedGenerator(model.network, SCHEMA, 64)
    with pytest.raises(LsslError, match="prepare the folder with --size 64"):
        open_faces(read_metadata(folder), other)

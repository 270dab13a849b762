"""Sets of pictures with known answers: equal, noise, one face for all, ignored targets, mirrored sources."""

import numpy as np
import pytest
import torch
from PIL import Image

from lssl.data import AttributeGroup, FaceFolderWriter, FaceRow
from lssl.errors import LsslError
from lssl.evaluation.experiments.image_report import compare_images, own_network
from lssl.evaluation.measures.compare_images import (
    Judges,
    _halves,
    diversity_table,
    network_embedding,
    pair_measures,
    set_distances,
)
from lssl.evaluation.measures.features import FeatureNetwork, extract_features, open_network
from lssl.evaluation.measures.image_sets import (
    check_same_size,
    choose_attribute,
    limited,
    made_pairs,
    one_each,
    open_images,
    pair_up,
    pairs_within,
)
from lssl.evaluation.report import Report
from lssl.models.classifier import SmallClassifier, TrainedClassifier, build_classifier, save_classifier
from lssl.models.pretrained.inception import InceptionV3

SIZE, VALUES = 32, ("neutral", "happy", "sad")


def face(subject, value):
    """One colour and texture per person, and a bright bar whose place is the expression's."""
    chance = np.random.default_rng(subject)
    picture = chance.integers(0, 40, (SIZE, SIZE, 3)) + chance.integers(20, 160, 3)
    row = 6 + 8 * VALUES.index(value)
    picture[row : row + 3, 4:20] = 250
    return picture.astype(np.uint8)


def write(root, rows, **settings):
    """A data set folder of (key, picture, subject, value, extra columns)."""
    writer = FaceFolderWriter(root, attributes=["expression"], settings=settings)
    for key, picture, subject, value, extra in rows:
        split = "test" if subject == "p00" else "train"
        writer.add(FaceRow(key, picture, subject, split, {"expression": value}, extra=extra))
    writer.finish()
    return root


@pytest.fixture
def real(tmp_path):
    people = [(f"p{n:02d}", value) for n in range(12) for value in VALUES]
    return write(tmp_path / "real", [(f"{p}_{v}", face(int(p[1:]), v), p, v, {}) for p, v in people])


def fakes(root, picture, mirrored=False):
    """Every neutral face changed to happy and to sad by picture(subject, value)."""
    rows = []
    for n in range(12):
        for value in VALUES[1:]:
            extra = {"made_from": f"images/p{n:02d}_neutral.png", "mirrored": str(int(mirrored))}
            rows.append((f"{value}_{n:02d}", picture(n, value), f"p{n:02d}", value, extra))
    return write(root, rows)


def pixels_network():
    """Means over a 4 x 4 grid: a network with features that can be computed by hand."""
    return FeatureNetwork(
        "pixels", "p", lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1), torch.device("cpu")
    )


def row(table, name):
    return next(line for line in table.rows if line[0].startswith(name))


def test_a_set_beside_itself_is_at_distance_zero(real):
    images = open_images(real)
    judges = Judges(pixels_network(), identity=network_embedding(pixels_network()))
    table, _, _ = set_distances(images, images, judges, None)
    assert row(table, "FID, all")[1] == pytest.approx(0, abs=1e-9)
    pairs, pictures = made_pairs(images, images, pair_up(images, images), 100, 0)
    assert pairs.by == "equal file names"
    measured, distances = pair_measures([("self", pictures)], judges)
    assert row(measured, "pairs")[1] == 36
    assert row(measured, "SSIM")[1] == 1
    assert row(measured, "PSNR")[1] == 100
    assert row(measured, "identity")[1] == 0
    assert distances["self"] == [0] * 36
    within = pairs_within(images, "expression", over="people", most=100, seed=0)
    assert row(diversity_table([("people", within, within)], judges), "people")[3] == 1


def test_noise_is_farther_from_real_faces_than_other_people_are(real, tmp_path):
    chance = np.random.default_rng(0)
    noise = fakes(tmp_path / "noise", lambda n, v: chance.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    table, _, _ = set_distances(open_images(real), open_images(noise), Judges(pixels_network()), None)
    for measure in ("FID, 1", "KID"):
        fake, other_people = (v[0] if isinstance(v, tuple) else v for v in row(table, measure)[1:])
        assert fake > 2 * other_people
    assert row(table, "recall")[1] == 0


def test_mode_collapse_and_ignored_targets_are_seen(real, tmp_path):
    images, judges = open_images(real), Judges(pixels_network())
    one_face = open_images(fakes(tmp_path / "one", lambda n, v: face(0, v)))
    copies = open_images(fakes(tmp_path / "copies", lambda n, v: face(n, "neutral")))
    good = open_images(fakes(tmp_path / "good", lambda n, v: face(n, v)))

    def ratio(part, over):
        ours, theirs = (pairs_within(p, "expression", over=over, most=500, seed=0) for p in (part, images))
        return diversity_table([("x", ours, theirs)], judges).rows[0][3]

    assert ratio(one_face, "people") == 0
    assert ratio(one_face, "targets") > 0.5
    assert ratio(copies, "targets") == 0
    assert ratio(copies, "people") > 0.5
    assert ratio(good, "people") == pytest.approx(1, abs=0.1)
    assert ratio(good, "targets") == pytest.approx(1, abs=0.1)


def test_pairs_follow_made_from_and_mirror_the_source(real, tmp_path):
    sources = open_images(real)
    mirrored = open_images(fakes(tmp_path / "mirrored", lambda n, v: face(n, "neutral")[:, ::-1], mirrored=True))
    pairs, pictures = made_pairs(sources, mirrored, pair_up(sources, mirrored), 10, 0)
    assert pairs.by == "the column made_from"
    assert len(pairs) == 10
    assert np.array_equal(pictures.first, pictures.second)


def test_nothing_is_paired_where_nothing_tells(real, tmp_path):
    strangers = write(tmp_path / "other", [(f"x{n}", face(n, "happy"), f"p{n}", "happy", {}) for n in range(8)])
    assert pair_up(open_images(real), open_images(strangers)) is None


def test_real_halves_share_no_person(real):
    images = open_images(real)
    first, second = _halves(images, 0)
    people = [{images.folder.subjects[k] for k in rows} for rows in (first, second)]
    assert not people[0] & people[1]
    assert people[0] | people[1] == set(images.folder.subjects)


def test_a_copying_generator_is_no_better_than_other_people(real, tmp_path):
    """Its fakes are real pictures of the same people: they count against real pictures of others only."""
    images = open_images(real)
    copies = [(f"copy_{n:02d}_{v}", face(n, v), f"p{n:02d}", v, {}) for n in range(12) for v in VALUES]
    table, _, _ = set_distances(images, open_images(write(tmp_path / "copies", copies)), Judges(pixels_network()), None)
    assert row(table, "FID, all")[1] == pytest.approx(0, abs=1e-9)
    fake, other_people = row(table, "FID, 1")[1:]
    assert fake == pytest.approx(other_people)
    assert row(table, "precision")[1] == row(table, "precision")[2]


def test_features_are_kept_and_made_anew_where_a_picture_changed(real, tmp_path):
    calls = []

    def features(x):
        calls.append(len(x))
        return x.mean((2, 3))

    network = FeatureNetwork("mean", "m", features, torch.device("cpu"))
    images = open_images(real)
    first = extract_features(network, images, tmp_path / "cache")
    count = len(calls)
    assert np.array_equal(extract_features(network, images, tmp_path / "cache"), first)
    assert len(calls) == count
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(images.folder.image_path(0))
    assert not np.array_equal(extract_features(network, images, tmp_path / "cache")[0], first[0])


def test_networks_are_identified_by_their_files(tmp_path):
    torch.manual_seed(0)
    group = AttributeGroup("expression", ("neutral", "happy"))
    trained = TrainedClassifier(SmallClassifier(2), group, "small", SIZE)
    save_classifier(tmp_path / "run" / "classifier.safetensors", trained.eval())
    torch.save(InceptionV3().state_dict(), tmp_path / "inception.pth")
    torch.save(build_classifier("resnet50", 5).state_dict(), tmp_path / "resnet.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    x = torch.zeros(1, 3, SIZE, SIZE)
    network = open_network(tmp_path / "run")
    assert network.name.startswith("classifier")
    assert torch.equal(network.features(x), trained.features(x))
    assert open_network(tmp_path / "inception.pth").name.startswith("Inception v3 of FID")
    assert open_network(tmp_path / "resnet.pth").features(x).shape == (1, 2048)
    with pytest.raises(ValueError, match=r"other\.pth: not a supported network"):
        open_network(tmp_path / "other.pth")


def test_the_page_holds_every_table_and_the_figures_of_the_sets(real, tmp_path):
    made = open_images(fakes(tmp_path / "made", face))
    images = open_images(real)
    report = Report("test", "lssl evaluate images", 0)
    judges = Judges(pixels_network(), identity=network_embedding(pixels_network()), identity_name="pixels")
    compare_images(report, images, made, images, judges, attribute="expression", pairs=20)
    assert [table.title for table in report.tables] == ["Distances between the sets", "Pairs", "Diversity"]
    page = report.write(tmp_path / "out").read_text()
    assert page.count("<img") == 3
    assert report.results["pairs"] == 20


def test_without_a_network_one_is_trained_on_the_real_labels_and_kept(real, tmp_path):
    images = open_images(real)
    network = own_network(images, "expression", tmp_path / "own", iterations=2)
    assert "trained on these real pictures" in network.name
    assert own_network(images, "expression", tmp_path / "own", iterations=2).weights == network.weights
    with pytest.raises(LsslError, match="give one with --network"):
        own_network(images, None, tmp_path / "none")


def test_plain_folders_do(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for n in range(8):
            Image.fromarray(face(n, "happy")).save(tmp_path / name / "deep" / f"{n}.png")
    first, second = open_images(tmp_path / "a"), open_images(tmp_path / "b")
    assert choose_attribute(first, second, None) is None
    assert len(pair_up(first, second)) == 8
    report = Report("test", "lssl evaluate images", 0)
    compare_images(report, first, second, first, Judges(pixels_network()), attribute=None)
    assert row(report.tables[0], "FID, all")[1] == pytest.approx(0, abs=1e-9)


def test_bad_folders_are_named(real, tmp_path):
    with pytest.raises(LsslError, match="no such folder"):
        open_images(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LsslError, match="0 pictures"):
        open_images(tmp_path / "empty")
    with pytest.raises(LsslError, match=r"no metadata\.csv, so there is no split"):
        open_images(tmp_path / "empty", "test")
    small = write(tmp_path / "small", [(f"x{n}", face(n, "sad")[:16, :16], f"p{n}", "sad", {}) for n in range(3)])
    with pytest.raises(LsslError, match="bring both to the same one"):
        check_same_size(open_images(real), open_images(small))
    with pytest.raises(LsslError, match="3 pictures; distances need at least 8"):
        set_distances(open_images(real), open_images(small), Judges(pixels_network()), None)
    with pytest.raises(LsslError, match="has no column 'smile'"):
        choose_attribute(open_images(real), open_images(real), "smile")
    (small / "images" / "x0.png").write_bytes(b"none")
    with pytest.raises(LsslError, match=r"x0\.png: not a readable picture"):
        open_images(small)


def test_one_each_takes_people_in_turn_and_repeats_only_where_they_run_out():
    assert one_each([4, 3, 2, 1, 0], ["a", "b", "b", "c", "c"], 3) == [4, 2, 0]
    assert one_each([4, 3, 2, 1, 0], ["a", "b", "b", "c", "c"], 5) == [4, 2, 0, 3, 1]


def test_a_limit_takes_the_same_pictures_each_time(real):
    images = open_images(real)
    few = limited(images, 10, 0)
    assert len(few) == 10
    assert few.folder.file_names == limited(images, 10, 0).folder.file_names
    assert few.folder.file_names != limited(images, 10, 1).folder.file_names

"""Several methods in one table, on known answers: a perfect generator, one that does nothing, one trained for real."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lssl.data import detect
from lssl.errors import LsslError
from lssl.evaluation.experiments import comparison, figure
from lssl.evaluation.experiments.augmentation_comparison import compare_augmentation
from lssl.evaluation.experiments.comparison import compare_transfer
from lssl.evaluation.experiments.contenders import Contender, open_contenders
from lssl.evaluation.experiments.figure import make_figure
from lssl.models.cyclegan import CycleGANGenerator
from lssl.models.export import TrainedGenerator, save_generator
from lssl.training.classifier_training import ClassifierConfig
from lssl.training.config import TrainConfig

TINY = {
    "network.width": 4,
    "network.critic_width": 4,
    "network.residual_blocks": 1,
    "network.critic_layers": 3,
    "schedule.batch_size": 4,
    "schedule.iterations": 2,
    "warm_up.updates": 1,
    "speed.bf16": "off",
}


@pytest.fixture(autouse=True)
def no_dlib(monkeypatch):
    monkeypatch.setattr(detect, "available", lambda: False)


@pytest.fixture
def trained(monkeypatch, painter, copier, folder):
    """Stands for training: the generator of each method, and how often each was trained."""
    asked = []
    models = {"stargan": painter, "icgan": copier}
    pairs = CycleGANGenerator(3, width=2, residual_blocks=1).eval()
    models["cyclegan"] = TrainedGenerator(pairs, painter.schema, painter.image_size)

    def train(experiment, contender, train, seed, out, *, parser_path):
        asked.append((contender.name, seed, tuple(sorted(set(train.subjects)))))
        network = models[contender.name].network
        facts = {"seconds": 2.0 + seed, "faces": len(train), "trained": 3_000_000, "used": 1_000_000}
        return models[contender.name], {**facts, "pairs": isinstance(network, CycleGANGenerator)}

    for module in (comparison, figure):
        monkeypatch.setattr(module, "train_contender", train)
    return asked


def contenders(*names: str) -> list[Contender]:
    return [Contender(name, TrainConfig.preset(name)) for name in names]


def test_transfer_has_a_row_a_method_and_says_what_was_the_same(settings, tmp_path, trained):
    settings = replace(settings, judge=ClassifierConfig(iterations=60, batch_size=16, jitter=0.2))
    both = contenders("stargan", "icgan", "cyclegan")
    report = compare_transfer(settings, both, tmp_path / "out", "command", seeds=2, portraits=False)
    assert len(trained) == len(set(trained)) == 2 * 2 * 3  # folds, seeds, methods
    table, same = report.tables
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    paper = "paper (Table 2, MUG)"
    assert rows["real test faces"]["recognised"] == (100, 0)
    assert rows["stargan"]["recognised"] == rows["stargan"]["from neutral"] == rows["stargan"]["beside own"] == (100, 0)
    assert rows["stargan"]["SSIM"] == pytest.approx((1, 0))
    assert rows["icgan"]["recognised"] == rows["icgan"]["from neutral"] == (0, 0)
    assert rows["stargan"]["told from real"] is None  # portraits were not asked for
    assert (rows["stargan"][paper], rows["icgan"][paper], rows["cyclegan"][paper]) == (85.15, 80.32, 84.40)
    assert {"cyclegan: one generator", "cyclegan: composed over neutral"} <= rows.keys()
    assert "composed via neutral, which goes beyond the method itself" in table.note
    rows = {row[0]: dict(zip(same.header, row, strict=True)) for row in same.rows}
    assert rows["stargan"]["iterations"] == 40_000
    assert rows["stargan"]["trainings"] == 4
    assert rows["stargan"]["seconds"] == pytest.approx((2.5, 0.57735), rel=1e-3)
    assert (rows["stargan"]["trained (M)"], rows["stargan"]["used (M)"]) == (3.0, 1.0)
    with Image.open(tmp_path / "out" / "figure.png") as drawn:
        assert drawn.height > 4 * 3 * 128
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (
        results["method_results"]["icgan"][0]["composed"][1] == 2 * results["method_results"]["icgan"][0]["faces"] // 3
    )

    again = compare_transfer(settings, both, tmp_path / "out", "command", seeds=2, portraits=False)
    assert len(trained) == 12
    assert [table.rows for table in again.tables] == [table.rows for table in report.tables]


def test_augmentation_has_a_row_a_method_and_one_for_what_needs_no_training(settings, tmp_path, trained):
    both = contenders("stargan", "icgan")
    report = compare_augmentation(
        settings, both, tmp_path / "out", "command", counts=[3, 6], seeds=2, sources=["blend"]
    )
    assert [(name, seed) for name, seed, _ in trained] == [("stargan", 0), ("icgan", 0)] * 2 + [
        ("stargan", 1),
        ("icgan", 1),
    ] * 2
    table, differences = report.tables[:2]
    paper = "paper (Table 1, Oulu-CASIA)"
    assert table.header == ["trained on real and", "3 per class", "6 per class", "gain", "gain's interval, +-", paper]
    assert [row[0] for row in table.rows] == ["real faces alone", "stargan", "icgan", "blend"]
    assert [row[-1] for row in table.rows] == [None, 83.90, None, None]
    gain = table.rows[1][2][0] - table.rows[0][2][0]
    assert table.rows[1][3][0] == pytest.approx(gain)
    assert differences.header[1:] == [row[0] for row in differences.rows] == ["stargan", "icgan", "blend"]
    one, other = (float(differences.rows[i][1 + j].split(" ± ")[0]) for i, j in ((0, 1), (1, 0)))
    assert one == -other
    assert [sentence.split(":")[0] for sentence in report.conclusions] == ["stargan", "icgan", "blend"]
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["conclusions"] == report.conclusions
    results = written["method_results"]
    real = {(one["fold"], one["seed"]): one["real"] for one in results["stargan"]}
    assert real == {(one["fold"], one["seed"]): one["real"] for one in results["blend"]}  # the same classifiers
    with pytest.raises(LsslError, match=r"--with generator beside --method: 'generator' is none of 3d, morph, blend"):
        compare_augmentation(settings, both, tmp_path / "x", "command", counts=[3], sources=["generator"])


def test_methods_are_presets_with_what_fits_them(settings):
    found = open_contenders(
        ["stargan", "icgan"], replace(settings, seed=3), {"losses.penalty": "5", "schedule.ema": 0.5}
    )
    assert [one.name for one in found] == ["stargan", "icgan"]
    assert found[0].config.settings.losses.penalty == 5
    assert all(one.config.schedule.ema == 0.5 and one.config.seed == 3 for one in found)
    with pytest.raises(LsslError, match=r"no setting 'losses.cycle' in stargan, icgan"):
        open_contenders(["stargan", "icgan"], settings, {"losses.cycle": 1})
    with pytest.raises(LsslError, match="preset is 'gan', expected one of"):
        open_contenders(["gan"], settings, {})
    with pytest.raises(LsslError, match="named twice"):
        open_contenders(["stargan", "stargan"], settings, {})


def test_a_method_is_trained_on_the_folds_training_people_and_its_facts_are_known(settings, tmp_path):
    quick = replace(settings, folds=1, quiet=True)
    found = open_contenders(["stargan-small", "icgan-small"], quick, TINY)
    report = compare_transfer(quick, found, tmp_path / "out", "command", seeds=1, portraits=False)
    for row in report.tables[1].rows:
        facts = dict(zip(report.tables[1].header, row, strict=True))
        assert facts["faces"] == 18
        assert facts["iterations"] == 2
        assert facts["seconds"] > 0
        assert facts["trained (M)"] > facts["used (M)"] * 0.99


def test_figure_of_given_and_trained_models(settings, tmp_path, trained, painter):
    save_generator(tmp_path / "given.safetensors", _real(painter))
    quick = replace(settings, folds=1, quiet=True)
    drawn = make_figure(quick, {"given": tmp_path / "given.safetensors"}, ["icgan"], tmp_path / "out", faces=2)
    with Image.open(tmp_path / "out" / "figure.png") as kept:
        assert np.array_equal(np.asarray(kept), np.asarray(drawn))
    assert drawn.height > 2 * 2 * 128
    assert len(trained) == 1


def _real(painter) -> TrainedGenerator:
    from lssl.models.stargan import StarGANGenerator

    return TrainedGenerator(StarGANGenerator(3, width=4, residual_blocks=1), painter.schema, painter.image_size)

"""Faces are mirrored unless a class is one-sided."""

from dataclasses import replace

import numpy as np
import pytest

from lssl.data import FaceDataset, read_metadata
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generate import FaceGenerator, GenerateConfig
from lssl.face3d.generated import write_generated
from lssl.training.config import TrainConfig
from lssl.training.mirroring import may_mirror, one_sided


@pytest.fixture(scope="module")
def expressions(tmp_path_factory):
    out = tmp_path_factory.mktemp("expressions")
    wanted = GenerateConfig(12, ("neutral", "contemptuous", "happy", "disgusted"), size=32, seed=0)
    write_generated(out, FaceGenerator(load_embedded_model(), wanted), model="embedded", progress=False)
    return read_metadata(out, attributes=("expression",))


def test_contempt_is_one_sided_and_a_smile_is_not(expressions):
    assert one_sided(FaceDataset(expressions)) == ["contemptuous"]


def test_without_the_one_sided_class_faces_are_mirrored(expressions):
    config = TrainConfig.preset("standard")
    assert not may_mirror(config, FaceDataset(expressions))
    rest = [k for k, value in enumerate(expressions.columns["expression"]) if value != "contemptuous"]
    assert may_mirror(config, FaceDataset(expressions.select(rest)))


def test_a_setting_decides_for_all_faces(expressions):
    data = FaceDataset(expressions)
    for flip, mirrored in (("on", True), ("off", False)):
        assert may_mirror(TrainConfig.preset("standard").with_overrides({"data.flip": flip}), data) is mirrored


def test_turned_heads_are_never_mirrored(expressions):
    yaw = np.where(np.arange(len(expressions)) % 2, "30", "-30")
    turned = replace(expressions, columns={**expressions.columns, "yaw": list(yaw)}, attributes=("yaw",))
    assert not may_mirror(TrainConfig.preset("standard").with_overrides({"data.flip": "on"}), FaceDataset(turned))


def test_chance_is_not_a_side(expressions):
    """Labels that say nothing about the faces."""
    values = list(np.random.default_rng(0).permutation(["a", "b"] * (len(expressions) // 2)))
    shuffled = replace(expressions, columns={**expressions.columns, "expression": values})
    assert one_sided(FaceDataset(shuffled)) == []


def test_without_landmarks_nothing_is_known(expressions):
    assert one_sided(FaceDataset(replace(expressions, landmarks=None), side="none")) == []

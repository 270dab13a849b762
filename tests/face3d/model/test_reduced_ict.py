"""The built-in model `ict`."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from lssl.cli.main import main
from lssl.errors import LsslError
from lssl.face3d import EXPRESSIONS, BilinearFaceModel, fit_landmarks
from lssl.face3d.builtin import load_face_model
from lssl.face3d.model.importers.ict import import_ict
from lssl.face3d.model.reduced_ict import PATH, reduce_ict
from lssl.face3d.scene.camera import Camera

ICT = Path(__file__).parents[4] / "shared" / "data" / "ict-facekit.tar.xz"


@pytest.fixture(scope="module")
def ict():
    return load_face_model("ict")


def landmarks(model, name):
    return model.mean_face(name)[torch.from_numpy(model.topology.landmarks).long()]


def test_it_is_small_and_complete_and_carries_its_licence(ict):
    assert PATH.stat().st_size < 5 << 20
    assert set(ict.expressions) == set(EXPRESSIONS)
    assert ict.topology.has_eyeballs
    licence = (PATH.parent / "ict-facekit-LICENSE.txt").read_text()
    assert "MIT License" in licence
    assert "USC Institute for Creative Technologies" in licence


def test_happy_lifts_and_widens_the_mouth_and_shows_the_teeth(ict):
    neutral, happy = landmarks(ict, "neutral"), landmarks(ict, "happy")
    unit = float(neutral[42:48, 0].mean() - neutral[36:42, 0].mean())
    assert float((happy - neutral)[[48, 54], 1].mean()) > 0.06 * unit
    assert float((happy - neutral)[54, 0] - (happy - neutral)[48, 0]) > 0.1 * unit
    opening = float((happy[61:64, 1] - happy[65:68, 1]).mean()) / unit
    assert 0.06 < opening < 0.16


def test_it_explains_landmarks_of_its_own_people(ict):
    generator = torch.Generator().manual_seed(0)
    identity = ict.sample_identity(3, generator)
    camera = Camera.create(yaw=[-15.0, 0.0, 20.0], scale=10.0, x=100.0, y=100.0, distance=150.0)
    vertices = ict.vertices(identity, ict.expression("happy")[None].expand(3, -1))
    points = ict.landmarks(camera.project(vertices))[..., :2]
    fit = fit_landmarks(ict, points, distance=150.0)
    assert bool(fit.trusted.all())
    assert float(fit.error.max()) < 0.02


def test_half_precision_keeps_faces(ict, tmp_path):
    ict.save(tmp_path / "again.npz", half=True)
    again = BilinearFaceModel.load(tmp_path / "again.npz")
    assert float((again.mean_face("happy") - ict.mean_face("happy")).abs().max()) < 2e-3  # centimetres


@pytest.mark.skipif(not ICT.is_file(), reason=f"the ICT-FaceKit sample {ICT.name} is not at hand")
def test_the_shipped_file_is_what_the_builder_makes(ict):
    made = reduce_ict(import_ict(ICT))
    assert made.name == ict.name
    for name in EXPRESSIONS:
        assert float((made.mean_face(name) - ict.mean_face(name)).abs().max()) < 2e-3


def test_a_name_that_is_neither_built_in_nor_a_file_is_refused(tmp_path):
    with pytest.raises(LsslError, match="embedded, ict"):
        load_face_model(tmp_path / "nothing.npz")


def test_commands_take_it_by_name(tmp_path):
    out = tmp_path / "faces"
    options = ["--model", "ict", "--force", "--subjects", "1", "--expressions", "neutral,happy", "--size", "64"]
    done = CliRunner().invoke(main, ["generate-faces", str(out), *options])
    assert done.exit_code == 0, done.output
    assert len(list((out / "images").glob("*.png"))) == 2

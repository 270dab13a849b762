"""The bilinear model: algebra, landmarks, files."""

import numpy as np
import pytest
import torch

from lssl.face3d import EXPRESSIONS, BilinearFaceModel, Camera
from lssl.face3d.embedded import load_embedded_model


@pytest.fixture(scope="module")
def model():
    return load_embedded_model()


def test_vertices_are_the_core_times_both_weights(model):
    generator = torch.Generator().manual_seed(0)
    identity = model.sample_identity(3, generator)
    expression = torch.randn(3, model.num_expression, generator=generator)
    subset = torch.tensor([0, 17, 500])
    dense = torch.einsum("kcr,rie->kcie", model.basis[subset], model.core)
    expected = torch.einsum("kcie,ni,ne->nkc", dense, identity, expression)
    assert torch.allclose(model.vertices(identity, expression)[:, subset], expected, atol=1e-3)
    assert torch.allclose(model.vertices(identity, expression, subset), expected, atol=1e-3)


def test_it_is_linear_in_each_weight_and_not_additive(model):
    generator = torch.Generator().manual_seed(1)
    a, b = model.sample_identity(2, generator)
    calm, happy = model.expression("neutral"), model.expression("happy")

    def face(identity, expression):
        return model.vertices(identity[None], expression[None])[0]

    middle = face((a + b) / 2, happy)
    assert torch.allclose(middle, (face(a, happy) + face(b, happy)) / 2, atol=1e-3)
    interaction = (face(a, happy) - face(a, calm)) - (face(b, happy) - face(b, calm))
    assert interaction.norm(dim=-1).max() > 0.05  # centimetres: people smile their own smile


def test_one_identity_serves_many_expressions(model):
    stack = torch.stack([model.expression(name) for name in EXPRESSIONS])
    together = model.vertices(model.identity_mean[None], stack)
    assert together.shape == (8, model.topology.num_vertices, 3)
    assert torch.allclose(together[5], model.mean_face(EXPRESSIONS[5]), atol=1e-4)


def test_gradients_reach_both_weights(model):
    identity = model.identity_mean[None].double().requires_grad_()
    expression = model.expression("happy")[None].double().requires_grad_()
    small = BilinearFaceModel(
        **{
            name: getattr(model, name).double()
            if isinstance(getattr(model, name), torch.Tensor)
            else getattr(model, name)
            for name in model.__dataclass_fields__
            if not name.startswith("_")
        }
    )
    points = torch.arange(4)
    assert torch.autograd.gradcheck(lambda i, e: small.vertices(i, e, points), (identity, expression))


def test_wrong_sizes_and_names_are_refused(model):
    with pytest.raises(ValueError, match="identity: expected"):
        model.vertices(torch.zeros(1, 3), model.expression("happy")[None])
    with pytest.raises(KeyError, match="surprised"):
        model.expression("bored")


def test_intensity_interpolates(model):
    half = model.expression("happy", 0.5)
    assert torch.allclose(half, (model.expression("happy") + model.expression("neutral")) / 2)
    assert model.expression("sad", torch.tensor([0.0, 1.0])).shape == (2, model.num_expression)
    assert torch.equal(model.expression("sad", 0.0), model.expression("neutral"))


def test_frontal_landmarks_follow_the_68_point_convention(model):
    face = model.mean_face()
    camera = Camera.create(scale=10.0, x=100.0, y=100.0)
    points = model.landmarks(camera.project(face[None]))[0, :, :2]
    x, y = points[:, 0], points[:, 1]
    assert (x[:16].diff() > 0).all()  # the jaw runs from the picture's left to its right
    assert y[8] == y.max()
    assert (x[17:26].diff() > 0).all()
    assert (y[27:31].diff() > 0).all()
    assert (x[31:35].diff() > 0).all()
    assert x[36] < x[39] < x[42] < x[45]
    assert (y[37:39] < y[40:42].flip(0)).all()
    assert (y[43:45] < y[46:48].flip(0)).all()
    assert x[48] < x[51] < x[54]
    assert y[51] < y[62] < y[66] + 1 < y[57] + 1  # inner lips may touch
    assert y[17:27].max() < y[36:48].min() < y[30] < y[48:68].min()
    assert y[48:68].max() < y[8]


def test_the_far_jaw_moves_to_the_outline_when_the_head_turns(model):
    face = model.mean_face()[None]
    fixed = torch.from_numpy(model.topology.landmarks).long()
    for yaw, far in ((45.0, slice(9, 17)), (-45.0, slice(0, 8))):
        projected = Camera.create(yaw=yaw, scale=10.0).project(face)
        moved = model.landmark_indices(projected)[0]
        assert (moved[far] != fixed[far]).sum() >= 4
        assert torch.equal(moved[17:], fixed[17:])
        outward = (projected[0, moved[far], 0] - projected[0, fixed[far], 0]) * (1 if yaw > 0 else -1)
        assert (outward >= 0).all()
    frontal = model.landmark_indices(Camera.create(scale=10.0).project(face))[0]
    gap = (model.mean_face()[frontal[:17]] - model.mean_face()[fixed[:17]])[:, :2].norm(dim=-1)
    assert gap.max() < 1.0  # centimetres


def test_saved_and_loaded_it_is_the_same(model, tmp_path):
    path = tmp_path / "model.npz"
    model.save(path)
    loaded = BilinearFaceModel.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    assert torch.equal(loaded.mean_face("sad"), model.mean_face("sad"))
    assert list(loaded.expressions) == list(model.expressions)
    assert np.array_equal(loaded.topology.jaw_contours, model.topology.jaw_contours)
    with np.load(path, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)


def test_damaged_files_are_named(model, tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(ValueError, match="no such file"):
        BilinearFaceModel.load(path)
    model.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.npz: .*truncated"):
        BilinearFaceModel.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ValueError, match="not a face model"):
        BilinearFaceModel.load(path)
    path.write_bytes(whole)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **(arrays | {"version": np.array(99)}))
    with pytest.raises(ValueError, match="version 99"):
        BilinearFaceModel.load(path)
    np.savez(path, **(arrays | {"core": arrays["core"][:, :-1]}))
    with pytest.raises(ValueError, match="identity_mean"):
        BilinearFaceModel.load(path)
    np.savez(path, **{name: value for name, value in arrays.items() if name != "basis"})
    with pytest.raises(ValueError, match="no basis"):
        BilinearFaceModel.load(path)

"""HOSVD: exact for tensors of low rank, and sensible where scans are missing."""

import numpy as np
import pytest
import torch

from lssl.face3d import FaceTopology
from lssl.face3d.model.decomposition import build_model, leading_subspace

VERTICES, PEOPLE, FACES = 120, 18, 6
NAMES = ["neutral", "angry", "happy", "sad", "fearful", "surprised"]


def topology():
    return FaceTopology(
        faces=np.array([[0, 1, 2]]),
        vertex_parts=np.zeros(VERTICES),
        face_parts=np.zeros(1),
        landmarks=np.arange(68),
        jaw_contours=np.arange(17)[:, None],
        mirror=np.arange(VERTICES),
    )


def low_rank_scans(rank_identity=4, rank_expression=3, seed=0):
    rng = np.random.default_rng(seed)
    core = rng.normal(size=(rank_identity, rank_expression, VERTICES, 3))
    identity = rng.normal(size=(PEOPLE, rank_identity))
    expression = rng.normal(size=(FACES, rank_expression))
    return np.einsum("abvc,ia,eb->ievc", core, identity, expression)


def rebuild(model, scans):
    """Scans from the model: identity weights by least squares on all expressions."""
    rows = torch.stack([model.expressions[name] for name in NAMES]).double()
    design = torch.einsum("vcr,rie,xe->ixvc", model.basis.double(), model.core.double(), rows)
    design = design.reshape(model.num_identity, -1).T
    target = torch.from_numpy(scans).reshape(len(scans), -1).T
    weights = torch.linalg.lstsq(design, target).solution
    return (design @ weights).T.reshape(scans.shape).numpy()


def test_a_low_rank_tensor_comes_back_to_float_precision():
    scans = low_rank_scans()
    model, report = build_model(scans, NAMES, topology(), variance=1.0)
    assert report.rms_error < 1e-12
    assert (report.rank_identity, report.rank_expression) == (5, 4)  # and the constant
    assert np.abs(rebuild(model, scans) - scans).max() < 1e-5 * np.abs(scans).max()


def test_weights_are_in_standard_deviations_about_the_mean_face():
    scans = low_rank_scans()
    model, _ = build_model(scans, NAMES, topology(), variance=1.0)
    assert model.identity_mean.tolist() == [1.0] + [0.0] * 4
    mean = scans[:, 0].mean(0)
    assert np.abs(model.mean_face().numpy() - mean).max() < 1e-5 * np.abs(scans).max()
    spread = (model.core[:, 1:] ** 2).sum((0, 2))
    assert (spread.diff() <= 1e-4 * spread[0]).all()  # the first mode is the greatest


def test_missing_scans_of_a_low_rank_tensor_are_found():
    scans = low_rank_scans()
    present = np.ones((PEOPLE, FACES), bool)
    present[[2, 5, 9, 9], [0, 3, 1, 4]] = False
    holes = np.where(present[..., None, None], scans, np.nan)
    model, report = build_model(
        holes, NAMES, topology(), present=present, variance=1.0, max_identity=4, max_expression=3
    )
    assert report.missing == 4
    assert np.abs(rebuild(model, scans) - scans)[~present].max() < 1e-3 * np.abs(scans).max()


def test_missing_scans_beat_the_mean_on_noisy_data():
    rng = np.random.default_rng(3)
    scans = low_rank_scans(seed=3)
    noisy = scans + 0.2 * rng.normal(size=scans.shape)
    present = rng.random((PEOPLE, FACES)) > 0.15
    present[:, 0] = True
    holes = np.where(present[..., None, None], noisy, np.nan)
    model, _ = build_model(holes, NAMES, topology(), present=present, variance=0.995, max_identity=4, max_expression=3)
    guess = rebuild(model, np.where(present[..., None, None], noisy, scans))
    error = np.sqrt(((guess - scans)[~present] ** 2).mean())
    mean = np.nanmean(holes, axis=0)
    naive = np.sqrt(((mean - scans)[~present] ** 2).mean())
    assert error < 0.3 * naive


def test_less_variance_means_fewer_weights_and_more_error():
    scans = low_rank_scans() + 0.05 * np.random.default_rng(1).normal(size=(PEOPLE, FACES, VERTICES, 3))
    _, all_of_it = build_model(scans, NAMES, topology(), variance=0.9999)
    _, some = build_model(scans, NAMES, topology(), variance=0.9)
    assert some.rank_identity < all_of_it.rank_identity
    assert some.rms_error > all_of_it.rms_error
    assert some.retained_identity >= 0.9


def test_people_left_out_are_measured():
    scans = low_rank_scans()
    _, report = build_model(scans, NAMES, topology(), variance=1.0, folds=3)
    assert set(report.held_out_error) == set(report.transfer_error) == set(NAMES)
    assert max(report.held_out_error.values()) < 0.02 * np.abs(scans).max()


def test_albedo_modes_span_the_colours():
    rng = np.random.default_rng(0)
    tone = rng.normal(0, 0.05, (PEOPLE, 1, 1))
    colours = 0.5 + tone * np.ones((1, VERTICES, 3))
    model, _ = build_model(low_rank_scans(), NAMES, topology(), albedos=colours)
    assert model.num_albedo == 1
    assert model.albedo_std[0].item() > 0
    colour = model.albedo(2 * model.albedo_std[None])
    spread = float(tone.std())
    assert (colour - model.albedo_mean).abs().mean().item() == pytest.approx(2 * spread, rel=0.05)


def test_bad_input_is_refused():
    scans = low_rank_scans()
    with pytest.raises(ValueError, match="neutral"):
        build_model(scans, ["x"] * FACES, topology())
    present = np.ones((PEOPLE, FACES), bool)
    present[3] = False
    with pytest.raises(ValueError, match="at least one scan"):
        build_model(scans, NAMES, topology(), present=present)
    with pytest.raises(ValueError, match="not finite"):
        build_model(np.where(np.arange(3) == 1, np.nan, scans), NAMES, topology())
    with pytest.raises(ValueError, match="two identities"):
        build_model(scans[:1], NAMES, topology())


def test_leading_subspace_holds_nearly_all():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 40)) @ np.diag(0.7 ** np.arange(40)) @ rng.normal(size=(40, 500))
    basis = leading_subspace(rows, 20)
    assert np.allclose(basis @ basis.T, np.eye(20), atol=1e-9)
    left = rows - rows @ basis.T @ basis
    assert np.linalg.norm(left) < 2e-3 * np.linalg.norm(rows)

"""Metrics against independent implementations and cases with a known answer."""

import numpy as np
import pytest
from scipy import linalg

from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.evaluation.measures.diversity import different_pairs, pixel_distance
from lssl.evaluation.measures.frechet import frechet_distance
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.measures.kernel import kernel_distance
from lssl.evaluation.measures.precision_recall import precision_recall
from lssl.evaluation.measures.similarity import psnr, ssim


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_frechet_distance_of_a_set_to_itself_is_zero(rng):
    x = rng.normal(size=(200, 16))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_shifted_scaled_gaussians_is_the_closed_form(rng):
    x = rng.normal(size=(200_000, 4))
    y = 2.0 * rng.normal(size=(200_000, 4)) + np.array([1.0, 0, 0, 3.0])
    # |m|^2 + sum (s1 - s2)^2
    assert frechet_distance(x, y) == pytest.approx(10 + 4, rel=0.02)


def test_frechet_distance_agrees_with_a_matrix_square_root(rng):
    x = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8))
    y = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + 0.3
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(c1 @ c2).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_with_fewer_images_than_features_is_finite(rng):
    assert np.isfinite(frechet_distance(rng.normal(size=(20, 64)), rng.normal(size=(20, 64))))


def test_kernel_distance_is_unbiased_around_zero_and_grows_with_a_shift(rng):
    same, spread = kernel_distance(rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8)), subset_size=500)
    shifted, _ = kernel_distance(rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8)) + 0.5, subset_size=500)
    assert abs(same) < 3 * spread
    assert shifted > 10 * abs(same)


def test_kernel_distance_equals_the_plain_double_sum(rng):
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 5)) + 0.2
    k = lambda a, b: (a @ b / 5 + 1) ** 3  # noqa: E731
    off = [k(x[i], x[j]) + k(y[i], y[j]) for i in range(30) for j in range(30) if i != j]
    cross = [k(a, b) for a in x for b in y]
    assert kernel_distance(x, y)[0] == pytest.approx(np.sum(off) / (30 * 29) - 2 * np.mean(cross), rel=1e-9)


def test_precision_and_recall_see_dropped_modes_and_wrong_images(rng):
    left, right = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 100
    dropped = precision_recall(np.vstack([left, right]), rng.normal(size=(400, 2)))
    assert dropped.precision > 0.9
    assert dropped.recall == pytest.approx(0.5, abs=0.05)
    wrong = precision_recall(left, right)
    assert wrong.precision == wrong.recall == 0


def test_image_similarity_of_equal_and_noisy_pairs(rng):
    image = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert (ssim(image, image), psnr(image, image)) == (1.0, 100.0)
    shifted = np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8)
    likeness, ratio = ssim(image, shifted), psnr(image, shifted)
    assert likeness < 1
    assert ratio == pytest.approx(20 * np.log10(255 / 10), abs=0.3)


def test_identity_distance_keeps_missing_faces_missing():
    first, second = np.zeros((2, 4)), np.array([[3.0, 4, 0, 0], [np.nan] * 4])
    distance = identity_distance(first, second)
    assert distance[0] == 5
    assert np.isnan(distance[1])


def test_pairs_agree_and_differ_as_asked_and_none_comes_twice():
    same = ["a", "a", "a", "b", "b", "c"]
    differ = [0, 1, 1, 0, 2, 0]
    pairs = different_pairs(same, differ)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {(0, 1), (0, 2), (3, 4)}
    assert len(pairs) == 3
    few = different_pairs(["a"] * 100, list(range(100)), most=40, seed=1)
    assert len({tuple(sorted(pair)) for pair in few.tolist()}) == 40
    assert different_pairs(["a", "b"], [0, 1]).shape == (0, 2)


def test_diversity_sees_the_mean_face_and_the_ignored_target(rng):
    inputs = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    source, target = np.repeat(np.arange(6), 3).tolist(), np.tile(np.arange(3), 6).tolist()

    def over(same, differ, images):
        pairs = different_pairs(same, differ)
        return pixel_distance(images[pairs[:, 0]], images[pairs[:, 1]])

    mean_face = np.broadcast_to(inputs[:1], (18, 8, 8, 3))
    assert over(target, source, mean_face) == 0
    copies = np.repeat(inputs, 3, axis=0)
    assert over(source, target, copies) == 0
    assert over(target, source, copies) == pytest.approx(over([0] * 6, range(6), inputs))


def test_pixel_distance_of_a_constant_shift_is_the_shift(rng):
    image = rng.integers(0, 200, (3, 8, 8, 3), dtype=np.uint8)
    assert pixel_distance(image, image + 20) == pixel_distance(image + 20, image) == 20


def test_distances_are_those_of_torchmetrics_formulas(rng):
    """FID and KID as torchmetrics computes them: eigenvalues of C1 C2, and the polynomial kernel's unbiased MMD."""
    x, y = rng.normal(size=(60, 6)), rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)) + 0.4
    c1, c2 = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(c1 @ c2).astype(complex)).real.sum()
    fid = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(fid, rel=1e-8)

    def kernel(a, b):
        return (a @ b.T * (1 / 6) + 1.0) ** 3

    m, kxx, kyy, kxy = 60, kernel(x, x), kernel(y, y), kernel(x, y)
    kxx_sums, kyy_sums = kxx.sum(1) - np.diag(kxx), kyy.sum(1) - np.diag(kyy)
    kid = (kxx_sums.sum() + kyy_sums.sum()) / (m * (m - 1)) - 2 * kxy.sum(0).sum() / m**2
    assert kernel_distance(x, y)[0] == pytest.approx(kid, rel=1e-9)


def test_precision_recall_is_the_definition_and_does_not_depend_on_parts(rng, monkeypatch):
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) + 0.8

    def covered(centres, points, k=3):
        inside = 0
        for p in points:
            inside += any(
                np.linalg.norm(p - c) <= sorted(np.linalg.norm(c - other) for other in centres)[k] for c in centres
            )
        return inside / len(points)

    whole = precision_recall(real, fake)
    assert whole.precision == pytest.approx(covered(real, fake))
    assert whole.recall == pytest.approx(covered(fake, real))
    monkeypatch.setattr("lssl.evaluation.measures.precision_recall._PART", 7)
    assert precision_recall(real, fake) == whole


def test_image_similarity_is_the_ssim_formula(rng):
    """Wang et al. 2004 with scikit-image's 7x7 uniform window, sample covariance, mean over the inside and channels."""
    first = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    second = np.clip(first + rng.normal(0, 20, first.shape), 0, 255).astype(np.uint8)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for channel in range(3):
        a, b = first[0, ..., channel].astype(float), second[0, ..., channel].astype(float)
        for row in range(10):
            for column in range(10):
                u, v = a[row : row + 7, column : column + 7], b[row : row + 7, column : column + 7]
                cov = np.cov(u.ravel(), v.ravel())
                values.append(
                    (2 * u.mean() * v.mean() + c1)
                    * (2 * cov[0, 1] + c2)
                    / ((u.mean() ** 2 + v.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2))
                )
    likeness, ratio = ssim(first, second), psnr(first, second)
    assert likeness == pytest.approx(np.mean(values), rel=1e-6)
    assert ratio == pytest.approx(10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2)))


def test_confusion_matrix_counts_rows_true_columns_predicted():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_errors_name_the_argument(rng):
    with pytest.raises(ValueError, match=r"fake must be \(N, D\)"):
        frechet_distance(rng.normal(size=(4, 2)), rng.normal(size=4))
    with pytest.raises(ValueError, match="real holds values that are not finite"):
        kernel_distance(np.full((4, 2), np.nan), rng.normal(size=(4, 2)))

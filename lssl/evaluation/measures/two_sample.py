"""The two-sample test: can a fresh classifier, on people that it never saw, tell made pictures from real ones?

(Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests".) The result is the area under the ROC curve: how often,
of a made and a real picture, the made one scores higher. 0.5 is perfect; at 1, every made picture is recognised as made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.evaluation.measures.picture_classifier import PictureFeatures, kernel, picture_features, ridge_scores

_MOST = 300  # pictures of each kind; the kernel's size is the square of their number
_TIE = 1e-9


@dataclass(frozen=True)
class TwoSample:
    """area: under the curve, 0.5 to 1 (by chance a little under 0.5). low, high: its 95% interval over people.

    people: how many people. made, real: how many pictures.
    """

    area: float
    low: float
    high: float
    people: int
    made: int
    real: int


def two_sample_test(
    real: NDArray[np.uint8],
    made: NDArray[np.uint8],
    real_people: Sequence[str],
    made_people: Sequence[str],
    *,
    folds: int = 5,
    repeats: int = 3,
    resamples: int = 1000,
    seed: int = 0,
) -> TwoSample:
    """Trains on the real and made pictures of some people and tests on those of the others, in turn.

    Args:
        real, made: uint8 (N, H, W, 3) and (M, H, W, 3), crops taken in the same way. If there are more than 300, a random
            choice by `seed` is used.
        real_people, made_people: whom each shows; nobody is both trained on and tested.
        folds: how many parts to split the people into, at random, `repeats` times.
        resamples: bootstrap samples of people for the interval, which covers the choice of the people tested, but not of
            those trained on.

    Raises ValueError for fewer than two people with real or with made pictures, and for crops of different sizes.
    """
    real_rows, made_rows = _chosen(len(real), seed), _chosen(len(made), seed + 1)
    real, made = real[real_rows], made[made_rows]
    if real.shape[1:] != made.shape[1:]:
        raise ValueError(f"real crops are {real.shape[1:]}, made ones {made.shape[1:]}")
    owners = [real_people[row] for row in real_rows] + [made_people[row] for row in made_rows]
    features = PictureFeatures.joined([picture_features(real, seed), picture_features(made, seed)])
    return _test(kernel(features), len(real), owners, folds, repeats, resamples, seed)


def halves_control(
    real: NDArray[np.uint8],
    rewritten: NDArray[np.uint8],
    people: Sequence[str],
    *,
    halvings: int = 20,
    folds: int = 5,
    seed: int = 0,
) -> tuple[float, float]:
    """A control of the test itself: half of the people's real pictures against the other half's, which went through all the
    processing of made pictures, but unchanged.

    real, rewritten: uint8 (N, H, W, 3), the same pictures before and after that processing; people: (N,).
    Returns (mean, its standard error) of the area over random halvings; about 0.5 if the test is unbiased and the
    processing leaves no trace.
    """
    rows = _chosen(len(real), seed)
    features = PictureFeatures.joined([picture_features(real[rows], seed), picture_features(rewritten[rows], seed)])
    values = kernel(features)
    owners = np.array([people[row] for row in rows])
    names = np.unique(owners)
    rng = np.random.default_rng(seed)
    areas = []
    for halving in range(halvings):
        first = np.isin(owners, rng.permutation(names)[: len(names) // 2])
        chosen = np.concatenate([np.flatnonzero(first), len(rows) + np.flatnonzero(~first)])
        part = values[chosen][:, :, chosen]
        who = [*owners[first], *owners[~first]]
        areas.append(_test(part, int(first.sum()), who, folds, 1, 0, seed + halving).area)
    return float(np.mean(areas)), float(np.std(areas, ddof=1) / np.sqrt(halvings))


def _test(
    values: torch.Tensor, real: int, owners: Sequence[str], folds: int, repeats: int, resamples: int, seed: int
) -> TwoSample:
    """The test on a kernel (N, V, N, V) whose first `real` pictures are real."""
    names, who = np.unique(np.array(owners), return_inverse=True)
    sides = [len(np.unique(part)) for part in (who[:real], who[real:])]
    if min(sides) < 2:
        raise ValueError(
            f"at least two people with real and two with made pictures are needed; there are {sides[0]} and {sides[1]}"
        )
    made = len(owners) - real
    labels = torch.cat([torch.zeros(real, dtype=torch.long), torch.ones(made, dtype=torch.long)])
    rng = np.random.default_rng(seed)
    above, compared = np.zeros((real, made)), np.zeros((real, made))
    for _ in range(repeats):
        fold = _spread_folds(who, real, min(folds, *sides), rng)[who]
        for k in range(fold.max() + 1):
            test, train = torch.from_numpy(np.flatnonzero(fold == k)), torch.from_numpy(np.flatnonzero(fold != k))
            scores = ridge_scores(values, labels, train, test)
            score = (scores[:, 1] - scores[:, 0]).numpy()
            rows = test.numpy()
            r, m = rows[rows < real], rows[rows >= real] - real
            ahead = score[rows >= real][None] - score[rows < real][:, None]
            above[np.ix_(r, m)] += np.where(np.abs(ahead) <= _TIE, 0.5, ahead > 0)
            compared[np.ix_(r, m)] += 1
    area = above.sum() / compared.sum()
    draws = []
    for _ in range(resamples):
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(float)[who]
        pairs = weight[:real] @ compared @ weight[real:]
        if pairs:
            draws.append(weight[:real] @ above @ weight[real:] / pairs)
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (area, area)
    return TwoSample(float(area), float(low), float(high), len(names), made, real)


def _spread_folds(who: NDArray[np.int_], real: int, folds: int, rng: np.random.Generator) -> NDArray[np.int_]:
    """Each person's fold, such that people with made pictures are spread evenly over the folds, and so are the others."""
    people = who.max() + 1
    fold = np.empty(people, int)
    has_made = np.isin(np.arange(people), who[real:])
    for group in (np.flatnonzero(has_made), np.flatnonzero(~has_made)):
        fold[rng.permutation(group)] = np.arange(len(group)) % folds
    return fold


def _chosen(count: int, seed: int) -> NDArray[np.int_]:
    if count <= _MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST, replace=False))

"""Judges of expressions that see detail: classifiers of real faces at several sizes, of the whole face or the mouth alone.

At 64 pixels, a tint can pass for a smile. A picture that only the judges of small pictures recognise has been painted, not
changed in shape; so the report gives each judge's agreement, the smallest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.evaluation.measures.picture_classifier import kernel, picture_features, ridge_scores
from lssl.evaluation.measures.portraits import FACE, MOUTH, FacePicture, Region, region_crops

SIZES = (64, 128, 256)


@dataclass(frozen=True)
class Judgement:
    """Percent recognised by one judge, of people that it did not learn from: `made` pictures as the class asked for, `real`
    ones as what they show.

    made_beside, real_beside: the same with scores relative to the mean over the person's own photographs of all classes
        (one person's mouth at rest is another's smile); NaN if nobody has one of each.
    recognised, recognised_real: (N,) and (R,), whether each made and each real picture is recognised, without that correction.
    """

    judge: str
    made: float
    real: float
    made_beside: float
    real_beside: float
    recognised: NDArray[np.bool_]
    recognised_real: NDArray[np.bool_]


def judge_expressions(
    real: Sequence[FacePicture], made: Sequence[FacePicture], scale: float, *, folds: int = 5, seed: int = 0
) -> list[Judgement]:
    """Each judge's agreement, smallest first. Judges learn from the real pictures of other people, in folds.

    Args:
        real: pictures of all classes to distinguish, including those of `made`.
        made: pictures whose `label` is the class asked for.
        scale: pixels between the eyes; sizes at which faces would be enlarged are left out, except the smallest.
    Raises ValueError for a made picture of a class without real ones, or fewer people than folds.
    """
    classes = sorted({portrait.label for portrait in real})
    unknown = {portrait.label for portrait in made} - set(classes)
    if unknown:
        raise ValueError(f"no real picture shows '{min(unknown)}'")
    result = []
    for size in SIZES:
        # A face of `size` pixels: FACE spans 3.33 eye distances.
        detail = size / (FACE.width * scale)
        if detail > 1.1 and size > min(SIZES):
            continue
        for part in (FACE, MOUTH):
            region = Region(part.name, part.width, part.height, part.below, detail)
            name = f"{part.name}, {size} pixels" if part is FACE else f"mouth of a {size} pixel face"
            result.append(_judge(name, real, made, region, scale, classes, folds, seed))
    return sorted(result, key=lambda judgement: judgement.made)


def _judge(
    name: str,
    real: Sequence[FacePicture],
    made: Sequence[FacePicture],
    region: Region,
    scale: float,
    classes: Sequence[str],
    folds: int,
    seed: int,
) -> Judgement:
    portraits = [*real, *made]
    labels = torch.tensor([classes.index(portrait.label) for portrait in portraits])
    values = kernel(picture_features(region_crops(portraits, region, scale), seed))
    names, who = np.unique(np.array([portrait.subject for portrait in portraits]), return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{len(names)} people cannot be split into {folds} folds")
    fold = np.empty(len(names), int)
    fold[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % folds
    scores = np.zeros((len(portraits), len(classes)))
    is_real = np.arange(len(portraits)) < len(real)
    for k in range(folds):
        test = torch.from_numpy(np.flatnonzero(fold[who] == k))
        train = torch.from_numpy(np.flatnonzero((fold[who] != k) & is_real))
        scores[test.numpy()] = ridge_scores(values, labels, train, test, len(classes)).numpy()
    truth = labels.numpy()
    alone = scores.argmax(1) == truth
    middle = own_middle(scores[is_real], truth[is_real], who[is_real])
    beside = scores - np.stack([middle.get(person, np.full(len(classes), np.nan)) for person in who])
    known = np.isfinite(beside).all(1)
    right = np.where(known, np.where(known[:, None], beside, 0).argmax(1) == truth, False)

    def percent(values: NDArray[np.bool_], rows: NDArray[np.bool_]) -> float:
        return 100 * float(values[rows].mean()) if rows.any() else float("nan")

    return Judgement(
        name,
        percent(alone, ~is_real),
        percent(alone, is_real),
        percent(right, ~is_real & known),
        percent(right, is_real & known),
        alone[~is_real],
        alone[is_real],
    )


def own_middle(
    scores: NDArray[np.float64], classes: NDArray[np.int64], people: NDArray[np.int_]
) -> dict[int, NDArray[np.float64]]:
    """For each person with a real picture of every class: the mean of the person's scores, with equal weight for each class,
    (C,). scores: (N, C). classes, people: (N,)."""
    result = {}
    for person in np.unique(people):
        own = [scores[(people == person) & (classes == k)] for k in range(scores.shape[1])]
        if all(map(len, own)):
            result[int(person)] = np.mean([part.mean(0) for part in own], axis=0)
    return result

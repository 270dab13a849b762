"""Whether a data set's faces may be mirrored: not if a class is one-sided, as contempt is, or a turn of the head."""

from lssl.data import FaceDataset
from lssl.data.landmarks import flip_landmarks, half_sides
from lssl.data.schema import SIDED
from lssl.training.config import TrainConfig
from lssl.training.movement import LANDMARK_DEPTH, pose_between, with_pose

_FEWEST = 10  # faces with a value, and faces without it, that allow a judgement
_ONE_SIDED = 0.3  # how far a value's mean shape is moved to one side, as a share of how far it is moved on both
_CHANCE = 3.0  # standard errors within which one side is chance


def one_sided(dataset: FaceDataset) -> list[str]:
    """The attribute values that look different in the mirror, by the landmarks' means; empty without landmarks.

    A mirrored face still shows what it did, but a generator that is taught both sides makes their mean: contempt with both
    corners of the mouth half raised, which is a slight smile. Faces are compared looking straight ahead (`with_pose`), without
    their contour.
    """
    if dataset.landmarks is None:
        return []
    points = half_sides(dataset.landmarks, dataset.size)
    mirrored = half_sides(flip_landmarks(dataset.landmarks, dataset.size[1]), dataset.size)
    straight = ((points + mirrored) / 2).mean(0).expand_as(points)
    points, mirrored = (
        with_pose(faces, pose_between(faces, straight), LANDMARK_DEPTH)[:, 17:].flatten(1)
        for faces in (points, mirrored)
    )
    both, aside = (points + mirrored) / 2, (points - mirrored) / 2
    found = []
    for name, has in zip(dataset.schema.names, dataset.y.T > 0.5, strict=True):
        if min(has.sum(), (~has).sum()) < _FEWEST:
            continue
        chance = aside[has].var(0) / has.sum() + aside[~has].var(0) / (~has).sum()
        to_side = (aside[has].mean(0) - aside[~has].mean(0)).square().sum()
        on_both = (both[has].mean(0) - both[~has].mean(0)).square().sum()
        if to_side > _CHANCE**2 * chance.sum() and to_side > _ONE_SIDED**2 * on_both:
            found.append(name)
    return found


def may_mirror(config: TrainConfig, dataset: FaceDataset) -> bool:
    """What `data.flip` means for a data set. Where heads turn (yaw), mirroring would turn them to the other side, but their
    labels would stay, so it is never done."""
    if any(group.name in SIDED for group in dataset.schema.groups):
        return False
    return config.data.flip == "on" or (config.data.flip == "auto" and not one_sided(dataset))

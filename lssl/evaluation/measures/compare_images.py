"""How synthesized pictures compare with real ones: distances between the sets, pairs, diversity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import detect, to_float
from lssl.errors import LsslError
from lssl.evaluation.measures import find_pair_measures
from lssl.evaluation.measures.diversity import pixel_distance
from lssl.evaluation.measures.features import FeatureNetwork, extract_features
from lssl.evaluation.measures.frechet import frechet_distance
from lssl.evaluation.measures.identity import identity_distance
from lssl.evaluation.measures.image_sets import ImageSet, PairImages
from lssl.evaluation.measures.kernel import kernel_distance
from lssl.evaluation.measures.precision_recall import precision_recall
from lssl.evaluation.report import Table
from lssl.models.pretrained.lpips import LPIPS

#: Embeddings (N, D) of pictures uint8 (N, H, W, 3), with landmarks (N, 68, 2) if they are known.
Embedding = Callable[[NDArray[np.uint8], NDArray[np.float32] | None], NDArray[np.floating]]
SAME_PERSON = 0.6  # dlib's threshold
_FEWEST = 8  # pictures of a set
_BATCH = 16


@dataclass(frozen=True)
class Judges:
    """The networks to measure with: features of the sets, LPIPS of pairs, identity of pairs; None if not available."""

    network: FeatureNetwork
    lpips: LPIPS | None = None
    identity: Embedding | None = None
    identity_name: str = ""


def dlib_embedding(images: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> NDArray[np.floating]:
    """dlib's 128 numbers per face, (N, 128); see `lssl.data.detect.identity_embedding`."""
    return detect.identity_embedding(images, landmarks)


def network_embedding(network: FeatureNetwork) -> Embedding:
    """A network's features scaled to length 1, so that distances lie between 0 and 2 whatever the network."""

    @torch.inference_mode()
    def embed(images: NDArray[np.uint8], _landmarks: NDArray[np.float32] | None) -> NDArray[np.floating]:
        parts = []
        for chunk in torch.from_numpy(images).permute(0, 3, 1, 2).split(_BATCH):
            features = network.features(to_float(chunk.to(network.device)))
            parts.append(torch.nn.functional.normalize(features.float(), dim=1).cpu().numpy())
        return np.concatenate(parts)

    return embed


def set_distances(
    real: ImageSet, fake: ImageSet, judges: Judges, cache: Path | None, *, seed: int = 0, progress: bool = False
) -> tuple[Table, NDArray[np.float32], NDArray[np.float32]]:
    """FID, KID, precision and recall of the fakes and, for comparison, of one half of the real people against the other.

    cache: a folder for features. Returns the table and the features (N, D) of both sets. Raises LsslError for a set with
    fewer than eight pictures.
    """
    for part in (real, fake):
        if len(part) < _FEWEST:
            raise LsslError(f"{part.folder.root}: {len(part)} pictures; distances need at least {_FEWEST}")
    real_features, fake_features = (
        extract_features(judges.network, part, cache, progress=f"features of {name}" if progress else "")
        for name, part in (("REAL", real), ("FAKE", fake))
    )
    first, second = _halves(real, seed)
    strangers = _fakes_of_others(real.select(first.tolist()), fake, seed)
    count = min(len(first), len(second), len(strangers))
    a, b, c = real_features[first[:count]], real_features[second[:count]], fake_features[strangers[:count]]
    rows: list[list[Any]] = [["FID, all pictures", frechet_distance(real_features, fake_features), None]]
    subset = max(2, min(1000, count // 2))
    fake_pr, real_pr = precision_recall(a, c), precision_recall(a, b)
    rows += [
        [f"FID, {count} against {count}", frechet_distance(a, c), frechet_distance(a, b)],
        [
            "KID",
            kernel_distance(a, c, subset_size=subset, seed=seed),
            kernel_distance(a, b, subset_size=subset, seed=seed),
        ],
        ["precision", fake_pr.precision, real_pr.precision],
        ["recall", fake_pr.recall, real_pr.recall],
    ]
    known = real.column("subject") is not None
    parted = "people" if known else "pictures"
    note = (
        f"Features: {judges.network.name}. {_count(real)} real, {_count(fake)} fake; all rows but the first compare "
        f"{count} with {count}: half of the real {parted} with fakes{' of others' if known else ''} and, in the last "
        "column, with the other half, which is the best that can be expected. FID rises as sets shrink; KID does not, and "
        "is given with its standard deviation over subsets. Fakes of few people cannot have a high recall of many."
    )
    header = ["measure", "fake against real", "real against real"]
    return Table("Distances between the sets", header, rows, note), real_features, fake_features


def pair_measures(columns: Sequence[tuple[str, PairImages | None]], judges: Judges) -> tuple[Table, dict[str, Any]]:
    """A table of SSIM, PSNR, LPIPS and identity distance with a column for each kind of pairs (None: there are none), and
    the identity distances by column."""
    measured = {name: _measure(pairs, judges) if pairs is not None and len(pairs) else {} for name, pairs in columns}
    names = [*dict.fromkeys(key for values in measured.values() for key in values)]
    rows = [[name, *(measured[column].get(name) for column, _ in columns)] for name in names if name != "distances"]
    note = "Means over pairs. SSIM: 1 is equal. PSNR in dB."
    if judges.lpips is not None:
        note += " LPIPS: 0 is equal."
    if judges.identity is not None:
        note += f" The identity distance is a median, by {judges.identity_name}."
    distances = {name: values.get("distances", []) for name, values in measured.items()}
    return Table("Pairs", ["measure", *(name for name, _ in columns)], rows, note), distances


def diversity_table(columns: Sequence[tuple[str, PairImages | None, PairImages | None]], judges: Judges) -> Table:
    """Mean distance of pairs of fakes and of pairs of real pictures, and their ratio; a row per kind of pairs. columns:
    (name, fake pairs, real pairs)."""
    rows: list[list[Any]] = []
    kinds: list[tuple[str, Callable[[PairImages], float]]] = [("L1", lambda p: pixel_distance(p.first, p.second))]
    if judges.lpips is not None:
        kinds.append(("LPIPS", lambda p: _lpips(judges.lpips, p)))
    for name, fake, real in columns:
        for kind, measure in kinds:
            ours = measure(fake) if fake is not None and len(fake) else None
            theirs = measure(real) if real is not None and len(real) else None
            ratio = ours / theirs if ours is not None and theirs else None
            rows.append([f"{name}, {kind}", ours, theirs, ratio])
    note = (
        "Mean distance between two pictures (L1 on 0 to 255). Much less than between real pictures means that all faces "
        "have become the same (over people: mode collapse) or that the target is ignored (over targets)."
    )
    return Table("Diversity", ["between", "fake", "real", "ratio"], rows, note)


def _count(images: ImageSet) -> str:
    subjects = images.column("subject")
    return f"{len(images)} pictures" + (f" of {len(set(subjects))} people" if subjects else "")


def _halves(real: ImageSet, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two halves, shuffled, with no person in both (unless people are not known or there is only one)."""
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(len(real))
    subjects = real.column("subject")
    if subjects is None or len(set(subjects)) < 2:
        return order[::2], order[1::2]
    people = rng.permutation(sorted(set(subjects)))
    first_people = set(people[: len(people) // 2].tolist())
    in_first = np.array([subjects[row] in first_people for row in order])
    return order[in_first], order[~in_first]


def _fakes_of_others(real: ImageSet, fake: ImageSet, seed: int) -> NDArray[np.int64]:
    """Rows of the fakes, shuffled, without those of people in `real`, since copies of these would score better than real
    pictures of other people. All rows if the people are not known, or if nearly all are in `real`."""
    order = np.random.default_rng([seed, 1]).permutation(len(fake))
    people, subjects = real.column("subject"), fake.column("subject")
    if people is None or subjects is None:
        return order
    known = set(people)
    others = np.array([row for row in order if subjects[row] not in known], np.int64)
    return others if len(others) >= _FEWEST // 2 else order


def _measure(pairs: PairImages, judges: Judges) -> dict[str, Any]:
    values: dict[str, Any] = {"pairs": len(pairs)}
    for name, measure in find_pair_measures().items():
        values[name] = measure(pairs.first, pairs.second)
    if judges.lpips is not None:
        values["LPIPS"] = _lpips(judges.lpips, pairs)
    if judges.identity is not None:
        first = judges.identity(pairs.first, pairs.first_landmarks)
        distances = identity_distance(first, judges.identity(pairs.second, pairs.second_landmarks))
        values["identity distance"] = float(np.median(distances))
        if judges.identity is dlib_embedding:
            values[f"same person (under {SAME_PERSON}), %"] = 100 * float((distances < SAME_PERSON).mean())
        values["distances"] = distances.round(4).tolist()
    return values


@torch.inference_mode()
def _lpips(model: LPIPS | None, pairs: PairImages) -> float:
    assert model is not None
    device = model.shift.device
    total = 0.0
    for start in range(0, len(pairs), _BATCH):
        both = [torch.from_numpy(p[start : start + _BATCH]).permute(0, 3, 1, 2) for p in (pairs.first, pairs.second)]
        total += float(model(*(to_float(images.to(device)) for images in both)).sum())
    return total / len(pairs)

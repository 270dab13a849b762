"""The report of `lssl evaluate images`: every measure of the fakes, and pictures that explain the measures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data.schema import AttributeSchema
from lssl.data.sheet import labelled_grid
from lssl.errors import LsslError
from lssl.evaluation.experiments.fold_training import kept_classifier
from lssl.evaluation.measures.compare_images import Judges, diversity_table, pair_measures, set_distances
from lssl.evaluation.measures.features import FeatureNetwork, classifier_network
from lssl.evaluation.measures.image_sets import (
    MADE_FROM,
    ImageSet,
    PairImages,
    made_pairs,
    one_each,
    pair_up,
    pairs_within,
)
from lssl.evaluation.report import Report
from lssl.training.classifier_training import ClassifierConfig

_SHOWN = 8


def own_network(
    real: ImageSet,
    attribute: str | None,
    out: Path,
    *,
    iterations: int = 0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> FeatureNetwork:
    """A small classifier of the real pictures' labels, trained now and kept in `out`, for features if no network is given.

    Raises LsslError if the pictures have no labels to learn from.
    """
    if attribute is None:
        raise LsslError(
            f"{real.folder.root} has no attribute to train a feature network on; give one with --network "
            "(Inception weights, or a classifier of `lssl train-classifier`), or make a data set folder with classes "
            "of it (`lssl prepare folder`)"
        )
    if attribute not in real.folder.columns:
        raise LsslError(f"{real.folder.root} has no column '{attribute}' to train a feature network on")
    group = AttributeSchema.from_columns({attribute: real.folder.columns[attribute]}).groups[0]
    config = ClassifierConfig(iterations=iterations, seed=seed)
    classifier = kept_classifier(config, real.folder, group, out, device=device, quiet=quiet)
    return classifier_network(classifier, f"a small classifier of {attribute}, trained on these real pictures")


def compare_images(
    report: Report,
    real: ImageSet,
    fake: ImageSet,
    sources: ImageSet,
    judges: Judges,
    *,
    attribute: str | None,
    pairs: int = 300,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = False,
) -> None:
    """Adds all tables and pictures to the report.

    Args:
        sources: where the fakes' inputs are looked up: the whole folder, of which `real` may be a part.
        attribute: the column that says what was synthesized.
        pairs: the largest number of pairs of each kind to measure.
        cache: a folder for features, so that a stopped run can be continued.
    """
    table, real_features, fake_features = set_distances(real, fake, judges, cache, seed=seed, progress=progress)
    report.table(table)
    made = pair_up(sources, fake)
    images: PairImages | None = None
    if made is None:
        report.paragraph(
            "It is not known which picture each fake was made from (there is no column made_from, and no equal file names), "
            "so nothing is measured on pairs."
        )
    else:
        made, images = made_pairs(sources, fake, made, pairs, seed)
    within = {
        (name, over): pairs_within(part, attribute, over=over, most=pairs, seed=seed)
        for name, part in (("real", real), ("fake", fake))
        for over in ("targets", "people")
    }
    distances = _add_pair_tables(report, images, within, judges, attribute or "class", "" if made is None else made.by)
    labels = (None if attribute is None else fake.column(attribute)) or [""] * len(fake)
    report.heading("Pictures")
    if made is not None and images is not None:
        _show_pairs(report, images, [labels[row] for row in made.fake])
        _show_strangers(report, images, distances["fake and its source"], made.source)
    _show_farthest(report, real, fake, real_features, fake_features, labels)
    report.results.update(
        real={"folder": str(real.folder.root), "pictures": len(real)},
        fake={"folder": str(fake.folder.root), "pictures": len(fake)},
        network=judges.network.name,
        attribute=attribute,
        pairs=0 if made is None else len(made),
    )


def _add_pair_tables(
    report: Report,
    images: PairImages | None,
    within: Mapping[tuple[str, str], PairImages | None],
    judges: Judges,
    what: str,
    by: str,
) -> dict[str, Any]:
    """Adds what is measured on pairs, and how diverse sets are; returns the identity distances of each kind of pair.

    images: fakes and their sources, identified `by` something. within: pairs of (real or fake, targets or people).
    """
    columns: list[tuple[str, PairImages | None]] = [
        ("fake and its source", images),
        (f"real: one person, another {what}", within["real", "targets"]),
        (f"real: two people, one {what}", within["real", "people"]),
    ]
    measured, distances = pair_measures(columns, judges)
    if measured.rows:
        if by:
            measured.note += f" Sources are identified by {by}."
        report.table(measured)
        report.results["identity_distances"] = distances
    # If each input was changed to one target only, its source takes the other one's place.
    targets = ("targets of one input", within["fake", "targets"] or images, within["real", "targets"])
    people = (f"people of one {what}", within["fake", "people"], within["real", "people"])
    report.table(diversity_table([targets, people], judges))
    return distances


def _show_pairs(report: Report, images: PairImages, labels: Sequence[str]) -> None:
    """A few pairs, of as many different targets as possible."""
    turns: dict[str, list[int]] = {}
    for k, label in enumerate(labels):
        turns.setdefault(label, []).append(k)
    order = [rows[n] for n in range(max(map(len, turns.values()))) for rows in turns.values() if n < len(rows)]
    chosen = sorted(order[:_SHOWN], key=lambda k: labels[k])
    report.image(
        _stacked(images.first[chosen], images.second[chosen], [labels[k] for k in chosen]),
        "Sources above, what was made from them below, under the name of the target.",
    )


def _show_strangers(report: Report, images: PairImages, distances: Sequence[float], sources: Sequence[int]) -> None:
    if not distances:
        return
    worst = one_each(np.argsort(distances)[::-1].tolist(), sources, _SHOWN)
    report.image(
        _stacked(images.first[worst], images.second[worst], [f"{distances[k]:.2f}" for k in worst]),
        "The pairs with the largest identity distance, which is given: source above, fake below.",
    )


def _show_farthest(
    report: Report,
    real: ImageSet,
    fake: ImageSet,
    real_features: NDArray[np.float32],
    fake_features: NDArray[np.float32],
    labels: Sequence[str],
) -> None:
    """The fakes that are farthest from any real picture, each above the real picture nearest to it."""
    nearest = np.zeros(len(fake), np.int64)
    distance = np.zeros(len(fake))
    real_square = (real_features**2).sum(1)
    for start in range(0, len(fake), 1000):
        part = fake_features[start : start + 1000]
        squared = (part**2).sum(1)[:, None] + real_square - 2 * part @ real_features.T
        nearest[start : start + 1000] = squared.argmin(1)
        distance[start : start + 1000] = squared.min(1)
    made_from = fake.column(MADE_FROM) or fake.folder.file_names
    worst = one_each(np.argsort(distance)[::-1].tolist(), made_from, _SHOWN)
    report.image(
        _stacked(fake.read(worst), real.read(nearest[worst].tolist()), [labels[k] for k in worst]),
        "The fakes least like any real picture in the network's features, each above the real picture nearest to it.",
    )


def _stacked(above: NDArray[np.uint8], below: NDArray[np.uint8], names: Sequence[str]) -> NDArray[np.uint8]:
    """One column per pair, one picture above the other, under their name."""
    columns = [torch.from_numpy(np.stack(pair)).permute(0, 3, 1, 2) for pair in zip(above, below, strict=True)]
    return np.asarray(labelled_grid(columns, list(names)))

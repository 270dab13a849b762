"""Methods to compare: each is trained on the same faces of the same folds, once per seed; and a table of what was the same."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lssl.data import AttributeSchema, FaceFolder
from lssl.errors import LsslError
from lssl.evaluation.experiments.experiment import Experiment, Settings, over_folds
from lssl.evaluation.experiments.fold_training import train_fold_generator
from lssl.evaluation.report import Table
from lssl.models.cyclegan import CycleGANGenerator
from lssl.models.export import TrainedGenerator
from lssl.training.config import TrainConfig
from lssl.training.metrics import read_metrics

#: What the paper's tables call the method of a preset.
IN_THE_PAPER = {"paper": "LSSL", "stargan": "StarGAN", "cyclegan": "CycleGAN", "icgan": "IcGAN"}


@dataclass(frozen=True)
class Contender:
    """A row of the tables: a preset by its name, with the changes made to all contenders."""

    name: str
    config: TrainConfig


def open_contenders(
    names: Sequence[str], settings: Settings, changes: Mapping[str, Any], quick: Mapping[str, Any] | None = None
) -> list[Contender]:
    """The presets by name, each with those changes whose settings it has.

    changes: as `TrainConfig.with_overrides` takes them. quick: changes that `changes` override.
    Raises LsslError for an unknown or repeated name, and for a change to a setting that none of them has.
    """
    if len(set(names)) < len(names):
        raise LsslError(f"a method is named twice: {', '.join(names)}")
    presets = {name: TrainConfig.preset(name) for name in names}
    for change in changes:
        if not any(config.has(change) for config in presets.values()):
            raise LsslError(f"no setting '{change}' in {', '.join(names)}")
    chosen = []
    for name, config in presets.items():
        own = {k: v for k, v in {**(quick or {}), **changes}.items() if config.has(k)}
        chosen.append(Contender(name, config.with_overrides({"seed": settings.seed, "data.folder": "", **own})))
    return chosen


def train_contender(
    experiment: Experiment,
    contender: Contender,
    train: FaceFolder,
    seed: int,
    out: Path,
    *,
    parser_path: Path | None = None,
    schema: AttributeSchema | None = None,
) -> tuple[TrainedGenerator, dict[str, Any]]:
    """The contender's generator, trained only on `train`, and the facts for `same_table`.

    seed: added to the experiment's. parser_path, schema: see `train_fold_generator`. The seconds include earlier calls that
    were stopped.
    """
    config = replace(contender.config, seed=experiment.settings.seed + seed)
    rows = read_metrics(out / "metrics.jsonl")
    numbers = [0, *(row["iteration"] for row in rows)]
    before = sum((b - a) * row["seconds"] for a, b, row in zip(numbers, numbers[1:], rows))
    begun = time.monotonic()
    model = train_fold_generator(config, train, experiment, out, parser_path=parser_path, schema=schema)
    return model, {
        "seconds": before + time.monotonic() - begun,
        "faces": len(train),
        "trained": sum(model.info.get("parameters", {}).values()),
        "used": sum(p.numel() for p in model.network.parameters()),
        "pairs": isinstance(model.network, CycleGANGenerator),
    }


def same_table(
    experiment: Experiment, contenders: Sequence[Contender], results: Mapping[str, list[dict[str, Any]]]
) -> Table:
    """What was the same for all, and what was not: faces, moves, updates, time, parameters."""
    rows: list[list[Any]] = []
    for contender in contenders:
        schedule, data = contender.config.schedule, contender.config.data
        facts = [result["training"] for result in results[contender.name]]
        mirror = {"on": "mirror", "auto": "mirror unless a class is one-sided", "off": "none"}[data.flip]
        moves = f"{mirror}{f', {data.jitter:g}' if data.jitter else ''}"
        warm_up = contender.config.to_dict().get("warm_up", {}).get("updates", 0)
        rows.append(
            [
                contender.name,
                round(float(np.mean([fact["faces"] for fact in facts]))),
                len(facts),
                moves,
                schedule.iterations,
                schedule.batch_size,
                warm_up,
                f"{schedule.ema:g}" if schedule.ema else None,
                over_folds([fact["seconds"] for fact in facts]),
                facts[0]["trained"] / 1e6 if facts[0]["trained"] else None,
                facts[0]["used"] / 1e6,
            ]
        )
    seeds = max(map(len, results.values())) // len(experiment.folds)
    note = (
        f"All on the same {len(experiment.folds)} fold{'s' if len(experiment.folds) > 1 else ''} by subject, "
        f"{seeds} seed{'s' if seeds > 1 else ''} each. Iterations are updates of the generator (IcGAN: of its GAN and then of its "
        "encoders; CycleGAN: of all its pairs at once; StarGAN v2: with styles from noise, then from pictures). Moves: mirroring, and the strength of random shifts, turns, scalings and "
        "changes of light (data.jitter). Average: the decay of the averaged generator. Parameters in millions: of all networks "
        "that are trained, and of those used to translate. Seconds of training include warm-up and face parser."
    )
    header = ["method", "faces", "trainings", "moves", "iterations", "batch", "warm-up", "average", "seconds"]
    return Table("What was the same", [*header, "trained (M)", "used (M)"], rows, note)


def over_runs(values: Sequence[float | None]) -> float | tuple[float, float] | None:
    """(mean, standard deviation) over folds and seeds; a single value as it is; None if no value is known."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    return over_folds(known) if known else None

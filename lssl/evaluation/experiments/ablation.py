"""Which parts of the method earn their place: Tables 1 and 2 for generators that each lack one part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lssl.data import detect
from lssl.data.writer import save_picture
from lssl.errors import LsslError
from lssl.evaluation.experiments.augmentation import augmentation_fold
from lssl.evaluation.experiments.augmentation_report import difference, gain_interval, mean_accuracy, points
from lssl.evaluation.experiments.experiment import (
    Experiment,
    Settings,
    accuracy,
    generator_budget,
    open_experiment,
    over_folds,
    seeded,
)
from lssl.evaluation.experiments.fold_training import train_fold_classifier, train_fold_generator
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.paper import paper_figures
from lssl.evaluation.experiments.transfer import measure, transfer, transfer_grid
from lssl.evaluation.report import Report, Table
from lssl.training.config import TrainConfig

FULL = "full"
#: What each variant changes (paper Table 1).
VARIANTS: dict[str, dict[str, Any]] = {
    FULL: {},
    "without side image": {"network.side_channels": 0},
    "without bidirectional loss": {"losses.bidirectional": 0.0, "losses.latent": 0.0},
    "without parsing loss": {"losses.parsing": 0.0},
    "without movement by landmarks": {"losses.movement": 0.0, "losses.roughness": 0.0},
    "without paired pictures": {"losses.paired": 0.0},
    "without critics of parts": {"losses.parts": 0.0},
}
#: What the full variant switches on if the preset leaves it out.
_PARTS = {"network.side_channels": 1, "losses.bidirectional": 5.0, "losses.parsing": 1.0}


def variant_config(config: TrainConfig, variant: str) -> TrainConfig:
    """The training settings of a variant: all parts on, except the one that it lacks."""
    tree = config.to_dict()
    missing = {
        name: value
        for name, value in _PARTS.items()
        if config.has(name) and not tree[name.split(".")[0]][name.split(".")[1]]
    }
    less = {name: value for name, value in VARIANTS[variant].items() if config.has(name)}
    return config.with_overrides({**missing, **less})


def evaluate_ablation(
    settings: Settings,
    out: Path,
    command: str,
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    per_class: int = 1000,
    repeats: int = 1,
    seeds: int = 1,
    overwrite: bool = False,
) -> Report:
    """Runs (or continues) the experiment and writes report.html, results.json and results.csv to `out`.

    per_class: synthesized faces per class with which a classifier is trained.
    repeats: classifiers with different seeds, averaged in each fold.
    seeds: trainings of every variant in each fold, with the classifiers that go with them; a later call with more of them
        continues with those that are missing.
    Raises LsslError before work starts if the data or the settings do not fit.
    """
    unknown = [variant for variant in variants if variant not in VARIANTS]
    if unknown:
        raise LsslError(f"no variant '{unknown[0]}'; there are: {', '.join(VARIANTS)}")
    changed = {variant: any(map(settings.training.has, VARIANTS[variant])) for variant in variants}
    variants = [
        variant for variant in variants if variant == FULL or changed[variant]
    ]  # only parts that the method has
    identities = detect.available()
    experiment = open_experiment(
        "ablation",
        settings,
        out,
        overwrite=overwrite,
        variants=list(variants),
        per_class=per_class,
        repeats=repeats,
        identities=identities,
    )
    results: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for seed in range(seeds):  # outermost, so that a run that is stopped has finished whole seeds
        own = experiment.with_seed(seed)
        for fold in experiment.folds:
            for variant in variants:
                name = seeded(f"fold-{fold.number:02d}-{variant.replace(' ', '-')}", seed)

                def make(
                    fold: Fold = fold, variant: str = variant, name: str = name, seed: int = seed, own: Experiment = own
                ) -> dict[str, Any]:
                    real = seeded("real", seed)
                    return _measure_variant(own, fold, variant, per_class, repeats, identities, name, real)

                results[variant].append(experiment.state.part(name, make))
    report = _report(experiment, results, per_class, repeats, command)
    report.write(out)
    return report


def _measure_variant(
    experiment: Experiment,
    fold: Fold,
    variant: str,
    per_class: int,
    repeats: int,
    identities: bool,
    name: str,
    real: str,
) -> dict[str, Any]:
    settings = experiment.settings
    parts = experiment.state.folder(name)
    shared = experiment.state.folder(f"fold-{fold.number:02d}")
    train = experiment.train_rows(fold)
    judge = train_fold_classifier(settings.judge, train, experiment, shared)
    if not settings.quiet:
        print(f"Fold {fold.number + 1} of {len(experiment.folds)}, seed {settings.seed}: {variant}", flush=True)
    model = train_fold_generator(
        replace(variant_config(settings.training, variant), seed=settings.seed),
        train,
        experiment,
        parts / "generator",
        parser_path=shared / "parser.safetensors",
    )
    result = transfer(model, experiment.test_rows(fold), experiment.group.name, progress=not settings.quiet)
    save_picture(parts / "grid.png", Image.fromarray(transfer_grid(judge, result)))
    return {
        "transfer": measure(judge, result, identities=identities),
        "augmentation": augmentation_fold(experiment, fold, model, [per_class], repeats, parts, real_out=shared / real),
    }


def ablation_table(
    experiment: Experiment, results: dict[str, list[dict[str, Any]]], per_class: int, repeats: int
) -> Table:
    """A row per variant: transfer, augmentation, identity, reconstruction; the first row is for real faces alone."""
    some = next(iter(results.values()))
    rows: list[list[Any]] = [
        [
            "real faces alone",
            over_folds([accuracy(r["transfer"]["real"]) for r in some]),
            over_folds([mean_accuracy(r["augmentation"]["real"]) for r in some]),
            None,
            None,
            None,
        ]
    ]
    for variant, folds in results.items():
        identity = None
        if "identity" in folds[0]["transfer"]:
            identity = over_folds([float(np.median(r["transfer"]["identity"]["changed"])) for r in folds])
        rows.append(
            [
                variant,
                over_folds([accuracy(r["transfer"]["changed"]) for r in folds]),
                over_folds([mean_accuracy(r["augmentation"]["synthetic"][str(per_class)]) for r in folds]),
                points(gain_interval([r["augmentation"] for r in folds], per_class)),
                identity,
                over_folds([r["transfer"]["ssim"] for r in folds]),
            ]
        )
    for name, column in (("transfer", 1), ("augmentation", 2)):
        paper = paper_figures(name, experiment.source)
        for method, value in paper[1] if paper is not None else []:
            row: list[Any] = [f"{paper[0] if paper else ''}: {method}", None, None, None, None, None]
            row[column] = value
            rows.append(row)
    note = (
        f"Transfer: percent of unseen faces, changed to another class, that a classifier of real faces recognises as that "
        f"class. Augmentation: percent of real unseen faces recognised by a classifier trained on real faces and {per_class} "
        f"synthesized ones per class{f', mean of {repeats}' if repeats > 1 else ''}; gain: over real faces alone, in points, with "
        "its 95% interval over random draws of the tested people. Identity: median dlib distance to the input. SSIM: between the "
        "input and the result when asked for the input's own class."
    )
    return Table(
        "The method without its parts",
        ["generator", "transfer", "augmentation", "gain", "identity distance", "SSIM"],
        rows,
        note,
    )


def _report(
    experiment: Experiment, results: dict[str, list[dict[str, Any]]], per_class: int, repeats: int, command: str
) -> Report:
    report = Report(f"Ablation: {experiment.folder.root.name}", command, experiment.settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.paragraph(experiment.describe())
    report.paragraph(
        "In each fold, all generators, the face parser and all classifiers learn only from the same training people. "
        f"Weights of the full variant: {_weights(experiment)}. Each generator is trained for "
        f"{generator_budget(experiment.settings)}."
    )
    report.table(ablation_table(experiment, results, per_class, repeats))
    report.paragraph(_verdict(results, per_class))
    report.heading("Unseen people")
    for variant in results:
        path = experiment.state.root / f"fold-00-{variant.replace(' ', '-')}" / "grid.png"
        with Image.open(path) as grid:
            report.image(np.asarray(grid.convert("RGB")), f"{variant}; a red frame: classified as another class.")
    experiment.record(report, variant_results=results)
    return report


def _weights(experiment: Experiment) -> str:
    weights = variant_config(experiment.settings.training, FULL).to_dict()["losses"]
    return ", ".join(f"{name} {weights[name]:g}" for name in ("bidirectional", "latent", "parsing") if name in weights)


def _verdict(results: dict[str, list[dict[str, Any]]], per_class: int) -> str:
    """Whether each part earns its place here, stated as plainly if it does not."""
    if FULL not in results:
        return "The full method was not among the variants."
    sentences = []
    for variant, folds in results.items():
        if variant == FULL:
            continue
        pairs = list(zip(results[FULL], folds, strict=True))
        transfers = [accuracy(a["transfer"]["changed"]) - accuracy(b["transfer"]["changed"]) for a, b in pairs]
        spread = f" ± {np.std(transfers, ddof=1):.1f}" if len(transfers) > 1 else ""
        whole, less = zip(*[(a["augmentation"], b["augmentation"]) for a, b in pairs], strict=True)
        gain = difference(whole, less, per_class)
        sentences.append(f"{variant}: transfer {np.mean(transfers):+.1f}{spread}, augmentation {gain}")
    return (
        f"The full method's gain over each variant, in points of accuracy: {'; '.join(sentences)}. A negative number means "
        "that the part does harm here. After ±: for transfer the standard deviation over folds and seeds, for augmentation half "
        "of the 95% interval over random draws of the tested people."
    )

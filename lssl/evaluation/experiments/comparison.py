"""Table 2 with a row per method: `lssl evaluate transfer --method NAME ...`; what it shares with Table 1 (`augmentation_comparison`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lssl.data import detect, to_float
from lssl.data.writer import save_picture
from lssl.evaluation.experiments.contenders import (
    IN_THE_PAPER,
    Contender,
    over_runs,
    same_table,
    train_contender,
)
from lssl.evaluation.experiments.experiment import Experiment, Settings, accuracy, open_experiment
from lssl.evaluation.experiments.figure import draw_figure
from lssl.evaluation.experiments.fold_training import train_fold_classifier
from lssl.evaluation.experiments.folds import Fold
from lssl.evaluation.experiments.paper import published
from lssl.evaluation.experiments.portraits import gather_portraits
from lssl.evaluation.experiments.portraits_report import measure_portraits
from lssl.evaluation.experiments.transfer import Transferred, classify, measure, spread_people, transfer
from lssl.evaluation.measures.features import classifier_network
from lssl.evaluation.measures.frechet import frechet_distance
from lssl.evaluation.report import Report, Table
from lssl.models.classifier import TrainedClassifier
from lssl.models.cyclegan import faithful
from lssl.models.export import TrainedGenerator

#: An experiment's results: for each contender's name, a list with one entry per fold and seed.
Results = dict[str, list[dict[str, Any]]]
_FIGURE_FACES = 4
_COMPOSED = (
    "CycleGAN translates between two classes: from neutral to another class, or back, takes one generator; between two other "
    "classes it is composed via neutral, which goes beyond the method itself."
)


def compare_transfer(
    settings: Settings,
    contenders: Sequence[Contender],
    out: Path,
    command: str,
    *,
    seeds: int = 2,
    portraits: bool = True,
    overwrite: bool = False,
) -> Report:
    """Table 2 with a row per method, and Fig. 6: runs (or continues) the experiment and writes the report to `out`.

    seeds: trainings of each method in each fold; all of them share the fold's classifier.
    portraits: add the measures at full size, such as the two-sample test, if the folder has landmarks.
    Raises LsslError before work starts if the data or the settings do not fit.
    """
    identities = detect.available()
    experiment = open_comparison(
        "transfer", settings, contenders, out, seeds, overwrite, identities=identities, portraits=portraits
    )
    look_at = portraits and experiment.folder.landmarks is not None

    def judged(model: TrainedGenerator, fold: Fold, seed: int, parts: Path) -> dict[str, Any]:
        del seed  # one classifier judges them all
        judge = train_fold_classifier(
            settings.judge,
            experiment.train_rows(fold),
            experiment,
            experiment.state.folder(f"fold-{fold.number:02d}"),
        )
        result = transfer(model, experiment.test_rows(fold), experiment.group.name, progress=not settings.quiet)
        figures = measure(judge, result, identities=identities)
        figures.update(routes(judge, result), distance=feature_distance(judge, result))
        if look_at:
            gathered = gather_portraits(model, experiment.folder, experiment.group.name, fold.test, seed=settings.seed)
            figures["portraits"] = measure_portraits(gathered, seed=settings.seed)
        rows = spread_people(result.subjects, _FIGURE_FACES)
        np.savez(parts / "figure.npz", faces=result.images[rows], made=result.pictures[rows])
        return figures

    results = run_contenders(experiment, contenders, seeds, judged)
    report = begin_report("Transfer", experiment, command, contenders)
    report.table(transfer_table(experiment, contenders, results))
    report.table(same_table(experiment, contenders, results))
    report.heading("Fig. 6: unseen people")
    sheet = _figure(experiment, contenders)
    save_picture(out / "figure.png", sheet)
    report.image(
        np.asarray(sheet), "Each person's photograph; one row per method, one column per class; first fold and seed."
    )
    finish_report(report, experiment, results, out)
    return report


def routes(judge: TrainedClassifier, result: Transferred) -> dict[str, Any]:
    """[recognised, asked] for translations to another class: those that start at the first class (`from_first`), those for
    which CycleGAN has a generator (`single`), and those that it composes of two (`composed`)."""
    count = len(result.classes)
    guesses = np.stack([classify(judge, result.pictures[:, t]) for t in range(count)], 1)
    source = np.broadcast_to(result.source[:, None], guesses.shape)
    target = np.broadcast_to(np.arange(count), guesses.shape)
    changes = source != target
    single = faithful(torch.from_numpy(source.copy()), torch.from_numpy(target.copy())).numpy()
    right = guesses == target
    kinds = {"from_first": changes & (source == 0), "single": changes & single, "composed": changes & ~single}
    return {name: [int(right[where].sum()), int(where.sum())] for name, where in kinds.items()}


def feature_distance(judge: TrainedClassifier, result: Transferred) -> float:
    """The Frechet distance between real test faces and their translations to other classes, in the classifier's features."""
    network = classifier_network(judge, "the fold's classifier")
    changed = np.arange(len(result.classes))[None] != result.source[:, None]
    real, made = (_features(network, images) for images in (result.images, result.pictures[changed]))
    return frechet_distance(real, made)


@torch.inference_mode()
def _features(network: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), 32):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + 32])).permute(0, 3, 1, 2)
        parts.append(network.features(to_float(pixels.to(network.device))).float().cpu().numpy())
    return np.concatenate(parts)


def transfer_table(experiment: Experiment, contenders: Sequence[Contender], results: Results) -> Table:
    """Table 2: what is recognised, what is kept of person and picture, how well made can be told from real; the paper's
    figures next to it."""
    title, paper = published("transfer")
    first = experiment.group.values[0]
    some = results[contenders[0].name]
    rows: list[list[Any]] = [
        ["real test faces", over_runs(once(some, lambda r: accuracy(r["real"]))), None]
        + [over_runs(once(some, lambda r: _accuracy_of(r["relative"], "real"))), None, None, None, None]
        + [paper.get("real test faces")]
    ]
    for contender in contenders:
        found = results[contender.name]
        rows.append(
            [
                contender.name,
                over_runs([accuracy(r["changed"]) for r in found]),
                over_runs([_share(r["from_first"]) for r in found]),
                over_runs([_accuracy_of(r["relative"], "changed") for r in found]),
                over_runs([_identity(r) for r in found]),
                over_runs([r["ssim"] for r in found]),
                over_runs([r["distance"] for r in found]),
                over_runs([_told(r) for r in found]),
                paper.get(IN_THE_PAPER.get(contender.name, "")),
            ]
        )
        if found[0]["training"]["pairs"] and found[0]["composed"][1]:
            for key, name in (("single", "one generator"), ("composed", "composed over neutral")):
                value = over_runs([_share(r[key]) for r in found])
                rows.append([f"{contender.name}: {name}", value, *[None] * 7])
    note = (
        "Recognised: percent of unseen faces, changed to another class, that a classifier of real faces recognises as that class: "
        f"all, those that start at {first}, and all judged relative to the person's own photographs (beside own). Identity: median "
        "distance of dlib's embedding to the input (under 0.6 is usually the same person). SSIM: between the input and the result "
        "when asked for the input's own class. FID: Frechet distance to the real test faces in that classifier's features. Told "
        "from real: the largest area under the curve of the two-sample test over classes and regions, 0.5 is perfect; a high "
        "percentage together with a high area means a trace that pleases the classifier, not an expression. Mean and standard "
        f"deviation over folds and seeds. {title}: the paper's own figures, for other faces. {_COMPOSED}"
    )
    header = ["method", "recognised", f"from {first}", "beside own", "identity", "SSIM", "FID", "told from real", title]
    return Table("Changed to another class", header, rows, note)


def _figure(experiment: Experiment, contenders: Sequence[Contender]) -> Image.Image:
    faces, made = None, []
    for contender in contenders:
        with np.load(experiment.state.root / part_name(experiment.folds[0], contender.name, 0) / "figure.npz") as kept:
            faces = kept["faces"]
            made.append(kept["made"])
    assert faces is not None
    return draw_figure(faces, made, [c.name for c in contenders], experiment.group.values)


def open_comparison(
    name: str,
    settings: Settings,
    contenders: Sequence[Contender],
    out: Path,
    seeds: int,
    overwrite: bool,
    **further: Any,
) -> Experiment:
    """The experiment, whose settings include those of the contenders. further: as `open_experiment`."""
    methods = {contender.name: contender.config.to_dict() for contender in contenders}
    return open_experiment(
        f"{name} of several methods", settings, out, overwrite=overwrite, methods=methods, seeds=seeds, **further
    )


def part_name(fold: Fold, name: str, seed: int) -> str:
    """The name of a part of the state: what a method (or another maker of faces) gave in a fold with a seed."""
    return f"fold-{fold.number:02d}-{name}-seed-{seed}"


def run_contenders(
    experiment: Experiment,
    contenders: Sequence[Contender],
    seeds: int,
    judged: Callable[[TrainedGenerator, Fold, int, Path], dict[str, Any]],
) -> Results:
    """Trains and judges each contender in each fold with each seed; reads what an earlier run has finished.

    judged: called with the generator, the fold, the number of the seed and the folder of this part.
    """
    results: Results = {contender.name: [] for contender in contenders}
    for seed in range(seeds):  # outermost, so that a run that is stopped has finished whole seeds
        for fold in experiment.folds:
            for contender in contenders:
                name = part_name(fold, contender.name, seed)

                def make(
                    fold: Fold = fold, seed: int = seed, one: Contender = contender, name: str = name
                ) -> dict[str, Any]:
                    parts, shared = experiment.state.folder(name), experiment.state.folder(f"fold-{fold.number:02d}")
                    if not experiment.settings.quiet:
                        print(f"Fold {fold.number + 1} of {len(experiment.folds)}, seed {seed}: {one.name}", flush=True)
                    train = experiment.train_rows(fold)
                    model, facts = train_contender(
                        experiment, one, train, seed, parts / "generator", parser_path=shared / "parser.safetensors"
                    )
                    return {**judged(model, fold, seed, parts), "training": facts, "fold": fold.number, "seed": seed}

                results[contender.name].append(experiment.state.part(name, make))
    return results


def begin_report(title: str, experiment: Experiment, command: str, contenders: Sequence[Contender]) -> Report:
    """A report with its first two paragraphs: the data, and what the methods have in common."""
    names = ", ".join(contender.name for contender in contenders)
    report = Report(f"{title}: {experiment.folder.root.name}, {names}", command, experiment.settings.seed)
    report.earlier_seconds = experiment.state.seconds
    report.paragraph(experiment.describe())
    report.paragraph(
        "In each fold, all methods and classifiers learn only from the same training people. A baseline's own preset has its "
        "authors' losses, optimizer and initialization; one that ends in -small has what the preset standard uses for few faces."
    )
    return report


def finish_report(report: Report, experiment: Experiment, results: Results, out: Path) -> None:
    """Writes the report with all results."""
    experiment.record(
        report, method_results=results, **({"conclusions": report.conclusions} if report.conclusions else {})
    )
    report.write(out)


def once(results: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float | None]) -> list[float | None]:
    """A value that depends on the fold only, once per fold."""
    return [value(result) for result in results if result["seed"] == 0]


def _accuracy_of(matrices: dict[str, Any] | None, key: str) -> float | None:
    return None if matrices is None else accuracy(matrices[key])


def _share(counts: Sequence[int]) -> float | None:
    return 100 * counts[0] / counts[1] if counts[1] else None


def _identity(result: dict[str, Any]) -> float | None:
    return float(np.median(result["identity"]["changed"])) if "identity" in result else None


def _told(result: dict[str, Any]) -> float | None:
    areas = [entry["area"] for entry in result.get("portraits", {}).get("two_sample", [])]
    return max(areas) if areas else None

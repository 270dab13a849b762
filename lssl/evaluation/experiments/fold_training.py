"""Trains what a fold needs, only on its training faces: generator (with its face parser) and classifier.

Each part is kept in the experiment's state: a finished part is read, a generator that was stopped is continued.
"""

from pathlib import Path

import torch

from lssl.data import AttributeGroup, AttributeSchema, FaceFolder
from lssl.errors import LsslError
from lssl.evaluation.experiments.experiment import Experiment
from lssl.methods.run import make_loop, open_faces
from lssl.models.classifier import FILE_NAME, TrainedClassifier, load_classifier, save_classifier
from lssl.models.export import TrainedGenerator, load_generator
from lssl.training.checkpoint import checkpoints
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, train_classifier
from lssl.training.config import TrainConfig, method_module
from lssl.training.parser_training import load_parser, train_parser_for_run


def train_fold_generator(
    config: TrainConfig,
    faces: FaceFolder,
    experiment: Experiment,
    out: Path,
    *,
    schema: AttributeSchema | None = None,
    parser_path: Path | None = None,
) -> TrainedGenerator:
    """A generator trained on all `faces`, and on nothing else, in the run folder `out`.

    schema: its attributes; by default the experiment's. Its sample grids show training faces, since no others may be seen
    here. If the method needs a face parser, one is first trained on the same faces and kept in `parser_path`, which
    variants may share (by default out/parser.safetensors).
    Raises KeyboardInterrupt if it is stopped; the next call continues the run.
    """
    if config.has("network.start") and config.to_dict()["network"]["start"]:
        raise LsslError(
            "network.start: the generator to begin with may have seen the people who are tested; train by lssl train "
            "--start-from and judge people it has not seen: lssl evaluate transfer --data FOLDER --model RUN"
        )
    path = out / "generator.safetensors"
    processes, quiet = experiment.processes, experiment.settings.quiet
    if path.is_file():
        trained = load_generator(path, processes.device)
        if trained.info.get("iterations") == config.schedule.iterations:
            return trained
    train_set = open_faces(config, faces, schema or experiment.schema, processes)
    parser = None
    if method_module(config.method).Method.needs_parser(config.settings):
        kept = parser_path or out / "parser.safetensors"
        if not kept.is_file():
            train_parser_for_run(
                faces,
                kept,
                seed=config.seed,
                device=processes.device,
                progress=not quiet,
                iterations=experiment.settings.parser_iterations,
            )
        parser = load_parser(kept)
    loop = make_loop(config, train_set, train_set, out, parser=parser, processes=processes, quiet=quiet)
    if checkpoints(out / "checkpoints"):
        loop.resume()
    if not loop.train():
        raise KeyboardInterrupt
    for checkpoint in checkpoints(out / "checkpoints"):  # no longer needed, and those of ten folds would fill a disk
        checkpoint.unlink()
    return load_generator(path, processes.device)


def train_fold_classifier(
    config: ClassifierConfig,
    faces: FaceFolder,
    experiment: Experiment,
    out: Path,
    *,
    synthetic: FaceFolder | None = None,
) -> TrainedClassifier:
    """A classifier of the experiment's classes, as `kept_classifier`."""
    settings = experiment.settings
    return kept_classifier(
        config,
        faces,
        experiment.group,
        out,
        synthetic=synthetic,
        weights=settings.weights,
        device=settings.device,
        quiet=settings.quiet,
    )


def kept_classifier(
    config: ClassifierConfig,
    faces: FaceFolder,
    group: AttributeGroup,
    out: Path,
    *,
    synthetic: FaceFolder | None = None,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> TrainedClassifier:
    """A classifier trained on all `faces` (and the synthesized ones), and on nothing else, kept in the folder `out`.

    Raises KeyboardInterrupt if it is stopped, and then keeps nothing.
    """
    if (out / FILE_NAME).is_file():
        return load_classifier(out, device)
    real = labelled_faces(faces, group.name, group=group, device=device)
    made = None if synthetic is None else labelled_faces(synthetic, group.name, group=group, device=device)
    result = train_classifier(real, config, synthetic=made, weights=weights, progress=not quiet)
    if result.interrupted:
        raise KeyboardInterrupt
    result.classifier.info["subjects"] = sorted(set(faces.subjects))
    save_classifier(out / FILE_NAME, result.classifier)
    return result.classifier

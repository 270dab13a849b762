"""From settings to a trainer: data (made first where none is named), face parser, run folder, resume."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lssl.data import FaceDataset, read_metadata
from lssl.data.folder import FolderError
from lssl.models.parser import FaceParser
from lssl.training.checkpoint import CheckpointError, checkpoints
from lssl.training.config import ConfigError, TrainConfig
from lssl.training.distributed import Processes
from lssl.training.pose_trainer import PoseTrainer, check_pairs, frontal_attributes, open_real_faces
from lssl.training.simgan import SimGANTrainer
from lssl.training.trainer import Trainer


def prepare_run(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    parser_path: Path | None = None,
    processes: Processes | None = None,
    quiet: bool = False,
) -> Trainer:
    """A trainer ready to `train()`. What is wrong is found here, before long work.

    Raises ConfigError, FolderError, SchemaError or CheckpointError.
    """
    processes = processes or Processes()
    if config.schedule.batch_size % processes.world_size:
        raise ConfigError(
            f"batch size {config.schedule.batch_size} does not divide by {processes.world_size} processes"
        )
    if checkpoints(out / "checkpoints") and not resume:
        raise CheckpointError(f"{out} holds a run already; continue it with --resume, or choose another --out")
    if not config.data.folder:
        if config.task == "pose-normalization":
            raise ConfigError("pose normalization needs --data, a folder that `lssl render-frontal` wrote")
        config = _with_generated_faces(config, out, processes, quiet)
    train_set, test_set = open_faces(config, processes)
    if processes.first and not quiet:
        print(
            f"{train_set.folder.root}: {train_set.placement}; {len(test_set)} unseen faces for the samples", flush=True
        )
        print(f"Attributes: {', '.join(train_set.schema.names)}", flush=True)
    parser = None
    if config.losses.parsing:
        parser = _parser(config, out, parser_path, processes, quiet)
    trainer = make_trainer(config, train_set, test_set, out, parser=parser, processes=processes, quiet=quiet)
    if processes.first and not quiet and trainer.jitter != config.data.jitter:
        print(
            f"Only {len(train_set)} faces to learn from: random moves of strength {trainer.jitter:.2f} instead of "
            f"{config.data.jitter:g} (data.jitter_reference_faces)",
            flush=True,
        )
    if resume:
        path = trainer.resume()
        if processes.first and not quiet:
            print(f"Resuming {path}", flush=True)
    return trainer


def open_faces(config: TrainConfig, processes: Processes) -> tuple[FaceDataset, FaceDataset]:
    """(training faces, unseen faces) with one schema."""
    folder = read_metadata(config.data.folder, attributes=config.data.attributes or None)
    if config.task == "pose-normalization":
        check_pairs(folder)
        if not config.data.attributes:
            folder = replace(folder, attributes=frontal_attributes(folder))
    elif not config.data.attributes:  # generated faces may have one yaw, one lighting
        folder = replace(folder, attributes=folder.varying_attributes() or folder.attributes)
    schema = folder.schema()
    sets = [
        FaceDataset(
            folder,
            schema,
            split=split,
            device=processes.device,
            side=task_side(config),
            side_channels=config.network.side_channels or 1,
            sigma=config.network.heatmap_sigma or None,
        )
        for split in ("train", "test")
    ]
    if len(sets[0]) < config.schedule.batch_size:
        raise FolderError(
            f"{folder.root} has {len(sets[0])} training faces, fewer than the batch of {config.schedule.batch_size}"
        )
    return sets[0], sets[1]


def task_side(config: TrainConfig) -> str:
    """What the task's side image is, as `FaceDataset` takes it."""
    if not config.network.side_channels:
        return "none"
    return "image" if config.task == "pose-normalization" else "heatmap"


def make_trainer(
    config: TrainConfig, train_set: FaceDataset, test_set: FaceDataset, out: Path, **options: Any
) -> Trainer:
    """The trainer of the configured task; options are those of `Trainer`. Raises FolderError or ConfigError."""
    if config.task != "pose-normalization":
        return Trainer(config, train_set, test_set, out, **options)
    real_set, labelled = open_real_faces(config, train_set)
    kind = SimGANTrainer if config.pose.method == "simgan" else PoseTrainer
    if options["processes"].first and not options["quiet"]:
        where = real_set.folder.root / Path(real_set.folder.file_names[0]).parent
        print(f"Real faces for the critic: {len(real_set)} of {where}", flush=True)
    return kind(config, train_set, test_set, out, real_set=real_set, real_labels=labelled, **options)


def _with_generated_faces(config: TrainConfig, out: Path, processes: Processes, quiet: bool) -> TrainConfig:
    """Renders the faces of the embedded model to `out/faces`, unless they are there, and names them in the settings."""
    folder = out / "faces"
    if processes.first:
        from lssl.face3d.embedded import cache_key, load_embedded_model
        from lssl.face3d.generate import FaceGenerator, GenerateConfig
        from lssl.face3d.generated import write_generated

        faces = config.faces
        wanted = GenerateConfig(
            faces.subjects, faces.expressions, size=faces.size, seed=config.seed, variation=faces.variation
        )
        if not quiet:
            print(f"No --data: {faces.subjects} people of the embedded face model, to {folder}", flush=True)
        try:
            generator = FaceGenerator(load_embedded_model(), wanted)
        except ValueError as error:
            raise ConfigError(f"faces: {error}") from None
        write_generated(folder, generator, model=f"embedded {cache_key()}", progress=not quiet)
    processes.wait()
    attributes = config.data.attributes or ("expression",)
    return config.with_overrides({"data.folder": str(folder), "data.attributes": attributes})


def _parser(config: TrainConfig, out: Path, path: Path | None, processes: Processes, quiet: bool) -> FaceParser:
    """The face parser of `path`, of the run folder, or trained now on the run's own faces and kept there."""
    from lssl.training.parser_training import load_parser, train_parser_for_run

    kept = out / "parser.safetensors"
    if path is None and not kept.is_file() and processes.first:
        if not quiet:
            print("No --parser: training a face parser on these faces first", flush=True)
        train_parser_for_run(config.data.folder, kept, seed=config.seed, device=processes.device, progress=not quiet)
    processes.wait()
    return load_parser(path or kept)

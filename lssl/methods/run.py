"""From settings to a training loop: data (generated first if none is given), face parser, run folder, resume."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lssl.data import FaceDataset, read_metadata
from lssl.data.folder import LANDMARKS, FaceFolder
from lssl.data.lock import check_writable, lock_folder, unlock_folder
from lssl.data.schema import AttributeSchema
from lssl.device import choose_device
from lssl.errors import LsslError
from lssl.models.export import TrainedGenerator, load_generator
from lssl.models.parser import FaceParser
from lssl.ops.memory import keep_freed_memory
from lssl.training.checkpoint import checkpoints
from lssl.training.config import TrainConfig, method_module
from lssl.training.distributed import Processes, start_processes, stop_processes
from lssl.training.face_method import Inputs
from lssl.training.graphs import Graphs
from lssl.training.loop import Loop
from lssl.training.speed import apply_speed, resolve_speed

#: The flags of `lssl train`, and the settings that they stand for.
SHORT_NAMES = {
    "seed": "seed",
    "data": "data.folder",
    "attributes": "data.attributes",
    "real_faces": "pose.real_faces",
    "iterations": "schedule.iterations",
    "batch_size": "schedule.batch_size",
    "critic_updates": "schedule.critic_updates",
    "learning_rate": "schedule.learning_rate",
    "ema": "schedule.ema",
    "start_from": "network.start",
    "width": "network.width",
    "downsamplings": "network.num_downsamplings",
    "size": "faces.size",
    "subjects": "faces.subjects",
    "bf16": "speed.bf16",
    "channels_last": "speed.channels_last",
    "tf32": "speed.tf32",
    "threads": "speed.threads",
    "checkpoint_every": "output.checkpoint_every",
    "sample_every": "output.sample_every",
    "log_every": "output.log_every",
}

#: Settings that must be those of the generator that a run begins with.
_OF_GENERATOR = ("network.width", "network.movement_width", "network.side_channels")


def train(
    data: str | Path | None = None,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | None = None,
    parser: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> TrainedGenerator:
    """Trains one generator for all attributes of a data set folder, as `lssl train` does; returns it, ready to translate.

    Args:
        data: a data set folder, see `lssl prepare`; None: faces of the embedded 3D model, generated first.
        preset: "standard", "finetune", "quick", "paper", "pose", "stargan" ...; None: see `default_preset`.
        out: run folder, created if missing; None: runs/<data>-<preset>.
        resume: continue the run in `out`.
        device: "cpu", "cuda", "cuda:1"; None: a GPU if there is one.
        parser: the file of a trained face parser, for presets whose loss needs one; None: one is trained first.
        quiet: print nothing.
        settings: any setting of the preset, by a short name (`SHORT_NAMES`), such as iterations=2000, batch_size=8,
            seed=1, or by its full name, **{"losses.identity": 5}.

    Raises LsslError for anything wrong, before long work begins, and after Ctrl-C has stopped the run (its state is saved).
    """
    values = {SHORT_NAMES.get(name, name): value for name, value in settings.items()}
    if data:
        values = {"data.folder": str(data), **values}
    preset = preset or default_preset(values, device)
    run = Path(out) / "config.toml" if resume and out is not None else None
    config = TrainConfig.preset(preset) if run is None else TrainConfig.load_run(run)
    config = config.with_overrides(values)
    folder = Path(out) if out is not None else default_folder(config, preset)
    parser_path = None if parser is None else Path(parser)
    loop, finished = run_training(config, folder, resume=resume, parser_path=parser_path, device=device, quiet=quiet)
    if not finished:
        raise LsslError(f"{folder}: stopped at iteration {loop.iteration}; continue with resume=True")
    return load_generator(folder, loop.processes.device)


def default_preset(settings: Mapping[str, Any], device: str | None = None) -> str:
    """The preset of a run that names none: "finetune" for a data set on a CPU, "standard" on a GPU, "quick" without data.

    settings: those that the user gives, by their full names. `finetune` begins with a trained generator, so "standard" also
    stands in for it where the data set has no landmarks, and where the generator is to be another than the built-in one and
    none is named to begin with.
    """
    if not (data := settings.get("data.folder")):
        return "quick"
    other = "network.start" not in settings and not settings.keys().isdisjoint(_OF_GENERATOR)
    if other or not (Path(data) / LANDMARKS).is_file() or choose_device(device).type != "cpu":
        return "standard"
    return "finetune"


def default_folder(config: TrainConfig, preset: str) -> Path:
    """runs/<data>-<preset>."""
    return Path("runs") / f"{Path(config.data.folder).name if config.data.folder else 'faces'}-{preset}"


def run_training(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    parser_path: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
    begin: Callable[[Processes], None] = lambda processes: None,
) -> tuple[Loop, bool]:
    """A whole run in this process (or this process's part of a run by torchrun): the loop, and whether it finished.

    begin: called once everything is checked and ready to train. Raises LsslError as `prepare_run` and `Loop.train` do.
    """
    keep_freed_memory()
    try:
        processes = start_processes(device)
        loop = prepare_run(config, out, resume=resume, parser_path=parser_path, processes=processes, quiet=quiet)
        begin(processes)
        return loop, loop.train()
    finally:
        stop_processes()
        unlock_folder(out)


def prepare_run(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    parser_path: Path | None = None,
    processes: Processes | None = None,
    quiet: bool = False,
    graphs: Graphs | None = None,
) -> Loop:
    """A loop ready to `train()`, with its data, face parser and run folder.

    Raises LsslError for anything wrong with settings, data or folders, so that it is found before long work begins.
    """
    processes = processes or Processes()
    method = method_module(config.method).Method
    if config.schedule.batch_size % processes.world_size:
        raise LsslError(f"batch size {config.schedule.batch_size} is not divisible by {processes.world_size} processes")
    if checkpoints(out / "checkpoints") and not resume:
        raise LsslError(f"{out} holds a run already; continue it with --resume, or choose another --out")
    if resume and not checkpoints(out / "checkpoints"):
        raise LsslError(f"{out / 'checkpoints'}: no checkpoint to resume from; repeat the command without --resume")
    if processes.first:
        check_writable(out)
    say = processes.first and not quiet
    if not config.data.folder:
        if method.needs_data:
            raise LsslError(f"the method {config.method} needs --data: {method.needs_data}")
        config = _with_generated_faces(config, out, processes, quiet)
    folder = method.select(read_metadata(config.data.folder, attributes=config.data.attributes or None), config)
    if processes.first and (both := folder.in_both_splits()):
        warnings.warn(
            f"{folder.root}/metadata.csv: {len(both)} people ({', '.join(both[:3])}{' ...' if both[3:] else ''}) have "
            "pictures in both splits, so samples and report show people that were trained on; change their splits",
            stacklevel=2,
        )
    schema = folder.schema()
    train_set, test_set = (open_faces(config, folder, schema, processes, split) for split in ("train", "test"))
    if len(train_set) < config.schedule.batch_size:
        raise LsslError(
            f"{folder.root} has {len(train_set)} training faces, fewer than the batch of {config.schedule.batch_size}"
        )
    if say:
        print(f"{folder.root}: {train_set.placement}; {len(test_set)} unseen faces for the samples", flush=True)
        print(f"Attributes: {', '.join(schema.names)}", flush=True)
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
        if not lock_folder(out):
            raise LsslError(f"{out}: another run is training in it; wait for it, or choose another --out")
    parser = None
    if method.needs_parser(config.settings):
        parser = _parser(config, out, parser_path, processes, quiet)
    loop = make_loop(config, train_set, test_set, out, parser=parser, processes=processes, quiet=quiet, graphs=graphs)
    if resume:
        path = loop.resume()
        if say:
            print(f"Resuming {path}", flush=True)
    return loop


def open_faces(
    config: TrainConfig,
    folder: FaceFolder,
    schema: AttributeSchema,
    processes: Processes,
    split: str | None = None,
) -> FaceDataset:
    """The faces as the configured method takes them, with the side image that it asks for."""
    kind, channels = method_module(config.method).Method.side(config.settings)
    return FaceDataset(folder, schema, split=split, device=processes.device, side=kind, side_channels=channels)


def make_loop(
    config: TrainConfig,
    train_set: FaceDataset,
    test_set: FaceDataset,
    out: Path,
    *,
    parser: FaceParser | None = None,
    processes: Processes | None = None,
    quiet: bool = False,
    graphs: Graphs | None = None,
) -> Loop:
    """The loop of the configured method on these faces. Raises LsslError if it cannot train on them."""
    processes = processes or Processes()
    config = resolve_speed(config, processes.device)
    apply_speed(config, processes.device)
    if parser is not None:
        parser.to(processes.device).eval().requires_grad_(False)
    method = method_module(config.method).Method(Inputs(config, train_set, test_set, processes, parser))
    if processes.first and not quiet:
        for line in method.notes:
            print(line, flush=True)
    return Loop(config, method, out, processes=processes, quiet=quiet, graphs=graphs)


def _with_generated_faces(config: TrainConfig, out: Path, processes: Processes, quiet: bool) -> TrainConfig:
    """Renders faces of the embedded model to `out/faces`, unless they are there; returns the settings that name them."""
    folder = out / "faces"
    if processes.first:
        from lssl.face3d.embedded import cache_key, load_embedded_model
        from lssl.face3d.generate import FaceGenerator, GenerateConfig
        from lssl.face3d.generated import write_generated

        faces = config.faces
        wanted = GenerateConfig(faces.subjects, faces.expressions, size=faces.size, seed=config.seed)
        if not quiet:
            print(f"No --data: generating {faces.subjects} people of the embedded face model in {folder}", flush=True)
        try:
            generator = FaceGenerator(load_embedded_model(), wanted)
        except ValueError as error:
            raise LsslError(f"faces: {error}") from None
        write_generated(folder, generator, model=f"embedded {cache_key()}", progress=not quiet)
    processes.wait()
    attributes = config.data.attributes or ("expression",)
    return config.with_overrides({"data.folder": str(folder), "data.attributes": attributes})


def _parser(config: TrainConfig, out: Path, path: Path | None, processes: Processes, quiet: bool) -> FaceParser:
    """The face parser from `path`, else from the run folder, else trained now on the run's faces and kept there."""
    from lssl.training.parser_training import load_parser, train_parser_for_run

    kept = out / "parser.safetensors"
    if path is None and not kept.is_file() and processes.first:
        if not quiet:
            print("No --parser: first training a face parser on these faces", flush=True)
        train_parser_for_run(config.data.folder, kept, seed=config.seed, device=processes.device, progress=not quiet)
    processes.wait()
    return load_parser(path or kept)

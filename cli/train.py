"""`lssl train`."""

from pathlib import Path
from typing import Any

import click

# flag: the setting it stands for
_SETTINGS = {
    "task": "task",
    "seed": "seed",
    "data": "data.folder",
    "attributes": "data.attributes",
    "method": "pose.method",
    "real_faces": "pose.real_faces",
    "iterations": "schedule.iterations",
    "batch_size": "schedule.batch_size",
    "critic_updates": "schedule.critic_updates",
    "learning_rate": "schedule.learning_rate",
    "ema": "schedule.ema",
    "width": "network.width",
    "downsamplings": "network.num_downsamplings",
    "size": "faces.size",
    "subjects": "faces.subjects",
    "attribute_loss": "losses.attribute_loss",
    "bf16": "speed.bf16",
    "compile": "speed.compile",
    "cuda_graphs": "speed.cuda_graphs",
    "channels_last": "speed.channels_last",
    "checkpoint_every": "output.checkpoint_every",
    "sample_every": "output.sample_every",
    "log_every": "output.log_every",
}
_ABLATIONS: dict[str, dict[str, Any]] = {
    "no_side_image": {"network.side_channels": 0},
    "no_bidirectional": {"losses.bidirectional": 0.0, "losses.latent": 0.0},
    "no_parsing": {"losses.parsing": 0.0},
    "no_identity": {"losses.identity": 0.0},
}


@click.command()
@click.option("--data", type=click.Path(), help="Data set folder (lssl prepare).  [default: generated faces]")
@click.option(
    "--preset",
    type=click.Choice(["quick", "standard", "paper", "pose"]),
    help="[default: quick without --data, else standard; pose for pose normalization]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    help="Settings, such as a run's config.toml, in a preset's place.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/<data>-<preset>]")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--attributes", help="Columns of metadata.csv, with commas.  [default: all attribute columns]")
@click.option("--task", type=click.Choice(["attribute-synthesis", "pose-normalization"]))
@click.option(
    "--method", type=click.Choice(["lssl", "simgan"]), help="Pose normalization: the paper's, or SimGAN to compare."
)
@click.option(
    "--real-faces",
    type=click.Path(),
    help="Pose normalization: data set folder of real faces for the critic.  [default: near-frontal photographs of --data]",
)
@click.option("--iterations", type=click.IntRange(1), help="Generator updates.")
@click.option("--batch-size", type=click.IntRange(1), help="Of all processes together.")
@click.option("--critic-updates", type=click.IntRange(1), help="A generator update.")
@click.option("--learning-rate", type=float)
@click.option("--seed", type=int)
@click.option("--width", type=click.IntRange(1), help="Channels of the generator's first layer.")
@click.option("--downsamplings", type=click.IntRange(1), help="Of the generator; small pictures need fewer.")
@click.option("--size", type=click.IntRange(16), help="Side of the generated faces.")
@click.option("--subjects", type=click.IntRange(4), help="People among the generated faces.")
@click.option(
    "--attribute-loss", type=click.Choice(["bce", "softmax"]), help="Eq. 2 and 3 (bce), or the authors' code."
)
@click.option("--no-side-image", is_flag=True, help="Ablation: no landmark heatmap.")
@click.option("--no-bidirectional", is_flag=True, help="Ablation: without eq. 6.")
@click.option("--no-parsing", is_flag=True, help="Ablation: without eq. 5.")
@click.option("--no-identity", is_flag=True, help="Ablation: without eq. 4.")
@click.option(
    "--parser",
    type=click.Path(path_type=Path),
    help="Trained face parser (lssl train-parser).  [default: one is trained first]",
)
@click.option("--ema", type=float, help="Decay of an averaged generator, such as 0.999; 0: none.")
@click.option("--bf16", type=click.Choice(["on", "off", "auto"]), help="bfloat16 autocast.")
@click.option("--compile/--no-compile", default=None, help="torch.compile.")
@click.option("--cuda-graphs/--no-cuda-graphs", default=None, help="torch.compile with CUDA graphs.")
@click.option("--channels-last/--no-channels-last", default=None)
@click.option("--log-every", type=click.IntRange(1), help="Iterations.")
@click.option("--sample-every", type=click.IntRange(1), help="Iterations.")
@click.option("--checkpoint-every", type=click.IntRange(1), help="Iterations.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other setting, such as losses.identity=5; repeatable.",
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU where there is one]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: PyTorch's]")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def command(
    preset: str | None,
    config_file: str | None,
    out: Path | None,
    resume: bool,
    parser: Path | None,
    assignments: tuple[str, ...],
    device: str | None,
    threads: int | None,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train one model that changes all attributes of a data set's faces.

    \b
    lssl train                                        faces of the embedded 3D model, minutes
    lssl train --data london/ --preset standard       photographs that `lssl prepare` made ready
    lssl train --data rafd/ --preset paper --out runs/rafd
    lssl train --out runs/rafd --resume               goes on after a stop, a kill, a full disk
    lssl train --config runs/rafd/config.toml --out runs/again
    lssl train --task pose-normalization --data frontal/     a folder that `lssl render-frontal` wrote
    torchrun --nproc-per-node=2 -m lssl train --data rafd/ --preset paper

    The run folder gets config.toml (all settings), metrics.jsonl, losses.png, samples/ (unseen subjects: the input,
    then each target), checkpoints/ and generator.safetensors (for `lssl synthesize`, `lssl normalize-pose` and
    lssl.load_generator).
    Ctrl-C saves and stops.
    """
    import torch

    from lssl.training.config import TrainConfig
    from lssl.training.distributed import start_processes, stop_processes
    from lssl.training.memory import keep_freed_memory
    from lssl.training.run import prepare_run

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    try:
        if resume and out is None:
            raise click.UsageError("--resume needs --out, the run folder to continue")
        if config_file is None and resume and out is not None:
            config_file = str(out / "config.toml")
        usual = "pose" if flags["task"] == "pose-normalization" else "standard" if flags["data"] else "quick"
        preset = preset or usual
        config = TrainConfig.preset(preset) if config_file is None else TrainConfig.load(config_file)
        config = config.with_overrides(_overrides(flags, assignments))
        name = Path(config.data.folder).name if config.data.folder else "faces"
        out = out or Path("runs") / f"{name}-{preset}"
        processes = start_processes(device)
        if processes.first and not quiet:
            click.echo(config.to_toml())
        trainer = prepare_run(config, out, resume=resume, parser_path=parser, processes=processes, quiet=quiet)
        finished = trainer.train()
    finally:
        stop_processes()
    if not processes.first:
        return
    if finished:
        click.echo(f"Done: {out}/generator.safetensors; see {out}/samples and {out}/losses.png")
    elif trainer.iteration == 0:
        click.echo("Stopped while warming up; nothing to save yet: repeat the command to begin again")
    else:
        click.echo(f"Stopped at iteration {trainer.iteration}, saved; go on with: lssl train --out {out} --resume")


def _overrides(flags: dict[str, Any], assignments: tuple[str, ...]) -> dict[str, Any]:
    overrides = {_SETTINGS[flag]: value for flag, value in flags.items() if flag in _SETTINGS and value is not None}
    for flag, settings in _ABLATIONS.items():
        if flags[flag]:
            overrides.update(settings)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got '{assignment}'", param_hint="--set")
        overrides[name.strip()] = value.strip()
    return overrides

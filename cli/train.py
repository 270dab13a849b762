"""`lssl train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lssl.errors import LsslError

from .output import SEED, Output, json_option, quiet_option

if TYPE_CHECKING:
    from lssl.training.config import TrainConfig


@click.command()
@click.option("--data", type=click.Path(), help="Data set folder (lssl prepare).  [default: generated faces]")
@click.option(
    "--preset",
    help="quick, standard, finetune, few, paper, pose, simgan, stargan, starganv2, cyclegan, icgan, or for few photographs "
    "stargan-small, starganv2-small, cyclegan-small, icgan-small.  [default: with --data finetune, on a GPU standard; else quick]",
)
@click.option(
    "--method", help="Same as --preset; with --config or --resume, checks that the settings are this method's."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    help="File of settings, such as a run's config.toml, instead of a preset.",
)
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Run folder.  [default: runs/<data>-<preset>]")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--attributes", help="Columns of metadata.csv, separated by commas.  [default: all attributes]")
@click.option(
    "--real-faces",
    type=click.Path(),
    help="Pose normalization: data set folder of real faces for the critic.  [default: near-frontal photographs of --data]",
)
@click.option("--iterations", type=click.IntRange(1), help="Number of generator updates.")
@click.option("--batch-size", type=click.IntRange(1), help="Faces per batch, of all processes together.")
@click.option("--critic-updates", type=click.IntRange(1), help="Critic updates per generator update.")
@click.option("--learning-rate", type=float)
@click.option("--seed", type=SEED)
@click.option(
    "--start-from",
    metavar="GENERATOR",
    help="Begin with the weights of a generator: generated, london, a run folder or a file (presets standard, finetune, few, quick).",
)
@click.option("--width", type=click.IntRange(1), help="Channels of the generator's first layer.")
@click.option(
    "--downsamplings", type=click.IntRange(1), help="Down-samplings of the generator; small pictures need fewer."
)
@click.option("--size", type=click.IntRange(16), help="Without --data: side of the generated faces in pixels.")
@click.option("--subjects", type=click.IntRange(4), help="Without --data: how many people to generate.")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["side-image", "bidirectional", "parsing", "identity"]),
    help="Ablation (paper Table 1): leave out a part of the method; repeatable.",
)
@click.option(
    "--parser",
    type=click.Path(path_type=Path),
    help="Trained face parser (lssl train-parser).  [default: one is trained first, if needed]",
)
@click.option("--ema", type=float, help="Decay of an averaged generator, such as 0.999; 0: none.")
@click.option("--bf16", type=click.Choice(["on", "off", "auto"]), help="Compute in bfloat16 (autocast).")
@click.option("--channels-last", type=click.Choice(["on", "off", "auto"]), help="Memory format of the networks.")
@click.option(
    "--tf32/--no-tf32", default=None, help="GPU: float32 products with a mantissa of 10 bits, which is faster."
)
@click.option("--log-every", type=click.IntRange(1), help="Iterations between log lines.")
@click.option("--sample-every", type=click.IntRange(1), help="Iterations between sample pictures.")
@click.option("--checkpoint-every", type=click.IntRange(1), help="Iterations between checkpoints.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other setting, such as losses.identity=5; repeatable.",
)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: the fastest number, by measurement]")
@click.option(
    "--report/--no-report", default=True, help="At the end, judge what was learnt on unseen people.  [default: report]"
)
@quiet_option
@json_option
def command(
    preset: str | None,
    method: str | None,
    config_file: str | None,
    out: Path | None,
    resume: bool,
    parser: Path | None,
    assignments: tuple[str, ...],
    without: tuple[str, ...],
    device: str | None,
    report: bool,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train one model that changes all attributes of a data set's faces.

    \b
    lssl train                                 generated faces; takes minutes
    lssl train --data mine/                    your photographs (`lssl prepare`);
                                               beginning with trained weights,
                                               but from new ones on a GPU
    lssl train --data mine/ --preset standard  from new weights, hours on a CPU
    lssl train --data rafd/ --preset paper --out runs/rafd
    lssl train --out runs/rafd --resume        after a stop, a kill, a full disk
    lssl train --config runs/rafd/config.toml --out runs/again
    lssl train --preset pose --data frontal/   faces from `lssl render-frontal`
    torchrun --nproc-per-node=2 -m lssl train --data rafd/ --preset paper

    The run folder gets config.toml (all settings), metrics.jsonl, losses.png, samples/ (unseen subjects: the input,
    then each target), checkpoints/ and generator.safetensors (for `lssl synthesize`, `lssl normalize-pose` and
    lssl.load_generator). At the end, what was learnt is judged on the people of the test split, class by class, in a few
    lines and in report.html, with figures and contact sheets.
    Ctrl-C saves and stops.
    """
    from lssl.methods.run import default_folder, default_preset, run_training
    from lssl.training.checkpoint import checkpoints
    from lssl.training.distributed import Processes

    output = Output(quiet, as_json)
    quiet = quiet or as_json  # training prints its remarks on standard output
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the run folder to continue")
    if resume and out is not None and not checkpoints(out / "checkpoints"):
        raise LsslError(f"{out} has no checkpoint to resume from; repeat the command without --resume")
    overrides = _overrides(flags, without, assignments)
    named = preset or method or config_file or resume
    preset = preset or method or default_preset(overrides, device)
    run = out / "config.toml" if resume and out is not None and config_file is None else None
    config = _config(preset, method, config_file, run)
    if flags["start_from"] and not config.has("network.start"):
        raise LsslError(
            f"--start-from is for the presets standard, finetune, few and quick; {config.method} begins with new weights"
        )
    config = config.with_overrides(overrides)
    out = out or default_folder(config, preset)

    def begin(processes: Processes) -> None:
        if processes.first and not quiet:
            if preset == "finetune" and not named:
                click.echo(
                    "Preset finetune, as on any CPU: it begins with a trained generator (--preset standard begins with new "
                    "weights, which takes hours)\n"
                )
            click.echo(config.to_toml())

    loop, finished = run_training(
        config, out, resume=resume, parser_path=parser, device=device, quiet=quiet, begin=begin
    )
    if not loop.processes.first:
        return
    judged = True
    if finished:
        output.say(f"Done: {out}/generator.safetensors; see {out}/samples and {out}/losses.png")
        if report and loop.config.data.folder:
            judged = _judge(out, loop.config, quiet, output)
    elif loop.iteration == 0:
        output.warn("Stopped while warming up, when there is nothing to save yet: repeat the command to begin again")
    else:
        output.warn(f"Stopped at iteration {loop.iteration}, saved; continue with: lssl train --out {out} --resume")
    output.result(out=out, finished=finished, iterations=loop.iteration, generator=out / "generator.safetensors")
    if not finished or not judged:
        raise SystemExit(130)


def _judge(out: Path, config: "TrainConfig", quiet: bool, output: Output) -> bool:
    """Writes the run's report, and returns whether it was finished; Ctrl-C may stop it, since the training is complete."""
    from lssl.evaluation.experiments.run_report import judge_run

    if not quiet:
        click.echo("Judging it on people not seen in training, which takes a minute or two; Ctrl-C skips that")
    judged = True
    try:
        lines = judge_run(
            out, config.data.folder, command=f"lssl train --config {out / 'config.toml'}", seed=config.seed
        )
    except KeyboardInterrupt:
        judged = False
        lines = [f"Not judged; to do so later: lssl evaluate transfer --data {config.data.folder} --model {out}"]
    click.echo("\n".join(lines), err=output.as_json)
    return judged


def _config(preset: str, method: str | None, config_file: str | None, run: Path | None) -> "TrainConfig":
    """The settings of a run to continue, of a file, or of a preset. Raises LsslError if they are of another method than
    `method`."""
    from lssl.training.config import TrainConfig

    if run is not None:
        config = TrainConfig.load_run(run)
    else:
        config = TrainConfig.preset(preset) if config_file is None else TrainConfig.load(config_file)
    if method is not None and config.method != method:
        raise LsslError(f"{run or config_file or f'preset {preset}'} is for the method {config.method}, not {method}")
    return config


def _overrides(flags: dict[str, Any], without: tuple[str, ...], assignments: tuple[str, ...]) -> dict[str, Any]:
    from lssl.methods.run import SHORT_NAMES

    overrides = {SHORT_NAMES[flag]: value for flag, value in flags.items() if flag in SHORT_NAMES and value is not None}
    for part in without:
        overrides["network.side_channels" if part == "side-image" else f"losses.{part}"] = 0
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got '{assignment}'", param_hint="--set")
        overrides[name.strip()] = value.strip()
    return overrides

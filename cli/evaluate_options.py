"""The options that the experiments of `lssl evaluate` share, and the settings that they stand for."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import SEED, kept_json_option, of_context, quiet_option

if TYPE_CHECKING:
    from lssl.evaluation.experiments.contenders import Contender
    from lssl.evaluation.experiments.experiment import Settings
    from lssl.evaluation.report import Report

_DATA_OPTIONS = [
    click.option(
        "--data", type=click.Path(path_type=Path), required=True, help="Data set folder (lssl prepare, generate-faces)."
    ),
    click.option(
        "--attribute", default="", help="Attribute whose values are the classes.  [default: the folder's first]"
    ),
    click.option(
        "--folds",
        type=click.IntRange(1),
        help="Folds by subject; 1: the folder's own train and test split.",
    ),
    click.option("--quick", is_flag=True, help="A small version that takes minutes, with few iterations and folds."),
]
_TRAINING_OPTIONS = [
    click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False),
        help="Settings of the generators, such as a run's config.toml, instead of a preset.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting of the generators, such as schedule.iterations=1000; repeatable.",
    ),
    click.option(
        "--architecture",
        type=click.Choice(["small", "resnet50", "vgg16"]),
        default="small",
        show_default=True,
        help="Network of the classifiers.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Pretrained weights for the classifiers to start from, a local file.",
    ),
    click.option("--classifier-iterations", type=click.IntRange(1), help="[default: as lssl train-classifier]"),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of folds, generators and classifiers."),
    click.option(
        "--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: runs/<experiment>-<data>]"
    ),
    click.option("--overwrite", is_flag=True, help="Delete what an earlier experiment left in --out."),
    click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]"),
    quiet_option,
    kept_json_option,
]

repeats_option = click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Classifiers per figure, with different seeds, averaged.",
)


def people_option(default: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--real-subjects with its default."""
    return click.option(
        "--real-subjects",
        type=click.IntRange(0),
        default=default,
        show_default=True,
        help="Train on this many people per fold; 0: all.",
    )


#: What --quick changes, unless other options say otherwise.
QUICK_TRAINING = {
    "schedule.iterations": 300,
    "warm_up.updates": 100,
    "warm_up.movement": 300,
    "output.sample_every": 100,
}
QUICK_CLASSIFIER = 150
QUICK_PARSER = 60
QUICK_FOLDS = 2
QUICK_NOTE = "This is the quick version: everything runs, but training is far too short to judge the method by."


def experiment_options(*presets: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: adds the shared options to a command whose generators can be trained with these presets, the default
    first."""
    default = f"{presets[0]}; with --quick: quick" if "quick" in presets else presets[0]
    preset = click.option(
        "--preset", type=click.Choice(presets), help=f"Preset of the generators to train.  [default: {default}]"
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([*_DATA_OPTIONS, preset, *_TRAINING_OPTIONS]):
            function = option(function)
        return function

    return add


def method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds --method and --seeds to a command that can compare several methods."""
    for option in reversed(
        [
            click.option(
                "--method",
                "methods",
                multiple=True,
                metavar="PRESET",
                help="Compare methods, each trained with its preset: paper, standard, few, stargan, starganv2, cyclegan, icgan "
                "or, with what standard uses for few faces, the same four with -small. Repeatable; --set changes a setting of "
                "all methods that have it.",
            ),
            click.option(
                "--seeds",
                type=click.IntRange(1),
                help="With --method: trainings of each method in each fold.  [default: 2; quick: 1]",
            ),
        ]
    ):
        function = option(function)
    return function


def make_contenders(
    methods: tuple[str, ...], seeds: int | None, options: dict[str, Any]
) -> tuple["Settings", list["Contender"], int]:
    """The experiment's settings, the methods to compare, and how often each is trained. options: those of the command."""
    from lssl.evaluation.experiments.contenders import open_contenders

    for name, given in (("--preset", options["preset"]), ("--config", options["config_file"])):
        if given:
            raise click.UsageError(
                f"{name} is for a single method; --method compares several, each with its own preset"
            )
    changes = parse_assignments(options["assignments"])
    settings = make_settings(**{**options, "assignments": ()})
    contenders = open_contenders(methods, settings, changes, QUICK_TRAINING if options["quick"] else None)
    return settings, contenders, seeds or (1 if options["quick"] else 2)


def make_settings(
    *,
    data: Path,
    attribute: str,
    folds: int | None,
    default_folds: int,
    quick_folds: int = QUICK_FOLDS,
    quick: bool,
    preset: str | None,
    config_file: str | None,
    assignments: tuple[str, ...],
    architecture: str,
    weights: Path | None,
    classifier_iterations: int | None,
    seed: int,
    device: str | None,
    quiet: bool,
    real_subjects: int = 0,
) -> "Settings":
    """The experiment's settings from the command line."""
    from lssl.device import choose_device
    from lssl.evaluation.experiments.experiment import Settings
    from lssl.ops.memory import keep_freed_memory
    from lssl.training.classifier_training import ClassifierConfig
    from lssl.training.config import TrainConfig

    keep_freed_memory()  # trainings follow
    training = (
        TrainConfig.load(config_file)
        if config_file
        else TrainConfig.preset(preset or ("quick" if quick else "standard"))
    )
    if quick:
        training = training.with_overrides({k: v for k, v in QUICK_TRAINING.items() if training.has(k)})
    training = training.with_overrides({"seed": seed, "data.folder": "", **parse_assignments(assignments)})
    if quick and not classifier_iterations:
        classifier_iterations = QUICK_CLASSIFIER
    return Settings(
        data=data,
        attribute=attribute,
        folds=folds or (min(quick_folds, default_folds) if quick else default_folds),
        seed=seed,
        real_subjects=real_subjects,
        training=training,
        judge=ClassifierConfig(architecture, classifier_iterations or 0, seed=seed),
        weights=weights,
        parser_iterations=QUICK_PARSER if quick else 300,
        device=choose_device(device),
        quiet=quiet,
        note=QUICK_NOTE if quick else "",
    )


def prepare_plain(settings: "Settings", out: Path, size: int, folds: int | None) -> "Settings":
    """The settings with the folder that --data is prepared to, next to `out`, if it is a plain folder of pictures with a
    table; otherwise as they are. folds: those asked for; by default there are at most as many as people."""
    import os
    from dataclasses import replace

    from lssl.data import read_metadata
    from lssl.evaluation.experiments.plain_data import is_plain, open_plain

    if not is_plain(settings.data):
        return settings
    prepared, attribute = open_plain(
        settings.data,
        out.parent / f"{settings.data.resolve().name}-prepared",
        attribute=settings.attribute,
        size=size,
        folds=folds or 0,
        workers=os.cpu_count() or 1,
        say=of_context().say,
    )
    people = len(set(read_metadata(prepared).subjects))
    return replace(settings, data=prepared, attribute=attribute, folds=folds or min(settings.folds, max(2, people)))


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, str]:
    """`("schedule.iterations=10",)` as a dictionary."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got '{assignment}'", param_hint="--set")
        values[name.strip()] = value.strip()
    return values


def command_line() -> str:
    """The command line as the user typed it, for the report."""
    import shlex
    import sys

    return shlex.join(["lssl", *sys.argv[1:]])


def print_report(report: "Report", out: Path) -> None:
    """Prints the tables, the report's path and the conclusions; with --json, what results.json holds."""
    import json

    from lssl.evaluation.report import console_table

    output = of_context()
    for table in report.tables:
        output.say("")
        output.say(console_table(table))
    output.say(f"\n{out / 'report.html'}")
    for sentence in report.conclusions:
        output.say(sentence)
    if output.as_json:
        output.result(out=out, **json.loads((out / "results.json").read_text(encoding="utf-8")))

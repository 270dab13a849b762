"""`lssl train-classifier`."""

from pathlib import Path

import click

from .output import SEED, Output, json_option, quiet_option


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Data set folder (lssl prepare, generate-faces)."
)
@click.option("--attribute", help="Column whose values are the classes.  [default: the folder's first attribute]")
@click.option(
    "--architecture",
    type=click.Choice(["small", "resnet50", "vgg16"]),
    default="small",
    show_default=True,
    help="small: takes a minute on one core; resnet50, vgg16 (VGG-Face): as in the paper.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start from a local file of torchvision's, timm's or VGG-Face's weights.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default="runs/classifier",
    show_default=True,
    help="Folder to write.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    help="[default: the largest of 400, 150 per class and 15 epochs, at most 5000]",
)
@click.option("--batch-size", type=click.IntRange(2), default=32, show_default=True)
@click.option("--learning-rate", type=float, help="[default: 0.002 for small, 0.0001 for the large ones]")
@click.option("--jitter", type=float, default=1.0, show_default=True, help="Strength of random moves and light.")
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="Mirror faces at random; never for yaw, pose and gaze."
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--overwrite", is_flag=True, help="Replace the classifier that is there.")
@quiet_option
@json_option
def command(
    data: Path,
    attribute: str | None,
    architecture: str,
    weights: Path | None,
    out: Path,
    iterations: int | None,
    batch_size: int,
    learning_rate: float | None,
    jitter: float,
    flip: bool,
    seed: int,
    device: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a classifier of expressions (or another attribute), and test it on people that it has not seen.

    \b
    lssl train-classifier --data faces/
    lssl train-classifier --data london/ --out runs/smile
    lssl train-classifier --data faces/ --attribute lighting --out runs/lighting
    lssl train-classifier --data rafd/ --architecture resnet50 \\
        --weights resnet50.safetensors

    Subjects of the test split are only used for testing; without such a split, a fifth of the subjects is held out. The
    folder gets classifier.safetensors (for `lssl evaluate`), report.html with the confusion matrix, confusion.png,
    results.json and results.csv. Ctrl-C stops early and keeps what was learnt.
    """
    import json
    import shlex
    import sys

    from lssl.data import read_metadata
    from lssl.data.lock import check_writable, hold_folder
    from lssl.device import choose_device
    from lssl.evaluation.experiments.classifier_report import write_classifier_run
    from lssl.evaluation.report import console_table
    from lssl.ops.memory import keep_freed_memory
    from lssl.training.classifier_training import ClassifierConfig, labelled_faces, subject_split, train_classifier

    keep_freed_memory()
    if (out / "classifier.safetensors").is_file() and not overwrite:
        raise click.ClickException(f"{out} holds a classifier already; choose another --out or add --overwrite")
    check_writable(out)
    output = Output(quiet, as_json)
    chosen = choose_device(device)
    config = ClassifierConfig(
        architecture, iterations or 0, batch_size, learning_rate or 0.0, jitter=jitter, flip=flip, seed=seed
    )
    folder = read_metadata(data)
    if attribute is None:
        if not folder.attributes:
            raise click.ClickException(f"{data}/metadata.csv has no attribute column; name one with --attribute")
        attribute = folder.attributes[0]
    if len(folder) > 1000:  # many seconds on a slow disk
        output.say(f"Reading {len(folder)} pictures of {data}")
    train_rows, test_rows = subject_split(folder, seed)
    train = labelled_faces(train_rows, attribute, device=chosen)
    test = labelled_faces(test_rows, attribute, group=train.schema.groups[0], device=chosen)
    hold_folder(out)
    output.say(
        f"{data}: {len(train)} faces of {len(train.subjects)} people to learn {attribute} from "
        f"({', '.join(train.schema.groups[0].values)}), {len(test)} of {len(test.subjects)} others to test, "
        f"{train.size[1]}x{train.size[0]}"
    )
    output.say(f"{config.resolved(len(train), len(train.schema.groups[0].values))} on {chosen}")
    result = train_classifier(train, config, weights=weights, progress=not quiet)
    line = shlex.join(["lssl", *sys.argv[1:]])
    report = write_classifier_run(out, result, train, test, config, line)
    for table in report.tables:
        output.say(console_table(table))
    output.say(f"{out / 'classifier.safetensors'}; {out / 'report.html'}")
    if as_json:
        output.result(out=out, **json.loads((out / "results.json").read_text(encoding="utf-8")))
    if result.interrupted:
        click.secho(f"Stopped after {result.iterations} iterations.", fg="yellow", err=True)
        raise SystemExit(130)

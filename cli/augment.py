"""`lssl augment`."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from .output import SEED, SOME_REFUSED, Output, json_option, out_folder, quiet_option
from .values import ModelPath, intensity_range_option


@click.command()
@click.argument("model", type=ModelPath())
@click.argument("data", type=click.Path(path_type=Path))
@out_folder
@click.option("--per-class", type=click.IntRange(1), default=1000, show_default=True, help="Faces to make per class.")
@click.option("--attribute", default="", help="Attribute whose values are the classes.  [default: the model's first]")
@intensity_range_option
@click.option(
    "--split",
    type=click.Choice(["train", "test", "all"]),
    default="train",
    show_default=True,
    help="The faces to start from; with train, nobody of the test set appears in the result.",
)
@click.option(
    "--landmarks",
    type=click.Choice(["none", "dlib"]),
    default="none",
    show_default=True,
    help="dlib: find the landmarks of each result, and reject results without a face.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    help="A classifier (lssl train-classifier) of the same classes, trained on nobody you will test on; faces that it "
    "classifies otherwise are rejected.",
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The least probability that the teacher must give a face's class.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run with other options wrote.")
@quiet_option
@json_option
def command(
    model: Path,
    data: Path,
    out: Path,
    per_class: int,
    attribute: str,
    intensity: tuple[float, float],
    split: str,
    landmarks: str,
    teacher: Path | None,
    agreement: float,
    seed: int,
    device: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write a data set folder OUT of labelled faces, synthesized by MODEL from those of the folder DATA.

    MODEL is a trained generator or its run folder. Three others need no training: "morph" makes new people by mixing two
    with the same label in shape and colour; "blend" does so in colour only, for faces without landmarks; "3d" moves faces
    with a 3D model, the way that the people of DATA move. With morph+3d, each makes half of the faces.

    \b
    lssl augment runs/rafd data/rafd data/synthetic --per-class 1000
    lssl augment runs/mine data/mine made/ --attribute expression --intensity 1 1
    lssl augment runs/faces photographs/ made/      photographs are prepared first
    lssl augment morph data/rafd data/new-people --per-class 1000
    lssl augment 3d data/rafd data/moved --per-class 500 --teacher runs/classifier
    torchrun --nproc-per-node=4 -m lssl augment runs/rafd data/rafd made/

    DATA may also be a folder of photographs, or of one folder per class. Each face is changed from another class to the one
    it is labelled with; its other attributes and its subject stay. (A morph shows what both of its people show; the column
    other_subject names the second.)
    Ctrl-C loses nothing: the same command continues where it stopped, with any number of processes.
    """
    from lssl.data import read_metadata
    from lssl.data.detect import EXTRA_MISSING, DetectionError, available
    from lssl.data.portrait import check_apart
    from lssl.data.prepare import read_rejected
    from lssl.data.writer import REJECTED
    from lssl.inference.plain_folder import open_faces
    from lssl.inference.synthesizers import UNTRAINED, GeneratorSynthesizer, open_synthesizer
    from lssl.inference.synthetic_folder import AugmentOptions, augment_folder
    from lssl.models.classifier import load_classifier
    from lssl.models.export import load_generator
    from lssl.training.distributed import start_processes, stop_processes

    options = AugmentOptions(per_class, attribute, intensity, split, seed, landmarks, agreement)
    output = Output(quiet, as_json)
    check_apart(out, [data])
    processes = start_processes(device)
    bars = ExitStack()
    try:
        if landmarks == "dlib" and not available():
            raise DetectionError(EXTRA_MISSING)
        if all(word in UNTRAINED for word in str(model).split("+")):
            maker, folder = open_synthesizer(str(model)), read_metadata(data)
        else:
            generator = load_generator(model, processes.device)
            maker = GeneratorSynthesizer(generator, model.name)
            prepared = out.parent / f"{out.name}-prepared"
            if not processes.first:
                processes.wait()  # until the first has prepared any photographs
            folder = open_faces(data, generator, prepared, output.say if processes.first else lambda text: None)
            if processes.first:
                processes.wait()
        judge = None if teacher is None else load_classifier(teacher, processes.device)
        if processes.first:
            several = f", {processes.world_size} processes" if processes.world_size > 1 else ""
            low, high = intensity
            output.say(
                f"{model} on {data}: {per_class} faces per class of {attribute or 'the first attribute'}, from the faces of "
                f"{'both splits' if split == 'all' else f'the split {split}'}, intensity {low:g} to {high:g}, "
                f"seed {seed} ({processes.device}{several})"
            )
        rows = augment_folder(
            maker,
            folder,
            out,
            options,
            teacher=judge,
            processes=processes,
            overwrite=overwrite,
            progress=partial(_bar, output, bars),
        )
    finally:
        bars.close()
        stop_processes()
    if rows is None:
        return
    rejected = read_rejected(out)
    made = rows if not rejected else len(read_metadata(out))
    output.say(f"{made} faces in {out}", "green")
    output.result(out=out, faces=made, rejected=dict(rejected))
    if rejected:
        output.warn(f"{len(rejected)} rejected, listed in {out / REJECTED}")
        raise SystemExit(SOME_REFUSED)


def _bar(output: Output, bars: ExitStack, total: int, done: int) -> Callable[[int], None]:
    from lssl.data.how_long import HowLong
    from lssl.progress import tqdm

    bar = tqdm(total=total, initial=done, unit="face", desc="synthesizing", disable=output.quiet)
    bars.callback(bar.close)
    how_long = HowLong(output.beside_bar, total, done, unit="faces")

    def advance(count: int) -> None:
        how_long.advance(count)
        bar.update(min(count, total - bar.n))
        if bar.n >= total:
            bar.close()

    return advance

"""`lssl prepare`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lssl

from .output import SEED, SOME_REFUSED, Output, json_option, max_megapixels_option, out_folder, quiet_option

if TYPE_CHECKING:
    from lssl.data.prepare import PrepareReport


def _sources() -> list[str]:
    """The readers' names, found by their files: importing them would import PyTorch, and `--help` would wait for it."""
    folder = Path(lssl.__file__).parent / "data" / "readers"
    files = [path for path in folder.glob("*.py") if "\nREADER = " in path.read_text(encoding="utf-8")]
    return sorted(path.stem.replace("_", "-") for path in files)


def _parse_only(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    only: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name or not values:
            raise click.BadParameter(f"'{text}' is not of the form COLUMN=VALUE[,VALUE...]", param_hint="--only")
        only[name.strip()] = tuple(value.strip() for value in values.split(","))
    return only


def _progress(results: Iterable[Any], total: int, done: int, output: Output) -> Iterator[Any]:
    from lssl.data.how_long import HowLong
    from lssl.progress import tqdm

    rejected, quiet = 0, output.quiet
    how_long = HowLong(output.beside_bar, total, done)
    with tqdm(total=total, initial=done, unit="picture", desc="preparing", disable=quiet) as bar:
        for entry in results:
            rejected += "rejected" in entry
            if rejected:
                bar.set_postfix(rejected=rejected, refresh=False)
            bar.update()
            how_long.advance()
            yield entry


def _print_report(report: "PrepareReport", out: Path, output: Output) -> None:
    splits = ", ".join(f"{count} {name}" for name, count in sorted(report.splits.items(), reverse=True))
    output.say(f"{report.rows} faces of {report.subjects} subjects in {out} ({splits})", "green")
    for name, values in report.attributes.items():
        output.say(f"  {name}: {', '.join(values)}")
    for reason, count in sorted(report.left_out.items()):
        output.say(f"  not asked for: {count} with {reason}" if "=" in reason else f"  left out: {count} ({reason})")
    if report.rejected:
        output.warn(f"{len(report.rejected)} rejected, listed in {out / 'rejected.csv'}:")
        for line in _by_reason(report.rejected):
            output.warn(f"  {line}")
    else:
        output.say("  nothing rejected")
    for line in report.warnings:
        output.warn(f"  ! {line}")
    output.result(
        out=out,
        faces=report.rows,
        subjects=report.subjects,
        splits=report.splits,
        attributes=report.attributes,
        left_out=report.left_out,
        rejected=dict(report.rejected),
        warnings=report.warnings,
    )


def _by_reason(rejected: "Sequence[tuple[str, str]]") -> list[str]:
    """A line for each kind of reason, the most frequent first: how often, why, and the first pictures."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for picture, reason in rejected:
        reason = _LANDMARK_FILE.sub("", reason)
        kinds.setdefault(re.sub(r"(?<![%\w-])\d+(\.\d+)?", "N", reason), []).append((picture, reason))
    lines = []
    for kind, those in sorted(kinds.items(), key=lambda item: -len(item[1])):
        reasons = {reason for _, reason in those}
        names = ", ".join(picture for picture, _ in those[:_NAMED])
        others = f" and {len(those) - _NAMED} others" if len(those) > _NAMED + 1 else ""
        names += f", {those[-1][0]}" if len(those) == _NAMED + 1 else others
        lines.append(f"{len(those)} x {reasons.pop() if len(reasons) == 1 else kind} ({names})")
    return lines


_NAMED = 3  # pictures that the report names for a reason
_LANDMARK_FILE = re.compile(r"^.*?\.(?:pts|csv)(?:: | (?=is not ))", re.IGNORECASE)


@click.command()
@click.argument("source", type=click.Choice(_sources()))
@click.argument("path", type=click.Path(path_type=Path))
@out_folder
@click.option(
    "--size", type=click.IntRange(16, 4096), default=128, show_default=True, help="Side of the crops in pixels."
)
@click.option(
    "--crop-scale",
    type=click.FloatRange(2, 12),
    default=4.0,
    show_default=True,
    help="Side of the crop in distances between the eyes; a larger one shows more hair and background.",
)
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 0.9),
    default=0.2,
    show_default=True,
    help="Share of the subjects to keep for tests.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Decides which subjects are kept for tests.")
@click.option("--attribute", "attributes", multiple=True, help="Column to use as an attribute; repeatable.")
@click.option("--only", multiple=True, metavar="COLUMN=VALUE,...", help="Leave out pictures with other values.")
@click.option(
    "--landmarks",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of .pts or .csv files, if they are not next to the pictures.",
)
@click.option("--redetect", is_flag=True, help="Find all landmarks with dlib, even if there are files.")
@click.option("--largest-face", is_flag=True, help="Take the largest of several faces, instead of rejecting.")
@click.option("--subject-pattern", metavar="REGEX", help="folder: the part of a file's path that names the person.")
@click.option("--class-name", default="class", show_default=True, help="folder: the name of the attribute.")
@click.option("--frames", type=click.IntRange(1), default=3, show_default=True, help="oulu-casia, mug: peak frames.")
@click.option("--neutral", is_flag=True, help="oulu-casia: take each sequence's first frame as neutral.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: the number of processors]")
@click.option("--preview", is_flag=True, help="Also write preview.png, with the landmarks drawn.")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run with other options wrote.")
@max_megapixels_option
@quiet_option
@json_option
def command(
    source: str,
    path: Path,
    out: Path,
    size: int,
    crop_scale: float,
    test_fraction: float,
    seed: int,
    attributes: tuple[str, ...],
    only: tuple[str, ...],
    landmarks: Path | None,
    redetect: bool,
    largest_face: bool,
    subject_pattern: str | None,
    class_name: str,
    frames: int,
    neutral: bool,
    workers: int | None,
    preview: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a data set folder OUT of aligned face crops from the pictures in the folder PATH.

    The first argument names the database, which decides how files are read; "folder" is for photographs of your own.

    \b
    lssl prepare london faces/london out/london --size 64 --preview
    lssl prepare rafd RaFD/ out/rafd --only gaze=frontal
    lssl prepare oulu-casia Oulu/ out/oulu --only lighting=normal --neutral
    lssl prepare bu3dfe BU3DFE/ out/bu3dfe --only intensity=4
    lssl prepare folder photos/ out/mine --subject-pattern '(\\w+)_'

    With "folder", PATH holds one folder per class.
    Landmarks come from .pts or .csv files if there are any, else from dlib (pip install 'lssl[landmarks]').
    A .pts file counts pixels from 1, a table from 0; the header of a table says which columns are x and y. Pictures
    that cannot be used are listed with the reason in OUT/rejected.csv; the exit code is then 1. A subject is used either
    for training or for tests, never for both. Ctrl-C loses nothing: the same command continues where it stopped.
    """
    import os

    from lssl.data.folder import read_metadata
    from lssl.data.prepare import PrepareOptions, list_source, prepare
    from lssl.data.preview import write_preview
    from lssl.data.readers import READERS
    from lssl.training.suitability import other_size

    given: dict[str, Any] = {
        "subject_pattern": subject_pattern,
        "attribute": class_name,
        "frames": frames,
        "neutral": neutral,
    }
    options = PrepareOptions(
        size=size,
        crop_scale=crop_scale,
        test_fraction=test_fraction,
        seed=seed,
        attributes=attributes,
        only=_parse_only(only),
        landmarks_dir=landmarks,
        redetect=redetect,
        largest_face=largest_face,
        reader={name: given[name] for name in READERS[source].options},
    )
    workers = workers or os.cpu_count() or 1
    listing = list_source(source, path, options)
    searched = sum(record.needs_detector for record in listing.records)
    output = Output(quiet, as_json)
    output.say(
        f"{READERS[source].title}: {len(listing.records)} pictures of "
        f"{len({record.subject for record in listing.records})} subjects in {path}; "
        f"landmarks: {len(listing.records) - searched} known, {searched} by dlib; "
        f"{size}x{size} pixels, {workers} processes"
    )
    if size_warning := other_size(size):  # said before the work, which would have to be repeated
        output.warn(f"  ! {size_warning}")
    report = prepare(
        source,
        path,
        out,
        options,
        workers=workers,
        overwrite=overwrite,
        progress=partial(_progress, output=output),
        listing=listing,
    )
    if size_warning:
        report.warnings.append(size_warning)
    if preview:
        write_preview(read_metadata(out), out / "preview.png")
    _print_report(report, out, output)
    if preview:
        output.say(f"  preview: {out / 'preview.png'}")
    if report.rejected:
        raise SystemExit(SOME_REFUSED)

"""`lssl morph`."""

from pathlib import Path

import click

from .output import Output, json_option, photograph_options, quiet_option
from .values import ModelPath

_LONGEST = {".gif": 512, ".webp": 768}  # pixels of the longer side, unless --size says otherwise
_LONGEST_VIDEO = 1920


@click.command()
@click.argument("model", type=ModelPath("london {} --through neutral,happy"))
@click.argument("photograph", type=click.Path(path_type=Path), metavar="PHOTO")
@click.option(
    "--through",
    required=True,
    help="Values to go through, such as neutral,happy,surprised; photo stands for the photograph as it is.",
)
@click.option("--out", "-o", type=click.Path(path_type=Path), default="morph.gif", show_default=True,
              help="File to write: .gif, .webp, .mp4, .mov or .mkv.")  # fmt: skip
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 60),
    default=0.7,
    show_default=True,
    help="Seconds from one value to the next.",
)
@click.option("--hold", type=click.FloatRange(0, 60), default=0.5, show_default=True, help="Seconds at each value.")
@click.option("--fps", type=click.IntRange(1, 100), default=25, show_default=True, help="Frames per second.")
@click.option(
    "--size",
    type=click.IntRange(32),
    help="The longer side in pixels, at most.  [default: 512 for GIF, 768 for WebP, else 1920]",
)
@click.option(
    "--intensity",
    type=click.FloatRange(0, 1.5),
    default=1.0,
    show_default=True,
    help="How far to go to each value: 1 is fully.",
)
@click.option("--once", is_flag=True, help="End at the last value, instead of returning to the first and repeating.")
@click.option("--source", multiple=True, help="What the photograph shows; this value is then the photograph itself.")
@photograph_options
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@quiet_option
@json_option
def command(
    model: Path,
    photograph: Path,
    through: str,
    out: Path,
    seconds: float,
    hold: float,
    fps: int,
    size: int | None,
    intensity: float,
    once: bool,
    source: tuple[str, ...],
    landmarks: Path | None,
    largest_face: bool,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Let the face of a photograph go from one expression to the next, as a looping GIF, WebP or a video.

    \b
    lssl morph 3d photo.jpg --through neutral,happy,surprised -o morph.gif
    lssl morph london photo.jpg --through photo,happy -o smile.mp4
    lssl morph runs/faces photo.jpg --through happy,sad --seconds 1.2 -o it.webp

    MODEL is as for `lssl synthesize`. The face starts and stops gently, and rests for a moment at each value. Starting from
    photo, or from what --source names, the next value grows out of the photograph's own pixels.
    """
    from lssl.data.portrait import existing_path, read_portrait
    from lssl.errors import LsslError
    from lssl.inference.editor import FaceEditor
    from lssl.inference.synthesis import target_words
    from lssl.inference.video.morph import MorphOptions, check_stops, morph, smaller
    from lssl.inference.video.pipeline import stopped_by_user
    from lssl.inference.video.writing import ClipFile
    from lssl.progress import tqdm

    output = Output(quiet, as_json)
    editor = FaceEditor(model, device)
    stops = check_stops(editor, target_words(editor.schema, through), intensity)
    photograph = existing_path(photograph)
    if out.exists() and photograph.exists() and out.samefile(photograph):
        raise LsslError(f"{out} is the photograph that is read; choose another name for the result")
    portrait = read_portrait(photograph, landmarks=landmarks, largest_face=largest_face)
    image, points = smaller(
        portrait.image, portrait.landmarks, size or _LONGEST.get(out.suffix.lower(), _LONGEST_VIDEO)
    )
    try:
        opened = editor.open(image, source=source or None, landmarks=points)
    except LsslError as error:
        raise LsslError(f"{photograph}: {error}") from None
    options = MorphOptions(seconds, hold, fps, intensity, not once)
    clip = morph(editor, opened, stops, options, photograph.stem)
    with stopped_by_user() as stop, ClipFile(out, clip) as file:
        for frame in tqdm(clip.frames, total=clip.count, desc="drawing", unit="frame", disable=quiet):
            if stop.is_set():
                file.stop()
                break
            file.write(frame)
    if stop.is_set():
        raise KeyboardInterrupt(f"{file.frames} frames are in {file.partial}" if file.frames else "")
    output.say(f"{file.frames} frames through {', '.join(stops)} in {out}")
    output.result(out=out, frames=file.frames, stops=stops)

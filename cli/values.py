"""Options and arguments that are lists, ranges, or models, checked when they are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class ModelPath(click.Path):
    """A generator's file, run folder or built-in name; a picture in its place is told from a broken model.

    example: what follows the command's name in the answer, {} for the picture, where pictures come after the model.
    """

    def __init__(self, example: str = "", path_type: type[str] | type[Path] = Path) -> None:
        super().__init__(path_type=path_type)
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.suffix.lower() in ("", ".safetensors") or path.is_dir():
            return super().convert(value, param, ctx)
        from lssl.data.picture_files import SUFFIXES
        from lssl.inference.video.frames import VIDEO_SUFFIXES

        if path.suffix.lower() in SUFFIXES.union(VIDEO_SUFFIXES):
            what = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "picture"
            if self.example:
                command = ctx.command_path if ctx is not None else "lssl"
                fix = f"; the model comes first: `{command} {self.example.format(value)}`"
            else:
                fix = ", where a model belongs: generator.safetensors, a run folder, or a built-in name such as london"
            self.fail(f"{value} is a {what}{fix}", param, ctx)
        return super().convert(value, param, ctx)


def numbers_of(kind: type[int] | type[float]) -> Callable[[click.Context, click.Parameter, str | None], tuple | None]:
    """A callback that parses numbers separated by commas."""

    def parse(_context: click.Context, parameter: click.Parameter, text: str | None) -> tuple | None:
        if text is None:
            return None
        try:
            return tuple(kind(word) for word in text.split(",") if word.strip())
        except ValueError:
            raise click.BadParameter(f"expected numbers separated by commas, got {text!r}", param=parameter) from None

    return parse


def _ascending(_context: click.Context, parameter: click.Parameter, ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise click.BadParameter("give the lower end first", param=parameter)
    return ends


intensity_range_option = click.option(
    "--intensity",
    nargs=2,
    type=click.FloatRange(0, 1.5),
    default=(0.8, 1.2),
    show_default=True,
    callback=_ascending,
    help="Range from which each face's strength is drawn; 1 is the full change.",
)

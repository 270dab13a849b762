"""Options whose values are lists or ranges, checked when they are read."""

from collections.abc import Callable

import click


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

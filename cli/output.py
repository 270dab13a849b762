"""What commands print, and how: --quiet, --json, exit codes, and the options of commands that read photographs.

Exit codes: 0 everything is done, 1 something was refused or failed (named on standard error), 2 the command was called
wrongly, 130 Ctrl-C. With --json, the result and nothing else is on standard output.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .first_word import nothing_to_say

SOME_REFUSED = 1
_OUT = "lssl.out"
_JSON, _QUIET = "lssl.json", "lssl.quiet"


class _Seed(click.ParamType):
    """A seed of random numbers: a whole number from 0 to 2**63 - 1."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            self.fail(f"'{value}' is not a whole number", param, ctx)
        if not 0 <= number < 2**63:
            self.fail(f"{value} is not between 0 and 2**63 - 1", param, ctx)
        return number


def _show_steps(_context: click.Context, _parameter: click.Parameter, quiet: bool) -> bool:
    """Steps that turn out to be long have bars, and loading PyTorch has its word, unless --quiet."""
    from lssl.progress import show_steps

    show_steps(not quiet)
    if quiet:
        nothing_to_say()
    return quiet


SEED = _Seed()
quiet_option = click.option(
    "--quiet", "-q", is_flag=True, callback=_show_steps, help="Print errors only, no progress bars or remarks."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")


def _keep_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_JSON] = value


def _keep_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = _show_steps(context, parameter, value)


#: As `quiet_option` and `json_option`, for commands that end with `of_context().result`.
kept_quiet_option = click.option(
    "--quiet", "-q", is_flag=True, expose_value=False, callback=_keep_quiet, help="Print errors only, no remarks."
)
kept_json_option = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_keep_json,
    help="Print the result as JSON on standard output.",
)


def _set_limit(_context: click.Context, _parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        from lssl.data.images import LIMIT_VARIABLE

        os.environ[LIMIT_VARIABLE] = f"{value:g}"  # worker processes inherit it


max_megapixels_option = click.option(
    "--max-megapixels",
    type=click.FloatRange(0, min_open=True),
    expose_value=False,
    callback=_set_limit,
    help="Read photographs of up to this many megapixels.  [default: 179]",
)


def photograph_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds --landmarks, --largest-face and --max-megapixels, which mean the same wherever photographs are read."""
    options = (
        click.option(
            "--landmarks",
            type=click.Path(exists=True, path_type=Path),
            help="68 landmarks: a .pts or .csv file, or a folder of such files named like the photographs.  [default: "
            "files next to the photographs, else found by dlib]",
        ),
        click.option("--largest-face", is_flag=True, help="Take the largest of several faces, instead of refusing."),
        max_megapixels_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def out_folder(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds the folder to write, given as OUT or -o OUT; the function gets it as `out`."""

    def keep(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        context.meta[_OUT] = value

    @functools.wraps(function)
    def command(*args: Any, out: Path | None, **options: Any) -> Any:
        other = click.get_current_context().meta[_OUT]
        if (out is None) == (other is None):
            raise click.UsageError("name the folder to write: OUT or -o OUT" + (", not both" if out else ""))
        return function(*args, out=out or other, **options)

    path = click.Path(path_type=Path)
    option = click.option(
        "-o", "--out", "out_option", type=path, expose_value=False, callback=keep, help="Another way to give OUT."
    )
    return click.argument("out", type=path, required=False)(option(command))


class Output:
    """Prints remarks unless --quiet, on standard error with --json; and the result, if --json asks for it."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json

    def say(self, text: str, colour: str | None = None) -> None:
        if not self.quiet:
            nothing_to_say()
            click.secho(text, fg=colour, err=self.as_json)

    def warn(self, text: str) -> None:
        """Prints what a user must know even with --quiet."""
        click.secho(text, fg="yellow", err=True)

    def refused(self, rejected: Sequence[tuple[str, str]]) -> None:
        """Prints a line on standard error for each (what, why)."""
        for what, why in rejected:
            click.secho(f"{what}: {why}", fg="red", err=True)

    def beside_bar(self, text: str) -> None:
        """Prints a remark while a progress bar is shown."""
        from lssl.progress import tqdm

        if not self.quiet:
            with tqdm.external_write_mode(file=sys.stderr):
                click.echo(text, err=True)

    def result(self, **values: Any) -> None:
        if self.as_json:
            click.echo(json.dumps(values, indent=2, default=str))


def counted(number: int, what: str) -> str:
    """The number and what there is: 1 face, 2 faces."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def of_context() -> Output:
    """The output of the running command, as --quiet and --json ask for."""
    context = click.get_current_context()
    return Output(bool(context.params.get("quiet") or context.meta.get(_QUIET)), bool(context.meta.get(_JSON)))

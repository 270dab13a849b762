"""What every command says, and how: --quiet, --json, exit codes, the options of commands that read photographs.

Exit codes: 0 all is done, 1 something was refused or failed (named on standard error), 2 the command was called
wrongly, 130 Ctrl-C. With --json the result, and nothing else, is on standard output.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

SOME_REFUSED = 1
_OUT = "lssl.out"
_JSON, _QUIET = "lssl.json", "lssl.quiet"

quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress bars, no remarks; errors only.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")


def _keep_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_JSON] = value


def _keep_quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value


#: As `quiet_option` and `json_option`, for commands whose end is `of_context().result`.
kept_quiet_option = click.option(
    "--quiet", "-q", is_flag=True, expose_value=False, callback=_keep_quiet, help="No remarks; errors only."
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

        os.environ[LIMIT_VARIABLE] = f"{value:g}"  # which worker processes inherit


max_megapixels_option = click.option(
    "--max-megapixels",
    type=click.FloatRange(0, min_open=True),
    expose_value=False,
    callback=_set_limit,
    help="Read photographs of up to this size.  [default: 179]",
)


def photograph_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--landmarks, --largest-face and --max-megapixels, which mean the same wherever photographs are read."""
    options = (
        click.option(
            "--landmarks",
            type=click.Path(exists=True, path_type=Path),
            help="68 landmarks: a .pts or .csv file, or a folder of them, named as the photographs; else beside the "
            "photograph, else by dlib.",
        ),
        click.option("--largest-face", is_flag=True, help="Of several faces take the largest instead of refusing."),
        max_megapixels_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def out_folder(function: Callable[..., Any]) -> Callable[..., Any]:
    """The folder to write, OUT or -o OUT, whichever a user likes; the function gets it as `out`."""

    def keep(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        context.meta[_OUT] = value

    @functools.wraps(function)
    def command(*args: Any, out: Path | None, **options: Any) -> Any:
        other = click.get_current_context().meta[_OUT]
        if (out is None) == (other is None):
            raise click.UsageError("name the folder to write: OUT, or -o OUT" + (", not both" if out else ""))
        return function(*args, out=out or other, **options)

    path = click.Path(path_type=Path)
    option = click.option("-o", "--out", "out_option", type=path, expose_value=False, callback=keep, help="OUT.")
    return click.argument("out", type=path, required=False)(option(command))


class Output:
    """Prints remarks unless --quiet, on standard error with --json; then the result, where that is asked for."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json

    def say(self, text: str, colour: str | None = None) -> None:
        if not self.quiet:
            click.secho(text, fg=colour, err=self.as_json)

    def warn(self, text: str) -> None:
        """What a user must know even where nothing else is said."""
        click.secho(text, fg="yellow", err=True)

    def refused(self, rejected: Sequence[tuple[str, str]]) -> None:
        """A line on standard error for each (what, why)."""
        for what, why in rejected:
            click.secho(f"{what}: {why}", fg="red", err=True)

    def beside_bar(self, text: str) -> None:
        """A remark while a progress bar is shown."""
        from tqdm import tqdm

        if not self.quiet:
            with tqdm.external_write_mode(file=sys.stderr):
                click.echo(text, err=True)

    def result(self, **values: Any) -> None:
        if self.as_json:
            click.echo(json.dumps(values, indent=2, default=str))


def of_context() -> Output:
    """What the running command was told by --quiet and --json."""
    context = click.get_current_context()
    return Output(bool(context.params.get("quiet") or context.meta.get(_QUIET)), bool(context.meta.get(_JSON)))

"""The `lssl` program: a group of commands, each imported only when it is called."""

import gc
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import lssl
from lssl import __version__
from lssl.errors import LsslError

from .first_word import first_word

# command: (module, one line for `lssl --help`)
COMMANDS = {
    "render-frontal": ("render_frontal", "Turn faces to the front with a bilinear 3D face model."),
    "normalize-pose": ("normalize_pose", "Turn faces to the front and make them realistic with a trained generator."),
    "generate-faces": ("generate_faces", "Draw a data set folder of labelled faces with a 3D face model."),
    "face-model": ("face_model", "Build, import and look at bilinear 3D face models."),
    "prepare": ("prepare", "Make a data set folder of aligned faces from a database or your own photographs."),
    "train": ("train", "Train one model that changes all attributes of a data set's faces."),
    "doctor": ("doctor", "Show versions and native kernels, and how to install whatever is missing."),
    "train-parser": ("train_parser", "Train the face parser (lips, skin, eyes) of the parsing loss."),
    "train-classifier": (
        "train_classifier",
        "Train a classifier of an attribute, and test it on people it has not seen.",
    ),
    "evaluate": ("evaluate", "Run the paper's experiments, with tables, figures and a report, on any data set folder."),
    "demo": ("demo", "Open a web page on this computer: drop a photograph, move sliders, compare, download."),
    "synthesize": ("synthesize", "Change the attributes of the faces in photographs and videos."),
    "morph": ("morph", "Let a photograph's face go from one expression to the next: GIF, WebP, video."),
    "export": ("export", "Write a generator as ONNX or PyTorch's exported program, for programs without lssl."),
    "augment": ("augment", "Write a labelled data set folder of synthesized faces."),
}


# Objects between Python's searches for reference cycles: its default, 700, makes PyTorch's import a tenth slower.
_OBJECTS = 20_000

# No command opens one, and as a path it would only be missing: of a picture, a folder or a model alike.
_ADDRESS = re.compile(r"(?:[^/=]*=)?((?:https?|ftp|s3|gs|hf)://.+)", re.IGNORECASE | re.DOTALL)

# Commands that continue an interrupted run when they are repeated.
GOING_ON = {"augment", "evaluate", "generate-faces", "normalize-pose", "prepare", "render-frontal"}


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that `lssl --help` answers at once.

    modules: command to (module below lssl.cli, one line for the group's help).
    """

    def __init__(self, *args: Any, modules: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.modules:
            return None
        module = import_module(f".{self.modules[cmd_name][0]}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.modules.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("max_content_width", 110)
        return super().main(*args, **kwargs)


def _as_meant(word: str) -> str:
    """A word of the command line, mended where shells mislead: `--out=~/faces` is not expanded by them (a folder called ~
    is a trap), and a picture whose name begins with a dash, as `*.jpg` may give it, looks like options."""
    if re.fullmatch(r"-[^-].*\.\w+", word) and os.path.exists(word):
        return f"./{word}"
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + os.path.expanduser(path) if path.startswith("~/") and not os.path.exists("~") else word


def _plain(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning of lssl without the place in the program and its line, which are for programmers."""
    if category is UserWarning and {Path(lssl.__file__).parent, Path(__file__).parent} & set(Path(filename).parents):
        return f"Warning: {message}\n"
    return _FORMAT(message, category, filename, lineno, line)


_FORMAT = warnings.formatwarning


@contextmanager
def _bars_closed() -> Iterator[None]:
    """Ends progress bars before an error is printed: a frame in its traceback may hold one that is yet open."""
    try:
        yield
    except BaseException:
        progress = sys.modules.get("lssl.progress")  # not imported: no bar, and no time for it
        if progress is not None:
            progress.close_bars()
        raise


class Program(LazyGroup):
    """Prints in one line what the user can put right; Ctrl-C ends with exit code 130."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any) -> Any:
        gc.set_threshold(_OBJECTS)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        as_program = args is None
        if as_program and os.name == "posix":  # Windows' own expansion is click's
            args = [_as_meant(word) for word in sys.argv[1:]]
        with first_word() if as_program else nullcontext():
            return super().main(args, *others, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for word in args:
            address = _ADDRESS.fullmatch(word)
            if address is not None:
                raise click.UsageError(
                    f"{address[1]} is a web address: download it first, and give the file's path", ctx
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        warnings.formatwarning = _plain
        try:
            with _bars_closed():
                return super().invoke(ctx)
        except LsslError as error:
            raise click.ClickException(str(error)) from error
        except UnicodeEncodeError as error:  # bytes of a name that are not UTF-8, in a file that must be
            raise click.ClickException(
                f"{error.object[:200]}: not UTF-8; give the file or folder another name"
            ) from error
        except BrokenPipeError:
            raise  # the reader of the output went away; click ends quietly
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{place}{error.strerror or error}") from error
        except KeyboardInterrupt as stop:
            going_on = ctx.invoked_subcommand in GOING_ON
            hint = "; run the same command again to continue" if going_on else f"; {stop}" if str(stop) else ""
            click.secho(f"\nInterrupted{hint}.", fg="yellow", err=True)
            raise SystemExit(130) from None
        finally:
            warnings.formatwarning = _FORMAT


@click.command(
    cls=Program,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(version=__version__, prog_name="lssl")
def main() -> None:
    """Change the attributes of faces, turn faces to the front, and train classifiers with synthesized faces.

    \b
    lssl generate-faces faces/        labelled faces without a data set
    lssl train --data faces/          one model for all attributes
    lssl synthesize MODEL photo.jpg --all
    lssl render-frontal photo.jpg     a frontal face from any pose
    """

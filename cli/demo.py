"""`lssl demo`."""

import importlib.util

import click

from .output import quiet_option
from .values import ModelPath

EXTRA_MISSING = "lssl demo needs {missing}: pip install 'lssl[demo]'"


@click.command()
@click.argument("model", type=ModelPath(path_type=str), default="london")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: 7860, or a free one if that is taken]")
@click.option(
    "--host",
    type=click.Choice(["127.0.0.1", "::1"]),
    default="127.0.0.1",
    show_default=True,
    help="This computer only; to use the page from another one, run ssh -L 7860:127.0.0.1:7860 HOST there.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address; do not open a browser.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@quiet_option
def command(model: str, port: int | None, host: str, no_browser: bool, device: str | None, quiet: bool) -> None:
    """Open a web page on this computer: drop a photograph, move sliders, compare, download.

    MODEL is the model that the page starts with: "london", "3d", or a run folder or file of `lssl train`.

    \b
    lssl demo
    lssl demo 3d
    lssl demo runs/faces --port 8000 --no-browser

    Photographs stay on this computer: the page answers only to this computer, loads nothing from elsewhere, and leaves no
    file behind. Ctrl-C ends it.
    """
    from lssl.data import detect
    from lssl.errors import LsslError

    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise LsslError(EXTRA_MISSING.format(missing=" and ".join(missing)))
    detect.import_dlib()

    from lssl.inference.demo.models import offers
    from lssl.inference.demo.server import address, listen, make_app, serve
    from lssl.inference.demo.studio import Studio

    studio = Studio(offers(model, device), detect.find_faces)
    with listen(host, port) as listening:
        url = address(listening)
        if not quiet:
            click.echo(f"{url} (Ctrl-C ends it)")
        if not no_browser:
            import webbrowser

            webbrowser.open(url)
        try:
            serve(make_app(studio), listening)
        except KeyboardInterrupt:
            if not quiet:
                click.echo("\nStopped.")

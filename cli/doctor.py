"""`lssl doctor`."""

import click


@click.command()
def command() -> None:
    """Print versions and the state of the native operators."""
    from lssl.ops import build_info

    for key, value in build_info().items():
        click.echo(f"{key:20} {value}")

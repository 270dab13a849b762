"""`python -m lssl` is the same program as `lssl`; it also works from a checkout that is not installed."""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def find_cli() -> None:
    """Makes a checkout's cli/ the package lssl.cli, as an installation does (setup.py)."""
    folder = Path(__file__).parents[1] / "cli"
    if find_spec("lssl.cli") is not None or not folder.is_dir():
        return
    spec = spec_from_file_location("lssl.cli", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["lssl.cli"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    find_cli()
    from lssl.cli.main import main

    main()

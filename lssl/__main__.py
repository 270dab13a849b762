"""`python -m lssl` is the same program as `lssl`."""

from lssl.cli.main import main

main()

"""The command line: one file per command. Installed as `lssl.cli`."""

"""The command line: one file a command. Installed as `lssl.cli`."""

"""Readers of published face models."""


class ImportFailed(ValueError):
    """A model's file that cannot be used; the message names the file and the fix."""

"""Readers of published face models."""

from lssl.errors import LsslError


class ImportFailed(LsslError):
    """A model's file that cannot be used; the message names the file and the fix."""

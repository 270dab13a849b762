"""Published networks, with weights from local files."""

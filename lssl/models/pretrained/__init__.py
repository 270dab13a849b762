"""Published networks, whose weights come from local files."""

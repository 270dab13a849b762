"""One file a measure of synthesized images."""

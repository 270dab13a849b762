"""The procedural person: the embedded face model is made of such people."""

"""A fitted face moved in its photograph: the model's movement as a flow of pixels, and what the movement uncovers."""

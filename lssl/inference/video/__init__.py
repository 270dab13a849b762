"""Moving pictures: faces followed and edited from frame to frame, and morphs of one photograph."""

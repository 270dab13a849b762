"""Videos and animations: faces tracked and edited from frame to frame, and morphs of one photograph."""

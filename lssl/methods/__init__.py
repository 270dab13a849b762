"""A method is one file here: it defines `Settings` (a dataclass) and `Method` (see `lssl.training.method.Method`), and is
chosen by its file name. A new one needs its file and a preset, nothing else."""

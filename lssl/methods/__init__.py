"""A method is a file here: it defines `Settings` (a dataclass) and `Method` (see `lssl.training.method.Method`), and is
chosen by its name. A new one touches its file and its preset."""

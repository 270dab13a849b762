"""The one error that a user can put right."""


class LsslError(ValueError):
    """Something that its user can put right: a file, a folder, an option, a missing package.

    The message names the file, the argument and the fix. The command line prints it as one line (cli/main.py, the one
    place that catches it); a wrong call of a function, such as a tensor of the wrong shape, is a plain ValueError.
    """

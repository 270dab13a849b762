"""The one exception for what a user can put right."""


class LsslError(ValueError):
    """Something that the user can put right: a file, a folder, an option, a missing package.

    The message names the file or argument, and the fix. The command line prints it as one line, for all commands in
    cli/main.py; elsewhere it is caught to add a file's name, or to go on with the next file. A wrong call of a function, such as a tensor of the wrong shape, is a plain ValueError.
    """

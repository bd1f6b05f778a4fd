"""Errors that are not simply a bad argument."""

from evsim.words import one_line


class NotFiniteError(ValueError):
    """A voltage or current is no number any more; the message names it, and when."""


class RunawayError(RuntimeError):
    """A population fired without bound; the message names it, the time and the rate."""


class FileError(ValueError):
    """Something is wrong with a file.

    The message is one line: the file, the place in the file, what was found there, what
    is allowed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

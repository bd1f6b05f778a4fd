"""Errors that are not simply a bad argument."""


class RunawayError(RuntimeError):
    """A population fired without bound; the message names it, the time and the rate."""


class FileError(ValueError):
    """Something is wrong with a file.

    The message is one line: the file, the place in the file, what was found there, what
    is allowed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Return ``text`` without line breaks, control characters and broken Unicode."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

"""Errors that are not simply a bad argument."""


class NotFiniteError(ValueError):
    """A voltage or current is no number any more; the message names it, and when."""


class RunawayError(RuntimeError):
    """A population fired without bound; the message names it, the time and the rate."""

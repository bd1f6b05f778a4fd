"""Errors that are not simply a bad argument."""


class RunawayError(RuntimeError):
    """A population fired without bound; the message names it, the time and the rate."""

"""Commands that are started to be interrupted."""

import signal


def take_interrupts() -> None:
    """Take SIGINT, which runners in the background ignore; their children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

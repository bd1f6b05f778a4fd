"""Whether somebody watches."""

from __future__ import annotations

import sys


def on_terminal() -> bool:
    """Whether stderr is a terminal, where bars are drawn; a shell may have closed it."""
    return sys.stderr is not None and sys.stderr.isatty()

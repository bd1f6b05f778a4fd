"""What the compiler is doing, for people: that it compiles, how far it is, and what it took.

Kernels are compiled when they are first called and kept on disk (`evsim._compile`), which
reports to `watch`. Commands show it on stderr, with a bar on a terminal; programs in Python on a
terminal only, and the logger ``evsim`` has it at level INFO. Nothing is shown while nothing is
compiled.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from evsim.terminal import on_terminal

_MESSAGE = "compiling the engine, once for this version of evsim (all of it takes a minute)"
_log = logging.getLogger("evsim")


class _Watch:
    """Counts functions that are compiled, and the time that takes; calls may be nested."""

    def __init__(self) -> None:
        self._always = self._quiet = self._announced = False
        self._seconds, self._start = 0.0, 0.0
        self._depth = self._n = 0
        self._bar: Any = None

    def begin(self, total: int, kept: bool) -> bool:
        """Note that a function is being compiled, of about so many; return if it is the first."""
        first = self._depth == 0 and not self._announced
        if self._depth == 0:
            self._start = time.perf_counter()
            self._announce(kept)
            self._open_bar(total)
        self._depth += 1
        return first

    def end(self) -> None:
        """Note that it is done."""
        self._depth -= 1
        self._n += 1
        if self._bar is not None:
            self._bar.total = max(self._bar.total, self._n + self._depth)
            self._bar.update()
        if self._depth == 0:
            self._seconds += time.perf_counter() - self._start
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def seconds(self) -> float:
        """Return the wall time spent so far [s]."""
        return self._seconds

    def show(self, always: bool = True, quiet: bool = False) -> None:
        """Choose what is shown on stderr from now on, in this process.

        Parameters
        ----------
        always : bool
            Whether the message is shown where stderr is no terminal, too, as commands do.
        quiet : bool
            Whether nothing is shown.
        """
        self._always, self._quiet = always, quiet

    def _announce(self, kept: bool) -> None:
        if self._announced:
            return
        self._announced = True
        message = _MESSAGE if kept else "compiling the engine, which can't be kept on disk"
        _log.info(message)
        if sys.stderr is not None and not self._quiet and (self._always or on_terminal()):
            print(f"evsim: {message}", file=sys.stderr, flush=True)

    def _open_bar(self, total: int) -> None:
        if not self._quiet and on_terminal():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=self._n, desc="compiling", unit=" functions", leave=False
            )


watch = _Watch()

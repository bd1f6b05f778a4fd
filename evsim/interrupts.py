"""Ctrl-C ends a command of evsim in one line with exit status 130, whatever it is doing.

`evsim` imports this first, and nothing large is imported here: most of a command's first
third of a second goes into imports, where an interrupt would end in a traceback, or be
taken for a broken package.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED, FAILED = 130, 2  # exit statuses; the first is what shells report
MESSAGE = "evsim: interrupted"
_LATER = 10e-3  # [s]
_COMMANDS = ("evsim", "evsim.exe", "evsim-script.py", "-m")  # "-m" is there during its imports


class Interrupt:
    """Whether Ctrl-C was pressed in the body of `interruptible`."""

    pressed = False


_ended = Interrupt()  # whether it is what ends the command


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Raise KeyboardInterrupt on Ctrl-C in the body, and remember that it was pressed.

    An interrupt that Python would drop, since it came while a destructor or a callback ran,
    is raised once more.
    """
    interrupt, usual, hook = Interrupt(), signal.getsignal(signal.SIGINT), sys.unraisablehook

    def press(*what: Any) -> None:
        interrupt.pressed = True
        signal.default_int_handler(*what)

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            later = threading.Timer(_LATER, _press)  # when the callback is over
            later.daemon = True
            later.start()
        else:
            hook(dropped)

    mine = usual in (signal.default_int_handler, _stop) and _in_main_thread()
    if mine:
        signal.signal(signal.SIGINT, press)
        sys.unraisablehook = again
    try:
        yield interrupt
    finally:
        if mine:
            signal.signal(signal.SIGINT, usual)
            sys.unraisablehook = hook


def end_by_interrupt() -> None:
    """Ignore Ctrl-C from now on: the command is ending because of the first one."""
    _ended.pressed = True
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop(*_: object) -> None:
    """End at once; there is nothing yet, or nothing any more, to clean up."""
    if _ended.pressed:
        return  # it is ending, and has said so
    try:
        os.write(2, f"{MESSAGE}\n".encode())
    finally:
        os._exit(INTERRUPTED)


def _press() -> None:
    """Press Ctrl-C; a signal, where there are any, also wakes a thread that waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _watch_start() -> None:
    """Where evsim is run as a command, take over Ctrl-C until `interruptible` does."""
    started = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if started in _COMMANDS and _in_main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _stop)
            atexit.register(_keep_status)  # the first to be registered is the last to be called


def _keep_status() -> None:
    """Exit with the status of an interrupt, or, if there was none, take no more of them.

    Python itself ends with a signal instead, if Ctrl-C came while it ran code from a string,
    as it does for data classes; or if it comes while Python clears up after a command that is done.
    """
    if _ended.pressed:
        os._exit(INTERRUPTED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_watch_start()

"""How a command of ``evsim`` ends: its last line, its exit status, and warnings on the way."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from evsim.errors import RunawayError
from evsim.interrupts import FAILED, INTERRUPTED, MESSAGE, end_by_interrupt
from evsim.words import one_line

_USER_ERRORS = (ValueError, OSError, RunawayError, ModuleNotFoundError, MemoryError)


def end_interrupted() -> NoReturn:
    """Say that the command was interrupted, and exit."""
    end_by_interrupt()
    click.echo(MESSAGE, err=True)
    sys.exit(INTERRUPTED)


def end(error: Exception) -> NoReturn:
    """Tell a user's error in one line and exit; raise any other again."""
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "evsim"
        _fail(f"{error.format_message()} Try: {command} --help")
    if isinstance(error, click.ClickException):
        _fail(error.format_message())
    if isinstance(error, _USER_ERRORS):
        _fail(str(error) or type(error).__name__)
    raise error


def escape_what_streams_lack() -> None:
    """Print characters that stdout or stderr can't hold as escapes; the work must not fail.

    Names may be in any alphabet, and what a redirected stdout can hold depends on the system.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str) -> NoReturn:
    click.echo(f"evsim: error: {one_line(message)}", err=True)
    sys.exit(FAILED)


def one_line_warnings() -> Callable[..., None]:
    """Return a stand-in for `warnings.showwarning`: one line each, and each only once.

    The place in the code is left out: nobody at a command line has asked for it.
    """
    seen = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = one_line(str(message))
        if text not in seen:
            seen.add(text)
            click.echo(f"evsim: warning: {text}", err=True)

    return show

"""``evsim`` run in this process, for commands whose imports take long.

Whether something has yet to be compiled depends on what ran before: that line is left out.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evsim.commands.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, *arguments: object) -> Done:
    """Run a command in a folder; return its status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, out.getvalue(), without_compiling(err.getvalue()))


def without_compiling(told: str) -> str:
    """Return what a command told on stderr but for the line on compiling."""
    lines = told.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("evsim: compiling "))


@contextlib.contextmanager
def interrupted_after(epoch: int) -> Iterator[None]:
    """Press Ctrl-C in a training, as soon as an epoch has been kept."""
    from evsim.gradients.training.callbacks import Checkpoint

    keep = Checkpoint.epoch

    def interrupted(self: Checkpoint, trainer: Any, record: dict[str, float]) -> None:
        keep(self, trainer, record)
        if record["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoint, "epoch", interrupted)
        yield

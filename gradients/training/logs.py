"""Logs of a training, written as it goes on: a table, and events for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

from evsim.files import FileError, WholeFile
from evsim.files.hdf5 import open_regular, reason

from ..delays import trained_delays
from .callbacks import Callback, Training
from .states import EpochRecord

_FIELDS = EpochRecord.__struct_fields__
# What TensorBoard calls the numbers of an epoch; a stroke makes a group.
_NAMES = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "rate": "firing/rate [Hz]",
    "silent": "firing/silent units",
    "at_bounds": "delays/at bounds",
    "seconds": "seconds per epoch",
}


class CSVLog(Callback):
    """Writes a table with a line for each epoch, as soon as the epoch has ended.

    Columns are the entries of ``trainer.history``. The table of a training that goes on is
    continued: it always holds all epochs.

    Parameters
    ----------
    path : path
        Of the file.

    Raises
    ------
    FileExistsError
        When a new training starts, if the file is there; when one goes on, if the file there is
        not the log of its epochs so far.
    FileError
        In the training, if the file can't be written.
    """

    everywhere = False

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None

    def start(self, trainer: Training) -> None:
        """Write the epochs so far."""
        if not trainer.history and self.path.exists():
            raise FileExistsError(f"{self.path}: exists already; choose another name for the log")
        if self.path.exists() and not self._is_of(log_of(trainer.history).encode()):
            raise FileExistsError(
                f"{self.path}: is not the log of the training that goes on; move it away, or "
                "choose another name for the log"
            )
        with WholeFile(self.path, overwrite=True) as temporary:
            Path(temporary).write_text(log_of(trainer.history), encoding="utf-8", newline="")
        self._file = open(self.path, "ab", buffering=0)

    def _is_of(self, wanted: bytes) -> bool:
        """Whether the file begins as the log does, or the log as the file: one may be behind."""
        with open_regular(self.path) as file:
            found: bytes = file.read(len(wanted))
        return wanted.startswith(found)

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Append a line, in one go."""
        assert self._file is not None
        try:
            self._file.write(_rows([record]).encode())
        except OSError as error:
            raise FileError(f"{self.path}: can't be written: {reason(error)}") from error

    def end(self, trainer: Training) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoardLog(Callback):
    """Writes losses, accuracies, rates and delays for TensorBoard: ``tensorboard --logdir``.

    Parameters
    ----------
    folder : path
        For the events; those of an earlier part of the same training may be there.

    Raises
    ------
    ModuleNotFoundError
        If tensorboard is not installed.
    """

    everywhere = False

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ModuleNotFoundError(
                "TensorBoardLog needs tensorboard; install it with: pip install evsim[tensorboard]"
            ) from error
        self.folder, self._make = fspath(folder), SummaryWriter
        self._writer: Any = None

    def start(self, trainer: Training) -> None:
        """Open the events; what is there of later epochs than those that are kept is void."""
        os.makedirs(self.folder, exist_ok=True)
        first = len(trainer.history) + 1
        self._writer = self._make(self.folder, purge_step=first if first > 1 else None)

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Write the numbers of an epoch, and how delays are spread."""
        n = int(record["epoch"])
        for name, called in _NAMES.items():
            self._writer.add_scalar(called, record[name], n)
        for name, delay, _ in trained_delays(trainer.model):
            self._writer.add_histogram(f"delays/{name} [s]", delay.detach(), n)
        self._writer.flush()

    def end(self, trainer: Training) -> None:
        """Close the events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def log_of(history: list[dict[str, float]]) -> str:
    """Return the text of a log, a line for each epoch."""
    return ",".join(_FIELDS) + "\n" + _rows(history)


def _rows(records: list[dict[str, float]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, _FIELDS, lineterminator="\n").writerows(records)
    return text.getvalue()

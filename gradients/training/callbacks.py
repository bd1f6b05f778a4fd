"""What is done while a training goes on: the interface, checkpoints, and when to stop.

A `Callback` is asked at the start, after every batch, after every epoch and at the end. All that
``evsim train`` does beside training is made of callbacks: what it prints (`progress`), its logs
(`logs`), its checkpoint and its early stop.
"""

from __future__ import annotations

from numbers import Integral
from os import PathLike
from typing import Any, Protocol

from torch import nn

from evsim.train_options import TrainOptions

from .checkpoints import save_checkpoint


class Training(Protocol):
    """What a callback can see of a `evsim.gradients.Trainer`, and ask of it."""

    model: nn.Module
    averaged: nn.Module
    options: TrainOptions
    history: list[dict[str, float]]
    best: dict[str, Any]
    n_batches: int

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on."""

    def stop(self, why: str) -> None:
        """End the training after this epoch."""


class Callback:
    """Does something while a training goes on; a subclass overrides what it needs.

    Attributes
    ----------
    everywhere : bool
        Whether it works in every process of a training that several share (``torchrun``), as
        what changes the training must; what writes or prints says False, and works in the
        first process only.

    Examples
    --------
    >>> class Losses(Callback):
    ...     everywhere = False
    ...     def epoch(self, trainer, record):
    ...         print(f"epoch {record['epoch']}: {record['train_loss']:.3f}")
    """

    everywhere = True

    def start(self, trainer: Training) -> None:
        """Prepare, before the first epoch that is left; ``history`` may hold earlier ones."""

    def batch(self, trainer: Training) -> None:
        """Do something after a step of the optimiser."""

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Do something after an epoch, whose record is the last one of ``trainer.history``."""

    def end(self, trainer: Training) -> None:
        """Close what is open: called when the training ends, also by an error or Ctrl-C.

        After a training that was not broken off the model has its best parameters.
        """


class Checkpoint(Callback):
    """Keeps a checkpoint from which the training goes on with the same bits.

    The file is whole at any time. To go on, make the same trainer again and call
    ``trainer.go_on_from(load_checkpoint(path))`` before ``trainer.run()``.

    Parameters
    ----------
    path : path
        Of the file; one that is there is replaced.

    Raises
    ------
    FileError
        In the training, if the file can't be written.
    """

    everywhere = False

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path

    def start(self, trainer: Training) -> None:
        """Write the state before the first epoch."""
        if not trainer.history:
            save_checkpoint(self.path, trainer.state())

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Write the state after an epoch."""
        save_checkpoint(self.path, trainer.state())


class EarlyStopping(Callback):
    """Ends a training whose validation has not improved for some epochs.

    The best epoch is the one with the highest validation accuracy, of equals that with the
    smaller validation loss. Epochs are counted in the history, so that a training that was
    interrupted and goes on ends at the same epoch.

    Parameters
    ----------
    patience : int
        How many epochs to wait for a better one.

    Raises
    ------
    ValueError
        If ``patience`` is less than 1, or no whole number.
    """

    def __init__(self, patience: int) -> None:
        if not isinstance(patience, Integral) or patience < 1:
            raise ValueError(f"patience = {patience}, must be at least 1 and whole")
        self.patience: int = patience

    def start(self, trainer: Training) -> None:
        """End a training that had ended."""
        self._look(trainer)

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """End the training if this epoch is one too many."""
        self._look(trainer)

    def _look(self, trainer: Training) -> None:
        if len(trainer.history) - trainer.best["epoch"] >= self.patience:
            trainer.stop(f"no better one in {self.patience} epochs")

"""``accuracy``: how a training went, epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from evsim.files.hdf5 import FileError, open_regular
from evsim.merit import merit
from evsim.plots.style import BLUE, DARK, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_EPOCHS = 1 << 20
_LAST_EPOCH = 10**9


def accuracy(
    axes: Axes,
    history: str | PathLike[str] | Sequence[dict[str, float]],
    best: int | None = None,
    what: str = "accuracy",
) -> Axes:
    """Draw the accuracy of training and validation over the epochs into your own axes.

    Parameters
    ----------
    axes : matplotlib Axes
        Where to draw.
    history : path or sequence of dict
        ``log.csv`` of a run, or `Trainer.history`: of every epoch ``epoch``,
        ``train_accuracy``, ``validation_accuracy`` (and ``_loss``).
    best : int or None
        The epoch to point out; None: the one that the training kept, of the highest validation
        accuracy and, of equals, the smallest loss.
    what : {"accuracy", "loss"}
        What to draw.

    Returns
    -------
    matplotlib Axes
        Those given.

    Raises
    ------
    FileError
        If the file can't be read or is no log of a training.
    ValueError
        If ``what`` is something else, there are no epochs, or the number of an epoch or its
        accuracy is none.
    """
    from matplotlib.ticker import MaxNLocator

    if what not in ("accuracy", "loss"):
        raise ValueError(f"what = {what!r}, must be 'accuracy' or 'loss'")
    records = _read(history) if isinstance(history, (str, PathLike)) else list(history)
    if not records:
        raise ValueError("the history holds no epochs to draw")
    for row, record in enumerate(records, 1):
        _check(row, record)
    epochs = [record["epoch"] for record in records]
    factor = 100 if what == "accuracy" else 1
    for part, colour in (("train", GREY), ("validation", BLUE)):
        values = [factor * record[f"{part}_{what}"] for record in records]
        axes.plot(epochs, values, color=colour, marker=".", markersize=4, label=part)
    if best is None:
        best = int(max(records, key=merit)["epoch"])
    axes.axvline(best, color=DARK, linewidth=0.8, linestyle="--", label=f"best: epoch {best}")
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy [%]" if what == "accuracy" else "cross-entropy [nat]")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return axes


def _check(row: int, record: dict[str, float]) -> None:
    """Refuse numbers that are none; a loss may be infinite, or not a number."""
    epoch = record["epoch"]
    if not 0 <= epoch <= _LAST_EPOCH:
        raise ValueError(f"record {row}: epoch = {epoch:g}, must be from 0 to {_LAST_EPOCH:,}")
    for part in ("train", "validation"):
        share = record[f"{part}_accuracy"]
        if not 0 <= share <= 1:
            raise ValueError(f"epoch {epoch:g}: {part}_accuracy = {share:g}, must be from 0 to 1")


def _read(path: str | PathLike[str]) -> list[dict[str, float]]:
    wanted = ("epoch", "train_accuracy", "validation_accuracy", "train_loss", "validation_loss")
    with open_regular(path) as stream:
        text = stream.read(MAX_EPOCHS * 256).decode("utf-8", "replace")
    rows = csv.DictReader(text.splitlines())
    missing = [name for name in wanted if name not in (rows.fieldnames or [])]
    if missing:
        raise FileError(f"{path}: is no log of a training: column {missing[0]!r} is missing")
    try:
        return [{name: float(row[name]) for name in wanted} for row in rows]
    except (TypeError, ValueError, csv.Error) as error:
        raise FileError(
            f"{path}: line {rows.line_num}: holds something that is no number"
        ) from error

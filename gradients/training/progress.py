"""What a person sees of a training: a line for each epoch, a bar on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from evsim.terminal import on_terminal

from .callbacks import Callback, Training


class EpochLines(Callback):
    """Prints a line for each epoch on stdout, at once, above a bar if there is one.

    Loss and accuracy while training, accuracy on the validation part and whether it is the
    best so far, mean rate of the spiking units and how many of them were silent in a batch,
    seconds, and the share of delays that lie at 0 or at ``max_delay``.
    """

    everywhere = False

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Print the line."""
        if sys.stdout is not None:  # closed by the shell
            tqdm.write(epoch_line(trainer, record), file=sys.stdout)
            sys.stdout.flush()


class ProgressBar(Callback):
    """Shows a bar of batches on stderr, with loss and validation accuracy, on a terminal only.

    Parameters
    ----------
    leave : bool
        Whether it stays there at the end.
    """

    everywhere = False

    def __init__(self, leave: bool = True) -> None:
        self.leave = leave
        self._bar: Any = None

    def start(self, trainer: Training) -> None:
        """Open the bar."""
        n = trainer.n_batches
        self._bar = tqdm(
            total=trainer.options.epochs * n, initial=len(trainer.history) * n, unit=" batches",
            disable=not on_terminal(), leave=self.leave,
        )  # fmt: skip
        self._describe(trainer)

    def batch(self, trainer: Training) -> None:
        """Count a batch."""
        self._bar.update()

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Show how the epoch went."""
        accuracy = record["validation_accuracy"]
        self._bar.set_postfix_str(f"loss {record['train_loss']:.3f}, validation {accuracy:.1%}")
        self._describe(trainer)

    def end(self, trainer: Training) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def _describe(self, trainer: Training) -> None:
        epochs = trainer.options.epochs
        self._bar.set_description(f"epoch {min(len(trainer.history) + 1, epochs)}/{epochs}")


def epoch_line(trainer: Training, record: dict[str, float]) -> str:
    """Return how an epoch went in a line."""
    epochs = trainer.options.epochs
    best = " (best)" if trainer.best["epoch"] == record["epoch"] else ""
    return (
        f"epoch {int(record['epoch']):>{len(str(epochs))}}/{epochs}  "
        f"loss {record['train_loss']:.3f}  train {record['train_accuracy']:6.1%}  "
        f"validation {record['validation_accuracy']:6.1%}{best:7}  "
        f"{record['rate']:.1f} Hz, {record['silent']:.0f} silent  {record['seconds']:.1f} s  "
        f"delays at bounds {record['at_bounds']:.1%}"
    )

"""``TestedEpochs``: how many test recordings are told right after each epoch of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from evsim.files import FileError, WholeFile

from ..training.callbacks import Callback, Training
from ..training.trainer import score


class TestedEpochs(Callback):
    """Tests the averaged model, the one that is validated, and keeps the counts in a file.

    The file is written whole, before the checkpoint of the same epoch: a training that was killed
    finds the epochs before, and perhaps one that is done again with the same bits.

    Parameters
    ----------
    path : Path
        Of the file, in the run folder.
    test : Recordings
        What is tested.

    Attributes
    ----------
    right : list of int
        Of each epoch.

    Raises
    ------
    FileError
        When a training goes on, if the file does not hold its epochs.
    """

    __test__ = False  # is no test of pytest's

    def __init__(self, path: Path, test: Any) -> None:
        self.path, self.test = path, test
        self.right: list[int] = []

    def start(self, trainer: Training) -> None:
        """Read the epochs so far."""
        n = len(trainer.history)
        self.right = self._kept()[:n] if n else []
        if len(self.right) != n:
            raise FileError(
                f"{self.path}: has {len(self.right)} of {n} epochs; put the file back as it was, "
                "or remove its folder to train anew"
            )

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Test, and write the file."""
        found = score(trainer.averaged, self.test, trainer.options.batch)
        self.right.append(found.right)
        with WholeFile(self.path, overwrite=True) as temporary:
            Path(temporary).write_bytes(msgspec.json.encode(self.right))

    def _kept(self) -> list[int]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=list[int])
        except (OSError, msgspec.MsgspecError) as error:
            raise FileError(
                f"{self.path}: can't be read: {error}; put the file back as it was, or remove its "
                "folder to train anew"
            ) from error

"""``Snapshots``: a network as it is after some epochs of its training, kept in the run folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from evsim import Network
from evsim.files import save_network

from ..network_export import to_network
from ..training.callbacks import Callback, Training


class Snapshots(Callback):
    """Keeps the network after some epochs, with averaged parameters, as validated.

    A training that goes on writes what it lost, with the same bits.

    Parameters
    ----------
    folder : Path
        Of the run.
    epochs : collection of int
        After which ones, from 1.
    """

    everywhere = False

    def __init__(self, folder: Path, epochs: Collection[int]) -> None:
        self.folder, self.epochs = folder, epochs

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Write the network, if it is one of these epochs."""
        epoch = int(record["epoch"])
        if epoch in self.epochs:
            save_network(_path(self.folder, epoch), to_network(trainer.averaged), overwrite=True)


def network_after(folder: Path, epoch: int) -> Network:
    """Return the network of a run as it was after an epoch; after 0 with its first values.

    Raises
    ------
    ValueError
        If it was not kept.
    """
    path = _path(folder, epoch)
    if not path.exists():
        raise ValueError(f"{path} is gone; start the study anew in another folder")
    return Network.load(path)


def _path(folder: Path, epoch: int) -> Path:
    return folder / (f"epoch-{epoch}.h5" if epoch else "initial.h5")

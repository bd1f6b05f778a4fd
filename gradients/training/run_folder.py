"""``RunFolder``: what a training leaves behind, each file whole or absent.

options.json (what was asked for), initial.h5 and network.h5 (the networks before and after),
test.h5 (the recordings to test with), log.csv, checkpoint.pt, and pictures.
"""

from __future__ import annotations

import csv
import io
import json
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from evsim import Network, Spikes, simulate
from evsim.files import FileError, WholeFile, save_network
from evsim.files.hdf5 import open_regular
from evsim.files.new_hdf5 import NewHdf5
from evsim.files.new_spike_files import write_packed
from evsim.plots import plot_result, save_figure

from ..network_export import to_network
from .checkpoints import load_checkpoint, save_checkpoint
from .plots import plot_delays, plot_history
from .trainer import Trainer

_FILES = ("options.json", "initial.h5", "network.h5", "test.h5", "log.csv", "checkpoint.pt")
_PICTURES = ("accuracy.png", "delays.png", "raster.png")


class RunFolder:
    """The folder of one training.

    Parameters
    ----------
    path : path
        Of the folder, which need not exist yet.

    Attributes
    ----------
    path : Path
        Of the folder.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def refuse_existing(self, overwrite: bool) -> None:
        """Refuse a folder that is not empty, before any work.

        Parameters
        ----------
        overwrite : bool
            Whether the files of an earlier training may be replaced.

        Raises
        ------
        FileExistsError
            If there is something in the folder and ``overwrite`` is false.
        FileError
            If there is a file of this name, or no folder around it.
        """
        if self.path.is_dir():
            if not overwrite and any(self.path.iterdir()):
                raise FileExistsError(
                    f"{self.path}: exists already; give --resume to go on with it, or --overwrite"
                )
        elif self.path.exists():
            raise FileError(f"{self.path}: is a file; a training needs a folder")
        elif not self.path.absolute().parent.is_dir():
            raise FileError(f"{self.path}: the folder {self.path.absolute().parent} does not exist")

    def start(
        self, options: dict[str, Any], trainer: Trainer, test: Spikes, class_names: list[str]
    ) -> None:
        """Write what is known before the training; files of an earlier one are removed.

        Parameters
        ----------
        options : dict
            What was asked for, of plain values.
        trainer : Trainer
            Before its first epoch.
        test : Spikes
            Labelled recordings to test with.
        class_names : list of str
            What the labels mean.
        """
        self.path.mkdir(exist_ok=True)
        for name in (*_FILES, *_PICTURES):
            (self.path / name).unlink(missing_ok=True)
        self._write("options.json", json.dumps(options, indent=2) + "\n")
        save_network(self.path / "initial.h5", to_network(trainer.model))
        with NewHdf5(self.path / "test.h5") as new, new.writing():
            new.h5.attrs["size"], new.h5.attrs["duration"] = test.size, test.duration
            write_packed(new.h5.create_group("spikes"), test)
            new.h5["labels"] = test.labels
            keys = np.array([name.encode() for name in class_names])
            new.h5.create_group("extra")["keys"] = keys
        self.keep(trainer)

    def keep(self, trainer: Trainer) -> None:
        """Write the network if this epoch is the best so far, the log and the checkpoint."""
        if trainer.best["epoch"] == len(trainer.history):
            save_network(self.path / "network.h5", to_network(trainer.averaged), overwrite=True)
        if trainer.history:
            self._write("log.csv", _table(trainer.history))
        # The last one: a run that stops in between does this epoch again, with the same result.
        save_checkpoint(self.path / "checkpoint.pt", trainer.state())

    def options(self) -> dict[str, Any]:
        """Return what the training was asked for.

        Raises
        ------
        FileError
            If there is no training in the folder, or its options are not sound.
        """
        path = self.path / "options.json"
        if not path.exists() or not (self.path / "checkpoint.pt").exists():
            raise FileError(f"{self.path}: holds no training to go on with")
        try:
            with open_regular(path) as file:
                options = json.loads(file.read().decode("utf-8"))
        except FileError:
            raise
        except ValueError as error:
            raise FileError(f"{path}: is not sound: {error}") from error
        if not isinstance(options, dict):
            raise FileError(f"{path}: is not sound: it holds no options")
        return options

    def resume(self, trainer: Trainer) -> None:
        """Put a new trainer where the training stopped.

        Raises
        ------
        FileError
            If the checkpoint is not sound.
        """
        path = self.path / "checkpoint.pt"
        state = load_checkpoint(path)
        try:
            trainer.go_on_from(state)
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error

    def draw(self, trainer: Trainer, one: Spikes, class_names: list[str]) -> list[str]:
        """Draw accuracy, delays and one recording; the pictures of before are replaced.

        Parameters
        ----------
        trainer : Trainer
            After its last epoch.
        one : Spikes
            The recording.
        class_names : list of str
            What the labels mean.

        Returns
        -------
        list of str
            Names of the pictures.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        net = Network.load(self.path / "network.h5")
        record = [name for name, p in net.populations.items() if p.spiking]
        figures = {
            "accuracy.png": plot_history(trainer.history, trainer.best["epoch"]),
            "delays.png": plot_delays(Network.load(self.path / "initial.h5"), net),
            "raster.png": plot_result(simulate(net, one, record), 0, class_names),
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        for name, figure in drawn.items():
            save_figure(self.path / name, figure, overwrite=True)
        return list(drawn)

    def _write(self, name: str, text: str) -> None:
        with WholeFile(self.path / name, overwrite=True) as temporary:
            Path(temporary).write_text(text, encoding="utf-8", newline="")

    def __fspath__(self) -> str:
        """Return the path."""
        return fspath(self.path)


def _table(history: list[dict[str, float]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, history[0], lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue()

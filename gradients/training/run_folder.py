"""``RunFolder``: what a training leaves behind, each file whole or absent.

options.json (what was asked for), initial.h5 and network.h5 (the networks before and after),
test.h5 (the recordings to test with), log.csv, checkpoint.pt, and pictures; if wanted, a folder
tensorboard with events. While a training is
at work it holds the lock of the folder; from its start to its first checkpoint there is an
empty file ``.starting``, so that a start that was killed can be made again.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from evsim import Network, Spikes, simulate
from evsim.files import FileError, WholeFile, network_digest, save_network
from evsim.files.locks import lock_folder
from evsim.files.new_hdf5 import NewHdf5
from evsim.files.new_spike_files import write_packed
from evsim.plots import plot_result, save_figure
from evsim.schema import Schema
from evsim.train_options import CHECKPOINT

from ..network_export import to_network
from .callbacks import Callback, Checkpoint, Training
from .checkpoints import load_checkpoint
from .logs import CSVLog, TensorBoardLog
from .plots import plot_delays, plot_history
from .run_checks import check_log, check_network, check_recordings, read_options
from .trainer import Trainer

# The checkpoint is the first to go: without it nothing is taken for a training.
_FILES = (CHECKPOINT, "options.json", "initial.h5", "network.h5", "test.h5", "log.csv")
_PICTURES = ("accuracy.png", "delays.png", "raster.png")
_STARTING = ".starting"
_EVENTS = "tensorboard"  # the folder of events, if they are wanted


class RunFolder:
    """The folder of one training, a context manager: inside it no other process trains there.

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
        self._lock = -1

    def __enter__(self) -> RunFolder:
        """Take the lock of the folder, if it is there already."""
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def refuse_existing(self, overwrite: bool, inputs: Sequence[str | PathLike[str]] = ()) -> None:
        """Refuse a folder that is not empty, before any work.

        What a start left behind that was killed before its first checkpoint counts as empty.

        Parameters
        ----------
        overwrite : bool
            Whether the files of an earlier training may be replaced.
        inputs : sequence of path
            Files and folders that the training reads.

        Raises
        ------
        FileExistsError
            If there is something in the folder and ``overwrite`` is false.
        FileError
            If there is a file of this name, or no folder around it, or if one of ``inputs``
            stands in the folder.
        """
        if self.path.is_dir():
            if not overwrite and any(self.path.iterdir()) and not self._was_killed():
                raise FileExistsError(
                    f"{self.path}: exists already; give --resume to go on with it, or --overwrite"
                )
            self._refuse_inputs(inputs)
            self._refuse_folders()
        elif self.path.exists():
            raise FileError(f"{self.path}: is a file; a training needs a folder")
        elif not self.path.absolute().parent.is_dir():
            raise FileError(f"{self.path}: the folder {self.path.absolute().parent} does not exist")

    def start(
        self,
        options: dict[str, Any],
        trainer: Trainer,
        test: Spikes,
        class_names: list[str],
        overwrite: bool = False,
    ) -> None:
        """Write what is known before the training; files of an earlier one are removed.

        The rest is written by `callbacks`, as soon as the training runs.

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
        overwrite : bool
            As for `refuse_existing`.

        Raises
        ------
        FileExistsError, FileError
            As `refuse_existing`, if another process was there first.
        """
        self.path.mkdir(exist_ok=True)
        self._take()
        self.refuse_existing(overwrite)
        for name in (*_FILES, *_PICTURES):
            (self.path / name).unlink(missing_ok=True)
        for events in (self.path / _EVENTS).glob("events.out.tfevents.*"):
            events.unlink(missing_ok=True)
        (self.path / _STARTING).touch()
        self.write_options(options)
        save_network(self.path / "initial.h5", to_network(trainer.model))
        with NewHdf5(self.path / "test.h5") as new, new.writing():
            new.h5.attrs["size"], new.h5.attrs["duration"] = test.size, test.duration
            write_packed(new.h5.create_group("spikes"), test)
            new.h5["labels"] = test.labels
            keys = np.array([name.encode() for name in class_names])
            new.h5.create_group("extra")["keys"] = keys

    def write_options(self, options: dict[str, Any]) -> None:
        """Write what the training is asked for; what stood there is replaced, whole.

        Parameters
        ----------
        options : dict
            Of plain values.

        Raises
        ------
        FileError
            If the file can't be written.
        """
        with WholeFile(self.path / "options.json", overwrite=True) as temporary:
            text = json.dumps(options, indent=2) + "\n"
            Path(temporary).write_text(text, encoding="utf-8", newline="")

    def callbacks(self, tensorboard: bool = False) -> list[Callback]:
        """Return what keeps a training in the folder as it goes on.

        Parameters
        ----------
        tensorboard : bool
            Whether events for TensorBoard are written, too.

        Raises
        ------
        ModuleNotFoundError
            If they are, and tensorboard is not installed.
        """
        # The checkpoint last: a run that stops in between does this epoch again, the same way.
        return [
            _BestNetwork(self.path / "network.h5"),
            *([TensorBoardLog(self.path / _EVENTS)] if tensorboard else []),
            CSVLog(self.path / "log.csv"),
            Checkpoint(self.path / CHECKPOINT),
            _Begun(self.path / _STARTING),
        ]

    def options(self, schema: type[Schema], lacking: dict[str, Any]) -> Schema:
        """Return what the training was asked for.

        Parameters
        ----------
        schema : Struct class
            What can be asked for.
        lacking : dict
            What is taken for options that older runs don't tell.

        Raises
        ------
        FileError
            If there is no training in the folder, or its options are not sound.
        """
        if self._was_killed():
            raise FileError(
                f"{self.path}: was stopped before its first checkpoint; leave --resume out to "
                "start it anew"
            )
        there = [(self.path / name).exists() for name in ("options.json", CHECKPOINT)]
        if not any(there):
            raise FileError(
                f"{self.path}: holds no training to go on with; leave --resume out to start one"
            )
        with _advised():
            return read_options(self.path / "options.json", schema, lacking)

    def state(self) -> dict[str, Any]:
        """Return what the checkpoint holds, for `resume`.

        Raises
        ------
        FileError
            If it is not sound.
        """
        with _advised():
            return load_checkpoint(self.path / CHECKPOINT)

    def resume(self, trainer: Trainer, state: dict[str, Any], test: Iterable[Spikes]) -> None:
        """Put a new trainer where the training stopped, once all files have been looked at.

        Parameters
        ----------
        trainer : Trainer
            Of the model, data and options of the training.
        state : dict
            From `state`.
        test : iterable of Spikes
            Labelled recordings to test with, batch by batch.

        Raises
        ------
        FileError
            If a file is not sound, or not of this training; nothing was changed then.
        """
        path = self.path
        with _advised():
            check_recordings(path / "test.h5", test)
            try:
                trainer.go_on_from(state)
            except ValueError as error:
                raise FileError(f"{path / CHECKPOINT}: {error}") from error
            best = _best_network(trainer)
            check_network(path / "initial.h5", best)
            if (path / "network.h5").exists():
                check_network(path / "network.h5", best)
        check_log(path / "log.csv", trainer.history)
        self._refuse_folders()
        self._restore(trainer, best)

    def _restore(self, trainer: Trainer, best: Network) -> None:
        """Put back what a kill between two files left one epoch ahead of the checkpoint."""
        network = self.path / "network.h5"
        if not trainer.history:  # callbacks write all anew, the log only where there is none
            (self.path / "log.csv").unlink(missing_ok=True)
        elif not network.exists() or network_digest(network) != network_digest(best):
            save_network(network, best, overwrite=True)

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
        samples = {net.output: np.arange(0, one.duration, 1e-3)}
        figures = {
            "accuracy.png": plot_history(trainer.history, trainer.best["epoch"]),
            "delays.png": plot_delays(Network.load(self.path / "initial.h5"), net),
            "raster.png": plot_result(simulate(net, one, record, samples), 0, class_names),
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        for name, figure in drawn.items():
            save_figure(self.path / name, figure, overwrite=True)
        return list(drawn)

    def _take(self) -> None:
        """Take the lock of the folder, unless it is taken or there is no folder yet."""
        if self._lock >= 0 or not self.path.is_dir():
            return
        try:
            self._lock = lock_folder(self.path)
        except BlockingIOError as error:
            raise FileError(
                f"{self.path}: another training is at work there; wait until it has ended, or "
                "choose another folder"
            ) from error

    def _was_killed(self) -> bool:
        """Whether a start was killed before its first checkpoint."""
        return (self.path / _STARTING).exists() and not (self.path / CHECKPOINT).exists()

    def _refuse_inputs(self, inputs: Sequence[str | PathLike[str]]) -> None:
        """Refuse to delete what the training reads."""
        folder = Path(os.path.realpath(self.path))
        ours = [p for p in (self.path / n for n in (*_FILES, *_PICTURES)) if p.exists()]
        for path in map(Path, inputs):
            # By both names: a link into the folder, and a link that stands in it.
            around = os.path.realpath(path.absolute().parent)
            for real in (Path(os.path.realpath(path)), Path(around, path.name)):
                if folder == real or folder in real.parents:
                    raise FileError(
                        f"{path}: is read by this training and stands in {self.path}, whose "
                        "training is to be replaced; choose another folder"
                    )
            for own in ours:
                if path.exists() and path.samefile(own):
                    raise FileError(
                        f"{path}: is read by this training, which would delete {own}; choose "
                        "another folder"
                    )

    def _refuse_folders(self) -> None:
        """Refuse folders where files are to be written."""
        for name in (*_FILES, *_PICTURES):
            if (self.path / name).is_dir():
                raise FileError(f"{self.path / name}: is a folder; move it away")

    def __fspath__(self) -> str:
        """Return the path."""
        return fspath(self.path)


class _BestNetwork(Callback):
    """Keeps the network of the best epoch so far; before the first one, that of the start."""

    everywhere = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, trainer: Training) -> None:
        """Write the network, if there was no epoch yet."""
        if not trainer.history:
            save_network(self.path, to_network(trainer.averaged), overwrite=True)

    def epoch(self, trainer: Training, record: dict[str, float]) -> None:
        """Write the network, if it is the best."""
        if trainer.best["epoch"] == record["epoch"]:
            save_network(self.path, to_network(trainer.averaged), overwrite=True)


class _Begun(Callback):
    """Takes away the mark of a start, once there is a checkpoint."""

    everywhere = False

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def start(self, trainer: Training) -> None:
        """Remove the file."""
        self.mark.unlink(missing_ok=True)


def _best_network(trainer: Trainer) -> Network:
    model = copy.deepcopy(trainer.averaged)
    model.load_state_dict(trainer.best["model"])
    return to_network(model)


@contextmanager
def _advised() -> Iterator[None]:
    """Add to what is wrong with a file what can be done."""
    try:
        yield
    except FileError as error:
        raise FileError(
            f"{error}; put the file back as it was, or start anew with --overwrite"
        ) from error

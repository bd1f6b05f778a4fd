"""``Study``: what a study says of itself, and ``Work``: what the runner hands to it.

A study is a file in `papers`. It lists its points, computes one of them, and names the control
of each; seeds, workers, files, intervals and what happens after a kill are the runner's.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evsim.files import FileError
from evsim.train_options import TrainSettings

from .drawing import draw_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..training.callbacks import Callback
    from .tables import Table

Point = dict[str, Any]  # settings by name: texts, numbers, true, false or None
Measured = dict[str, Any]  # by name: numbers, lists of numbers, texts or None
Change = Callable[[Any, Any, Any], tuple[Any, Any, Any]]  # of model, options and method
RESERVED = ("point", "seed", "right", "n")


class Study(ABC):
    """A figure or table of a paper, computed anew point by point.

    A subclass is defined at the top of a module, for workers are told it by name.

    Attributes
    ----------
    name : str
        As the command is given it.
    paper : str
        Paper and figure, such as ``"A: Suppl Tables 1, 2"``.
    title : str
        What it asks, in a line.
    measure : str
        What of a point's results is compared with its control. ``"accuracy"`` is right / n.
    more_is_better : bool
        Whether more of it is better.
    of_seeds : tuple of str
        What else is to stand in the table as each seed measured it, lists as well; numbers with
        an interval of their mean.
    minutes : int or None
        What all of it takes with three seeds on two cores; None if nobody knows.
    measured : bool
        Whether it took these minutes; else they are estimated from some of its trainings.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    title: ClassVar[str]
    measure: ClassVar[str] = "accuracy"
    more_is_better: ClassVar[bool] = True
    of_seeds: ClassVar[tuple[str, ...]] = ()
    minutes: ClassVar[int | None] = None
    measured: ClassVar[bool] = True

    @abstractmethod
    def points(self, quick: bool) -> list[Point]:
        """Return the settings of each row of the table, in its order; seeds are not among them.

        Parameters
        ----------
        quick : bool
            Whether all together must take less than ten minutes on one core.
        """

    @abstractmethod
    def compute(self, point: Point, work: Work) -> Measured:
        """Compute one point with one seed, in a worker.

        What is random may depend on the point and ``work.seed`` only: torch's generator is
        seeded with them, and so is `Work.generator`.

        Parameters
        ----------
        point : dict
            Of `points`.
        work : Work
            Seed, folder, data, and how to train.

        Returns
        -------
        dict
            ``right`` of ``n`` recordings, if there are decisions, or ``accuracy``, the mean of
            several networks; and what is measured. Times and memory end in ``_seconds`` and
            ``_mib``.
        """

    def control(self, point: Point) -> Point | None:
        """Return the point that this one is compared with, seed by seed; None for no other."""
        return None

    def needs(self, point: Point) -> Point | None:
        """Return the point whose result and folder `compute` finds in ``work.needed``."""
        return None

    def published(self, point: Point) -> str | None:
        """Return what the paper reports for this point, such as ``"90.2 %"``."""
        return None

    def figure(self, figure: Figure, table: Table) -> None:
        """Draw the table into an empty figure; a row of dots with intervals if left out."""
        draw_rows(figure.subplots(), table.rows, self.measure)

    @abstractmethod
    def verdict(self, table: Table) -> list[str]:
        """Return lines on what came out; one begins "as published" or "differs: because"."""


@dataclass(frozen=True)
class Tools:
    """What commands lend to studies: functions at the top of a module, which workers can import.

    Attributes
    ----------
    train : callable
        ``run_training`` of ``evsim train``; returns what was tested, and the trainer.
    parts : callable
        Opens a data set in three parts: ``train``, ``validation``, ``test``.
    """

    train: Callable[..., Any]
    parts: Callable[..., Any]


@dataclass(frozen=True)
class Finished:
    """A point that is done: its settings, its folder, and what it measured."""

    point: Point
    folder: Path
    measured: Measured


@dataclass(frozen=True)
class Trained:
    """What a training left: its run folder, right answers of n tested, and its trainer.

    ``trainer.model`` has the parameters of the best epoch, ``trainer.history`` the epochs.
    """

    folder: Path
    right: int
    n: int
    trainer: Any


@dataclass(frozen=True)
class Work:
    """One point with one seed, as `Study.compute` sees it.

    Attributes
    ----------
    point : dict
        The settings.
    seed : int
        From 0.
    folder : Path
        Of this point and seed; it is made when something is trained, or by the study.
    data : str
        The data set, as the command was given it.
    quick : bool
        Whether fewer epochs and recordings are wanted.
    needed : Finished or None
        What `Study.needs` asked for, of the same seed.
    tools : Tools
        What commands lend.
    """

    point: Point
    seed: int
    folder: Path
    data: str
    quick: bool
    needed: Finished | None
    tools: Tools

    def train(
        self, change: Change | None = None, callbacks: Sequence[Callback] = (), **settings: Any
    ) -> Trained:
        """Train in the folder as ``evsim train`` does; a training that is there goes on.

        Parameters
        ----------
        change : callable or None
            From model, options and method to those that are trained, for what no setting tells:
            what is frozen, a penalty. See `evsim.commands.train.run_training`.
        callbacks : sequence of Callback
            What else is done on the way; a training that goes on is given new ones.
        **settings
            Of `evsim.train_options.TrainSettings` that are not the defaults, but for the data
            set and the seed.

        Raises
        ------
        FileError, ValueError
            As ``evsim train``.
        """
        self.folder.parent.mkdir(exist_ok=True)
        resume = (self.folder / "checkpoint.pt").exists()
        settings = {"seed": self.seed, **settings}
        try:
            tested, trainer = self.tools.train(
                self.data,
                str(self.folder),
                resume=resume,
                threads=1,
                quiet=True,
                change=change,
                callbacks=callbacks,
                **settings,
            )
        except (FileError, FileExistsError) as error:
            if "--overwrite" in str(error):  # which studies do not have
                raise FileError(
                    f"{self.folder}: can't go on; remove this folder, and it is trained anew "
                    f"({error})"
                ) from error
            raise
        return Trained(self.folder, tested.right, tested.n, trainer)

    def parts(self, recordings: int | None = None) -> Any:
        """Open the data set: ``train``, ``validation`` and ``test``, as a training does.

        Parameters
        ----------
        recordings : int or None
            At most so many, those of a training that is given this number.
        """
        return self.tools.parts(self.data, recordings=recordings)

    def longest_delay(self) -> float:
        """Return the longest delay that ``evsim train`` lets networks on the data learn [s]."""
        return TrainSettings(self.data).longest_delay(self.parts().train.duration)

    def generator(self) -> np.random.Generator:
        """Return a generator that depends on point and seed only, each time the same one."""
        return np.random.default_rng(random_seed(self.point, self.seed))


def key_of(point: Point) -> str:
    """Return what tells points apart, whatever the order of their settings."""
    return json.dumps(point, sort_keys=True)


def random_seed(point: Point, seed: int) -> int:
    """Return a seed of 63 bits for what is random in a point."""
    digest = sha256(f"{seed} {key_of(point)}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def told(point: Point) -> str:
    """Return the settings in words."""
    return " ".join(f"{name}={value}" for name, value in point.items())

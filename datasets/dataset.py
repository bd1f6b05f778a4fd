"""``Dataset``: recordings and their labels, read when they are asked for.

Every data set is one of these. It is indexed like a sequence of ``(Spikes, label)``, sliced
into smaller data sets, split by seed or by speaker, and read in batches. A subclass says
only how recordings are read; none of it knows torch, yet a torch ``DataLoader`` takes it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from evsim import Spikes, concatenate
from evsim.arrays import IntArray
from evsim.budget import CLASS, Budget
from evsim.spike_checks import plain_index


class Dataset(ABC):
    """Recordings with one label each.

    Subclasses call ``__init__`` and define `_read`.

    Parameters
    ----------
    labels : int array [recording]
        One class per recording.
    size : int
        Units of a recording.
    duration : float
        Horizon of every recording [s].
    class_names : sequence of str
        What the labels mean.
    speakers : int array [recording] or None
        Who spoke (or acted, or wrote), where that is known.
    sensor : tuple of int or None
        How the units are laid out: (polarities, rows, columns) of a camera, unit =
        (p * rows + y) * columns + x. None if they are a line of channels.

    Raises
    ------
    ValueError
        If a label has no name, or there are not as many speakers as labels.

    Examples
    --------
    >>> from evsim.datasets import Coincidence
    >>> data = Coincidence(n=100, seed=0)
    >>> spikes, label = data[3]
    >>> train, test = data.split(0.2, seed=1)
    >>> len(train), len(test), len(data[10:15])
    (80, 20, 5)
    >>> [len(batch) for batch in train.batches(32, shuffle=True, seed=0)]
    [32, 32, 16]
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        size: int,
        duration: float,
        class_names: Sequence[str],
        speakers: npt.ArrayLike | None = None,
        sensor: tuple[int, ...] | None = None,
    ) -> None:
        self._labels = np.ascontiguousarray(labels, np.int64)
        self._speakers = None if speakers is None else np.ascontiguousarray(speakers, np.int64)
        self._chosen: IntArray = np.arange(len(self._labels))
        self.size, self.duration, self.sensor = int(size), float(duration), sensor
        self.class_names = list(class_names)
        wrong = np.flatnonzero((self._labels < 0) | (self._labels >= len(self.class_names)))
        if len(wrong):
            raise ValueError(
                f"{type(self).__name__}: recording {wrong[0]} has label "
                f"{self._labels[wrong[0]]}, but there are {len(self.class_names)} classes"
            )
        if self._speakers is not None and len(self._speakers) != len(self._labels):
            raise ValueError(
                f"{type(self).__name__}: {len(self._speakers)} speakers for "
                f"{len(self._labels)} recordings"
            )

    @abstractmethod
    def _read(self, recordings: IntArray) -> Spikes:
        """Return recordings of the whole data set, in the order of ``recordings``.

        Labels are put in by the caller.
        """

    @property
    def labels(self) -> IntArray:
        """One class per recording, int64 [recording]."""
        return self._labels[self._chosen]

    @property
    def speakers(self) -> IntArray | None:
        """Who spoke, int64 [recording], or None if the data set does not tell."""
        return None if self._speakers is None else self._speakers[self._chosen]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> tuple[Spikes, int]: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[Any]) -> Self: ...

    def __getitem__(
        self, index: int | slice | Sequence[int] | npt.NDArray[Any]
    ) -> tuple[Spikes, int] | Self:
        """Return one recording and its label, or the chosen recordings as a data set."""
        index = plain_index(index)
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"recording {index} of {len(self)}")
            spikes = self._labelled(self._chosen[[index]])
            return spikes, int(self._labels[self._chosen[index]])
        part = copy.copy(self)
        part._chosen = self._chosen[np.asarray(index, np.int64) if _is_empty(index) else index]
        return part

    def __iter__(self) -> Iterator[tuple[Spikes, int]]:
        """Yield recordings and labels in order."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Return counts."""
        return (
            f"{type(self).__name__}({len(self)} recordings of {self.size} units, "
            f"{self.duration:g} s, {len(self.class_names)} classes)"
        )

    def spikes(self) -> Spikes:
        """Read all recordings as one batch, with labels."""
        return self._labelled(self._chosen)

    def batches(self, size: int, shuffle: bool = False, seed: int = 0) -> Iterator[Spikes]:
        """Read the recordings several at a time.

        Parameters
        ----------
        size : int
            Recordings of a batch; the last one may have fewer.
        shuffle : bool
            Whether in random order.
        seed : int
            Of the random order; give another one for each epoch.

        Yields
        ------
        Spikes
            With labels.

        Raises
        ------
        ValueError
            If ``size`` is not positive.
        """
        if size < 1:
            raise ValueError(f"size = {size}, must be at least 1 recording")
        order = self._chosen
        if shuffle:
            order = np.random.default_rng(seed).permutation(order)
        return (self._labelled(order[i : i + size]) for i in range(0, len(order), size))

    def split(self, fraction: float, seed: int = 0) -> tuple[Self, Self]:
        """Split at random, each class in the same proportion.

        Parameters
        ----------
        fraction : float
            Of every class that goes to the second part, rounded to whole recordings.
        seed : int
            Fixes who goes where.

        Returns
        -------
        rest, part : data sets
            In the order of this one.

        Raises
        ------
        ValueError
            If ``fraction`` is not between 0 and 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction = {fraction}, must be from 0 to 1")
        rng = np.random.default_rng(seed)
        taken = np.zeros(len(self), bool)
        labels = self.labels
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            taken[members[: round(fraction * len(members))]] = True
        return self[~taken], self[taken]

    def hold_out(self, speakers: int | Sequence[int]) -> tuple[Self, Self]:
        """Split by speaker.

        Parameters
        ----------
        speakers : int or sequence of int
            Whose recordings go to the second part.

        Returns
        -------
        others, theirs : data sets
            In the order of this one.

        Raises
        ------
        ValueError
            If the data set does not tell speakers, or has no recording of one of them.
        """
        known = self.speakers
        if known is None:
            raise ValueError(f"{type(self).__name__} does not tell who spoke")
        wanted = np.atleast_1d(np.asarray(speakers))
        missing = np.setdiff1d(wanted, known)
        if len(missing):
            found = ", ".join(map(str, np.unique(known)))
            raise ValueError(f"speaker {missing[0]} has no recording here; there are {found}")
        theirs = np.isin(known, wanted)
        return self[~theirs], self[theirs]

    def _labelled(self, recordings: IntArray) -> Spikes:
        spikes = self._read(recordings)
        return spikes.replace(
            spikes.times, spikes.units, spikes.offsets, labels=self._labels[recordings]
        )


def collate(samples: Sequence[tuple[Spikes, int]]) -> Spikes:
    """Join samples of a data set into one labelled batch.

    Give it to a torch ``DataLoader`` as ``collate_fn``.

    Parameters
    ----------
    samples : sequence of (Spikes, int)
        What indexing a data set returns.

    Returns
    -------
    Spikes
        With labels.
    """
    return concatenate([spikes for spikes, _ in samples])


def numbered(labels: npt.ArrayLike, budget: Budget, where: str) -> list[str]:
    """Return the numbers of classes as their names, if the file may have so many.

    Raises
    ------
    FileError
        If the largest label asks for more than ``budget`` allows; ``where`` names file and place.
    """
    n = int(np.max(labels, initial=-1)) + 1
    budget.lend(n * CLASS, where, f"{n:,} classes, one for every label up to {n - 1}")
    return [str(i) for i in range(n)]


def _is_empty(index: Any) -> bool:
    return not isinstance(index, slice) and len(index) == 0

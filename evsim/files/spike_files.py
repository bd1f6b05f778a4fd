"""Spike files in SHD, packed and SONATA layout, as they are read.

`SpikeFile` reads a bounded number of spikes at a time, `load_spikes` all of them. How the
layouts differ stands in `evsim.files.spike_layouts`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

import h5py
import numpy as np

from evsim.arrays import IntArray
from evsim.budget import UNIT
from evsim.doubts import FAST, odd_times, slow_rate, warn_user
from evsim.files.hdf5 import Folder, InputFile, as_integers
from evsim.files.plain_copy import copy_plain
from evsim.files.spike_layouts import (
    MAX_UNITS,
    NO_UNIT,
    inferred_size,
    open_recordings,
    read_recordings,
    read_stretch,
    stretches,
)
from evsim.spikes import Spikes, default_duration, left_out


class Scan(NamedTuple):
    """What one pass over a spike file finds.

    Attributes
    ----------
    n_recordings, n_spikes : int
        Totals.
    last_time : float
        Time of the last spike of all [s]; 0 without spikes.
    largest_unit : int
        -1 without spikes.
    counts : int64 array [recording]
        Spikes of every recording.
    """

    n_recordings: int
    n_spikes: int
    last_time: float
    largest_unit: int
    counts: IntArray


class SpikeFile:
    """A spike file, read a bounded number of spikes at a time.

    The layout (SHD, packed or SONATA) is recognised. The file stays open until `close` or the
    end of the ``with`` block.

    Parameters
    ----------
    path : path
        Of the file.
    population : str or None
        For a SONATA file with more than one population: which one.

    Attributes
    ----------
    path : str
        As given.
    layout : str
        ``"shd"``, ``"packed"`` or ``"sonata"``.
    size : int or None
        Number of units, where the file says it.
    duration : float or None
        Horizon of the recordings [s], where the file says it.
    labels : int64 array [recording] or None
        One class per recording.
    budget : Budget
        What may be asked for in memory because of the file.

    Raises
    ------
    FileError
        If the file is not a sound spike file; names the data set.

    Examples
    --------
    >>> import os, tempfile
    >>> from evsim import save_spikes
    >>> path = os.path.join(tempfile.mkdtemp(), "two.h5")
    >>> save_spikes(path, Spikes([0.1, 0.2, 0.3], [0, 1, 1], [0, 2, 3], size=2, duration=1.0))
    >>> with SpikeFile(path) as file:
    ...     [len(batch) for batch in file.batches(max_spikes=2)]
    [1, 1]
    """

    def __init__(self, path: str | PathLike[str], population: str | None = None) -> None:
        self._file = InputFile(path)
        try:
            self.path, self.budget = self._file.path, self._file.budget
            self.layout, self._recordings = open_recordings(self._file, population)
            root = self._file.root
            self.size = _size(root)
            root.lend("", self.size or 0, UNIT, "units")
            self.duration = _duration(root)
            self.labels = _labels(root, len(self))
        except BaseException:
            self._file.close()
            raise
        self._scan: Scan | None = None
        self._doubted = False  # whether a warning about the unit of times has been given

    def __enter__(self) -> SpikeFile:
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self._recordings.lengths)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def scan(self) -> Scan:
        """Read the file once, one recording at a time, and say what is in it.

        Warns
        -----
        UserWarning
            If the times look like milliseconds or microseconds read as seconds.

        Raises
        ------
        FileError
            If a spike is not sound; names the recording, the index and the value.
        """
        if self._scan is None:
            last, largest = 0.0, -1
            counts = self._recordings.lengths
            offsets = np.concatenate([[0], np.cumsum(counts)])
            for a, b in stretches(np.arange(len(self)), offsets, self._recordings.stretch):
                times, units = read_stretch(self._recordings, a, b, self.size)
                last = max(last, float(times.max(initial=0.0)))
                largest = max(largest, int(units.max(initial=-1)))
            self._scan = Scan(len(self), int(counts.sum()), last, largest, counts)
            self._warn_about_unit(last, 3, self._rate())
        return self._scan

    def _rate(self) -> float:
        """Return the mean rate per unit over what the spikes make the duration [Hz]."""
        n_recordings, n_spikes, last, largest, _ = self.scan()
        size = largest + 1 if self.size is None else self.size
        return n_spikes / max(n_recordings * size, 1) / default_duration(np.array([last]))

    def batches(
        self,
        max_spikes: int = 1 << 20,
        size: int | None = None,
        duration: float | None = None,
        max_recordings: int | None = None,
    ) -> Iterator[Spikes]:
        """Read the recordings in order, several at a time.

        Parameters
        ----------
        max_spikes : int
            Spikes per batch. A single recording that has more is a batch of its own: at
            no time is more than one batch in memory.
        size : int or None
            Number of units. If left out, what the file says, else the largest unit of
            the whole file + 1.
        duration : float or None
            Horizon [s]. If left out, what the file says, else the smallest multiple of
            0.1 s after the last spike of the whole file.
        max_recordings : int or None
            Recordings per batch.

        Yields
        ------
        Spikes
            Sorted by recording, time, unit; with their labels, if the file has any.

        Raises
        ------
        FileError
            If a spike is not sound; names the recording, the index and the value.

        Warns
        -----
        UserWarning
            After the last batch, if spikes are at or after the duration that the file says,
            and none is given.

        Notes
        -----
        Where ``size`` or ``duration`` is neither given nor in the file, the file is read
        once more beforehand.
        """
        given, told = duration is not None, size is not None or self.size is not None
        size, duration = self.extent(size, duration)
        first = n_late = 0
        while first < len(self):
            last = _batch_end(self._recordings.lengths, first, max_spikes, max_recordings)
            batch = self._read(range(first, last), size, duration, told)
            if first == 0 and len(batch.times):
                self._warn_about_unit(float(batch.times.max()), 3)
            n_late += int((batch.times >= duration).sum())
            yield batch
            first = last
        if not given:
            self.warn_about_late(n_late, 3)

    def read(
        self,
        size: int | None = None,
        duration: float | None = None,
        recordings: Sequence[int] | IntArray | None = None,
    ) -> Spikes:
        """Read all recordings, or those that are wanted in the order given.

        Parameters
        ----------
        size, duration : int, float or None
            As for `load_spikes`.
        recordings : int array or None
            Which; none is negative.

        Returns
        -------
        Spikes
            With their labels, if the file has any.

        Raises
        ------
        FileError
            If a spike is not sound; names the recording, the index and the value.

        Warns
        -----
        UserWarning
            As `load_spikes`.
        """
        size = self.size if size is None else size
        known = self.duration if duration is None else duration
        wanted = range(len(self)) if recordings is None else recordings
        spikes = self._read(wanted, size, known)
        rate = None
        if known is None:
            rate = len(spikes.times) / max(len(spikes) * spikes.size, 1) / spikes.duration
        self._warn_about_unit(float(spikes.times.max(initial=0.0)), 4, rate)
        if duration is None and self.duration is not None:
            self.doubt_duration()
            self.warn_about_late(int((spikes.times >= self.duration).sum()), 4)
        return spikes

    def doubt_duration(self) -> None:
        """Warn if the mean rate over a long duration that the file says is one that none has."""
        n_units = len(self) * (self.size or 0)
        if self.duration is None or self._doubted:
            return
        rate = slow_rate(int(self._recordings.lengths.sum()), n_units, self.duration)
        if rate is not None:
            self._doubted = True
            warn_user(
                f"{self.path}: says a duration of {self.duration:g} s, over which the mean rate is "
                f"{rate:.3g} Hz per unit; if it holds milliseconds, write it anew with "
                "evsim.save_spikes, times and duration in seconds"
            )

    def warn_about_late(self, n_late: int, stacklevel: int = 2) -> None:
        """Warn of spikes at or after the duration that the file says, if there are any."""
        if n_late and self.duration is not None:
            n_spikes = int(self._recordings.lengths.sum())
            warnings.warn(
                f"{self._recordings.places[0]}: {left_out(n_late, n_spikes, self.duration)}; the "
                "file contradicts itself. Give a longer duration to keep them",
                stacklevel=stacklevel,
            )

    def copy_extra(self, target: h5py.Group) -> None:
        """Copy the group ``/extra`` into ``target``, if the file has one.

        Names, values and attributes are kept; how they are packed is not.

        Parameters
        ----------
        target : h5py.Group
            Of a file open for writing.

        Raises
        ------
        FileError
            If the group is damaged or holds something else than numbers and text.
        """
        root = self._file.root
        if "extra" in root:
            copy_plain(root.folder("extra"), target.create_group("extra"))

    def extent(self, size: int | None = None, duration: float | None = None) -> tuple[int, float]:
        """Return size and duration [s]: as given, else what the file says, else from its spikes.

        The file is read once for it, where it does not say them.
        """
        size = self.size if size is None else size
        if duration is None:
            self.doubt_duration()
            duration = self.duration
        if size is None:
            size = inferred_size(self._recordings, self.scan().largest_unit)
        if duration is None:
            duration = float(default_duration(np.array([self.scan().last_time])))
        return size, duration

    def _read(
        self,
        wanted: Sequence[int] | IntArray,
        size: int | None,
        duration: float | None,
        size_told: bool = True,
    ) -> Spikes:
        labels = self.labels
        return read_recordings(self._recordings, wanted, size, duration, labels, size_told)

    def _warn_about_unit(self, last: float, stacklevel: int, rate: float | None = None) -> None:
        """Warn if the last spike or the mean rate [Hz] is absurd; trust files with a duration.

        The rate is that over the duration that the last spike makes, None if another was given.
        """
        if self.duration is not None or last == 0 or self._doubted:
            return
        assumed = self._recordings.assumed_unit
        early = last < (1e-2 if assumed == NO_UNIT else 1e-4)
        odd = odd_times(last, rate)
        if not (early or odd):
            return
        too_slow = odd != "" and (rate is None or rate <= FAST)
        self._doubted = True
        guess = "seconds" if assumed == NO_UNIT else "another unit"
        if too_slow:
            guess = "milliseconds or microseconds" if assumed == "s" else "a smaller unit"
        found = odd or f"the last spike is at {last:g} s"
        warnings.warn(
            f"{self._recordings.places[0]}: {found}, if the times are in {assumed}; the file, "
            f"which says no duration, probably holds {guess}. Convert the times to seconds and "
            "write the file anew with evsim.save_spikes, or give the duration",
            stacklevel=stacklevel,
        )


def load_spikes(
    path: str | PathLike[str],
    size: int | None = None,
    duration: float | None = None,
    population: str | None = None,
) -> Spikes:
    """Read all spikes of a file in SHD or SONATA layout.

    Times are read as float64 seconds, whatever their type (SHD itself has float16). A
    result file is a spike file too: its output population is read.

    Parameters
    ----------
    path : path
        Of the file.
    size : int or None
        Number of units. If left out, what the file says, else the largest unit + 1.
    duration : float or None
        Horizon [s]. If left out, what the file says, else the smallest multiple of 0.1 s
        after the last spike of all recordings.
    population : str or None
        For a SONATA file with more than one population: which one.

    Returns
    -------
    Spikes
        Sorted by recording, time, unit; with labels, if the file has any.

    Raises
    ------
    FileError
        If there is no such file, or it is not a sound spike file; one line with the file,
        the data set, the recording, the index and the value.

    Warns
    -----
    UserWarning
        If the times look like milliseconds or microseconds read as seconds: the last spike is
        later than 1000 s, or a duration that neither the file nor the caller says makes mean
        rates that no network has. If spikes are at or after the duration that the file says.
    """
    with SpikeFile(path, population) as file:
        return file.read(size, duration)


def _size(root: Folder) -> int | None:
    size = root.integer("size")
    if size is not None and not 0 <= size <= MAX_UNITS:
        raise root.error("", f"attribute 'size' is {size}, must be from 0 to {MAX_UNITS}")
    return size


def _duration(root: Folder) -> float | None:
    duration = root.number("duration")
    if duration is not None and not 0 < duration < math.inf:
        raise root.error("", f"attribute 'duration' is {duration}, must be finite and > 0 [s]")
    return None if duration is None else float(duration)


def _labels(root: Folder, n_recordings: int) -> IntArray | None:
    if "labels" not in root:
        return None
    labels = as_integers(root, "labels")
    if len(labels) != n_recordings:
        raise root.error("labels", f"has {len(labels)} entries for {n_recordings} recordings")
    return labels


def _batch_end(lengths: IntArray, first: int, max_spikes: int, max_recordings: int | None) -> int:
    """Return the recording after the last of the batch that starts with ``first``."""
    last = first + 1
    n_spikes = int(lengths[first])
    while last < len(lengths) and last - first != max_recordings:
        n_spikes += int(lengths[last])
        if n_spikes > max_spikes:
            break
        last += 1
    return last

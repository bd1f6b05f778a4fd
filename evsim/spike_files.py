"""Spike files in SHD and in SONATA layout, in and out.

`SpikeFile` reads a bounded number of spikes at a time, `load_spikes` all of them. How the
layouts differ stands in `evsim.spike_layouts`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from evsim.hdf5 import Folder, InputFile, as_integers
from evsim.new_hdf5 import NewHdf5, check_group_name
from evsim.plain_copy import copy_plain
from evsim.spike_layouts import (
    MAX_UNITS,
    NO_UNIT,
    inferred_size,
    open_recordings,
    read_recording,
    read_recordings,
)
from evsim.spikes import Spikes, default_duration

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SONATA_MAGIC = 0x0A7A
SONATA_SORTING = {"none": 0, "by_id": 1, "by_time": 2}


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

    The layout (SHD or SONATA) is recognised. The file stays open until `close` or the
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
        ``"shd"`` or ``"sonata"``.
    size : int or None
        Number of units, where the file says it.
    duration : float or None
        Horizon of the recordings [s], where the file says it.
    labels : int64 array [recording] or None
        One class per recording.

    Raises
    ------
    FileError
        If the file is not a sound spike file; names the data set.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two.h5")
    >>> save_spikes(path, Spikes([0.1, 0.2, 0.3], [0, 1, 1], [0, 2, 3], size=2, duration=1.0))
    >>> with SpikeFile(path) as file:
    ...     [len(batch) for batch in file.batches(max_spikes=2)]
    [1, 1]
    """

    def __init__(self, path: str | PathLike[str], population: str | None = None) -> None:
        self._file = InputFile(path)
        try:
            self.path = self._file.path
            self.layout, self._recordings = open_recordings(self._file, population)
            root = self._file.root
            self.size = _size(root)
            self.duration = _duration(root)
            self.labels = _labels(root, len(self))
        except BaseException:
            self._file.close()
            raise
        self._scan: Scan | None = None

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
            for recording in range(len(self)):
                times, units = read_recording(self._recordings, recording, self.size)
                if len(times):
                    last = max(last, float(times.max()))
                    largest = max(largest, int(units.max()))
            counts = self._recordings.lengths
            self._scan = Scan(len(self), int(counts.sum()), last, largest, counts)
            self._warn_about_unit(last, 3)
        return self._scan

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

        Notes
        -----
        Where ``size`` or ``duration`` is neither given nor in the file, the file is read
        once more beforehand.
        """
        size, duration = self._extent(size, duration)
        first = 0
        while first < len(self):
            last = _batch_end(self._recordings.lengths, first, max_spikes, max_recordings)
            batch = self._read(first, last, size, duration)
            if first == 0 and len(batch.times):
                self._warn_about_unit(float(batch.times.max()), 3)
            yield batch
            first = last

    def read(self, size: int | None = None, duration: float | None = None) -> Spikes:
        """Read all recordings; see `load_spikes`."""
        size = self.size if size is None else size
        duration = self.duration if duration is None else duration
        spikes = self._read(0, len(self), size, duration)
        self._warn_about_unit(float(spikes.times.max()) if len(spikes.times) else 0.0, 4)
        return spikes

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

    def _extent(self, size: int | None, duration: float | None) -> tuple[int, float]:
        size = self.size if size is None else size
        duration = self.duration if duration is None else duration
        if size is None:
            size = inferred_size(self._recordings, self.scan().largest_unit)
        if duration is None:
            duration = float(default_duration(np.array([self.scan().last_time])))
        return size, duration

    def _read(self, first: int, last: int, size: int | None, duration: float | None) -> Spikes:
        return read_recordings(self._recordings, first, last, size, duration, self.labels)

    def _warn_about_unit(self, last: float, stacklevel: int) -> None:
        """Warn if the last spike is absurdly late or early; trust files that evsim wrote."""
        assumed = self._recordings.assumed_unit
        early = 1e-2 if assumed == NO_UNIT else 1e-4
        if self.duration is not None or early <= last <= 1000 or last == 0:
            return
        guess = "seconds" if assumed == NO_UNIT else "another unit"
        if last > 1000:
            guess = "milliseconds or microseconds" if assumed == "s" else "a smaller unit"
        warnings.warn(
            f"{self._recordings.places[0]}: the last spike is at {last:g} s, if the times are "
            f"in {assumed}; the file probably holds {guess}. Convert the times to seconds "
            "and write the file anew with evsim.save_spikes",
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
        If the times look like milliseconds or microseconds read as seconds.
    """
    with SpikeFile(path, population) as file:
        return file.read(size, duration)


def save_spikes(
    path: str | PathLike[str],
    spikes: Spikes,
    overwrite: bool = False,
    layout: str = "shd",
    population: str = "default",
) -> None:
    """Write spikes to a file that is whole or absent.

    Parameters
    ----------
    path : path
        Of the file.
    spikes : Spikes
        Written with float64 times, ``size``, ``duration`` and ``labels``: reading an SHD
        file back gives the same bits.
    overwrite : bool
        Whether an existing file may be replaced.
    layout : {"shd", "sonata"}
        SONATA holds one recording without labels; its times are in milliseconds, and may
        differ by a last digit after the conversion.
    population : str
        Name of the population in a SONATA file.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If the layout can't hold the spikes.
    FileError
        If the file can't be written.
    """
    if layout not in ("shd", "sonata"):
        raise ValueError(f"layout = {layout!r}, must be 'shd' or 'sonata'")
    if layout == "sonata":
        _check_sonata(spikes, population)
    with NewHdf5(path, overwrite) as new, new.writing():
        file = new.h5
        file.attrs["size"] = spikes.size
        file.attrs["duration"] = spikes.duration
        if layout == "sonata":
            _write_sonata(file, spikes, population)
            return
        append_ragged(file.require_group("spikes"), spikes)
        if spikes.labels is not None:
            file["labels"] = spikes.labels


def append_ragged(group: h5py.Group, spikes: Spikes) -> None:
    """Append recordings to ``times`` and ``units`` of a group, in SHD layout."""
    small = spikes.size <= 1 << 16
    for name, values, dtype in (
        ("times", spikes.times, np.dtype(np.float64)),
        ("units", spikes.units, np.dtype(np.uint16 if small else np.int64)),
    ):
        if name not in group:
            column = h5py.vlen_dtype(dtype)
            group.create_dataset(name, (0,), column, maxshape=(None,), chunks=(256,))
        if len(spikes):
            _append_arrays(group[name], np.split(values.astype(dtype), spikes.offsets[1:-1]))


def _append_arrays(dataset: h5py.Dataset, arrays: list[npt.NDArray[Any]]) -> None:
    """Append variable-length arrays, all in one call: h5py's own way is slow, one by one."""
    first = len(dataset)
    dataset.resize((first + len(arrays),))
    column = np.empty(len(arrays), object)
    for i, array in enumerate(arrays):
        column[i] = array
    place = dataset.id.get_space()
    place.select_hyperslab((first,), (len(arrays),))
    memory = h5py.h5s.create_simple((len(arrays),))
    dataset.id.write(memory, place, column, h5py.h5t.py_create(dataset.dtype))


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


def _check_sonata(spikes: Spikes, population: str) -> None:
    if len(spikes) != 1:
        raise ValueError(f"a SONATA file holds one recording, not {len(spikes)}; choose one")
    if spikes.labels is not None:
        raise ValueError("a SONATA file has no labels; use the SHD layout or drop them")
    if population in ("times", "units"):
        raise ValueError(f"population {population!r}: SHD files have data sets of that name")
    check_group_name("population", population)


def _write_sonata(file: h5py.File, spikes: Spikes, population: str) -> None:
    file.attrs["magic"] = np.uint32(SONATA_MAGIC)
    file.attrs["version"] = np.array([0, 1], np.uint32)
    group = file.create_group(f"spikes/{population}")
    sorting = h5py.enum_dtype(SONATA_SORTING, basetype=np.uint8)
    group.attrs.create("sorting", SONATA_SORTING["by_time"], dtype=sorting)
    group["timestamps"] = spikes.times * 1e3
    group["timestamps"].attrs["units"] = "ms"
    group["node_ids"] = spikes.units.astype(np.uint64)

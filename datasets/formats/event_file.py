"""``EventFile``: camera recordings packed into one HDF5 file.

All recordings stand end to end: ``/events/t`` (microseconds since the start of each
recording), ``x``, ``y``, ``p``; recording i is rows ``/offsets[i]`` to ``/offsets[i+1]``.
Optional: ``/labels``, ``/split`` (0 training, 1 test). Attributes: ``height``, ``width``.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, NamedTuple

import h5py
import numpy as np

from evsim import FileError, Spikes
from evsim.arrays import FloatArray, IntArray
from evsim.budget import RECORDING, SPIKE, STREAMED_SPIKE, UNIT
from evsim.files.hdf5 import InputFile, as_integers, library_errors
from evsim.files.spike_layouts import STRETCH, stretches
from evsim.spikes import default_duration

from ..dataset import numbered
from ..published import PerProcess
from .camera import MICROSECOND, CameraData, Events, Part, Sensor, check_times, pixel_units

COLUMNS = ("t", "x", "y", "p")
MAX_SIDE = 1 << 14  # pixels
BLOCK = 1 << 20  # events
_SPLITS = {"train": 0, "test": 1}


class EventFile(CameraData):
    """Camera recordings in one HDF5 file, read slice by slice.

    Parameters
    ----------
    path : path
        Of the file.
    split : {"train", "test"} or None
        Which part, by the file's ``/split``; all recordings if left out.
    sensor : (int, int, int) or None
        Polarities, rows, columns. If left out, two polarities and the file's attributes
        ``height`` and ``width``.
    duration : float or None
        Horizon [s]; later events are left out. If left out, the smallest multiple of 0.1 s
        after the last event of the whole file, for which all times are read once.

    Raises
    ------
    FileError
        If the file is not sound; names the data set.
    ValueError
        If there is no such split.

    Notes
    -----
    Without ``/labels``, all recordings are of one class, ``"unlabelled"``.

    Examples
    --------
    >>> data = EventFile("nmnist.h5", split="train")      # doctest: +SKIP
    >>> spikes, label = data[0]                           # doctest: +SKIP
    """

    _parts: _Parts

    def __init__(
        self,
        path: str | PathLike[str],
        split: str | None = None,
        sensor: Sensor | None = None,
        duration: float | None = None,
    ) -> None:
        opened = PerProcess(_Columns, fspath(path))
        columns = opened.get()
        offsets, labels = columns.offsets, columns.per_recording("labels")
        chosen = columns.of_split(split)
        super().__init__(
            _Parts(opened, chosen, offsets),
            None if labels is None else labels[chosen],
            columns.sensor() if sensor is None else sensor,
            default_duration(np.array([columns.last_time()])) if duration is None else duration,
            None if labels is None else columns.class_names(labels[chosen]),
        )

    def _read(self, recordings: IntArray) -> Spikes:
        """Read runs of neighbouring recordings at once; there may be many that are empty."""
        parts = self._parts
        rows = parts.chosen[recordings]
        counts = parts.offsets[rows + 1] - parts.offsets[rows]
        ends = np.concatenate([[0], np.cumsum(counts)])
        columns = parts.file.get()
        columns.lend(int(ends[-1]))
        times, units = np.empty(ends[-1]), np.empty(ends[-1], np.int64)
        for a, b in stretches(rows, ends, columns.stretch):
            part = slice(int(ends[a]), int(ends[b]))
            times[part], units[part] = self._run(recordings[a:b], rows[a:b])
        keep = times < self.duration
        offsets = np.concatenate([[0], np.cumsum(keep)])[ends]
        return Spikes(times[keep], units[keep], offsets, self.size, self.duration)

    def _run(self, recordings: IntArray, rows: IntArray) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of neighbouring recordings."""
        parts = self._parts
        first, last = int(parts.offsets[rows[0]]), int(parts.offsets[rows[-1] + 1])
        if first == last:
            return np.empty(0), np.empty(0, np.int64)
        events = parts.file.get().read(int(rows[0]), first, last)
        try:
            check_times(events.times, events.where)
            return events.times, pixel_units(events, self.sensor)
        except FileError:
            for recording in recordings.tolist():  # which one is it?
                self._train(recording)
            raise


class _Parts(Sequence[Part]):
    """The recordings of an event file, made when they are asked for."""

    def __init__(self, file: PerProcess[_Columns], chosen: IntArray, offsets: IntArray) -> None:
        self.file, self.chosen, self.offsets = file, chosen, offsets

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        """Return one recording."""
        i = int(self.chosen[index])
        return _Rows(self.file, i, int(self.offsets[i]), int(self.offsets[i + 1]))


class _Rows(NamedTuple):
    """One recording of an event file."""

    file: PerProcess[_Columns]
    recording: int
    first: int
    last: int

    def events(self, duration: float) -> Events:
        """Read the events."""
        return self.file.get().read(self.recording, self.first, self.last)


class _Columns:
    """An event file, open for reading."""

    def __init__(self, path: str) -> None:
        self._file = InputFile(path)
        self._root = self._file.root
        try:
            self._events = self._root.folder("events")
            self._columns = {name: self._column(name) for name in COLUMNS}
            self._check_unit()
            self.offsets = self._read_offsets()
            self._events.lend("t", len(self._columns["t"]), STREAMED_SPIKE, "events in all")
            # Chunks are unpacked as a whole, whatever is wanted of them.
            chunks = [column.chunks[0] for column in self._columns.values() if column.chunks]
            self.stretch = max([STRETCH, *chunks])
        except BaseException:
            self._file.close()
            raise

    def lend(self, n_events: int) -> None:
        """Ask for the memory of some events."""
        self._events.lend("", n_events, 2 * SPIKE, "events at once")

    def read(self, recording: int, first: int, last: int) -> Events:
        """Read some rows."""
        self.lend(last - first)
        where = f"{self._events.where()}, recording {recording}"
        with library_errors(where):
            t, x, y, p = (self._columns[name][first:last] for name in COLUMNS)
        return Events(t / MICROSECOND, x, y, p, where)

    def _read_offsets(self) -> IntArray:
        offsets, n = as_integers(self._root, "offsets"), len(self._columns["t"])
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != n:
            raise self._root.error("offsets", f"must go from 0 to {n}, the number of events")
        backwards = np.flatnonzero(np.diff(offsets) < 0)
        if len(backwards):
            i = int(backwards[0])
            raise self._root.error(
                "offsets", f"entry {i + 1} is {offsets[i + 1]}, before entry {i}, {offsets[i]}"
            )
        self._root.lend("offsets", len(offsets), RECORDING, "recordings")
        return offsets

    def per_recording(self, name: str) -> IntArray | None:
        """Return a number for every recording, None if the file has none of that name."""
        if name not in self._root:
            return None
        values = as_integers(self._root, name)
        n = len(self.offsets) - 1
        if len(values) != n:
            raise self._root.error(name, f"has {len(values)} entries for {n} recordings")
        wrong = np.flatnonzero((values < 0) | (values > MAX_SIDE))
        if len(wrong):
            raise self._root.error(
                name, f"entry {wrong[0]} is {values[wrong[0]]}, must be from 0 to {MAX_SIDE}"
            )
        return values

    def class_names(self, labels: IntArray) -> list[str]:
        """Return the numbers of the classes, if the file may have so many."""
        return numbered(labels, self._file.budget, self._root.where("labels"))

    def of_split(self, split: str | None) -> IntArray:
        """Return the recordings of a part."""
        if split is None:
            return np.arange(len(self.offsets) - 1)
        if split not in _SPLITS:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_SPLITS)}, or None")
        parts = self.per_recording("split")
        if parts is None:
            raise self._root.error("split", "is missing; leave the split out to read all")
        return np.flatnonzero(parts == _SPLITS[split])

    def sensor(self) -> Sensor:
        """Return the sensor that the attributes tell."""
        height, width = self._root.integer("height"), self._root.integer("width")
        for name, side in (("height", height), ("width", width)):
            if side is None or not 1 <= side <= MAX_SIDE:
                raise self._root.error("", f"attribute {name!r} is {side}, must be pixels")
        assert height is not None and width is not None
        self._root.lend("", 2 * height * width, UNIT, f"pixels of a sensor of {height} x {width}")
        return (2, height, width)

    def last_time(self) -> float:
        """Return the time of the last event of all [s]; 0 without events."""
        t, last = self._columns["t"], 0
        with library_errors(self._events.where("t")):
            for first in range(0, len(t), BLOCK):
                last = max(last, int(t[first : first + BLOCK].max()))
        return last / MICROSECOND

    def _column(self, name: str) -> h5py.Dataset:
        column = self._events.dataset(name)
        with library_errors(self._events.where(name)):
            dtype, shape = column.dtype, column.shape
        if dtype.kind not in "iu" or len(shape) != 1:
            raise self._events.error(name, f"holds {dtype} {list(shape)}, must be integers [event]")
        n = len(self._events.dataset("t"))
        if len(column) != n:
            raise self._events.error(name, f"has {len(column)} entries, but t has {n}")
        return column

    def _check_unit(self) -> None:
        unit: Any = self._root.text("time_unit", "microseconds")
        if unit != "microseconds":
            raise self._root.error("", f"attribute 'time_unit' is {unit!r}, must be 'microseconds'")

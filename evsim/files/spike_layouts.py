"""The layouts of spike files as one: recordings that can be read one by one.

SHD (Cramer et al. 2022) keeps one variable-length array per recording in `/spikes/times`
[s] and `/spikes/units`. The packed layout has all recordings end to end in data sets of
those names, which compress, and `/spikes/offsets`. SONATA (Dai et al. 2020) keeps one
recording per population in `/spikes/<population>/timestamps` [ms] and `node_ids`, and before
there were populations, one in `/spikes/timestamps` and `/spikes/gids`. Every value is checked
as it is read; what becomes of the recordings is decided in `evsim.files.spike_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from evsim.arrays import BoolArray, FloatArray, IntArray
from evsim.budget import RECORDING, SPIKE, STREAMED_SPIKE
from evsim.files.hdf5 import (
    FileError,
    Folder,
    InputFile,
    as_integers,
    described,
    library_errors,
    read_attribute,
)
from evsim.files.kinds import refuse_population
from evsim.files.ragged import RaggedColumn
from evsim.spikes import Spikes, quiet_spikes

SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e3, "msec": 1e3, "milliseconds": 1e3}
MAX_UNITS = 1 << 24  # a larger population is taken for a damaged number
NO_UNIT = "ms (there is no units attribute)"
STRETCH = 1 << 14  # spikes that are read at once


class Recordings(Protocol):
    """What all layouts offer: times [s] and units of neighbouring recordings, end to end."""

    folder: Folder
    lengths: IntArray
    stretch: int
    places: tuple[str, str]
    assumed_unit: str

    def read(self, first: int, last: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of recordings ``first`` to before ``last``, as stored."""
        ...


class ShdRecordings:
    """`/spikes/times` and `/spikes/units`, one entry per recording."""

    stretch = STRETCH

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.times = RaggedColumn(folder, "times")
        self.units = RaggedColumn(folder, "units")
        self.lengths = self.times.lengths
        self.places = (self.times.where, self.units.where)
        for name, column, kinds in (("times", self.times, "fiu"), ("units", self.units, "iu")):
            if column.dtype.kind not in kinds or len(column.shape) != 1:
                raise folder.error(
                    name,
                    f"holds {described(column.dtype)} arrays in shape {list(column.shape)}, must "
                    f"hold {'numbers' if 'f' in kinds else 'integers'}, an array per recording",
                )
        if len(self.units) != len(self.times):
            raise folder.error(
                "units", f"has {len(self.units)} recordings, but times has {len(self.times)}"
            )
        wrong = np.flatnonzero(self.units.lengths != self.lengths)
        if len(wrong):
            b = int(wrong[0])
            raise folder.error(
                "units",
                f"recording {b} has {self.units.lengths[b]} units, but {self.lengths[b]} times",
            )
        self.divisor, self.assumed_unit = _time_unit(folder, "times", 1.0, "s")
        _check_counts(self)

    def read(self, first: int, last: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of neighbouring recordings."""
        entries = np.flatnonzero(self.lengths[first:last]) + first
        times, units = (
            np.concatenate([np.empty(0, dtype), *(column.read(i) for i in entries.tolist())])
            for column, dtype in ((self.times, np.float64), (self.units, np.int64))
        )
        return times / self.divisor, units


class PackedRecordings:
    """`/spikes/times` and `/spikes/units` of all recordings end to end, and `/spikes/offsets`.

    Times that are multiples of a step may be stored as integers: their attribute ``rate``
    says how many steps make a second.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.places = (folder.where("times"), folder.where("units"))
        self.columns = [folder.dataset(name) for name in ("times", "units")]
        for name, column in zip(("times", "units"), self.columns, strict=True):
            kinds = "fiu" if name == "times" else "iu"
            with library_errors(folder.where(name)):
                if column.dtype.kind not in kinds or column.ndim != 1:
                    raise folder.error(
                        name,
                        f"holds {described(column.dtype)} in shape {list(column.shape)}, must hold "
                        f"{'numbers' if 'f' in kinds else 'integers'}, end to end",
                    )
        self.divisor, self.assumed_unit = _time_unit(folder, "times", 1.0, "s")
        self.rate = self._rate()
        # Chunks are unpacked as a whole, whatever is wanted of them.
        chunks = [column.chunks[0] for column in self.columns if column.chunks]
        self.stretch = max([STRETCH, *chunks])
        self.offsets = as_integers(folder, "offsets")
        self.lengths = np.diff(self.offsets)
        self._check_offsets()
        _check_counts(self)

    def read(self, first: int, last: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of neighbouring recordings."""
        part = slice(int(self.offsets[first]), int(self.offsets[last]))
        with library_errors(self.places[0]):
            times = self.columns[0][part].astype(np.float64)
        with library_errors(self.places[1]):
            units = self.columns[1][part].astype(np.int64)
        return times / (self.divisor if self.rate is None else self.rate), units

    def _rate(self) -> float | None:
        rate = read_attribute(self.folder.file, self.columns[0], "rate", self.places[0])
        if rate is None:
            return None
        if np.ndim(rate) or np.asarray(rate).dtype.kind not in "fiu" or not 0 < rate < np.inf:
            raise self.folder.error("times", f"attribute 'rate' is {rate}, must be > 0 [1/s]")
        return float(rate)

    def _check_offsets(self) -> None:
        n_spikes = [len(column) for column in self.columns]
        if n_spikes[0] != n_spikes[1]:
            raise self.folder.error(
                "units", f"has {n_spikes[1]} entries, but times has {n_spikes[0]}"
            )
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != n_spikes[0]:
            raise self.folder.error(
                "offsets",
                f"has {len(self.offsets)} entries, must start with 0 and end with the number of "
                f"spikes, {n_spikes[0]}",
            )
        if (self.lengths < 0).any():
            b = int(np.argmax(self.lengths < 0))
            raise self.folder.error("offsets", f"goes backwards at recording {b}")


class SonataRecordings:
    """`timestamps` and `node_ids` (once `gids`) of one population: one recording."""

    stretch = STRETCH

    def __init__(self, folder: Folder, ids: str = "node_ids") -> None:
        times = folder.dataset("timestamps")
        self.folder, self.ids = folder, ids
        self.places = (folder.where("timestamps"), folder.where(ids))
        self.divisor, self.assumed_unit = _time_unit(folder, "timestamps", 1e3, NO_UNIT)
        with library_errors(self.places[0]):
            self.lengths = np.array([times.size], np.int64)
        _check_counts(self)

    def read(self, first: int, last: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of the recording."""
        if first == last:
            return np.empty(0), np.empty(0, np.int64)
        times = self.folder.numbers("timestamps", kept=False)
        units = as_integers(self.folder, self.ids, kept=False)
        if len(times) != len(units):
            raise self.folder.error(
                self.ids, f"has {len(units)} entries, but timestamps has {len(times)}"
            )
        return times.astype(np.float64) / self.divisor, units


def open_recordings(file: InputFile, population: str | None) -> tuple[str, Recordings]:
    """Recognise the layout."""
    if "spikes" not in file.root:
        raise file.root.error(
            "spikes",
            "is missing; a spike file has /spikes/times and /spikes/units (SHD) or "
            "/spikes/<population>/timestamps (SONATA)",
        )
    spikes = file.root.folder("spikes")
    if "times" in spikes or "units" in spikes:
        packed = "offsets" in spikes
        refuse_population(file.path, population, f"is in {'packed' if packed else 'SHD'} layout")
        return ("packed", PackedRecordings(spikes)) if packed else ("shd", ShdRecordings(spikes))
    names = [name for name in spikes.names() if spikes.is_folder(name)]
    if "gids" in spikes and "timestamps" in spikes and population is None:
        return "sonata", SonataRecordings(spikes, "gids")
    return "sonata", SonataRecordings(spikes.folder(_chosen(spikes, names, population)))


def _chosen(spikes: Folder, names: list[str], population: str | None) -> str:
    """Return the population to read, the only one or the one that is asked for."""
    found = f"populations {', '.join(names)}" if names else "no populations"
    if population is not None and population not in names:
        raise spikes.error(population, f"is missing; the file has {found}")
    if population is None and len(names) > 1:
        raise spikes.error(
            "",
            f"has {found}; say which, with --population NAME (in Python: population={names[0]!r})",
        )
    if not names:
        raise spikes.error("", "has neither of SHD nor SONATA")
    return names[0] if population is None else population


def _check_counts(recordings: Recordings) -> None:
    """Draw the numbers of recordings and of all spikes from the file's budget."""
    folder, lengths = recordings.folder, recordings.lengths
    folder.lend("", len(lengths), RECORDING, "recordings")
    folder.lend("", int(lengths.sum()), STREAMED_SPIKE, "spikes in all")


def _time_unit(folder: Folder, name: str, usual: float, without: str) -> tuple[float, str]:
    """Return how many of the unit of times make a second, and its name.

    Without an attribute ``units`` these are ``usual`` and ``without``.
    """
    where = folder.where(name)
    unit: Any = read_attribute(folder.file, folder.dataset(name), "units", where)
    if unit is None:
        return usual, without
    unit = unit.decode(errors="replace") if isinstance(unit, bytes) else unit
    if not isinstance(unit, str) or unit not in SECONDS:
        raise FileError(
            f"{where}, attribute 'units': {unit!r}, must be one of {', '.join(SECONDS)}"
        )
    return SECONDS[unit], unit


def read_stretch(
    recordings: Recordings, first: int, last: int, size: int | None
) -> tuple[FloatArray, IntArray]:
    """Read times [s] and units of neighbouring recordings, and refuse values that can't be.

    Raises
    ------
    FileError
        Names the data set, the recording, the index and the value.
    """
    lengths = recordings.lengths[first:last]
    recordings.folder.lend("", int(lengths.sum()), SPIKE, "spikes at once")
    with library_errors(recordings.places[0]):  # memory, if anything
        times, units = recordings.read(first, last)
    top = np.inf if size is None else size
    for place, values, wrong, rule in (
        (0, times, ~((times >= 0) & (times < np.inf)), "times must be finite and not negative [s]"),
        (
            1,
            units,
            (units < 0) | (units >= top),
            f"units must be from 0 to {'...' if size is None else size - 1}",
        ),
    ):
        if wrong.any():
            _refuse(recordings.places[place], first, lengths, values, wrong, rule)
    return times, units


def stretches(wanted: IntArray, offsets: IntArray, most: int) -> Iterator[tuple[int, int]]:
    """Cut a list of recordings into runs of neighbours, of a bounded number of spikes.

    Parameters
    ----------
    wanted : int64 array [n]
        Recordings.
    offsets : int64 array [n + 1]
        Where their spikes begin and end.
    most : int
        Spikes of a run, unless a single recording has more.

    Yields
    ------
    first, last : int
        Places in ``wanted``.

    Examples
    --------
    >>> list(stretches(np.array([3, 4, 5, 0]), np.array([0, 2, 4, 6, 6]), most=4))
    [(0, 2), (2, 3), (3, 4)]
    """
    borders = np.flatnonzero(np.diff(wanted) != 1) + 1
    for first, last in pairwise([0, *borders.tolist(), len(wanted)]):
        while first < last:
            stop = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
            stop = min(max(stop, first + 1), last)
            yield first, stop
            first = stop


def read_recordings(
    recordings: Recordings,
    wanted: Sequence[int] | IntArray,
    size: int | None,
    duration: float | None,
    labels: IntArray | None,
    size_told: bool = True,
) -> Spikes:
    """Read some recordings, in the order of ``wanted``, as `Spikes`."""
    wanted = np.asarray(wanted, np.int64)
    lengths = recordings.lengths[wanted]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    recordings.folder.lend("", int(offsets[-1]), SPIKE, "spikes at once")
    with library_errors(recordings.places[0]):  # memory, if anything
        times, units = np.empty(offsets[-1]), np.empty(offsets[-1], np.int64)
    for a, b in stretches(wanted, offsets, recordings.stretch):
        part = slice(int(offsets[a]), int(offsets[b]))
        first = int(wanted[a])
        times[part], units[part] = read_stretch(recordings, first, first + b - a, size)
    if size is None:
        size, size_told = inferred_size(recordings, int(units.max(initial=-1))), False
    if labels is not None:
        labels = labels[wanted]
    with library_errors(recordings.places[0]):
        return quiet_spikes(times, units, offsets, size, duration, labels, size_told)


def inferred_size(recordings: Recordings, largest_unit: int) -> int:
    """Return the size of a population of which only the largest unit is known."""
    if largest_unit >= MAX_UNITS:
        raise FileError(
            f"{recordings.places[1]}: the largest unit is {largest_unit}; if that is right, "
            "give the size of the population"
        )
    return largest_unit + 1


def _refuse(
    where: str,
    first: int,
    lengths: IntArray,
    values: FloatArray | IntArray,
    wrong: BoolArray,
    rule: str,
) -> None:
    """Refuse the first wrong value; ``lengths`` are of recordings from ``first`` on."""
    at = int(np.argmax(wrong))
    ends = np.cumsum(lengths)
    b = int(np.searchsorted(ends, at, side="right"))
    index = at - int(ends[b] - lengths[b])
    raise FileError(f"{where}: recording {first + b}, index {index}: {values[at]}; {rule}")

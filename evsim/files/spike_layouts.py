"""The layouts of spike files as one: recordings that can be read one by one.

SHD (Cramer et al. 2022) keeps one variable-length array per recording in `/spikes/times`
[s] and `/spikes/units`. The packed layout has all recordings end to end in data sets of
those names, which compress, and `/spikes/offsets`. SONATA (Dai et al. 2020) keeps one
recording per population in `/spikes/<population>/timestamps` [ms] and `node_ids`. Every
value is checked as it is read; what becomes of the recordings is decided in
`evsim.files.spike_files`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evsim.arrays import BoolArray, FloatArray, IntArray
from evsim.files.hdf5 import (
    FileError,
    Folder,
    InputFile,
    as_integers,
    described,
    library_errors,
    read_attribute,
)
from evsim.files.ragged import RaggedColumn
from evsim.spikes import Spikes

SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e3, "msec": 1e3, "milliseconds": 1e3}
MAX_UNITS = 1 << 24  # a larger population is taken for a damaged number
NO_UNIT = "ms (there is no units attribute)"


class Recordings(Protocol):
    """What all layouts offer: times [s] and units of one recording after the other."""

    lengths: IntArray
    places: tuple[str, str]
    assumed_unit: str

    def read(self, recording: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of one recording, as stored."""
        ...


class ShdRecordings:
    """`/spikes/times` and `/spikes/units`, one entry per recording."""

    assumed_unit = "s"

    def __init__(self, folder: Folder) -> None:
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

    def read(self, recording: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of one recording."""
        times = self.times.read(recording).astype(np.float64)
        return times, self.units.read(recording).astype(np.int64)


class PackedRecordings:
    """`/spikes/times` and `/spikes/units` of all recordings end to end, and `/spikes/offsets`.

    Times that are multiples of a step may be stored as integers: their attribute ``rate``
    says how many steps make a second.
    """

    assumed_unit = "s"

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
        self.rate = self._rate()
        self.offsets = as_integers(folder, "offsets")
        self.lengths = np.diff(self.offsets)
        self._check_offsets()

    def read(self, recording: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of one recording."""
        part = slice(int(self.offsets[recording]), int(self.offsets[recording + 1]))
        with library_errors(self.places[0]):
            times = self.columns[0][part].astype(np.float64)
        with library_errors(self.places[1]):
            units = self.columns[1][part].astype(np.int64)
        return (times if self.rate is None else times / self.rate), units

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
    """`timestamps` and `node_ids` of one population: one recording."""

    def __init__(self, folder: Folder) -> None:
        times = folder.dataset("timestamps")
        self.folder = folder
        self.places = (folder.where("timestamps"), folder.where("node_ids"))
        self.divisor, self.assumed_unit = _time_unit(folder)
        with library_errors(self.places[0]):
            self.lengths = np.array([times.size], np.int64)

    def read(self, recording: int) -> tuple[FloatArray, IntArray]:
        """Return times [s] and units of the recording."""
        times = self.folder.numbers("timestamps")
        units = as_integers(self.folder, "node_ids")
        if len(times) != len(units):
            raise self.folder.error(
                "node_ids", f"has {len(units)} entries, but timestamps has {len(times)}"
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
        if population is not None:
            raise FileError(
                f"{file.path}: is in SHD layout, which knows no populations such as {population!r}"
            )
        if "offsets" in spikes:
            return "packed", PackedRecordings(spikes)
        return "shd", ShdRecordings(spikes)
    names = [name for name in spikes.names() if spikes.is_folder(name)]
    if population is None and len(names) != 1:
        found = (
            f"populations {', '.join(names)}; say which" if names else "neither of SHD nor SONATA"
        )
        raise spikes.error("", f"has {found}")
    return "sonata", SonataRecordings(spikes.folder(names[0] if population is None else population))


def _time_unit(folder: Folder) -> tuple[float, str]:
    """How many of its time unit make a second; SONATA's default is the millisecond."""
    where = folder.where("timestamps")
    unit = read_attribute(folder.file, folder.dataset("timestamps"), "units", where)
    if unit is None:
        return 1e3, NO_UNIT
    unit = unit.decode(errors="replace") if isinstance(unit, bytes) else unit
    if not isinstance(unit, str) or unit not in SECONDS:
        raise FileError(
            f"{where}, attribute 'units': {unit!r}, must be one of {', '.join(SECONDS)}"
        )
    return SECONDS[unit], unit


def read_recording(
    recordings: Recordings, recording: int, size: int | None
) -> tuple[FloatArray, IntArray]:
    """Read times [s] and units of one recording, and refuse values that can't be.

    Raises
    ------
    FileError
        Names the data set, the recording, the index and the value.
    """
    with library_errors(recordings.places[0]):  # memory, if anything
        times, units = recordings.read(recording)
    rule = "times must be finite and not negative [s]"
    _refuse(recordings.places[0], recording, times, ~((times >= 0) & (times < np.inf)), rule)
    top = np.inf if size is None else size
    rule = f"units must be from 0 to {'...' if size is None else size - 1}"
    _refuse(recordings.places[1], recording, units, (units < 0) | (units >= top), rule)
    return times, units


def read_recordings(
    recordings: Recordings,
    wanted: Sequence[int] | IntArray,
    size: int | None,
    duration: float | None,
    labels: IntArray | None,
) -> Spikes:
    """Read some recordings, in the order of ``wanted``, as `Spikes`."""
    wanted = np.asarray(wanted, np.int64)
    lengths = recordings.lengths[wanted]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    with library_errors(recordings.places[0]):  # memory, if anything
        times, units = np.empty(offsets[-1]), np.empty(offsets[-1], np.int64)
    for b, start, stop in zip(wanted.tolist(), offsets[:-1], offsets[1:], strict=True):
        times[start:stop], units[start:stop] = read_recording(recordings, b, size)
    if size is None:
        size = inferred_size(recordings, int(units.max()) if len(units) else -1)
    if labels is not None:
        labels = labels[wanted]
    with library_errors(recordings.places[0]):
        return Spikes(times, units, offsets, size, duration, labels)  # type: ignore[arg-type]


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
    recording: int,
    values: FloatArray | IntArray,
    wrong: BoolArray,
    rule: str,
) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise FileError(f"{where}: recording {recording}, index {at}: {values[at]}; {rule}")

"""Result files: format "evsim-result", version 1, written batch by batch.

/                      format, version, evsim_version, network_digest, duration, ...
/spikes                link to the spikes of the output population, if it has any:
                       with `size` and `duration` the file is itself a spike file
/labels, /extra        carried over from the input
/populations/<name>    size; spikes/{times,units}, voltage [recording, time, unit],
                       voltage_times [time], threshold [unit] (may be missing),
                       output [recording, unit]
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from evsim import version
from evsim.arrays import FloatArray
from evsim.budget import RECORDING, SPIKE, UNIT
from evsim.files.hdf5 import Folder, InputFile, as_floats, as_integers
from evsim.files.network_files import check_version, network_digest
from evsim.files.new_hdf5 import NewHdf5, check_group_name
from evsim.files.new_spike_files import append_ragged
from evsim.files.spike_files import SpikeFile
from evsim.files.spike_layouts import ShdRecordings, read_recordings
from evsim.network import Network
from evsim.result import Result

FORMAT = "evsim-result"
VERSION = 1
_CHUNK, _MOST_ROWS = 1 << 16, 64  # voltages, and recordings, that are stored together
_RESERVED = ("format", "version", "evsim_version", "size", "duration")


class ResultWriter:
    """Writes a result file batch by batch; the file is whole or absent.

    A context manager: `append` once per batch, in the order of the recordings. Leaving
    the block gives the file its name; an exception in the block (an interrupt too)
    leaves nothing behind. Memory does not grow with the number of batches.

    Parameters
    ----------
    path : path
        Of the file.
    net : Network or None
        Says which population is the output and gives the digest. Without it, the spikes
        are at the root only if a single population was recorded.
    overwrite : bool
        Whether an existing file may be replaced.
    attributes : mapping of str to str, bool, int, float or sequence of numbers
        Options of the run, kept as attributes of the root. ``network_digest`` may be
        among them, if the network came from a file.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    ValueError
        If an attribute has the name of one of evsim's own.
    FileError
        If the file can't be written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        net: Network | None = None,
        overwrite: bool = False,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._output = None if net is None else net.output
        self._overwrite = overwrite
        self._attributes = dict(attributes or {})
        for name in self._attributes:
            if name in _RESERVED:
                raise ValueError(f"attributes: {name!r} is written by evsim; choose another name")
        if net is not None:
            self._attributes.setdefault("network_digest", network_digest(net))
        self._stack = ExitStack()
        self._n_recordings = 0
        self._contents: dict[str, Any] | None = None

    def __enter__(self) -> ResultWriter:
        """Open the temporary file."""
        attributes = {"format": FORMAT, "version": VERSION, "evsim_version": version.VERSION}
        with ExitStack() as stack:
            self._new = stack.enter_context(NewHdf5(self.path, self._overwrite))
            self._file = self._new.h5
            with self._new.writing():
                for name, value in (attributes | self._attributes).items():
                    _set_attribute(self._file, name, value)
                self._file.create_group("populations", track_order=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        """Rename the file, or remove it."""
        self._stack.__exit__(*error)

    def append(self, result: Result) -> None:
        """Append the recordings of one batch.

        Raises
        ------
        ValueError
            If the batch holds other populations, sample times, sizes or another duration
            than the batches before, or thresholds that are not finite.
        FileError
            If the disk is full.
        """
        n_recordings, contents = len(result), _contents(result)
        if self._contents is None:
            with self._new.writing():
                self._begin(result)
            self._contents = contents
        for what in {**self._contents, **contents}:
            before, now = self._contents.get(what, "missing"), contents.get(what, "missing")
            if not np.array_equal(before, now):
                raise ValueError(
                    f"{what} is {now} from recording {self._n_recordings} on, but was {before} in "
                    "the batches before; all batches of a file must be alike"
                )
        with self._new.writing():
            self._append(result)
        self._n_recordings += n_recordings

    def copy_extra(self, source: SpikeFile) -> None:
        """Carry over the group ``/extra`` of the input file, if it has one."""
        with self._new.writing():
            source.copy_extra(self._file)

    def _append(self, result: Result) -> None:
        populations = self._file["populations"]
        for name, spikes in result.spikes.items():
            append_ragged(populations[name]["spikes"], spikes)
        for kind in ("voltage", "output"):
            for name, values in getattr(result, kind).items():
                _append_rows(populations[name][kind], values)
        if result.labels is not None:
            _append_rows(self._file["labels"], result.labels)

    def _begin(self, result: Result) -> None:
        """Create the data sets that all batches go to, and the link to the output."""
        self._file.attrs["duration"] = float(result.duration)
        populations = self._file["populations"]
        for name, size in _sizes(result).items():
            group = populations.create_group(name)
            group.attrs["size"] = size
            if name in result.spikes:
                group.create_group("spikes")
            for kind in ("voltage", "output"):
                if name in getattr(result, kind):
                    _create_rows(group, kind, getattr(result, kind)[name])
            if name in result.voltage:
                group["voltage_times"] = np.asarray(result.voltage_times[name], np.float64)
            if name in result.threshold:
                group["threshold"] = np.asarray(result.threshold[name], np.float64)
        if result.labels is not None:
            _create_rows(self._file, "labels", result.labels)
        output = self._output or next(iter(result.spikes), None)
        if output in result.spikes and (self._output or len(result.spikes) == 1):
            self._file.attrs["size"] = result.spikes[output].size
            self._file["spikes"] = h5py.SoftLink(f"/populations/{output}/spikes")


def save_result(
    path: str | PathLike[str], result: Result, net: Network | None = None, overwrite: bool = False
) -> None:
    """Write a result to a file that is whole or absent; see `ResultWriter`.

    Parameters
    ----------
    path : path
        Of the file.
    result : Result
        All of it is kept, all bits.
    net : Network or None
        Says which population is the output and gives the digest.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    FileError
        If the file can't be written.
    """
    with ResultWriter(path, net, overwrite) as writer:
        writer.append(result)


def load_result(path: str | PathLike[str]) -> Result:
    """Read a result file.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    Result
        As it was written.

    Raises
    ------
    FileError
        If there is no such file, it is not an evsim result or of a newer version, or data
        are missing, damaged or of the wrong shape.
    """
    with InputFile(path) as file:
        root = file.root
        found = root.text("format")
        if found != FORMAT:
            what = "is missing" if found is None else f"is {found!r}"
            raise root.error("", f"attribute 'format' {what}, must be {FORMAT!r}")
        check_version(root, VERSION)
        duration = root.number("duration")
        if duration is None or not 0 <= duration < np.inf:
            raise root.error("", f"attribute 'duration' is {duration}, must be finite and >= 0 [s]")
        labels = as_integers(root, "labels") if "labels" in root else None
        result = Result(duration=float(duration), labels=labels)
        populations = root.folder("populations")
        for name in populations.names():
            _read_population(populations.folder(name), name, result)
        return result


def _read_population(folder: Folder, name: str, result: Result) -> None:
    size = folder.integer("size")
    if size is None:
        raise folder.error("", "attribute 'size' is missing")
    folder.lend("", size, UNIT, "units")
    if "spikes" in folder:
        recordings = ShdRecordings(folder.folder("spikes"))
        n = len(recordings.lengths)
        folder.keep("spikes", n, RECORDING, "recordings")
        folder.keep("spikes", int(recordings.lengths.sum()), SPIKE, "spikes")
        _check_rows(folder, "spikes", n, result)
        result.spikes[name] = read_recordings(
            recordings, range(n), size, result.duration, result.labels
        )
    if "voltage" in folder:
        times = as_floats(folder, "voltage_times", (1,))
        result.voltage_times[name] = times
        result.voltage[name] = _read_rows(folder, "voltage", (len(times), size), result)
    if "threshold" in folder:
        result.threshold[name] = _read_threshold(folder, size)
    if "output" in folder:
        result.output[name] = _read_rows(folder, "output", (size,), result)


def _read_threshold(folder: Folder, size: int) -> FloatArray:
    values = as_floats(folder, "threshold", (1,))
    if values.shape != (size,):
        raise folder.error("threshold", f"has shape {list(values.shape)}, must be [{size}]")
    if not np.isfinite(values).all():
        raise folder.error("threshold", "must be finite")
    return values


def _read_rows(folder: Folder, name: str, row: tuple[int, ...], result: Result) -> FloatArray:
    values = as_floats(folder, name, (1 + len(row),))
    if values.shape[1:] != row:
        raise folder.error(
            name, f"has shape {list(values.shape)}, must be [recording, {str(list(row))[1:]}"
        )
    _check_rows(folder, name, len(values), result)
    return values


def _check_rows(folder: Folder, name: str, n_recordings: int, result: Result) -> None:
    """Compare a number of recordings with the labels and what was read before."""
    known = result.labels is not None or result.spikes or result.voltage or result.output
    if known and len(result) != n_recordings:
        raise folder.error(
            name, f"has {n_recordings} recordings, but other data in the file has {len(result)}"
        )


def _contents(result: Result) -> dict[str, Any]:
    """Describe what must be alike in all batches of a file."""
    for name, spikes in result.spikes.items():
        if spikes.duration != result.duration:
            raise ValueError(
                f"spikes of {name!r}: duration = {spikes.duration}, but that of the result is "
                f"{result.duration} [s]"
            )
    contents: dict[str, Any] = {"duration": result.duration}
    contents["labels"] = "there" if result.labels is not None else "missing"
    for kind in ("spikes", "voltage", "output"):
        for name in getattr(result, kind):
            contents[f"{kind} of {name!r}"] = "there"
    for name, size in _sizes(result).items():
        contents[f"size of {name!r}"] = size
    for name in result.voltage:
        contents[f"sample times of {name!r}"] = result.voltage_times[name]
    for name, threshold in result.threshold.items():
        if np.ndim(threshold) != 1 or not np.isfinite(threshold).all():
            raise ValueError(f"threshold of {name!r}: must be [unit], and finite")
        contents[f"threshold of {name!r}"] = threshold
    return contents


def _sizes(result: Result) -> dict[str, int]:
    """Return the size of every population that has anything recorded."""
    sizes: dict[str, int] = {}
    found = [(name, spikes.size) for name, spikes in result.spikes.items()]
    for part in (result.voltage, result.threshold, result.output):
        found += [(name, values.shape[-1]) for name, values in part.items()]
    for name, size in found:
        check_group_name("population", name)
        if sizes.setdefault(name, size) != size:
            raise ValueError(f"population {name!r}: has {sizes[name]} units and {size} units")
    return sizes


def _set_attribute(file: h5py.File, name: str, value: Any) -> None:
    try:
        file.attrs[name] = value
    except TypeError as error:
        raise ValueError(f"attributes: {name!r} = {value!r} can't be stored") from error


def _create_rows(group: h5py.Group, name: str, values: npt.NDArray[Any]) -> None:
    """Create an empty data set that grows along the recordings."""
    row = values.shape[1:]
    limits = tuple(n or None for n in row)  # h5py can't chunk an axis that must stay 0 long
    dtype = np.float64 if values.dtype.kind == "f" else np.int64
    chunks: Any = True
    if len(row) == 2 and values[:1].size:  # voltages: hardly any room is left empty
        n_units = min(row[1], _CHUNK)
        n_parts = -(-row[0] // (_CHUNK // n_units))
        n_times = -(-row[0] // n_parts)
        chunks = (min(_MOST_ROWS, max(1, _CHUNK // (n_times * n_units))), n_times, n_units)
    group.create_dataset(name, (0, *row), dtype, maxshape=(None, *limits), chunks=chunks)


def _append_rows(dataset: h5py.Dataset, values: npt.NDArray[Any]) -> None:
    first = len(dataset)
    dataset.resize(first + len(values), axis=0)
    if values.size:
        dataset[first:] = values

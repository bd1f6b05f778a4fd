"""Writing spikes to new files, in SHD, packed or SONATA layout, whole or absent."""

from __future__ import annotations

from os import PathLike
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from evsim.arrays import IntArray
from evsim.files.new_hdf5 import NewHdf5, check_group_name
from evsim.quantities import positive
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays

SONATA_MAGIC = 0x0A7A
SONATA_SORTING = {"none": 0, "by_id": 1, "by_time": 2}


def save_spikes(
    path: str | PathLike[str],
    spikes: Spikes,
    overwrite: bool = False,
    layout: str = "shd",
    population: str = "default",
    rate: float | None = None,
) -> None:
    """Write spikes to a file that is whole or absent.

    Parameters
    ----------
    path : path
        Of the file.
    spikes : Spikes
        Of arrays or tensors. Written with float64 times, ``size`` if it was told, ``duration``
        and ``labels``: reading an SHD file back gives the same bits.
    overwrite : bool
        Whether an existing file may be replaced.
    layout : {"shd", "packed", "sonata"}
        "packed" is smaller and compressed, and known to evsim only. SONATA holds one
        recording without labels; its times are in milliseconds, and may differ by a last
        digit after the conversion.
    population : str
        Name of the population in a SONATA file.
    rate : float or None
        For a packed file whose times are all multiples of 1 / ``rate`` [1/s]: they are
        stored as integers, and reading them back gives the same bits.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is false.
    TypeError
        If ``spikes`` is something else; the message tells how to make `Spikes` of it.
    ValueError
        If the layout can't hold the spikes.
    FileError
        If the file can't be written.
    """
    spikes = as_arrays(spikes, "save_spikes")
    if layout not in ("shd", "packed", "sonata"):
        raise ValueError(f"layout = {layout!r}, must be 'shd', 'packed' or 'sonata'")
    if layout == "sonata":
        _check_sonata(spikes, population)
    if rate is not None and layout != "packed":
        raise ValueError(f"layout {layout!r} has no rate; only 'packed' has")
    with NewHdf5(path, overwrite) as new, new.writing():
        file = new.h5
        if spikes.size_told:
            file.attrs["size"] = spikes.size
        file.attrs["duration"] = spikes.duration
        if layout == "sonata":
            _write_sonata(file, spikes, population)
            return
        if layout == "packed":
            write_packed(file.create_group("spikes"), spikes, rate)
        else:
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


def write_packed(group: h5py.Group, spikes: Spikes, rate: float | None = None) -> None:
    """Fill a group with ``times``, ``units`` and ``offsets``; see `save_spikes`."""
    times = spikes.times if rate is None else _narrowed(_steps(spikes, rate))
    packed = {"times": times, "units": _narrowed(spikes.units)}
    for name, values in packed.items():
        # Chunks of a few recordings: one of them can be read without unpacking many others.
        packing = {"chunks": (min(len(values), 1 << 14),), "compression": 9, "shuffle": True}
        group.create_dataset(name, data=values, **(packing if len(values) else {}))
    if rate is not None:
        group["times"].attrs["rate"] = float(rate)
    group["offsets"] = spikes.offsets


def _steps(spikes: Spikes, rate: float) -> IntArray:
    """Return times as multiples of 1 / rate, and refuse those that are none."""
    steps = np.rint(spikes.times * positive("rate", rate, "1/s")).astype(np.int64)
    wrong = np.flatnonzero(steps / rate != spikes.times)
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"index {at}: time {spikes.times[at]!r} s is no multiple of 1/{rate:g} s; leave "
            "rate out, or round the times"
        )
    return steps


def _narrowed(values: IntArray) -> npt.NDArray[Any]:
    """Return non-negative integers in the smallest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max()) if len(values) else 0))


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

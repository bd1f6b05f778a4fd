"""What spike trains may be, be they arrays or tensors, and what is said of all else."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray

_WAYS = (
    "evsim.Spikes(times, units, ...) makes them of times, evsim.datasets.unbin_spikes(counts, dt) "
    "of a raster [step, recording, unit], evsim.concatenate(list) of recordings, .spikes() of a "
    "data set"
)


def is_tensor(values: Any) -> bool:
    """Whether it is a tensor, which is asked without torch."""
    return hasattr(values, "detach")


def plain_array(values: Any) -> npt.NDArray[Any]:
    """Return an array, or a tensor as one that shares its memory."""
    return values.numpy(force=True) if is_tensor(values) else np.asarray(values)


def plain_index(index: Any) -> Any:
    """Return an index as it is; a number in an array or a tensor as that number.

    Examples
    --------
    >>> plain_index(np.array(1)), plain_index([0, 1])
    (1, [0, 1])
    """
    return index.item() if getattr(index, "ndim", None) == 0 else index


def retyped(given: Any, plain: npt.NDArray[Any], array: npt.NDArray[Any]) -> Any:
    """Return a tensor in the type of its array, still in the graph; else that array."""
    if not is_tensor(given):
        return array
    if array is plain:
        return given
    return given.double() if array.dtype == np.float64 else given.long()


def integers(name: str, values: npt.ArrayLike) -> IntArray:
    """Return integers, one-dimensional; refuse other numbers by name and index."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"spikes: {name} has shape {array.shape}, must be one-dimensional")
    if array.dtype.kind not in "iu" and len(array):
        as_int = array.astype(np.int64)
        wrong = np.flatnonzero(as_int != array)
        if array.dtype.kind != "f" or len(wrong):
            at = int(wrong[0]) if len(wrong) else 0
            raise ValueError(f"spikes: {name}[{at}] = {array[at]!r} is not an integer")
    return np.ascontiguousarray(array, dtype=np.int64)


def check_lengths(times: FloatArray, units: IntArray, offsets: IntArray) -> None:
    """Refuse arrays whose lengths or offsets don't fit; names the recording."""
    if times.ndim != 1 or len(times) != len(units):
        raise ValueError(
            f"spikes: times has shape {times.shape} and units has shape {units.shape}; "
            "both must be [spike] and equally long"
        )
    if len(offsets) == 0 or offsets[0] != 0:
        raise ValueError("spikes: offsets must start with 0 and have one entry per recording + 1")
    backwards = offsets[1:] < offsets[:-1]
    if backwards.any():
        b = int(np.argmax(backwards))
        raise ValueError(
            f"spikes: recording {b}: offsets[{b + 1}] = {offsets[b + 1]} is before "
            f"offsets[{b}] = {offsets[b]}; offsets must not decrease"
        )
    if offsets[-1] != len(times):
        raise ValueError(
            f"spikes: recording {len(offsets) - 2}: offsets[{len(offsets) - 1}] = {offsets[-1]} "
            f"does not match the {len(times)} spikes"
        )


def check_values(times: FloatArray, units: IntArray, offsets: IntArray, size: int | None) -> None:
    """Refuse times and units that can't be; names recording, index and value."""

    def refuse(at: int, what: str) -> None:
        b = int(np.searchsorted(offsets, at, side="right")) - 1
        raise ValueError(f"spikes: recording {b}, index {at - offsets[b]}: {what}")

    if len(times) == 0:
        return
    if not (times.min() >= 0 and times.max() < np.inf):  # NaN fails both
        at = int(np.argmin((times >= 0) & (times < np.inf)))
        refuse(at, f"time {times[at]} s; times must be finite and not negative")
    top = np.iinfo(np.int64).max if size is None else max(size, 0)
    if units.view(np.uint64).max() >= top:  # negative ones are large there
        at = int(np.argmax((units < 0) | (units >= top)))
        refuse(at, f"unit {units[at]} is outside the population of size {size}")


def sorted_spikes(
    times: FloatArray, units: IntArray, offsets: IntArray
) -> tuple[FloatArray, IntArray]:
    """Sort by recording, time, unit; leave sorted input as it is."""
    if in_order(times, units, offsets):
        return times, units
    recording = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((units, times, recording))
    return times[order], units[order]


def in_order(times: FloatArray, units: IntArray, offsets: IntArray) -> bool:
    """Whether the spikes of each recording are sorted by time, then unit."""
    rises = times[1:] > times[:-1]
    rises[offsets[(offsets > 0) & (offsets < len(times))] - 1] = True  # where recordings meet
    at = np.flatnonzero(~rises)
    return bool(((times[at + 1] == times[at]) & (units[at + 1] >= units[at])).all())


def what_it_is(given: Any) -> str:
    """Return what something is, and how to make `Spikes` of it."""
    name = type(given).__name__
    if hasattr(given, "shape"):
        return f"{name} of shape {list(given.shape)}; {_WAYS}"
    if isinstance(given, (str, PathLike)):
        return f"the path {fspath(given)!r}; evsim.load_spikes reads a file"
    if isinstance(getattr(given, "spikes", None), dict):
        return f"{name}; its .spikes[population] are what is wanted"
    if callable(getattr(given, "read", None)):
        return f"{name}; its .read() reads recordings"
    if isinstance(given, (list, tuple)) and given:
        if all(isinstance(part, (list, tuple)) for part in given):
            return (
                f"{name} of {type(given[0]).__name__}; evsim.Spikes.from_recordings makes them of "
                f"(times, units) pairs; {_WAYS}"
            )
    return f"{name}; {_WAYS}"


def check_size(spikes: Any, size: int, there: str) -> None:
    """Refuse spikes of another number of units than there are; one not told may be smaller.

    Parameters
    ----------
    spikes : Spikes
        What is given.
    size : int
        Units of what takes them.
    there : str
        The second half of the message, such as "the layer has 80 inputs".

    Raises
    ------
    ValueError
        Names both numbers.
    """
    if spikes.size == size or (spikes.size < size and not spikes.size_told):
        return
    way = f"; if the others are silent, say so: Spikes(..., size={size})"
    raise ValueError(
        f"the spikes come from {spikes.size} units, but {there}{way if spikes.size < size else ''}"
    )

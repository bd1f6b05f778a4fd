"""``Spikes``: a batch of spike trains in three flat arrays.

Ragged data is offsets, never padding: recording ``b`` owns ``offsets[b]:offsets[b+1]``.
Bad input is refused here, with the recording, the index and the value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray, IntArray
from evsim.doubts import odd_times, warn_user
from evsim.quantities import in_seconds, positive, whole
from evsim.spike_checks import (
    check_lengths,
    check_values,
    integers,
    plain_array,
    plain_index,
    sorted_spikes,
)
from evsim.words import count


@dataclass(frozen=True, eq=False, repr=False)
class Spikes:
    """A batch of spike trains.

    Holds numpy arrays, or torch tensors (`torch`), which may stand in the autograd graph.
    Unsorted spikes are accepted and sorted by recording, time and unit. The arrays
    must not be changed afterwards. Two are equal if all they hold is, be it in arrays or
    tensors.

    Attributes
    ----------
    times : float64 array [spike]
        Spike times [s], finite and >= 0; numpy's ``timedelta64`` is converted.
    units : int64 array [spike]
        The unit that fired, 0 <= unit < size.
    offsets : int64 array [recording + 1]
        Recording ``b`` owns ``offsets[b]:offsets[b+1]``. One recording if left out.
    size : int
        Number of units in the population. The largest unit + 1 if left out.
    duration : float
        Horizon of every recording [s]: in a simulation nothing happens at or after it.
        If left out, the smallest multiple of 0.1 s after the last spike.
    labels : int64 array [recording] or None
        One class per recording.
    size_told : bool
        Whether somebody gave the size; set by itself. A network of another size refuses such
        spikes, while a size that was left out may be smaller than that of the network.

    Raises
    ------
    ValueError
        If arrays differ in length, offsets go backwards, a time is negative or not
        finite, a unit is outside the population, or times carry a unit that is not known.
        The message names the recording, the index in the flat array and the value.

    Warns
    -----
    UserWarning
        If spikes are at or after a given duration: a simulation leaves them out; or if none is
        given and the times look like milliseconds.

    Examples
    --------
    >>> spikes = Spikes([0.3, 0.1, 0.2], [0, 1, 1], offsets=[0, 2, 3], size=2, duration=1.0)
    >>> spikes
    Spikes(2 recordings, 3 spikes, size=2, duration=1.0)
    >>> spikes[0].times
    array([0.1, 0.3])
    """

    times: FloatArray
    units: IntArray
    offsets: IntArray = None  # type: ignore[assignment]
    size: int = None  # type: ignore[assignment]
    duration: float = None  # type: ignore[assignment]
    labels: IntArray | None = None
    size_told: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        """Convert, check and sort."""
        guessed = self.duration is None
        self._settle()
        if guessed and len(self.times):
            last = float(self.times.max())
            odd = odd_times(last, len(self.times) / (len(self) * self.size * self.duration))
            if odd:
                warn_user(
                    f"spikes: {odd}; times are seconds in evsim: if these are milliseconds, give "
                    "times * 1e-3, and if not, the duration"
                )
        n_late = int((self.times >= self.duration).sum())
        if n_late:
            warnings.warn(
                f"spikes: {left_out(n_late, len(self.times), self.duration)}", stacklevel=3
            )

    def _settle(self) -> None:
        """Convert, check and sort, without a word about late spikes."""
        times = np.ascontiguousarray(in_seconds("spikes: times", self.times))
        units = integers("units", self.units)
        offsets = np.array([0, len(times)]) if self.offsets is None else self.offsets
        offsets = integers("offsets", offsets)
        check_lengths(times, units, offsets)
        told = self.size is not None
        size = whole("spikes: size", self.size) if told else _smallest_size(units)
        check_values(times, units, offsets, size)
        times, units = sorted_spikes(times, units, offsets)
        duration = default_duration(times)
        if self.duration is not None:
            duration = float(in_seconds("spikes: duration", self.duration))
        positive("spikes: duration", duration, "s")
        labels = self.labels
        if labels is not None:
            labels = integers("labels", labels)
            if len(labels) != len(offsets) - 1:
                raise ValueError(f"spikes: {len(labels)} labels for {len(offsets) - 1} recordings")
        _fill(self, times, units, offsets, size, duration, labels, told and self.size_told)

    @classmethod
    def from_recordings(
        cls,
        recordings: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]],
        size: int | None = None,
        duration: float | None = None,
        labels: npt.ArrayLike | None = None,
    ) -> Spikes:
        """Join ``(times, units)`` pairs, one per recording.

        Examples
        --------
        >>> Spikes.from_recordings([([0.1], [0]), ([], [])], size=3, duration=0.5)
        Spikes(2 recordings, 1 spikes, size=3, duration=0.5)
        """
        pairs = [(in_seconds("spikes: times", t), np.asarray(u)) for t, u in recordings]
        for b, (t, u) in enumerate(pairs):
            if t.shape != u.shape or t.ndim != 1:
                raise ValueError(
                    f"spikes: recording {b} has times of shape {t.shape} and units of shape "
                    f"{u.shape}; both must be [spike] and equally long"
                )
        offsets = np.concatenate([[0], np.cumsum([len(t) for t, _ in pairs], dtype=np.int64)])
        times = np.concatenate([t for t, _ in pairs]) if pairs else np.empty(0)
        units = [u if len(u) else np.empty(0, np.int64) for _, u in pairs]
        return cls(
            times,
            np.concatenate(units) if pairs else np.empty(0, np.int64),
            offsets.astype(np.int64),
            size,  # type: ignore[arg-type]
            duration,  # type: ignore[arg-type]
            labels,  # type: ignore[arg-type]
        )

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Spikes:
        """Return the chosen recordings as `Spikes` of the same size and duration."""
        if isinstance(index, slice) and index.step in (None, 1):
            return self._stretch(*index.indices(len(self))[:2])
        index = plain_index(index)
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"recording {index} of {len(self)}")
            index = [int(index) % len(self)]
        chosen = np.arange(len(self))[index]
        bounds = np.asarray(self.offsets)
        starts, stops = bounds[:-1][chosen], bounds[1:][chosen]
        offsets = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
        take = np.repeat(starts - offsets[:-1], stops - starts) + np.arange(offsets[-1])
        if not isinstance(self.offsets, np.ndarray):
            offsets = self.offsets.new_tensor(offsets)
        labels = None if self.labels is None else self.labels[chosen]
        return self.replace(self.times[take], self.units[take], offsets, labels=labels)

    def _stretch(self, first: int, last: int) -> Spikes:
        """Return recordings ``first`` to ``last`` without copying their spikes."""
        offsets = self.offsets[first : max(last, first) + 1]
        a, b = offsets[0], offsets[-1]
        labels = None if self.labels is None else self.labels[first:last]
        return self.replace(self.times[a:b], self.units[a:b], offsets - a, labels=labels)

    def replace(
        self,
        times: FloatArray,
        units: IntArray,
        offsets: IntArray,
        size: int | None = None,
        duration: float | None = None,
        labels: IntArray | None = None,
        size_told: bool | None = None,
    ) -> Spikes:
        """Return `Spikes` with other trains that are known to be sorted and valid.

        Nothing is checked here, but by whatever takes them (`as_spikes`). What is left out
        stays as it is.
        """
        if size_told is None:
            size_told = self.size_told or size is not None
        size = self.size if size is None else size
        duration = self.duration if duration is None else duration
        labels = self.labels if labels is None else labels
        copy = object.__new__(Spikes)
        _fill(copy, times, units, offsets, size, duration, labels, size_told)
        return copy

    def __iter__(self) -> Iterator[Spikes]:
        """Yield one-recording `Spikes`."""
        return (self[b] for b in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether spikes, size, duration and labels are the same."""
        if not isinstance(other, Spikes):
            return NotImplemented
        if (self.size, self.duration) != (other.size, other.duration):
            return False
        names = ("times", "units", "offsets", "labels")
        pairs = [(getattr(self, name), getattr(other, name)) for name in names]
        return all(
            (a is None) == (b is None)
            and (a is None or np.array_equal(plain_array(a), plain_array(b)))
            for a, b in pairs
        )

    def __hash__(self) -> int:
        """Return what equal ones share."""
        return hash((self.size, self.duration, len(self), len(self.times)))

    def __repr__(self) -> str:
        """Return counts and ranges."""
        return (
            f"Spikes({len(self)} recordings, {len(self.times)} spikes, "
            f"size={self.size}, duration={self.duration})"
        )

    def torch(self) -> Spikes:
        """Return the spikes with torch tensors in place of arrays, as layers take them.

        Raises
        ------
        ModuleNotFoundError
            If torch is not installed.
        """
        from evsim.gradients.tensors import to_torch

        return to_torch(self)

    def numpy(self) -> Spikes:
        """Return the spikes with numpy arrays, sorted, out of the graph, whatever they hold now."""
        if all(isinstance(a, np.ndarray) for a in (self.times, self.units, self.offsets)):
            return self
        from evsim.gradients.tensors import to_numpy

        return to_numpy(self)

    def to(self, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Spikes:
        """Return the spikes with tensors on a device, as `torch.Tensor.to` does.

        Parameters
        ----------
        device : torch.device, str or torch.dtype
            Where they go.
        dtype : torch.dtype or None
            Of the times: float64 alone.
        non_blocking : bool
            As in torch.

        Raises
        ------
        TypeError
            If the times are wanted in another type.
        """
        from evsim.gradients.tensors import moved

        return moved(self, device, dtype, non_blocking)

    def before(self, duration: float) -> Spikes:
        """Return the spikes before ``duration`` [s], which becomes that of the batch.

        Tensors stay tensors, in the graph.
        """
        keep = self.times < duration
        if keep.all() and duration == self.duration:
            return self
        kept = np.concatenate([[0], np.cumsum(plain_array(keep))])[plain_array(self.offsets)]
        offsets = kept if isinstance(self.offsets, np.ndarray) else self.offsets.new_tensor(kept)
        return self.replace(self.times[keep], self.units[keep], offsets, duration=duration)

    def recordings(self) -> IntArray:
        """Return the recording that owns each spike, [spike]; a tensor if the spikes are.

        Examples
        --------
        >>> Spikes([0.1, 0.3, 0.2], [0, 0, 0], offsets=[0, 2, 3]).recordings()
        array([0, 0, 1])
        """
        numbers, counts = np.arange(len(self)), self.offsets[1:] - self.offsets[:-1]
        if isinstance(counts, np.ndarray):
            return np.repeat(numbers, counts)
        return counts.new_tensor(numbers).repeat_interleave(counts)

    def counts(self) -> IntArray:
        """Return the spikes of each unit in each recording, an array [recording, unit]."""
        places = plain_array(self.recordings()) * self.size + plain_array(self.units)
        flat = np.bincount(places, minlength=len(self) * self.size)
        return flat.reshape(len(self), self.size)


def quiet_spikes(
    times: FloatArray,
    units: IntArray,
    offsets: IntArray,
    size: int | None,
    duration: float | None,
    labels: IntArray | None = None,
    size_told: bool = True,
) -> Spikes:
    """Return `Spikes`, checked and sorted, without a warning of late ones.

    For what moves spikes, and for readers that have words of their own. ``size_told`` is
    false if a size that is given was only taken from the largest unit.
    """
    spikes = object.__new__(Spikes)
    _fill(spikes, times, units, offsets, size, duration, labels, size_told)
    spikes._settle()
    return spikes


def left_out(n_late: int, n_spikes: int, duration: float) -> str:
    """Return what is said of spikes at or after the duration."""
    are = "is" if n_late == 1 else "are"
    return (
        f"{n_late:,} of {count(n_spikes, 'spike')} {are} at or after the "
        f"duration, {duration:g} s: a simulation leaves them out"
    )


def default_duration(times: FloatArray) -> float:
    """Return the smallest multiple of 0.1 s after the last of ``times``."""
    last = float(times.max()) if len(times) else 0.0
    # Where numbers are more than 0.1 s apart that may be the last spike itself.
    return max((np.floor(last * 10) + 1) / 10, float(np.nextafter(last, np.inf)))


def _smallest_size(units: IntArray) -> int:
    return int(units.max()) + 1 if len(units) else 0


def _fill(spikes: Spikes, *values: Any) -> None:
    """Set the attributes of frozen spikes, in their order."""
    for attribute, value in zip(fields(Spikes), values, strict=True):
        object.__setattr__(spikes, attribute.name, value)

"""What of a recording is drawn: which recording, which units, which stretch of time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.spikes import Spikes
from evsim.words import plain

Units: TypeAlias = "int | slice | range | Sequence[int] | IntArray | None"
Window: TypeAlias = "tuple[float, float] | None"

MAX_CHOSEN = 1 << 20  # units that can be asked for by number
_MOST = 0.85  # of the duration: a recording that has spikes up to there is drawn to its end
_SHORTEST, _FINEST = 1e-100, 1e-12  # [s], and of its end: what a stretch of time must last


def check_recording(recording: int, n_recordings: int) -> None:
    """Refuse a recording that does not exist."""
    if not 0 <= recording < n_recordings:
        raise ValueError(f"recording {recording} does not exist; there are {n_recordings}, from 0")


def first_of_class(labels: IntArray | None, wanted: str, classes: Sequence[str] | None) -> int:
    """Return the first recording of a class, which is named, or given by its number.

    Raises
    ------
    ValueError
        If there are no labels, or none of them is that class.
    """
    if labels is None:
        raise ValueError(f"class {plain(wanted)!r}: the file has no labels to choose by")
    names = list(classes or [])
    label = names.index(wanted) if wanted in names else None
    if label is None and re.fullmatch(r"-?\d{1,18}", wanted):
        label = int(wanted)
    found = np.flatnonzero(labels == label) if label is not None else np.empty(0, np.int64)
    if not len(found):
        known = [names[i] if 0 <= i < len(names) else str(i) for i in np.unique(labels).tolist()]
        raise ValueError(
            f"class {plain(wanted)!r}: no recording has this label; there are "
            f"{plain(', '.join(known))}"
        )
    return int(found[0])


def parse_units(text: str) -> IntArray:
    """Return the units of a text such as ``"0-20,35"``, both ends included.

    Raises
    ------
    ValueError
        If it is something else, or too much.

    Examples
    --------
    >>> parse_units("0-3, 7")
    array([0, 1, 2, 3, 7])
    """
    parts: list[IntArray] = []
    room = MAX_CHOSEN
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9}))?\s*", part)
        if match is None:
            raise ValueError(f"units {plain(part)!r}: give numbers and ranges, such as 0-20,35")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"units {plain(part)!r}: the range ends before it begins")
        room -= last - first + 1
        if room < 0:
            raise ValueError(f"units: more than {MAX_CHOSEN:,}; choose fewer")
        parts.append(np.arange(first, last + 1))
    return np.unique(np.concatenate(parts))


def unit_numbers(units: Units, size: int, some: bool = False) -> IntArray:
    """Return the chosen units of a population, sorted, each once.

    Parameters
    ----------
    units : int, slice, range, sequence of int or None
        Which; None: all.
    size : int
        Units of the population.
    some : bool
        Leave out those that it does not have, in place of an error.

    Raises
    ------
    ValueError
        If there is no such unit.

    Examples
    --------
    >>> unit_numbers(slice(2, None), 4), unit_numbers([3, 0], 4)
    (array([2, 3]), array([0, 3]))
    """
    if units is None:
        return np.arange(size)
    if isinstance(units, slice):
        return np.sort(np.arange(size)[units])
    numbers = np.atleast_1d(np.asarray(units))
    if not (numbers[1:] > numbers[:-1]).all():  # np.unique takes its time, and much memory
        numbers = np.unique(numbers)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise ValueError("units: give an int, a slice, a range or a list of ints")
    wrong = (numbers < 0) | (numbers >= size)
    if wrong.any() and not some:
        raise ValueError(f"unit {numbers[wrong][0]} does not exist; there are {size}, from 0")
    return numbers[~wrong].astype(np.int64)


def units_of_each(units: Units, sizes: Mapping[str, int]) -> dict[str, Units]:
    """Return the chosen units of every population: those of them that it has.

    Raises
    ------
    ValueError
        If no population has any.
    """
    if units is None:
        return dict.fromkeys(sizes)
    each = {name: unit_numbers(units, size, some=True) for name, size in sizes.items()}
    if sizes and not any(len(numbers) for numbers in each.values()):
        held = ", ".join(f"{plain(name)} has {size}" for name, size in sizes.items())
        raise ValueError(f"units: no population has any of those chosen; {plain(held)}, from 0")
    return dict(each)


def check_window(window: Window, duration: float) -> Window:
    """Refuse a stretch of time [s] that is none, or of which nothing is recorded."""
    if window is None:
        return None
    begin, end = map(float, window)
    if not 0 <= begin < end:
        raise ValueError(f"window from {begin:g} to {end:g} s: must be 0 <= from < to [s]")
    if begin >= duration:
        raise ValueError(f"window from {begin:g} s: the recording ends at {duration:g} s")
    end = min(end, duration)
    if _too_short(begin, end):
        raise ValueError(f"window from {begin!r} to {end!r} s: is too short to be drawn")
    return begin, end


def _too_short(begin: float, end: float) -> bool:
    """Return whether an axis of time can't be divided between two instants [s]."""
    return end - begin < max(_SHORTEST, _FINEST * end)


def drawn_window(
    window: Window, duration: float, parts: Iterable[Spikes], until: float = 0.0
) -> tuple[float, float]:
    """Return the stretch of time to draw [s].

    Parameters
    ----------
    window : (float, float) or None
        As chosen; None: from 0 to a little after the last spike, or to the end if spikes come
        almost up to there, or if there are none.
    duration : float
        Of the recording [s].
    parts : iterable of Spikes
        What it holds.
    until : float
        When the last of all else happens that is to be seen [s].

    Raises
    ------
    ValueError
        If the stretch is none, nothing of it is recorded, or it is too short to be drawn.
    """
    chosen = check_window(window, duration)
    if chosen is not None:
        return chosen
    if _too_short(0.0, duration):
        raise ValueError(f"the recording lasts {duration!r} s: too short to be drawn")
    last = max([until, *(float(part.times.max(initial=0.0)) for part in parts)])
    if _too_short(0.0, last) or last >= _MOST * duration:
        return 0.0, duration
    return 0.0, _rounded_up(1.02 * last)


def _rounded_up(seconds: float) -> float:
    """Return the next number of two digits."""
    power = math.floor(math.log10(seconds)) - 1
    return float(f"{math.ceil(seconds / 10.0**power)}e{power}")


def within(
    one: Spikes, numbers: IntArray, window: tuple[float, float]
) -> tuple[FloatArray, IntArray]:
    """Return times and units of the spikes that are drawn.

    Parameters
    ----------
    one : Spikes
        One recording.
    numbers : int64 array
        The chosen units, sorted.
    window : (float, float)
        The stretch of time, its end included [s].
    """
    keep = (one.times >= window[0]) & (one.times <= window[1])
    if len(numbers) < one.size:
        keep &= np.isin(one.units, numbers)
    return one.times[keep], one.units[keep]


def one_in(n: int, most: int) -> int:
    """Return of how many one is kept, so that of ``n`` things at most so many are drawn.

    Examples
    --------
    >>> one_in(0, 10), one_in(10, 10), one_in(11, 10)
    (1, 1, 2)
    """
    return max(-(-n // most), 1)

"""The steps that transforms are made of: draw, repeat for each spike, drop, sort.

Between the steps a batch is a `Spikes` that need not be valid: `inside` and `in_order` make
it valid again.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evsim.arrays import BoolArray
from evsim.spike_checks import sorted_spikes
from evsim.spikes import Spikes

Seed = int | np.random.Generator

MOST = 2**31 - 1


def generator(seed: Seed) -> np.random.Generator:
    """Return a new generator, or the given one as it is."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(whole_number("seed", seed, least=0, most=None))


def whole_number(name: str, value: int, least: int, most: int | None = MOST) -> int:
    """Return ``value``; refuse it if it is not an integer in the range."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        top = "" if most is None else f" and <= {most}"
        raise ValueError(f"{name} = {value!r}, must be an integer >= {least}{top}")
    return int(value)


def per_spike(spikes: Spikes, values: npt.NDArray) -> npt.NDArray:
    """Repeat each recording's value for each of its spikes."""
    return np.repeat(values, np.diff(spikes.offsets))


def selected(spikes: Spikes, keep: BoolArray) -> Spikes:
    """Return the spikes to keep, in the same order."""
    if keep.all():
        return spikes
    kept = np.flatnonzero(keep)
    offsets = np.searchsorted(kept, spikes.offsets)
    return spikes.replace(spikes.times[kept], spikes.units[kept], offsets)


def inside(spikes: Spikes) -> Spikes:
    """Drop what is outside the population or ``[0, duration)``."""
    in_time = (spikes.times >= 0) & (spikes.times < spikes.duration)
    return selected(spikes, in_time & (spikes.units >= 0) & (spikes.units < spikes.size))


def in_order(spikes: Spikes) -> Spikes:
    """Sort the spikes of each recording by time, then unit."""
    # Recording by recording: what is nearly sorted takes a fraction of one big sort.
    order = np.empty(len(spikes.times), np.int64)
    for start, stop in pairwise(spikes.offsets.tolist()):
        order[start:stop] = start + np.argsort(spikes.times[start:stop], kind="stable")
    # Units are put in order where times are equal.
    times, units = sorted_spikes(spikes.times[order], spikes.units[order], spikes.offsets)
    return spikes.replace(times, units, spikes.offsets)

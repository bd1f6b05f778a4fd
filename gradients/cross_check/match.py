"""Which spike of one simulation is which spike of another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim import Spikes
from evsim.arrays import BoolArray, FloatArray, IntArray


class Matches(NamedTuple):
    """Places in the flat arrays of two batches of spikes.

    Attributes
    ----------
    pairs : int64 array [pair, 2]
        A spike of the reference and its partner; sorted by the former.
    missing, extra : int64 array
        Spikes of the reference, and of the other, that have no partner.
    """

    pairs: IntArray
    missing: IntArray
    extra: IntArray


def match(reference: Spikes, other: Spikes, window: float) -> Matches:
    """Match the spikes of every recording and unit.

    Parameters
    ----------
    reference, other : Spikes
        The same recordings and units.
    window : float
        Largest distance of partners [s].

    Returns
    -------
    Matches
        No spike has two partners, and partners stand in the same order in both trains.

    Notes
    -----
    Two spikes that are each other's nearest become partners. What is left is matched the same
    way, but not across those, until nothing more is near enough. Neighbours in the merged
    train are all that must be looked at.

    Examples
    --------
    >>> reference = Spikes([0.1, 0.2, 0.3], [0, 0, 0], size=1, duration=1.0)
    >>> other = Spikes([0.19, 0.31, 0.6], [0, 0, 0], size=1, duration=1.0)
    >>> pairs, missing, extra = match(reference, other, window=0.05)
    >>> pairs.tolist(), missing.tolist(), extra.tolist()
    ([[1, 0], [2, 1]], [0], [2])
    """
    n = len(reference.times)
    times = np.concatenate([reference.times, other.times])
    train = np.concatenate([_trains(reference), _trains(other)])
    rest = np.lexsort((np.arange(len(times)), times, train))  # merged trains, one after another
    times, group = times[rest], train[rest]
    pairs = [np.empty((0, 2), np.int64)]
    while len(first := _nearest(times, group, rest < n, window)):
        pairs.append(np.sort(np.stack([rest[first], rest[first + 1]], axis=1), axis=1))
        left = np.ones(len(rest), bool)
        left[first] = left[first + 1] = False
        barrier = np.cumsum(~left) // 2
        times, group, rest = times[left], (group + barrier)[left], rest[left]
    found = np.concatenate(pairs)
    found = found[np.argsort(found[:, 0])]
    rest = np.sort(rest)
    return Matches(found - np.array([0, n]), rest[rest < n], rest[rest >= n] - n)


def _trains(spikes: Spikes) -> IntArray:
    return spikes.recordings() * spikes.size + spikes.units


def _nearest(times: FloatArray, group: IntArray, ours: BoolArray, window: float) -> IntArray:
    """Return where a spike and the next one are of one group and nearest to each other."""
    gap = np.diff(times)
    gap[(ours[1:] == ours[:-1]) | (group[1:] != group[:-1]) | (gap > window)] = np.inf
    before, after = np.append(np.inf, gap[:-1]), np.append(gap[1:], np.inf)
    return np.flatnonzero((gap < before) & (gap <= after))

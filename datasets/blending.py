"""Augmentation by blending: a new recording out of two of one class.

What `evsim.datasets.transforms` says about seeds and about what is dropped holds here, too.
"""

from __future__ import annotations

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays

from .transform_steps import (
    Seed,
    generator,
    in_order,
    inside,
    per_spike,
    selected,
    whole_number,
)


def blend(spikes: Spikes, n: int, seed: Seed) -> Spikes:
    """Make new recordings, each out of two different recordings of one class.

    The two are moved, in time and along the units, until their centres of mass meet half
    way. Of each, every spike is kept with probability 1/2.

    Parameters
    ----------
    spikes : Spikes
        A batch with labels. A recording that is alone in its class is never used.
    n : int
        Number of new recordings; >= 0.
    seed : int or numpy.random.Generator
        Draws the pairs (the first uniformly among the recordings that have a partner, the
        second among the others of its class), then one number per spike.

    Returns
    -------
    Spikes
        The ``n`` new recordings alone, with their labels, of the same size and duration.
        Join them to the old ones with `evsim.concatenate`.

    Raises
    ------
    ValueError
        If there are no labels, no class has two recordings, or ``n`` is not an integer >= 0.

    Notes
    -----
    The centre of mass is the mean time and the mean unit of the spikes before the duration.
    Both recordings move by half of the distance; along the units the distance is rounded
    to an integer, so the centres are at most half a unit apart. Spikes that leave the
    population or ``[0, duration)`` are dropped. An empty recording has no centre: nothing
    is moved. The method is that of Nowotny, Turner and Knight (2025); Meszaros et al. (2025)
    add 7644 such recordings to the training set of SHD in every epoch.

    Examples
    --------
    >>> spikes = Spikes([0.25, 0.75, 0.2], [0, 2, 1], [0, 1, 2, 3], 3, 1.0, labels=[7, 7, 9])
    >>> blended = blend(spikes, 4, seed=1)
    >>> blended.labels, set(blended.times.tolist()), set(blended.units.tolist())
    (array([7, 7, 7, 7]), {0.5}, {1})
    """
    spikes = as_arrays(spikes, "blend")
    n = whole_number("n", n, least=0)
    if spikes.labels is None:
        raise ValueError("blend needs labels, and these spikes have none")
    rng = generator(seed)
    pairs = _pairs_of_a_class(spikes.labels, n, rng)
    labels = spikes.labels[pairs[:, 0]]
    spikes = inside(spikes)
    centres = _centres_of_mass(spikes)
    # [2, n]: how far first and second of each pair are from each other, time and unit.
    time_gap, unit_gap = np.nan_to_num(np.diff(centres[:, pairs])[..., 0])
    unit_gap = np.rint(unit_gap).astype(np.int64)
    time_shift = np.column_stack([time_gap / 2, -time_gap / 2])
    unit_shift = np.column_stack([unit_gap // 2, unit_gap // 2 - unit_gap])

    both = spikes[pairs.ravel()]
    kept = selected(both, rng.random(len(both.times)) < 0.5)
    times = kept.times + per_spike(kept, time_shift.ravel())
    units = kept.units + per_spike(kept, unit_shift.ravel())
    # Recordings 2 i and 2 i + 1 become recording i.
    blended = spikes.replace(times, units, kept.offsets[::2], labels=labels)
    return in_order(inside(blended))


def _pairs_of_a_class(labels: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Return two different recordings of one class, ``n`` times: [n, 2]."""
    by_class = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    start, count = np.repeat(starts, counts), np.repeat(counts, counts)  # of each entry's class
    candidates = np.flatnonzero(count > 1)
    if n and not len(candidates):
        raise ValueError("blend needs a class with at least two recordings, and there is none")
    first = rng.choice(candidates, n) if n else np.empty(0, np.int64)
    start, count = start[first], count[first]
    second = start + (first - start + rng.integers(1, count)) % count
    return by_class[np.column_stack([first, second])]


def _centres_of_mass(spikes: Spikes) -> FloatArray:
    """Return mean time and mean unit of each recording, NaN where it is empty: [2, recording]."""
    owner = per_spike(spikes, np.arange(len(spikes)))
    n_spikes = np.diff(spikes.offsets).astype(float)
    n_spikes[n_spikes == 0] = np.nan
    sums = [np.bincount(owner, w, len(spikes)) for w in (spikes.times, spikes.units)]
    return np.stack(sums) / n_spikes

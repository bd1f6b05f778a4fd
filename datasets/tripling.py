"""``Tripled``: every recording as it is, with shifted channels, and blended with another one.

The augmentation of DelRec on SHD (Queant et al. 2025). It is one of binned recordings: what is
shifted or blended is put on whole steps first. `evsim.datasets.blend` blends as Nowotny et al. do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evsim import Spikes, concatenate
from evsim.arrays import BoolArray, FloatArray, IntArray
from evsim.quantities import positive

from .dataset import Dataset
from .transform_steps import per_spike, whole_number

_SHIFT = 100  # steps, as published


class Tripled:
    """Three times as many recordings to train with, two thirds of them drawn anew every epoch.

    There is each recording as it is; once more with every channel shifted by a time of its own, a
    channel that leaves the recording is lost; and once more blended with another one of its class.

    Parameters
    ----------
    data : Dataset
        To train with.
    dt : float
        Length of a step [s]; > 0.
    max_shift : int
        A channel is shifted by -max_shift to max_shift steps, all equally likely; >= 0.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    A shifted recording ends at the step of its last spike before the shift; what goes beyond
    either end is dropped. Of two that are blended the one with the earlier centre of mass is
    moved later by whole steps, to where the centres are half a step apart at most; then every
    spike of both is kept with probability 1/2. A batch lasts longer than the data where one needs
    it. A recording that is alone in its class is blended with itself.

    Examples
    --------
    >>> from evsim.datasets import Coincidence
    >>> more = Tripled(Coincidence(n=20, seed=0), dt=1e-3)
    >>> len(more), [len(batch) for batch in more.batches(25, shuffle=True, seed=1)]
    (60, [25, 25, 10])
    """

    def __init__(self, data: Dataset, dt: float, max_shift: int = _SHIFT) -> None:
        self.data, self.dt = data, positive("dt", dt, "s")
        self.max_shift = whole_number("max_shift", max_shift, least=0)

    def __len__(self) -> int:
        """Return three times the number of recordings."""
        return 3 * len(self.data)

    def batches(self, size: int, shuffle: bool = False, seed: int = 0) -> Iterator[Spikes]:
        """Return labelled recordings, several at a time.

        Parameters
        ----------
        size : int
            Recordings of a batch; the last one may have fewer.
        shuffle : bool
            Whether in random order.
        seed : int
            Of the order, of shifts and of blends; give another one for each epoch.

        Yields
        ------
        Spikes
            With labels; those that are as they are first, then shifted ones, then blended ones.

        Raises
        ------
        ValueError
            If ``size`` is not positive.
        """
        whole_number("size", size, least=1)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self)) if shuffle else np.arange(len(self))
        return (self._batch(order[i : i + size], rng) for i in range(0, len(order), size))

    def _batch(self, chosen: IntArray, rng: np.random.Generator) -> Spikes:
        kind, recording = np.divmod(chosen, len(self.data))
        plain, shifted, blended = (recording[kind == i] for i in range(3))
        partners = _partners(self.data.labels, blended, rng)
        made = [
            self._read(plain),
            shift_each_channel(self._read(shifted), self.max_shift, self.dt, rng),
            blend_in_time(self._read(blended), self._read(partners), self.dt, rng),
        ]
        return concatenate([part for part in made if len(part)])

    def _read(self, recordings: IntArray) -> Spikes:
        return self.data[recordings].spikes()


def shift_each_channel(
    spikes: Spikes, max_shift: int, dt: float, rng: np.random.Generator
) -> Spikes:
    """Shift every channel of every recording by whole steps of its own.

    Parameters
    ----------
    spikes : Spikes
        Any batch; its spikes are put on steps.
    max_shift : int
        Largest shift [steps].
    dt : float
        Length of a step [s].
    rng : Generator
        Draws one number per recording and unit.

    Returns
    -------
    Spikes
        Without what was shifted out of ``[0, end]``, the end of a recording being the step of its
        last spike.

    Examples
    --------
    >>> spikes = Spikes([0.0, 0.4, 0.9], [0, 0, 1], size=2, duration=1.0)
    >>> len(shift_each_channel(spikes, 100, 0.1, np.random.default_rng(0)).times) < 3
    True
    """
    steps, owner = _steps(spikes, dt), spikes.recordings()
    ends = np.full(len(spikes), -1)
    np.maximum.at(ends, owner, steps)
    late = rng.integers(-max_shift, max_shift, (len(spikes), spikes.size), endpoint=True)
    steps = steps + late[owner, spikes.units]
    keep = (steps >= 0) & (steps <= ends[owner])
    return _on_steps(spikes, dt, owner[keep], steps[keep], spikes.units[keep])


def blend_in_time(first: Spikes, second: Spikes, dt: float, rng: np.random.Generator) -> Spikes:
    """Blend recordings two by two, moved in time until their centres of mass meet.

    Parameters
    ----------
    first, second : Spikes
        As many recordings, of the same units.
    dt : float
        Length of a step [s].
    rng : Generator
        Draws one number per spike.

    Returns
    -------
    Spikes
        With the labels of ``first``; longer, where what was moved later needs it.

    Examples
    --------
    >>> first = Spikes([0.1] * 40, [0] * 40, size=2, duration=0.5)
    >>> second = Spikes([0.4] * 40, [1] * 40, size=2, duration=0.5)
    >>> blended = blend_in_time(first, second, 0.1, np.random.default_rng(0))
    >>> set(blended.times.round(3).tolist()), 20 < len(blended.times) < 60
    ({0.4}, True)
    """
    steps = [_steps(one, dt) for one in (first, second)]
    centres = [_centres(one, s) for one, s in zip((first, second), steps, strict=True)]
    gap = np.rint(np.nan_to_num(centres[1] - centres[0])).astype(np.int64)
    kept = []
    for one, own, late in zip((first, second), steps, (gap, -gap), strict=True):
        keep: BoolArray = rng.random(len(own)) < 0.5
        moved = own + per_spike(one, np.maximum(late, 0))
        kept.append((one.recordings()[keep], moved[keep], one.units[keep]))
    return _on_steps(first, dt, *(np.concatenate(both) for both in zip(*kept, strict=True)))


def _partners(labels: IntArray, chosen: IntArray, rng: np.random.Generator) -> IntArray:
    """Return for each recording another one of its class, or itself if there is none."""
    by_class = np.argsort(labels, kind="stable")
    place = np.argsort(by_class)
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    start, count = (np.cumsum(counts) - counts)[number[chosen]], counts[number[chosen]]
    further = rng.integers(0, np.maximum(count - 1, 1)) + 1
    return by_class[start + (place[chosen] - start + further) % count]


def _steps(spikes: Spikes, dt: float) -> IntArray:
    """Return the step of each spike, as a raster has it."""
    return np.rint(spikes.times / dt).astype(np.int64)


def _centres(spikes: Spikes, steps: IntArray) -> FloatArray:
    """Return the mean step of each recording, NaN where it is empty."""
    n_spikes = np.diff(spikes.offsets).astype(float)
    n_spikes[n_spikes == 0] = np.nan
    return np.bincount(spikes.recordings(), steps, len(spikes)) / n_spikes


def _on_steps(like: Spikes, dt: float, owner: IntArray, steps: IntArray, units: IntArray) -> Spikes:
    """Return the recordings of a batch with other spikes, in order, and as long as they need."""
    order = np.lexsort((units, steps, owner))
    offsets = np.searchsorted(owner[order], np.arange(len(like) + 1))
    duration = max(like.duration, (int(steps.max(initial=0)) + 1) * dt)
    return like.replace(
        (steps[order] * dt).astype(np.float64), units[order], offsets, duration=duration
    )

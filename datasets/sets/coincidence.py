"""``Coincidence``: a task that delays solve at once, and rates and latencies not at all."""

from __future__ import annotations

import math

import numpy as np

from evsim import Spikes
from evsim.arrays import FloatArray, IntArray

from ..dataset import Dataset


class Coincidence(Dataset):
    """Channels that echo hidden events, one after the other; their order is the class.

    In class k channel c has the turn (k + 1) c mod channels, turns are equally far apart,
    and each channel spikes ``offsets[k, c]`` after every event. Delays that undo the offsets
    of one class make its spikes coincide, and no two spikes that another class sends for
    one event.

    Parameters
    ----------
    n : int
        Number of recordings, as many of each class as possible.
    seed : int
        Of events, jitter and labels. For a test set, split one data set or take another
        seed: the offsets are always the same.
    channels, classes : int
        No number from 2 to ``classes`` may share a factor with ``channels``. A prime number
        of channels allows one class fewer than channels.
    max_offset : float
        From the first turn to the last [s]: the longest delay needed.
    jitter : float
        Standard deviation of every spike's displacement [s].
    events : int
        Spikes of each channel in a recording.
    duration : float
        Horizon [s].

    Attributes
    ----------
    offsets : float64 array [class, channel]
        How long after an event a channel spikes [s].

    Raises
    ------
    ValueError
        If there are too many classes for so many channels, or a number is out of range.

    Notes
    -----
    Events come at independent times uniform in [0, duration), and the recording is closed to
    a ring: what would be later comes at its beginning. In every class, therefore, the spikes
    of a channel are as many, independent and uniform. Every class having all turns, so is
    the law of all spikes together without their channels the same. Neither counts nor the
    times of one channel nor the pooled times tell the class: only times between channels.

    With delays max_offset - offsets[k], all spikes of an event of class k arrive at once;
    those of class j have turns (j - k) c mod channels, up to whole multiples of channels:
    different for all c. (Optical networks know such patterns as prime codes.)

    A unit without delays sees such differences only as far as its memory reaches. With
    tau_mem 2 ms, tau_syn 1 ms and the defaults here, four `CubaLIF` units with delays and
    the same weight throughout are right in 100 % of 1000 recordings; the spike counts of
    200 with random weights and no delays, under a fitted linear readout, in 26 to 29 %,
    chance being 25 %. Longer time constants, shorter offsets and fewer events make it
    easier without delays.

    Examples
    --------
    >>> data = Coincidence(n=8)
    >>> data
    Coincidence(8 recordings of 5 units, 0.2 s, 4 classes)
    >>> (1e3 * data.offsets).round()
    array([[ 0., 10., 20., 30., 40.],
           [ 0., 20., 40., 10., 30.],
           [ 0., 30., 10., 40., 20.],
           [ 0., 40., 30., 20., 10.]])
    >>> delays = data.offsets.max() - data.offsets         # of four units that solve it
    """

    def __init__(
        self,
        n: int = 1000,
        seed: int = 0,
        channels: int = 5,
        classes: int = 4,
        max_offset: float = 40e-3,
        jitter: float = 0.5e-3,
        events: int = 20,
        duration: float = 0.2,
    ) -> None:
        _check_numbers(n, channels, classes, events)
        if not 0 < max_offset < duration < np.inf or not 0 <= jitter < np.inf:
            raise ValueError(
                f"max_offset = {max_offset}, duration = {duration}, jitter = {jitter}; must be "
                "0 < max_offset < duration and jitter >= 0 [s]"
            )
        turns = np.outer(np.arange(1, classes + 1), np.arange(channels)) % channels
        self.offsets: FloatArray = turns.astype(np.float64) * (max_offset / (channels - 1))
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(n) % classes)
        times = duration * rng.random((n, events, 1)) + self.offsets[labels][:, np.newaxis]
        times = (times + jitter * rng.standard_normal(times.shape)) % duration
        times[times == duration] = 0.0  # the remainder of -1e-20, rounded
        self._times: FloatArray = times.reshape(n, events * channels)
        super().__init__(labels, channels, duration, [f"order {k}" for k in range(classes)])

    def _read(self, recordings: IntArray) -> Spikes:
        times = self._times[recordings]
        n, spikes = times.shape
        return Spikes(
            times.ravel(),
            np.tile(np.arange(self.size), n * spikes // self.size),
            np.arange(n + 1) * spikes,
            self.size,
            self.duration,
        )


def _check_numbers(n: int, channels: int, classes: int, events: int) -> None:
    if n < 0:
        raise ValueError(f"n = {n}, must not be negative")
    if channels < 2 or classes < 1 or events < 1:
        raise ValueError(
            f"channels = {channels}, classes = {classes}, events = {events}; must be at least "
            "2, 1 and 1"
        )
    for k in range(2, classes + 1):
        if math.gcd(k, channels) > 1:
            raise ValueError(
                f"classes = {classes} are too many for {channels} channels: {k} and {channels} "
                f"are multiples of {math.gcd(k, channels)}; take a prime number of channels, "
                "larger than that of classes"
            )

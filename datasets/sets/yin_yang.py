"""Yin-Yang: points of the plane in three classes, each coordinate one spike.

Kriener, Goeltz and Petrovici, "The Yin-Yang dataset", NICE 2022 (arXiv 2102.08211). Drawn
here with the published generator, so that the published sets come out to the last bit.
"""

from __future__ import annotations

from math import hypot

import numpy as np

from evsim import Spikes
from evsim.arrays import FloatArray, IntArray
from evsim.spikes import quiet_spikes

from ..dataset import Dataset

# How many points each published set has, and of which seed.
_PUBLISHED = {"train": (5000, 42), "validation": (1000, 41), "test": (1000, 40)}
_R_BIG, _R_SMALL = 0.5, 0.1


class YinYang(Dataset):
    """Points inside a Yin-Yang sign; the later a spike, the larger a coordinate.

    Units are x, y, 1 - x, 1 - y and, if asked for, a bias. A coordinate c is one spike at
    t_early + (t_late - t_early) c.

    Parameters
    ----------
    split : {"train", "validation", "test"}
        Which published set: 5000, 1000 and 1000 points.
    n : int or None
        Number of points, if not the published one.
    seed : int or None
        Of the points, if not the published one.
    t_early, t_late : float
        When coordinates 0 and 1 spike [s].
    bias : float or None
        When one more unit spikes in every recording [s]; None for no such unit.
    duration : float or None
        Horizon [s]. If left out, twice ``t_late``: as long for the network as for the input.
    mirrored : bool
        Whether 1 - x and 1 - y are units too.

    Raises
    ------
    ValueError
        If there is no such split, or a spike would be before 0 or not before ``duration``.

    Notes
    -----
    Encodings of published results. EventProp (Wunderlich and Pehle 2021) has tau_mem 20 ms
    and tau_syn 5 ms, a bias, and the times given here by default: ``YinYang(bias=0.0)``.
    Its successor with delays (Meszaros et al. 2025) has
    ``YinYang(t_early=1.5e-3, t_late=20e-3)``. DelGrad (Goeltz et al. 2025) has
    0.15 + 1.85 c in units of tau_syn, within 4 tau_syn: for tau_syn = 5 ms
    ``YinYang(t_early=0.75e-3, t_late=10e-3)``.

    Examples
    --------
    >>> data = YinYang("test", bias=0.0)
    >>> data
    YinYang(1000 recordings of 5 units, 0.06 s, 3 classes)
    >>> spikes, label = data[0]
    >>> spikes.units, data.class_names[label]
    (array([4, 0, 1, 3, 2]), 'dot')
    """

    def __init__(
        self,
        split: str = "train",
        n: int | None = None,
        seed: int | None = None,
        t_early: float = 0.0,
        t_late: float = 30e-3,
        bias: float | None = None,
        duration: float | None = None,
        mirrored: bool = True,
    ) -> None:
        if split not in _PUBLISHED:
            raise ValueError(f"split = {split!r}, must be one of {', '.join(_PUBLISHED)}")
        n_published, seed_published = _PUBLISHED[split]
        duration = 2 * t_late if duration is None else duration
        if not 0 <= t_early < t_late <= duration < np.inf:
            raise ValueError(
                f"t_early = {t_early}, t_late = {t_late}, duration = {duration}; must be "
                "0 <= t_early < t_late <= duration, all finite [s]"
            )
        if bias is not None and not 0 <= bias < duration:
            raise ValueError(f"bias = {bias}, must be from 0 to before duration = {duration} [s]")
        points, labels = yin_yang_points(
            n_published if n is None else n, seed_published if seed is None else seed
        )
        times = t_early + (t_late - t_early) * points[:, : 4 if mirrored else 2]
        if bias is not None:
            times = np.column_stack([times, np.full(len(times), float(bias))])
        self._times: FloatArray = times
        super().__init__(labels, times.shape[1], duration, ["yin", "yang", "dot"])

    def _read(self, recordings: IntArray) -> Spikes:
        n = len(recordings)
        return quiet_spikes(
            self._times[recordings].ravel(),
            np.tile(np.arange(self.size), n),
            np.arange(n + 1) * self.size,
            self.size,
            self.duration,
        )


def yin_yang_points(n: int, seed: int) -> tuple[FloatArray, IntArray]:
    """Draw points inside a Yin-Yang sign of radius 0.5 around (0.5, 0.5).

    Parameters
    ----------
    n : int
        How many.
    seed : int
        42, 41 and 40 are the published training, validation and test sets.

    Returns
    -------
    points : float64 array [point, 4]
        x, y, 1 - x, 1 - y; between 0 and 1.
    labels : int64 array [point]
        0 yin, 1 yang, 2 dot. Equally likely, hence not in proportion to their areas.

    Raises
    ------
    ValueError
        If ``n`` is negative, or ``seed`` is not from 0 to 2^32 - 1.

    Notes
    -----
    A class is drawn first; then points of the square until one is inside the sign and of
    that class. The generator is numpy's legacy one, whose numbers never change.

    Examples
    --------
    >>> points, labels = yin_yang_points(2, seed=42)
    >>> points.round(3)[:, :2], labels
    (array([[0.68 , 0.45 ],
           [0.098, 0.684]]), array([2, 1]))
    """
    if n < 0:
        raise ValueError(f"n = {n}, must not be negative")
    rng = np.random.RandomState(seed)
    points = np.empty((n, 4))
    labels = np.empty(n, np.int64)
    for i in range(n):
        goal = labels[i] = rng.randint(3)
        x, y = _square(rng)
        while hypot(x - _R_BIG, y - _R_BIG) > _R_BIG or _class(x, y) != goal:
            x, y = _square(rng)
        points[i] = x, y, 1 - x, 1 - y
    return points, labels


def _square(rng: np.random.RandomState) -> list[float]:
    return (2 * _R_BIG * rng.rand(2)).tolist()


def _class(x: float, y: float) -> int:
    """Return the class of a point inside the sign.

    What is called yin has label 1 and the name "yang": so it is in the published program.
    """
    right = hypot(x - 1.5 * _R_BIG, y - _R_BIG)
    left = hypot(x - 0.5 * _R_BIG, y - _R_BIG)
    if right < _R_SMALL or left < _R_SMALL:
        return 2
    yin = (
        right <= _R_SMALL
        or _R_SMALL < left <= 0.5 * _R_BIG
        or (y > _R_BIG and right > 0.5 * _R_BIG)
    )
    return int(yin)

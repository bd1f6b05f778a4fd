"""Augmentation: from a batch of spike trains, another batch.

A transform takes whatever a layer takes (a batch, a data set, a list of recordings) and never
changes it. It keeps the duration and (where recordings stay
what they are) the labels, and no spike it returns lies outside the population or
``[0, duration)``. The random ones draw all they need from one generator: the same batch and
the same seed give the same result. Seeds are not to be shared: two transforms that start
from one seed draw the same numbers. Give each its own, or hand one
`numpy.random.Generator` from call to call.
"""

from __future__ import annotations

import numpy as np

from evsim.arrays import FloatArray
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays

from .transform_steps import (
    MOST,
    Seed,
    generator,
    in_order,
    inside,
    per_spike,
    selected,
    whole_number,
)


def sum_channels(spikes: Spikes, factor: int = 5) -> Spikes:
    """Let every ``factor`` neighbouring units share one unit, as in 700 -> 140.

    All spikes are kept: where two units of a group fire at one instant, the sum fires
    twice.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    factor : int
        Unit ``u`` becomes ``u // factor``; >= 1. Where it does not divide the size, the
        last group is smaller: the new size is rounded up.

    Returns
    -------
    Spikes
        Of size ceil(size / factor), with the same labels.

    Raises
    ------
    ValueError
        If ``factor`` is not an integer >= 1.

    Examples
    --------
    >>> spikes = Spikes([0.1, 0.2, 0.3], [0, 4, 5], size=700, duration=1.0)
    >>> sum_channels(spikes, 5).units, sum_channels(spikes, 5).size
    (array([0, 0, 1]), 140)
    """
    spikes = as_arrays(spikes, "sum_channels")
    factor = whole_number("factor", factor, least=1)
    size = -(-spikes.size // factor)
    units = spikes.units // factor
    told = spikes.size_told
    return inside(spikes.replace(spikes.times, units, spikes.offsets, size, size_told=told))


def shift_times(spikes: Spikes, max_shift: float, seed: Seed) -> Spikes:
    """Shift every recording as a whole in time, and drop what leaves ``[0, duration)``.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    max_shift : float
        The shift is uniform in ``[-max_shift, max_shift)`` [s]; >= 0.
    seed : int or numpy.random.Generator
        One number is drawn per recording.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``max_shift`` is negative or not finite.

    Examples
    --------
    >>> spikes = Spikes([0.4, 0.5], [0, 1], size=2, duration=1.0)
    >>> shifted = shift_times(spikes, 0.1, seed=1)
    >>> round(float(np.diff(shifted.times)[0]), 9)
    0.1
    """
    spikes = as_arrays(spikes, "shift_times")
    _check_not_negative("max_shift", max_shift, "s")
    shift = max_shift * generator(seed).uniform(-1, 1, len(spikes))
    return _moved(spikes, spikes.times + per_spike(spikes, shift))


def shift_channels(spikes: Spikes, max_shift: int, seed: Seed) -> Spikes:
    """Shift every recording as a whole along the units, and drop what leaves the population.

    Parameters
    ----------
    spikes : Spikes
        Any batch whose neighbouring units are alike, as those of a cochlea.
    max_shift : int
        The shift is an integer from ``-max_shift`` to ``max_shift``, all equally likely;
        >= 0.
    seed : int or numpy.random.Generator
        One number is drawn per recording.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``max_shift`` is not an integer >= 0.

    Notes
    -----
    Nowotny, Turner and Knight (2025) and Meszaros et al. (2025) shift SHD by up to 40 of its
    700 units.

    Examples
    --------
    >>> spikes = Spikes([0.4, 0.5], [30, 34], size=70, duration=1.0)
    >>> np.diff(shift_channels(spikes, 4, seed=1).units)
    array([4])
    """
    spikes = as_arrays(spikes, "shift_channels")
    max_shift = whole_number("max_shift", max_shift, least=0)
    shift = generator(seed).integers(-max_shift, max_shift, len(spikes), endpoint=True)
    units = spikes.units + per_spike(spikes, shift)
    return inside(spikes.replace(spikes.times, units, spikes.offsets))


def shift_pixels(spikes: Spikes, max_shift: int, seed: Seed, width: int = 28) -> Spikes:
    """Shift every image as a whole along both axes, and drop what leaves it.

    Parameters
    ----------
    spikes : Spikes
        Any batch in which unit ``width y + x`` is the pixel in row y and column x.
    max_shift : int
        Both shifts are integers from ``-max_shift`` to ``max_shift``, all equally likely;
        >= 0.
    seed : int or numpy.random.Generator
        Two numbers are drawn per recording.
    width : int
        Pixels of a row; 28 in MNIST. It divides the size.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``max_shift`` is not an integer >= 0, or the size is no multiple of ``width``.

    Examples
    --------
    >>> corners = Spikes([0.1, 0.2], [0, 783], size=784, duration=1.0)
    >>> len(shift_pixels(corners, 1, seed=0).times) < 3
    True
    """
    spikes = as_arrays(spikes, "shift_pixels")
    max_shift = whole_number("max_shift", max_shift, least=0)
    width = whole_number("width", width, least=1)
    if spikes.size % width:
        raise ValueError(f"width = {width}: {spikes.size} units are no whole number of such rows")
    down, right = generator(seed).integers(-max_shift, max_shift, (2, len(spikes)), endpoint=True)
    y, x = np.divmod(spikes.units, width)
    y, x = y + per_spike(spikes, down), x + per_spike(spikes, right)
    units = np.where((x >= 0) & (x < width), width * y + x, -1)
    return inside(spikes.replace(spikes.times, units, spikes.offsets))


def scale_times(spikes: Spikes, low: float, high: float, seed: Seed) -> Spikes:
    """Stretch every recording in time, and drop what leaves ``[0, duration)``.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    low, high : float
        The times of a recording are multiplied by a number drawn uniformly between these;
        0 < low <= high.
    seed : int or numpy.random.Generator
        One number is drawn per recording.

    Returns
    -------
    Spikes
        Of the same size, duration (it is not stretched) and labels.

    Raises
    ------
    ValueError
        If ``low`` and ``high`` are not finite or not in this order.

    Examples
    --------
    >>> spikes = Spikes([0.25, 0.5, 1.0], [0, 1, 1], size=2, duration=2.0)
    >>> scale_times(spikes, 2.0, 2.0, seed=1).times
    array([0.5, 1. ])
    """
    spikes = as_arrays(spikes, "scale_times")
    if not 0 < low <= high < np.inf:
        raise ValueError(f"low = {low}, high = {high}: must be 0 < low <= high, and finite")
    factor = low + (high - low) * generator(seed).random(len(spikes))
    return _moved(spikes, spikes.times * per_spike(spikes, factor))


def jitter_times(spikes: Spikes, sigma: float, seed: Seed) -> Spikes:
    """Move every spike by a normally distributed time; drop what leaves ``[0, duration)``.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    sigma : float
        Standard deviation [s]; >= 0.
    seed : int or numpy.random.Generator
        One number is drawn per spike.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``sigma`` is negative or not finite.

    Examples
    --------
    >>> spikes = Spikes([0.4, 0.5], [0, 1], size=2, duration=1.0)
    >>> bool(abs(jitter_times(spikes, 1e-3, seed=1).times - spikes.times).max() < 0.01)
    True
    """
    spikes = as_arrays(spikes, "jitter_times")
    _check_not_negative("sigma", sigma, "s")
    return _moved(spikes, spikes.times + sigma * generator(seed).normal(size=len(spikes.times)))


def delete_spikes(spikes: Spikes, p: float, seed: Seed) -> Spikes:
    """Delete every spike with probability ``p``, independently of all others.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    p : float
        From 0 (delete none) to 1 (delete all).
    seed : int or numpy.random.Generator
        One number is drawn per spike.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].

    Examples
    --------
    >>> delete_spikes(Spikes([0.1, 0.2], [0, 1], duration=0.5), 1.0, seed=1)
    Spikes(1 recordings, 0 spikes, size=2, duration=0.5)
    """
    spikes = as_arrays(spikes, "delete_spikes")
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p}, must be from 0 to 1")
    return inside(selected(spikes, generator(seed).random(len(spikes.times)) >= p))


def add_noise(spikes: Spikes, rate: float, seed: Seed) -> Spikes:
    """Add Poisson spikes to every unit of every recording.

    Parameters
    ----------
    spikes : Spikes
        Any batch.
    rate : float
        Mean number of added spikes per unit and second [Hz]; >= 0. They are uniform over the
        units and over ``[0, duration)``.
    seed : int or numpy.random.Generator
        Draws a number of spikes per recording, then their times and units.

    Returns
    -------
    Spikes
        Of the same size, duration and labels.

    Raises
    ------
    ValueError
        If ``rate`` is negative or not finite, or would add more than 2**31 spikes.

    Examples
    --------
    >>> silence = Spikes([], [], size=700, duration=1.0)
    >>> 650 < len(add_noise(silence, 1.0, seed=1).times) < 750
    True
    """
    spikes = as_arrays(spikes, "add_noise")
    _check_not_negative("rate", rate, "Hz")
    mean = rate * spikes.size * spikes.duration
    if mean * len(spikes) > MOST:
        raise ValueError(
            f"rate = {rate} Hz would add {mean * len(spikes):.3g} spikes; "
            "lower it or take fewer recordings at once"
        )
    rng = generator(seed)
    counts = rng.poisson(mean, len(spikes))
    n_spikes = int(counts.sum())
    times = np.concatenate([spikes.times, spikes.duration * rng.random(n_spikes)])
    units = np.concatenate([spikes.units, rng.integers(0, max(spikes.size, 1), n_spikes)])
    recordings = np.arange(len(spikes))
    owner = np.concatenate([per_spike(spikes, recordings), np.repeat(recordings, counts)])
    order = np.argsort(owner, kind="stable")
    offsets = spikes.offsets + np.concatenate([[0], np.cumsum(counts)])
    return in_order(inside(spikes.replace(times[order], units[order], offsets)))


def _moved(spikes: Spikes, times: FloatArray) -> Spikes:
    return in_order(inside(spikes.replace(times, spikes.units, spikes.offsets)))


def _check_not_negative(name: str, value: float, unit: str) -> None:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} = {value}, must be finite and >= 0 [{unit}]")

"""Spikes on a time grid, as time-stepped simulators want them, and back.

The convention: bin ``k`` holds what fires in ``[k dt, (k + 1) dt)``, counted from time 0,
and the axes are time, recording, unit, ``[T, B, N]``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evsim.doubts import warn_user
from evsim.quantities import positive
from evsim.spikes import Spikes
from evsim.taken_spikes import as_arrays
from evsim.words import count

Float32Array = npt.NDArray[np.float32]

_MOST_CELLS = 2**31
_MANY = 10  # recordings for each step, from which on they may be steps
_LONG_STEP = 0.1  # of which no raster of spikes is made [s]
# Relative; k * 1e-3, k / 1000 and a sum of k steps of 1e-3 all have to fall into bin k.
_ROUNDING = 1e-12


def bin_spikes(
    spikes: Spikes, dt: float, duration: float | None = None, counts: bool = True
) -> Float32Array:
    """Count the spikes of each unit in time bins of equal width.

    Bin ``k`` holds the spikes with ``k dt <= t < (k + 1) dt``.

    Parameters
    ----------
    spikes : Spikes
        Any batch, of arrays or tensors.
    dt : float
        Width of a bin [s]; > 0.
    duration : float, optional
        Where the last bin ends [s]: spikes at or after it are left out. That of the spikes
        if not given.
    counts : bool
        False: 1 where a unit fired at all in the bin, however often.

    Returns
    -------
    float32 array [T, B, N]
        T = ceil(duration / dt) bins, B recordings, N units. If ``dt`` does not divide the
        duration, the last bin ends after it.

    Raises
    ------
    ValueError
        If ``dt`` or ``duration`` is not finite and > 0, or the array would have more than
        2**31 cells; the message says how many.

    Notes
    -----
    Times and ``dt`` are rounded numbers: a time that is less than one part in 10^12 before
    the border of two bins counts as on it, so that ``k * 1e-3`` and ``k / 1000`` are both in
    bin ``k`` of 1 ms; and so for the number of bins.

    Elsewhere: snnTorch and SpikingJelly are time-first as well. tonic's ``ToFrame`` counts
    time from each recording's first event. The widespread SHD scripts that call
    ``numpy.digitize`` on ``linspace(0, max_time, T)`` count bins from 1 and have bins of
    max_time / (T - 1).

    Examples
    --------
    >>> spikes = Spikes([0.001, 0.0015, 0.003], [0, 0, 1], size=2, duration=0.005)
    >>> bin_spikes(spikes, dt=1e-3)[:, 0].T
    array([[0., 2., 0., 0., 0.],
           [0., 0., 0., 1., 0.]], dtype=float32)
    """
    spikes = as_arrays(spikes, "bin_spikes")
    positive("dt", dt, "s")
    duration = spikes.duration if duration is None else duration
    positive("duration", duration, "s")
    shape = (_number_of_bins(duration, dt, len(spikes) * spikes.size), len(spikes), spikes.size)
    spikes = spikes.before(duration)
    steps = np.floor(spikes.times / dt * (1 + _ROUNDING)).astype(np.int64)
    steps = np.minimum(steps, shape[0] - 1)  # one that was rounded up to the duration
    cells = (steps * shape[1] + spikes.recordings()) * shape[2] + spikes.units
    binned = np.zeros(shape, np.float32)
    if counts:
        np.add.at(binned.reshape(-1), cells, np.float32(1))
    else:
        binned.reshape(-1)[cells] = 1
    return binned


def unbin_spikes(binned: npt.ArrayLike, dt: float, labels: npt.ArrayLike | None = None) -> Spikes:
    """Put the spikes of an array [T, B, N] at the start of their bins.

    The reverse of `bin_spikes`: binning the result gives the array again.

    Parameters
    ----------
    binned : array [T, B, N]
        Number of spikes of each unit in bin ``k``; they fire at ``k dt``.
    dt : float
        Width of a bin [s]; > 0.
    labels : int array [B], optional
        One class per recording.

    Returns
    -------
    Spikes
        B recordings of N units, of duration T dt.

    Raises
    ------
    ValueError
        If the array has other than three axes, no bin, or an entry that is no count (the
        message names the first); or if ``dt`` is not finite and > 0.

    Warns
    -----
    UserWarning
        If there are far more recordings, without labels, than steps, or if ``dt`` is above 0.1 s.

    Examples
    --------
    >>> spikes = unbin_spikes([[[0, 1]], [[2, 0]]], dt=1e-3)
    >>> spikes.times, spikes.units, spikes.duration
    (array([0.   , 0.001, 0.001]), array([1, 0, 0]), 0.002)
    """
    positive("dt", dt, "s")
    array = np.asarray(binned)
    if array.ndim != 3 or len(array) == 0:
        raise ValueError(
            f"binned has shape {array.shape}, "
            "must be [step, recording, unit] with at least one step"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"binned holds {array.dtype}, must hold numbers of spikes")
    n_steps, n_recordings, size = array.shape
    _doubt(n_steps, n_recordings, dt, labels is not None)
    by_recording = array.transpose(1, 0, 2)
    recording, steps, units = np.nonzero(by_recording)
    values = by_recording[recording, steps, units]
    is_count = (values > 0) & (values < _MOST_CELLS) & (values == np.floor(values))
    if not is_count.all():
        i = int(np.argmin(is_count))
        raise ValueError(
            f"binned[{steps[i]}, {recording[i]}, {units[i]}] = {values[i]}, "
            "must be a number of spikes"
        )
    n_spikes = values.astype(np.int64)
    per_recording = np.bincount(recording, n_spikes, n_recordings).astype(np.int64)
    return Spikes(
        np.repeat(steps * dt, n_spikes),
        np.repeat(units, n_spikes),
        np.concatenate([[0], np.cumsum(per_recording)]),
        size,
        n_steps * dt,
        labels,  # type: ignore[arg-type]
    )


def _doubt(n_steps: int, n_recordings: int, dt: float, labelled: bool) -> None:
    """Warn of axes that look swapped, and of steps that are no fraction of a second."""
    if not labelled and n_recordings > _MANY * n_steps:
        warn_user(
            f"binned: {count(n_steps, 'step')} of {n_recordings:,} recordings; its axes are [step, "
            "recording, unit]: if they are [recording, step, unit], give binned.swapaxes(0, 1)"
        )
    if dt > _LONG_STEP:
        warn_user(
            f"dt = {dt:g} s makes {n_steps:,} steps {n_steps * dt:g} s long; dt is the length of a "
            "step in seconds, such as 1e-3"
        )


def _number_of_bins(duration: float, dt: float, width: int) -> int:
    """Return T; refuse [T, ``width``] where it would be absurdly large."""
    n_bins = max(1.0, np.ceil(duration / dt * (1 - _ROUNDING)))
    if n_bins * max(1, width) > _MOST_CELLS:
        raise ValueError(
            f"dt = {dt} s and a duration of {duration} s make {n_bins:.6g} bins, times {width} "
            f"units of all recordings: more than {_MOST_CELLS} cells; bin fewer recordings "
            "at once"
        )
    return int(n_bins)

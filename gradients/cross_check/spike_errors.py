"""Errors of spike times on a grid, and the order at which they fall with its step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evsim import Spikes
from evsim.arrays import FloatArray, IntArray

from .match import match
from .records import Loss, Order, SpikeErrors

_FEW = 10  # spikes that an order is not fitted to
_NO_ERROR = 1e-9  # of a step


@dataclass(frozen=True)
class Compared:
    """Errors of a population, as a record and spike by spike.

    Attributes
    ----------
    errors : SpikeErrors
        The record.
    by_spike : float64 array [spike]
        Absolute error of the time of every spike of the reference [s]; NaN if it is missing.
    lost_at : float64 array [recording]
        When the first spike is missing or extra, here or in a population before this one
        [s]; inf if none is.
    """

    errors: SpikeErrors
    by_spike: FloatArray
    lost_at: FloatArray


def compare(
    name: str,
    dt: float,
    reference: Spikes,
    grid: Spikes,
    window: float,
    lost_before: FloatArray,
    numbers: IntArray,
) -> Compared:
    """Match the spikes of a population and measure their errors.

    Parameters
    ----------
    name : str
        Of the population.
    dt : float
        Length of a step [s].
    reference, grid : Spikes
        Of the event engine and of the grid.
    window : float
        Largest distance of partners [s].
    lost_before : float64 array [recording]
        When the first spike is missing or extra in a population before this one [s].
    numbers : int64 array [recording]
        What the recordings are called.

    Returns
    -------
    Compared
        The errors.
    """
    pairs, missing, extra = match(reference, grid, window)
    seen = reference.duration - window  # partners of later ones may lie beyond the horizon
    missing, extra = missing[reference.times[missing] < seen], extra[grid.times[extra] < seen]
    by_spike = np.full(len(reference.times), np.nan)
    by_spike[pairs[:, 0]] = np.abs(grid.times[pairs[:, 1]] - reference.times[pairs[:, 0]])
    lost_at = lost_before.copy()
    losses = []
    for kind, spikes, places in (("missing", reference, missing), ("extra", grid, extra)):
        recording = spikes.recordings()[places]
        np.minimum.at(lost_at, recording, spikes.times[places])
        if len(places):
            at = int(spikes.times[places].argmin())
            unit, time = int(spikes.units[places[at]]), float(spikes.times[places[at]])
            losses.append(Loss(kind, int(numbers[recording[at]]), unit, time))
    errors = by_spike[pairs[:, 0]]
    early = by_spike[reference.times < lost_at[reference.recordings()]]
    early = early[np.isfinite(early)]  # near the horizon some have no partner
    record = SpikeErrors(
        name, dt, window, len(reference.times), len(grid.times),
        len(pairs), len(missing), len(extra), *_middle_and_top(errors, np.median),
        len(early), *_middle_and_top(early, np.mean),
        min(losses, key=lambda loss: loss.time, default=None),
    )  # fmt: skip
    return Compared(record, by_spike, lost_at)


def fit_order(name: str, reference: Spikes, compared: Sequence[Compared]) -> Order:
    """Fit the order of convergence to the spikes before any loss.

    Parameters
    ----------
    name : str
        Of the population.
    reference : Spikes
        Those of the event engine, with which all were compared.
    compared : sequence of Compared
        At several steps, largest first.

    Returns
    -------
    Order
        See there which spikes and steps are used.
    """
    steps = np.array([c.errors.dt for c in compared])
    errors = np.array([c.by_spike for c in compared])
    for first in range(len(steps) - 1):
        lost_at = np.min([c.lost_at for c in compared[first:]], axis=0)
        chosen = reference.times < lost_at[reference.recordings()]
        chosen &= np.isfinite(errors[first:]).all(axis=0)
        if chosen.sum() < _FEW:
            continue
        typical = np.median(errors[first:, chosen], axis=1)
        order = None
        if (typical > _NO_ERROR * steps[first:]).all():
            order = float(np.polyfit(np.log(steps[first:]), np.log(typical), 1)[0])
        return Order(name, order, int(chosen.sum()), steps[first:].tolist(), typical.tolist())
    return Order(name, None, 0, [], [])


def _middle_and_top(errors: FloatArray, middle: object) -> tuple[float | None, float | None]:
    if not len(errors):
        return None, None
    assert callable(middle)
    return float(middle(errors)), float(errors.max())

"""Warnings of numbers that look like another unit: told with figures and what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.models import MODELS

if TYPE_CHECKING:
    from evsim.network import Network, Population
    from evsim.projections import Projection

SLOW, FAST = 0.05, 1e3  # rates per unit that no network has [Hz]
LONG, TOO_LONG = 10.0, 1000.0  # recordings in which a slow rate says something, or length does [s]
VERY_LONG = 100.0  # durations that a slow rate makes doubtful though somebody told them [s]
LARGE = 10.0  # thresholds by which the usual spike of no network lifts a voltage
_ROUNDED = 1e-6  # in float32 0.1 s are longer than 0.1 s
_NOT_THE_USER = ("evsim", "torch")  # whose lines are not where a number was written


def warn_user(message: str) -> None:
    """Warn at the line of the user's program, however deep it was found."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def warn_of_long_times(times: Iterable[tuple[str, FloatArray]], duration: float) -> bool:
    """Warn of delays and time constants that are longer than every recording.

    Parameters
    ----------
    times : iterable of (str, float array)
        What they are called, and their values [s]; inf is no leak and never warned of.
    duration : float
        Of the recordings [s].

    Returns
    -------
    bool
        Whether there were any.
    """
    found = []
    for name, values in times:
        longest = float(np.max(values, where=np.isfinite(values), initial=0.0))
        if longest > duration * (1 + _ROUNDED):
            found.append((longest, name))
    if found:
        told = ", ".join(f"{name} up to {longest:g} s" for longest, name in found)
        warn_user(
            f"longer than every recording ({duration:g} s): {told}. Times are seconds in evsim: "
            f"{found[0][0]:.3g} ms would be {found[0][0]:.3g}e-3"
        )
    return bool(found)


def odd_times(last: float, rate: float | None) -> str:
    """Return what is odd about spike times, if they are seconds; "" if nothing is.

    Parameters
    ----------
    last : float
        Time of the last spike [s].
    rate : float or None
        Mean rate per unit up to it, if that is known [Hz].
    """
    slow = rate is not None and rate < SLOW and last >= LONG
    if not (last > TOO_LONG or slow or (rate is not None and rate > FAST)):
        return ""
    at_a_rate = "" if rate is None else f" and the mean rate {rate:.3g} Hz per unit"
    return f"the last spike is at {last:g} s{at_a_rate}"


def slow_rate(n_spikes: int, n_units: int, duration: float) -> float | None:
    """Return the mean rate [Hz] if no network has it over so long a duration; else None.

    ``n_units`` are those of all recordings, ``duration`` [s] is that of each.
    """
    if duration < VERY_LONG or not n_units:
        return None
    rate = n_spikes / n_units / duration
    return rate if 0 < rate < SLOW else None


def warn_of_slow_spikes(spikes: Any) -> bool:
    """Warn of spikes whose told duration looks like milliseconds; return whether it does."""
    rate = slow_rate(len(spikes.times), len(spikes) * spikes.size, spikes.duration)
    if rate is not None:
        warn_user(
            f"spikes: the mean rate over the duration, {spikes.duration:g} s, is {rate:.3g} Hz per "
            "unit; times are seconds in evsim: if these are milliseconds, give times and duration "
            "* 1e-3"
        )
    return rate is not None


def network_times(net: Network) -> Iterable[tuple[str, FloatArray]]:
    """Yield the delays and time constants of a network, with their names."""
    for projection in net.projections.values():
        delay, axonal = projection.delay, projection.axonal_delay
        if axonal is not None:  # the sum of the longest is a bound that few networks reach
            delay = np.maximum(delay.max(initial=0.0), axonal)
        yield f"delay of {projection.name!r}", delay
    for population in net.populations.values():
        for name, tau in zip(MODELS[population.model].time_constants, population.taus, strict=True):
            yield f"{name} of {population.name!r}", tau


def large_lift(net: Network) -> str:
    """Return what is odd about the weights, if spikes lift voltages much too high; "" if not.

    Those of a graph in NIR do where its ``spike_width`` is missing.
    """
    lifts = [(_lift(p, net.populations[p.post]), p.post) for p in net.projections.values()]
    largest, where = max(lifts, default=(0.0, ""), key=lambda lift: lift[0])
    if largest <= LARGE:
        return ""
    return (
        f"a spike lifts the voltage of {where!r} by {largest:,.0f} thresholds (its median weight)"
    )


def _lift(projection: Projection, post: Population) -> float:
    """Return how many thresholds the usual weight lifts the usual unit, of a model in NIR."""
    weights = np.abs(projection.weights)
    weights = weights[weights > 0]
    if not len(weights) or "threshold" not in post.parameters or MODELS[post.model].nir is None:
        return 0.0
    lift = float(np.median(weights)) / float(np.median(post.threshold - post.v_leak))
    if "tau_syn" in post.parameters:
        lift *= _peak(float(np.median(post.tau_mem)), float(np.median(post.tau_syn)))
    return lift


def _peak(tau_mem: float, tau_syn: float) -> float:
    """Return the largest voltage that a current of 1 makes as it decays."""
    if abs(tau_mem - tau_syn) < 1e-6 * tau_mem:
        return float(np.exp(-1.0))
    ratio = tau_syn / tau_mem
    return float(ratio ** (1.0 / (1.0 - ratio)))


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in _NOT_THE_USER

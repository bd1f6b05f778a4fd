"""The values of readouts, and what a loss on them does to the costates of their units.

`read` takes the values from a `Run`; `pull` goes the other way, from the gradient of the
values to `Kicks` for the reverse pass, and to what depends on time constants directly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim import Population
from evsim.arrays import FloatArray
from evsim.readouts import readout_values

from .reverse import Kicks, Run, no_kicks


class Pull(NamedTuple):
    """What the gradient of readout values becomes.

    Attributes
    ----------
    kicks : Kicks
        For the reverse pass.
    tau_mem, tau_syn, v_leak : float64 array [unit]
        The gradient that does not pass through the units' state.
    """

    kicks: Kicks
    tau_mem: FloatArray
    tau_syn: FloatArray
    v_leak: FloatArray


def read(run: Run, sampled: bool) -> FloatArray:
    """Return values [recording, unit], or voltages [recording, time, unit] if ``sampled``."""
    population = _population(run)
    if sampled:
        return run.voltage + population.parameters["v_leak"]
    return readout_values(population, run.final, run.spikes.duration)


def pull(run: Run, g: FloatArray, at: FloatArray | None = None) -> Pull:
    """Return what the gradient ``g`` of `read`'s result becomes; ``at`` if it was sampled."""
    population = _population(run)
    n, size = len(run.spikes), population.size
    none = np.zeros(size)
    kicks = no_kicks(n, size)
    if at is not None:
        order = np.argsort(at, kind="stable")
        times = np.tile(np.repeat(at[order], size), n)
        kicks = _at_instants(kicks, times, g[:, order].ravel(), np.zeros(times.shape), n, size)
        return Pull(kicks, none, none, g.sum(axis=(0, 1)))
    total = g.sum(axis=0)
    if population.output == "max":
        _, _, _, _, when, slope = run.final.transpose(1, 0, 2)
        order = np.argsort(when, axis=1, kind="stable")
        sorted_ = [np.take_along_axis(a, order, axis=1).ravel() for a in (when, g, slope)]
        kicks = _at_instants(kicks, sorted_[0], sorted_[1], sorted_[2], n, size)
        kicks = kicks._replace(units=order.ravel())
        return Pull(kicks, none, none, total)
    if population.output == "last":
        kicks.ends[:, 0] = g
        return Pull(kicks, none, none, total)
    return _pull_integral(run, population, kicks, g)


def _pull_integral(run: Run, population: Population, kicks: Kicks, g: FloatArray) -> Pull:
    """Differentiate the closed form of `evsim.readouts.readout_values`."""
    p, duration = population.parameters, run.spikes.duration
    tau_mem = p["tau_mem"]
    rate = 0.0 if population.tau_output is None else 1 / population.tau_output
    w = np.exp(-duration * rate)
    u, i, arrivals = run.final[:, 0], run.final[:, 1], run.final[:, 2]
    by_mem = 1 / (1 + tau_mem * rate)
    tau_syn_gain = np.zeros(population.size)
    if "tau_syn" in p:
        tau_syn = p["tau_syn"]
        by_syn = 1 / (1 + tau_syn * rate)
        current = tau_syn * (arrivals - w * i) * by_syn
        per_arrival = tau_syn * by_syn * by_mem
        kicks.ends[:, 1] = -w * per_arrival * g
        kicks.ends[:, 0] = -w * tau_mem * by_mem * g
        tau_syn_gain = (g * (arrivals - w * i) * by_syn**2 * by_mem).sum(axis=0)
        tau_mem_gain = (g * (-w * u - rate * current) * by_mem**2).sum(axis=0)
    else:
        per_arrival = 1 / (1 / tau_mem + rate)
        kicks.ends[:, 0] = -w * per_arrival * g
        tau_mem_gain = (g * (arrivals - w * u) * by_mem**2).sum(axis=0)
    span = duration if rate == 0 else -np.expm1(-duration * rate) / rate
    kicks = kicks._replace(drives=per_arrival * g, rates=np.full(population.size, rate))
    return Pull(kicks, tau_mem_gain, tau_syn_gain, span * g.sum(axis=0))


def _at_instants(
    kicks: Kicks, times: FloatArray, values: FloatArray, slants: FloatArray, n: int, size: int
) -> Kicks:
    per_recording = len(times) // max(n, 1)
    return kicks._replace(
        times=times,
        units=np.tile(np.arange(size), len(times) // max(size, 1)),
        values=values,
        slants=slants,
        offsets=np.arange(n + 1) * per_recording,
    )


def _population(run: Run) -> Population:
    (population,) = (p for p in run.net.populations.values() if p.model != "Input")
    return population

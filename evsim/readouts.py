"""What a readout population answers: a value of every unit's voltage over a recording."""

from __future__ import annotations

import numpy as np

from evsim.arrays import FloatArray
from evsim.network import Population


def readout_values(population: Population, final: FloatArray, duration: float) -> FloatArray:
    """Return the values [recording, unit] of a readout from its final state.

    The integrals follow from the equations of motion, integrated over the recording with
    the weight w(t) = e^(-t/T) by parts; only the arrivals and the final state are left.
    """
    p = population.parameters
    u, i, arrivals, peak = final[:, 0], final[:, 1], final[:, 2], final[:, 3]
    if population.output == "max":
        return peak + p["v_leak"]
    if population.output == "last":
        return u + p["v_leak"]
    rate = 0.0 if population.tau_output is None else 1 / population.tau_output
    w = np.exp(-duration * rate)
    if "tau_syn" in p:
        current = p["tau_syn"] * (arrivals - w * i) / (1 + p["tau_syn"] * rate)
        integral = (current - p["tau_mem"] * w * u) / (1 + p["tau_mem"] * rate)
    else:
        integral = (arrivals - w * u) / (1 / p["tau_mem"] + rate)
    span = duration if rate == 0 else -np.expm1(-duration * rate) / rate
    return integral + p["v_leak"] * span


def values_so_far(population: Population, times: FloatArray, voltage: FloatArray) -> FloatArray:
    """Return what a readout has made of its voltage up to every sample.

    Parameters
    ----------
    population : Population
        With an ``output``.
    times : float64 array [time]
        Of the samples [s].
    voltage : float64 array [time, unit]
        The samples.

    Returns
    -------
    float64 array [time, unit]
    """
    if population.output == "max":
        return np.maximum.accumulate(voltage, axis=0)
    if population.output != "integral":
        return voltage
    # A sum, for there are only samples: the exact integral needs the state at every one of
    # them. To see a value grow that is enough; the answer is that of `readout_values`.
    rate = 0.0 if population.tau_output is None else 1 / population.tau_output
    lasts = np.diff(times, append=times[-1:])
    return np.cumsum((np.exp(-times * rate) * lasts)[:, None] * voltage, axis=0)

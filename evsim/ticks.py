"""Networks and spikes with times counted in ticks, so that what meets on a grid meets exactly.

In seconds 0.003 + 0.002 and 0.005 are different numbers, and arrivals that meet on a grid of
milliseconds may come apart in the last bit. Counted in ticks times are whole numbers and their
sums are exact. `evsim.simulate` takes a ``tick``; `evsim check --trained grid` rounds to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from evsim.arrays import FloatArray
from evsim.models import MODELS
from evsim.network import Network, Population
from evsim.projections import Projection
from evsim.quantities import positive
from evsim.result import Result
from evsim.spikes import Spikes

TOLERANCE = 1e-6  # of a tick: how far from a whole number a time may be
# From what is meant, for messages, times [s], a tick [s], and the least number of ticks.
Whole = Callable[[str, FloatArray, float, int], FloatArray]


def exactly(what: str, times: FloatArray, tick: float, least: int = 0) -> FloatArray:
    """Return times in ticks, which must be whole numbers.

    Parameters
    ----------
    what : str
        How messages name them.
    times : float64 array
        [s].
    tick : float
        [s].
    least : int
        Not used: what is exact is not moved.

    Raises
    ------
    ValueError
        If one is further than a millionth of a tick from a whole number, or not 0 but so close
        to it; names it.

    Examples
    --------
    >>> exactly("delay", np.array([0.003, 0.005]), 1e-3)
    array([3., 5.])
    """
    ticks = np.asarray(times / tick)
    whole = np.round(ticks)
    apart = ~(np.abs(ticks - whole) <= TOLERANCE) | ((whole == 0) & (times > 0))
    if apart.any():
        at = np.unravel_index(int(np.argmax(apart)), apart.shape)
        place = f"[{', '.join(map(str, at))}]" if at else ""
        raise ValueError(
            f"{what}{place} = {times[at]:.9g} s is no whole number of ticks of {tick:g} s "
            f"({ticks[at]:.9g}); choose a tick that all times are multiples of"
        )
    return whole


def nearest(what: str, times: FloatArray, tick: float, least: int = 0) -> FloatArray:
    """Return times rounded to the nearest number of ticks, ``least`` or more."""
    return np.asarray(np.round(np.maximum(times / tick, least)), np.float64)


def network_in_ticks(net: Network, tick: float, whole: Whole = exactly) -> Network:
    """Return a network with times in ticks; delays and refractory periods are whole numbers.

    Parameters
    ----------
    net : Network
        Times in seconds.
    tick : float
        [s].
    whole : function
        `exactly` refuses what is no whole number of ticks, `nearest` rounds it; then what a
        population sends to itself takes a tick or more, as on a grid.

    Raises
    ------
    ValueError
        As `exactly`.

    Examples
    --------
    >>> from evsim.projections import Dense
    >>> cells = Population("cells", "LIF", 1, tau_mem=20e-3)
    >>> into = Dense(pre="in", post="cells", weight=[[1.0]], delay=3e-3)
    >>> net = network_in_ticks(Network([Population("in", "Input", 1), cells], [into]), 1e-3)
    >>> net.populations["cells"].tau_mem, net.projections["in->cells"].axonal(1)
    (array([20.]), array([3.]))
    """
    positive("tick", tick, "s")
    populations = [_population(p, tick, whole) for p in net.populations.values()]
    projections = [
        _projection(p, net.populations[p.pre].size, tick, whole) for p in net.projections.values()
    ]
    return Network(populations, projections, net.input, net.output)


def spikes_in_ticks(spikes: Spikes, tick: float, duration: float) -> Spikes:
    """Return spikes at whole numbers of ticks, those before ``duration`` [s].

    Raises
    ------
    ValueError
        If a time or the duration is no whole number of ticks; names recording and index.
    """
    (horizon,) = exactly("duration", np.array([duration]), tick)
    times = spike_ticks(spikes, tick)
    # Times that are less than a millionth of a tick apart may now be one.
    whole = Spikes(times, spikes.units, spikes.offsets, spikes.size, 2 * horizon, spikes.labels)
    return whole.before(float(horizon))


def result_in_seconds(
    result: Result, net: Network, tick: float, duration: float, times: dict[str, FloatArray]
) -> Result:
    """Return what a network did in ticks in seconds.

    Parameters
    ----------
    result : Result
        In ticks.
    net : Network
        In seconds.
    tick, duration : float
        [s].
    times : dict of str to float64 array [time]
        Sample times as they were asked for [s].
    """
    last = np.nextafter(duration, 0.0)
    spikes = {}
    for name, s in result.spikes.items():  # sorted anew: rounding may make two times one
        seconds = np.minimum(s.times * tick, last)
        spikes[name] = Spikes(seconds, s.units, s.offsets, s.size, duration, s.labels)
    output = {
        name: values * tick if net.populations[name].output == "integral" else values
        for name, values in result.output.items()
    }
    return replace(result, spikes=spikes, output=output, duration=duration, voltage_times=times)


def spike_ticks(spikes: Spikes, tick: float) -> FloatArray:
    """Return the times of spikes in whole ticks, in their order.

    Raises
    ------
    ValueError
        If one is no whole number of ticks; names recording and index.
    """
    try:
        return exactly("times", spikes.times, tick)
    except ValueError:
        for b, one in enumerate(spikes):  # say it again, with the recording
            exactly(f"spikes: recording {b}: times", one.times, tick)
        raise


def _population(population: Population, tick: float, whole: Whole) -> Population:
    model, values = MODELS[population.model], dict(population.parameters)
    where = f"population {population.name!r}"
    values |= {name: values[name] / tick for name in model.time_constants}
    values |= {name: whole(f"{where}: {name}", values[name], tick, 0) for name in model.waits}
    tau_output = None if population.tau_output is None else population.tau_output / tick
    return Population(
        population.name, population.model, population.size, reset_mode=population.reset_mode,
        output=population.output, tau_output=tau_output, **values,
    )  # fmt: skip


def _projection(projection: Projection, pre_size: int, tick: float, whole: Whole) -> Projection:
    least = 1 if projection.pre == projection.post else 0
    axonal, synaptic = projection.axonal(pre_size), projection.synaptic
    what = f"{projection.where}: delay"
    if synaptic is None:
        late = whole(what, axonal, tick, least)
        return replace(projection, delay=np.zeros(()), axonal_delay=late)
    late = whole(f"{projection.where}: axonal_delay", axonal, tick, 0)
    return replace(projection, delay=whole(what, synaptic, tick, least), axonal_delay=late)

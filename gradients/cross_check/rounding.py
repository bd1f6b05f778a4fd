"""A network and its input rounded to a grid, for the event engine.

Times are counted in steps, so that sums of whole numbers of them are exact and arrivals that
a grid holds at one step are at one instant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evsim import Network, Population, Spikes
from evsim.arrays import FloatArray
from evsim.models import MODELS
from evsim.projections import Projection
from evsim.spikes import quiet_spikes


def network_in_steps(net: Network, dt: float) -> Network:
    """Return a network with delays and refractory periods of whole steps.

    Parameters
    ----------
    net : Network
        Times in seconds.
    dt : float
        Length of a step [s].

    Returns
    -------
    Network
        Times in steps; loops of a population take a step or more, as in dense layers.

    Examples
    --------
    >>> from evsim import Dense
    >>> cells = Population("cells", "LIF", 1, tau_mem=20e-3)
    >>> into = Dense(pre="in", post="cells", weight=[[1.0]], delay=2.3e-3)
    >>> net = network_in_steps(Network([Population("in", "Input", 1), cells], [into]), 1e-3)
    >>> net.populations["cells"].tau_mem, net.projections["in->cells"].axonal(1)
    (array([20.]), array([2.]))
    """
    populations = [_population(p, dt) for p in net.populations.values()]
    projections = [
        _projection(p, net.populations[p.pre].size, dt) for p in net.projections.values()
    ]
    return Network(populations, projections, net.input, net.output)


def spikes_in_steps(spikes: Spikes, dt: float, n_steps: int) -> Spikes:
    """Return spikes at whole steps; one that rounds to the horizon is left out.

    Parameters
    ----------
    spikes : Spikes
        Times in seconds.
    dt : float
        Length of a step [s].
    n_steps : int
        Of every recording.
    """
    # Rounded trains are still sorted by time, but no longer by unit where times are equal.
    whole = np.round(spikes.times / dt)
    rounded = quiet_spikes(
        whole, spikes.units, spikes.offsets, spikes.size, 2 * n_steps, spikes.labels
    )
    return rounded.before(n_steps)


def _population(population: Population, dt: float) -> Population:
    model, values = MODELS[population.model], dict(population.parameters)
    values |= {name: values[name] / dt for name in model.time_constants}
    values |= {name: _whole(values[name], dt) for name in model.waits}
    tau_output = None if population.tau_output is None else population.tau_output / dt
    return Population(
        population.name, population.model, population.size, reset_mode=population.reset_mode,
        output=population.output, tau_output=tau_output, **values,
    )  # fmt: skip


def _projection(projection: Projection, pre_size: int, dt: float) -> Projection:
    least = 1 if projection.pre == projection.post else 0
    axonal, synaptic = projection.axonal(pre_size), projection.synaptic
    if synaptic is None:
        return replace(projection, delay=np.zeros(()), axonal_delay=_whole(axonal, dt, least))
    late = _whole(axonal, dt)
    return replace(projection, delay=_whole(synaptic, dt, least), axonal_delay=late)


def _whole(times: FloatArray, dt: float, least: int = 0) -> FloatArray:
    return np.asarray(np.round(np.maximum(times / dt, least)), np.float64)

"""Spikes in flight: those that left before a stretch of a recording and arrive in it or later.

Each train of them goes with the projection that says how late they arrive and what they weigh
there. To the engine they are further sources of the population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evsim import Dense, Network, Population, Spikes
from evsim._plan import Plan, plan_group, plan_network

Flights = Sequence[tuple[Spikes, Dense]]


def in_flight(spikes: Spikes, projection: Dense, time: float) -> Spikes:
    """Return the spikes with an arrival at or after a time.

    Parameters
    ----------
    spikes : Spikes
        Sent before.
    projection : Dense
        Which says how late they arrive.
    time : float
        When the next stretch begins [s].
    """
    arrival = spikes.times + projection.axonal(spikes.size)[spikes.units]
    if projection.synaptic is not None:
        arrival += projection.synaptic.max(axis=0)[spikes.units]
    kept = np.flatnonzero(arrival >= time)
    offsets = np.searchsorted(kept, spikes.offsets)
    return spikes.replace(spikes.times[kept], spikes.units[kept], offsets, labels=None)


def plan_with(net: Network, flights: Flights) -> tuple[Plan, dict[str, Spikes]]:
    """Return the plan of a population that also hears flights, and those by name of the source.

    Raises
    ------
    ValueError
        If a projection does not fit its spikes or the population.
    """
    if not flights:
        return plan_network(net)[0], {}
    ((name,),) = net.groups()
    populations, projections = dict(net.populations), list(net.projections.values())
    trains = {}
    for k, (spikes, projection) in enumerate(flights):
        source = f"flight {k}"
        while source in populations:
            source += "'"
        projection = replace(projection, pre=source, post=name, name=source)
        projection.check(spikes.size, net.populations[name].size)
        populations[source] = Population(source, "Input", spikes.size)
        projections.append(projection)
        trains[source] = spikes
    return plan_group(populations, projections, [name]), trains

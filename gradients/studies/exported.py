"""What studies do with trained networks: let them decide, look at delays, give them others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evsim import Network, Simulator
from evsim.arrays import FloatArray

from .interface import Measured

BINS = 16


def network_of(folder: Path, name: str = "network.h5") -> Network:
    """Return the network that a training left in its run folder, or began with.

    Raises
    ------
    ValueError
        If it is gone.
    """
    path = folder / name
    if not path.exists():
        raise ValueError(f"{path} is gone; take the line of that point out of points.jsonl, too")
    return Network.load(path)


def decided(net: Network, test: Any, until: float | None = None) -> Measured:
    """Return how many recordings of a data set a network tells right by events: right of n.

    Parameters
    ----------
    net : Network
        With a readout.
    test : data set
        Labelled.
    until : float or None
        When it decides [s], by what its readout has made of all that arrived before; at the end
        of the recordings if left out.
    """
    spikes = test.spikes()
    # Delays that are longer than what is heard are no doubt here.
    simulator = Simulator(net, [], duration=until, threads=1, in_seconds=until is None)
    values = simulator.run(spikes).output[net.output]
    return {"right": int((values.argmax(axis=1) == spikes.labels).sum()), "n": len(spikes)}


def delays_of(net: Network) -> dict[str, FloatArray]:
    """Return learnt delays [s] by the name of their projection, all in a row.

    Delays of synapses if there are any, else one for each pre unit; projections that have none of
    their own (a scalar is a connection's least) are left out.
    """
    found = {}
    for one in net.projections.values():
        if one.synaptic is not None:
            found[one.name] = one.synaptic.ravel()
        elif one.axonal_delay is not None and one.axonal_delay.ndim:
            found[one.name] = one.axonal_delay
    return found


def with_delays(net: Network, change: Callable[[FloatArray], FloatArray]) -> Network:
    """Return a network whose learnt delays are changed, an array [s] of each projection."""

    def changed(one: Any) -> Any:
        if one.synaptic is not None:
            one = replace(one, delay=change(one.synaptic))
        if one.axonal_delay is not None and one.axonal_delay.ndim:
            one = replace(one, axonal_delay=change(one.axonal_delay))
        return one

    projections = [changed(one) for one in net.projections.values()]
    return Network(net.populations.values(), projections, net.input, net.output)


def histogram(values: FloatArray, low: float, high: float) -> list[float]:
    """Return the share of values in each of `BINS` bins."""
    counts = np.histogram(values, BINS, (low, high if high > low else low + 1.0))[0]
    return [float(n) / values.size for n in counts]

"""A network and its input rounded to a grid, for the event engine.

Times are counted in steps (`evsim.ticks`), so that arrivals that a grid holds at one step are
at one instant.
"""

from __future__ import annotations

import numpy as np

from evsim import Network, Spikes
from evsim.spikes import quiet_spikes
from evsim.ticks import nearest, network_in_ticks


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
    >>> from evsim import Dense, Population
    >>> cells = Population("cells", "LIF", 1, tau_mem=20e-3)
    >>> into = Dense(pre="in", post="cells", weight=[[1.0]], delay=2.3e-3)
    >>> net = network_in_steps(Network([Population("in", "Input", 1), cells], [into]), 1e-3)
    >>> net.populations["cells"].tau_mem, net.projections["in->cells"].axonal(1)
    (array([20.]), array([2.]))
    """
    return network_in_ticks(net, dt, nearest)


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

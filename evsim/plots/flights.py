"""Spikes on their way through delays: which synapses are shown, and where a spike is when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.network import Network
from evsim.projections import Projection
from evsim.result import Result
from evsim.spikes import Spikes
from evsim.words import plain

MAX_UNITS, PER_UNIT = 12, 6  # that are shown, and synapses of each
MAX_SYNAPSES, MAX_SPIKES = 1 << 22, 1 << 16


class Flights(NamedTuple):
    """The chosen synapses of a projection, and the spikes that pass them.

    Attributes
    ----------
    projection : Projection
        Whose.
    units : int64 array [row]
        The chosen post units, by the time at which they fire.
    pre, row : int64 array [synapse]
        Where a synapse begins, and at which of the chosen units it ends.
    delay, weight : float64 array [synapse]
        [s], and without unit.
    start : float64 array [flight]
        When a spike sets out [s], sorted; only those among the first `MAX_SPIKES` of the input.
    synapse : int64 array [flight]
        Which one it passes.
    """

    projection: Projection
    units: IntArray
    pre: IntArray
    row: IntArray
    delay: FloatArray
    weight: FloatArray
    start: FloatArray
    synapse: IntArray

    @property
    def end(self) -> float:
        """When the last spike has arrived [s]; 0 if none sets out."""
        return float((self.start + self.delay[self.synapse]).max(initial=0.0))

    def at(self, time: float) -> tuple[IntArray, FloatArray]:
        """Return the synapses that hold a spike, and the share of the delay that is over."""
        late = time - self.start
        delay = self.delay[self.synapse]
        there = (late >= 0) & (late < delay)
        return self.synapse[there], late[there] / delay[there]


def find_flights(net: Network, result: Result, recording: int) -> Flights:
    """Choose the synapses to show: the strongest of the units that fire most.

    Raises
    ------
    ValueError
        If no projection with delays leads from the input to a population whose spikes were
        recorded with those of the input, or if nothing fires there or no spike arrives.
    """
    projection = _projection(net, result)
    sent = result.spikes[projection.pre][recording]
    fired = result.spikes[projection.post][recording]
    if not len(fired.times) or not len(sent.times):
        silent = projection.pre if not len(sent.times) else projection.post
        raise ValueError(
            f"recording {recording}: {plain(silent)!r} is silent; choose one with spikes"
        )
    units = _first_to_last(fired, _liveliest(fired))
    synapses = projection.synapses(sent.size)
    used = sent.counts()[0]
    chosen = []
    for unit in units:
        mine = np.flatnonzero(synapses.post == unit)
        effect = np.abs(synapses.weight[mine]) * used[synapses.pre[mine]]
        strongest = np.argsort(-effect, kind="stable")[:PER_UNIT]
        chosen.append(mine[strongest[effect[strongest] > 0]])
    k = np.concatenate(chosen)
    if not len(k):
        raise ValueError(
            f"recording {recording}: no spike of {plain(projection.pre)!r} has an effect on the "
            f"units of {plain(projection.post)!r} that fire most; there is nothing to animate"
        )
    row = np.repeat(np.arange(len(units)), [len(part) for part in chosen])
    pre = synapses.pre[k]
    delay = synapses.delay[k] + projection.axonal(sent.size)[pre]
    spike, synapse = np.nonzero(sent.units[:MAX_SPIKES, None] == pre)
    start = sent.times[spike]
    return Flights(projection, units, pre, row, delay, synapses.weight[k], start, synapse)


def _projection(net: Network, result: Result) -> Projection:
    """Return the first projection out of the input that has delays and was recorded."""
    held = plain(", ".join(result.spikes)) or "none"
    for name, projection in net.projections.items():
        if projection.pre == net.input and projection.post in result.spikes:
            if net.input not in result.spikes:
                raise ValueError(
                    f"an animation needs the spikes of {plain(net.input)!r}, but the result holds "
                    f"those of: {held}; record them: evsim simulate ... --record {plain(net.input)}"
                )
            if projection.n_synapses > MAX_SYNAPSES:
                raise ValueError(f"projection {plain(name)!r}: too many synapses for an animation")
            late = projection.axonal(net.populations[projection.pre].size)
            if late.any() or (projection.synaptic is not None and projection.synaptic.any()):
                return projection
    raise ValueError(
        f"no projection with delays leads from {plain(net.input)!r} to a population whose spikes "
        f"the result holds ({held}); there is nothing to animate"
    )


def _liveliest(fired: Spikes) -> IntArray:
    counts = fired.counts()[0]
    order = np.argsort(-counts, kind="stable")[:MAX_UNITS]
    return order[counts[order] > 0]


def _first_to_last(fired: Spikes, units: IntArray) -> IntArray:
    middle = [np.median(fired.times[fired.units == unit]) for unit in units]
    return units[np.argsort(middle, kind="stable")]

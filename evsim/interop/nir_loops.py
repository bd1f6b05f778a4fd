"""Loops without any delay: time-stepped programs imply a step there, NIR says nothing.

A synapse is on such a loop if spikes can come back through it to where they came from, and
none of the synapses on the way has a delay. Synapses of weight 0 count, for they are there in
the program that wrote the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evsim.arrays import BoolArray, FloatArray, IntArray
from evsim.projections import Dense, Projection, Sparse


@dataclass
class _Instant:
    """The synapses of a projection, and which of them may be on a loop without delay."""

    pre: IntArray
    post: IntArray
    there: BoolArray


def delay_loops(
    projections: Mapping[str, Projection], sizes: Mapping[str, int], loop_delay: float
) -> dict[str, Projection]:
    """Return the projections; every synapse on a loop without any delay has got one."""
    changed = {
        name: _later(projections[name], sizes, found, loop_delay)
        for name, found in _loops(projections, sizes, silent_too=True).items()
    }
    return {**projections, **changed}


def refuse_instant_loops(projections: Mapping[str, Projection], sizes: Mapping[str, int]) -> None:
    """Refuse a loop without any delay, and tell what helps.

    Raises
    ------
    ValueError
        Names a population on it and the projection.
    """
    for name, found in _loops(projections, sizes, silent_too=False).items():
        at = int(found.post[np.argmax(found.there)])
        raise ValueError(
            f"node {projections[name].post!r}: unit {at} is on a loop, through {name!r}, whose "
            "total delay is 0; give loop_delay, the delay [s] of synapses on such loops (of "
            "time-stepped programs: their step), or a Delay node"
        )


def _loops(
    projections: Mapping[str, Projection], sizes: Mapping[str, int], silent_too: bool
) -> dict[str, _Instant]:
    """Return the projections with synapses on loops without any delay, and which these are."""
    candidates = _on_loops(projections.values())
    found = {p.name: _instant(p, sizes[p.pre], silent_too) for p in candidates}
    inside = _on_loops(p for p in candidates if found[p.name].there.any())
    found = {p.name: found[p.name] for p in inside}
    starts = np.cumsum([0, *sizes.values()])
    base = dict(zip(sizes, starts.tolist(), strict=False))
    ends = [
        (found[p.name].pre + base[p.pre], found[p.name].post + base[p.post], found[p.name].there)
        for p in inside
    ]
    _peel(ends, int(starts[-1]))
    return {name: one for name, one in found.items() if one.there.any()}


def _on_loops(projections: Iterable[Projection]) -> list[Projection]:
    """Return those that lead to where, on a way through others, they come from."""
    projections = list(projections)
    reached: dict[str, set[str]] = {}
    for p in projections:
        reached.setdefault(p.pre, set()).add(p.post)
        reached.setdefault(p.post, set())
    for middle in reached:
        for further in reached.values():
            if middle in further:
                further |= reached[middle]
    return [p for p in projections if p.pre in reached[p.post] or p.pre == p.post]


def _instant(projection: Projection, size: int, silent_too: bool) -> _Instant:
    pre, post, weight, delay = projection.synapses(size)
    instant = projection.axonal(size)[pre] + delay == 0
    return _Instant(pre, post, instant if silent_too else instant & (weight != 0))


def _peel(ends: list[tuple[IntArray, IntArray, BoolArray]], n_units: int) -> None:
    """Take off, one after the other, the synapses that nothing leads to or from."""
    going_on = True
    while going_on:
        going_on = False
        sends, receives = np.zeros((2, n_units), bool)
        for pre, post, there in ends:
            sends[pre[there]] = receives[post[there]] = True
        for pre, post, there in ends:
            loose = there & ~(receives[pre] & sends[post])
            there[loose] = False
            going_on = going_on or bool(loose.any())


def _later(
    projection: Projection, sizes: Mapping[str, int], found: _Instant, delay: float
) -> Projection:
    """Add a delay: to all synapses of a pre unit where that will do, else one by one."""
    size, late = sizes[projection.pre], found.there
    n_late = np.bincount(found.pre[late], minlength=size)
    some = (n_late > 0) & (n_late < np.bincount(found.pre, minlength=size))
    if isinstance(projection, Dense) and (projection.synaptic is not None or some.any()):
        synaptic = np.zeros(projection.weight.shape)
        synaptic[found.post[late], found.pre[late]] = delay
        if projection.synaptic is not None:
            return replace(projection, delay=projection.synaptic + synaptic)
        axonal = short(projection.axonal(size))
        return replace(projection, delay=synaptic, axonal_delay=axonal)
    # A kernel is shared, and so is the delay of its pre unit.
    axonal = short(projection.axonal(size) + np.where(n_late > 0, delay, 0.0))
    where = "axonal_delay" if isinstance(projection, Sparse) else "delay"
    values: dict[str, Any] = {"delay": 0.0, "axonal_delay": None, where: axonal}
    return replace(projection, **values)


def short(delay: FloatArray) -> FloatArray:
    """Make a scalar of delays that are all alike."""
    return delay[0] if (delay == delay[0]).all() else delay

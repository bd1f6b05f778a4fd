"""Graphs of programs with time steps, told by their numbers.

NIR's spikes are pulses of area 1. A program with steps feeds a 1 for one step instead, and its
``r`` or ``w_in`` make up for it, so that a spike of such a graph, taken for a pulse of area 1,
lifts voltages by hundreds of thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.network import Population
from evsim.projections import Projection

LARGE = 10.0  # thresholds by which the usual spike of no network lifts a voltage
_ALIKE = 0.01  # how far the steps that nodes suggest may be apart


def doubt_of_width(
    nodes: Mapping[str, Any],
    populations: Mapping[str, Population],
    projections: Iterable[Projection],
) -> str:
    """Return what is to be said of spikes that were taken for pulses of area 1; "" if nothing.

    Parameters
    ----------
    nodes : mapping of str to node
        Of the graph.
    populations, projections
        What they were made into, with ``spike_width`` left out.
    """
    largest, where = 0.0, ""
    for projection in projections:
        lift = _lift(projection, populations[projection.post])
        if lift > largest:
            largest, where = lift, projection.post
    if largest <= LARGE:
        return ""
    step = _step(nodes)
    width = "the step [s] of that program" if step is None else f"their step, {step:.3g} s"
    option = "S" if step is None else f"{step:.3g}"
    return (
        f"node {where!r}: a spike lifts the voltage by {largest:,.0f} thresholds (its median "
        "weight), as in graphs of programs with time steps, whose spikes last a step; give "
        f"spike_width={option} (--spike-width {option}), {width}"
    )


def _lift(projection: Projection, post: Population) -> float:
    """Return how many thresholds the usual weight lifts the usual unit."""
    weights = np.abs(projection.weights)
    weights = weights[weights > 0]
    if not len(weights) or "threshold" not in post.parameters:
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


def _step(nodes: Mapping[str, Any]) -> float | None:
    """Return the step by whose inverse ``r`` or ``w_in`` are scaled, if all nodes say the same."""
    steps = [step for node in nodes.values() for step in _steps(node)]
    if not steps or max(steps) > min(steps) * (1 + _ALIKE):
        return None
    return float(np.median(steps))


def _steps(node: Any) -> list[float]:
    kind = type(node).__name__
    if kind.startswith("Cuba"):
        time, scale = node.tau_syn, node.w_in
    elif kind in ("LIF", "LI", "IF"):
        time, scale = getattr(node, "tau", 1.0), node.r
    else:
        return []
    found: FloatArray = (np.asarray(time, float) / np.asarray(scale, float)).ravel()
    scaled = bool((np.asarray(scale) > 1.0).all())  # else it says nothing
    good = scaled and len(found) > 0 and bool(((found > 0) & (found < np.inf)).all())
    return [float(np.median(found))] if good else []

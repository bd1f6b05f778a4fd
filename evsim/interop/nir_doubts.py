"""Graphs of programs with time steps, told by their numbers.

NIR's spikes are pulses of area 1. A program with steps feeds a 1 for one step instead, and its
``r`` or ``w_in`` make up for it, so that a spike of such a graph, taken for a pulse of area 1,
lifts voltages by hundreds of thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evsim.arrays import FloatArray
from evsim.doubts import large_lift
from evsim.network import Network

_ALIKE = 0.01  # how far the steps that nodes suggest may be apart


def doubt_of_width(nodes: Mapping[str, Any], net: Network) -> str:
    """Return what is to be said of spikes that were taken for pulses of area 1; "" if nothing.

    Parameters
    ----------
    nodes : mapping of str to node
        Of the graph.
    net : Network
        What it was made into, with ``spike_width`` left out.
    """
    lift = large_lift(net)
    if not lift:
        return ""
    step = _step(nodes)
    width = "the step [s] of that program" if step is None else "their step"
    option = "S" if step is None else f"{step:.3g}"
    return (
        f"{lift}, as in graphs of programs with time steps, whose spikes last a step; give "
        f"spike_width={option} (--spike-width {option}), {width}"
    )


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

"""What the clock can resolve: times against the spacing of numbers at the end of a recording.

A time t is a float64 number of seconds. At the end of a recording of duration T its neighbours
lie ``numpy.spacing(T)`` apart, 2.2e-16 s for one of a second, 1.9e-9 s for one of 10^7 s. What
is not long against that can't be simulated: it is refused by name before a run, whichever engine
runs it.
"""

from __future__ import annotations

import numpy as np

from evsim.arrays import BoolArray, FloatArray
from evsim.models import MODELS
from evsim.network import Network
from evsim.projections import Projection

# Ticks of the clock that it must span: so many digits are left within it.
PER_TIME_CONSTANT = 1 << 24
PER_WAIT = 1 << 10  # a refractory period, or the delay of a loop, which take a spike's time along


def check_clock(net: Network, duration: float) -> None:
    """Refuse a network whose times can't be resolved in recordings of a length.

    Parameters
    ----------
    net : Network
        What is going to be run.
    duration : float
        Horizon of the recordings [s].

    Raises
    ------
    ValueError
        If a time constant, a refractory period or the delay of a loop is too short against the
        spacing of numbers at the end of the recording; names population or projection, unit
        and value.
    """
    spacing = float(np.spacing(duration))
    for population in net.populations.values():
        model, where = MODELS[population.model], f"population {population.name!r}"
        for name in model.time_constants:
            _check(f"{where}: {name}", population.parameters[name], PER_TIME_CONSTANT, spacing)
        for name in model.waits:
            _check(f"{where}: {name}", population.parameters[name], PER_WAIT, spacing)
    for projection in net.projections.values():
        late = projection.axonal(net.populations[projection.pre].size)
        if projection.synaptic is not None:
            late = projection.synaptic.ravel() + late.min(initial=0.0)
        # Rare, so that the loops of the network need not be looked for each time.
        if _short(late, PER_WAIT * spacing).any() and _in_loop(net, projection):
            _check(f"{projection.where}: delay", late, PER_WAIT, spacing)


def _in_loop(net: Network, projection: Projection) -> bool:
    return any(projection.pre in group and projection.post in group for group in net.groups())


def _short(values: FloatArray, least: float) -> BoolArray:
    return (values > 0) & (values < least)


def _check(what: str, values: FloatArray, ticks: int, spacing: float) -> None:
    """Refuse values above 0 that span fewer ticks than that."""
    short = _short(values, ticks * spacing)
    if short.any():
        j = int(np.argmax(short))
        raise ValueError(
            f"{what}[{j}] = {values[j]:g} s can't be resolved: at the end of the recording "
            f"numbers are {spacing:.2g} s apart, so it must be at least {ticks * spacing:.2g} s; "
            "shorten the recording, or check the unit"
        )

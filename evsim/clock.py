"""What the clock can resolve: times against the spacing of numbers at the end of a recording.

A time t is a float64 number of seconds. At the end of a recording of duration T its neighbours
lie ``numpy.spacing(T)`` apart, 2.2e-16 s for one of a second, 1.9e-9 s for one of 10^7 s. What
is not long against that can't be simulated: it is refused by name before a run, whichever engine
runs it; as are weights and voltages beyond `LARGEST`, with which sums and products overflow.
"""

from __future__ import annotations

import numpy as np

from evsim.arrays import BoolArray, FloatArray
from evsim.errors import NotFiniteError
from evsim.models import MODELS
from evsim.network import Network
from evsim.projections import Projection
from evsim.result import Result

# Ticks of the clock that it must span: so many digits are left within it.
PER_TIME_CONSTANT = 1 << 24
PER_WAIT = 1 << 10  # a refractory period, or the delay of a loop, which take a spike's time along
LARGEST = 1e100  # of weights and voltages: their squares, and sums of those, are still numbers


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
        spacing of numbers at the end of the recording, or a weight or voltage is larger than
        `LARGEST`; names population or projection, unit and value.
    """
    spacing = float(np.spacing(duration))
    for population in net.populations.values():
        model, where = MODELS[population.model], f"population {population.name!r}"
        for name in model.time_constants:
            _check(f"{where}: {name}", population.parameters[name], PER_TIME_CONSTANT, spacing)
        for name in model.waits:
            _check(f"{where}: {name}", population.parameters[name], PER_WAIT, spacing)
        for name, rule in model.parameters.items():
            if not rule.is_time:
                _check_size(f"{where}: {name}", population.parameters[name])
    for projection in net.projections.values():
        _check_size(f"{projection.where}: {projection.weights_name}", projection.weights)
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


def _check_size(what: str, values: FloatArray) -> None:
    """Refuse weights and voltages that overflow."""
    least, most = values.min(initial=0.0), values.max(initial=0.0)
    if most <= LARGEST and -LARGEST <= least:
        return
    at = np.unravel_index(int(np.argmax(np.abs(values))), values.shape)
    raise ValueError(
        f"{what}[{', '.join(map(str, at))}] = {values[at]:g} is too large to be simulated; at most "
        f"{LARGEST:g} in size: scale weights and thresholds alike"
    )


def check_finite(result: Result) -> None:
    """Refuse a result that holds a number which is not finite.

    Raises
    ------
    NotFiniteError
        Names population, recording, unit and time.
    """
    for name, voltage in result.voltage.items():
        if not np.isfinite(voltage).all():
            b, k, j = np.argwhere(~np.isfinite(voltage))[0]
            time = f" at t = {result.voltage_times[name][k]:.6g} s"
            raise _not_finite(name, "the voltage", int(b), int(j), voltage[b, k, j], time)
    for name, output in result.output.items():
        if not np.isfinite(output).all():
            b, j = np.argwhere(~np.isfinite(output))[0]
            raise _not_finite(name, "the readout", int(b), int(j), output[b, j], "")


def _not_finite(
    name: str, what: str, recording: int, unit: int, value: float, time: str
) -> NotFiniteError:
    return NotFiniteError(
        f"population {name!r}, unit {unit}: {what} in recording {recording} is {value}{time}; "
        "its weights are too large"
    )

"""Numbers too large to compute with: refused before a run, told after it.

No result that is not finite is returned. Where two engines overflow they need not do so at the
same place, so weights and voltages from which that may come are refused by name, whichever runs.
"""

from __future__ import annotations

import numpy as np

from evsim.arrays import FloatArray
from evsim.errors import NotFiniteError
from evsim.models import MODELS
from evsim.network import Network
from evsim.result import Result

LARGEST = 1e100  # of weights and voltages: their squares, and sums of those, are still numbers


def check_magnitudes(net: Network) -> None:
    """Refuse a network with weights or voltages that are larger than `LARGEST`.

    Raises
    ------
    ValueError
        Names population or projection, index and value.
    """
    for population in net.populations.values():
        for name, rule in MODELS[population.model].parameters.items():
            if not rule.is_time:
                what = f"population {population.name!r}: {name}"
                _check(what, population.parameters[name])
    for projection in net.projections.values():
        _check(f"{projection.where}: {projection.weights_name}", projection.weights)


def _check(what: str, values: FloatArray) -> None:
    if -LARGEST <= values.min(initial=0.0) and values.max(initial=0.0) <= LARGEST:
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
        "its weights are too large, or its times too long"
    )

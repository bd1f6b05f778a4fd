"""What is asked of a run: names, times, rates and lengths, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike

import numpy as np
import numpy.typing as npt

from evsim.arrays import FloatArray
from evsim.network import Network

ENGINES = ("compiled", "reference")
MAX_RATE = 1e4  # of a unit on average, above which a population counts as running away [Hz]


def check_network(net: object) -> None:
    """Refuse what is no network, and tell how to make one."""
    if isinstance(net, Network):
        return
    what, way = type(net).__name__, "evsim.Network(populations, projections) makes one"
    if isinstance(net, (str, PathLike)):
        way = "evsim.Network.load reads a file"
    elif hasattr(net, "state_dict"):
        way = "evsim.Network.from_torch makes one of a model"
    raise TypeError(f"simulate takes a Network, not {what}; {way}")


def check_record(net: Network, record: Iterable[str] | None) -> list[str]:
    """Return the populations to record, or refuse names that can't be."""
    if record is None:
        return [p.name for p in net.populations.values() if p.spiking and p.model != "Input"]
    names = [record] if isinstance(record, str) else list(dict.fromkeys(record))
    for name in names:
        if name not in net.populations:
            raise ValueError(f"record: no population {name!r}; there are {_list(net)}")
        if not net.populations[name].spiking:
            raise ValueError(f"record: population {name!r} is a readout and has no spikes")
    return names


def check_voltage(
    net: Network, voltage: Mapping[str, npt.ArrayLike] | None
) -> dict[str, FloatArray]:
    """Return the sample times as arrays, or refuse populations without a voltage.

    An interval in place of the times is refused: it would be taken for one sample.
    """
    way = "such as voltage={%r: np.arange(0, duration, 1e-3)}"
    if voltage is not None and not isinstance(voltage, Mapping):
        first = next(iter([voltage] if isinstance(voltage, str) else voltage), net.output)
        raise TypeError(
            f"voltage = {voltage!r} names populations, but must tell their sample times [s], too, "
            + way % first
        )
    times = {}
    for name, values in (voltage or {}).items():
        if name not in net.populations or name == net.input:
            what = "the input has no voltage" if name == net.input else f"no population {name!r}"
            those = ", ".join(repr(other) for other in net.populations if other != net.input)
            raise ValueError(f"voltage: {what}; there are {those}")
        times[name] = np.asarray(values, np.float64)
        if times[name].ndim == 0:
            raise TypeError(
                f"voltage: {name!r} has a single number, {times[name]:g}, but must have an array "
                "of sample times [s], " + way % name
            )
        if times[name].ndim != 1:
            raise ValueError(f"voltage: sample times of {name!r} must be one-dimensional")
    return times


def check_sample_times(voltage: Mapping[str, FloatArray], duration: float) -> None:
    """Refuse sample times outside [0, duration]."""
    for name, times in voltage.items():
        wrong = np.flatnonzero(~((times >= 0) & (times <= duration)))
        if len(wrong):
            raise ValueError(
                f"voltage: sample time {times[wrong[0]]} s of {name!r} (index {wrong[0]}) is "
                f"outside [0, {duration}]"
            )


def _list(net: Network) -> str:
    return ", ".join(repr(name) for name in net.populations)

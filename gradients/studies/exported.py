"""What studies do with trained networks: let them decide, look at delays, give them others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evsim import Network, Simulator
from evsim.arrays import FloatArray, same_bits
from evsim.files import FileError

from ..training.trainer import used
from .interface import Measured

BINS = 16
_BATCH = 64


def network_of(folder: Path, name: str = "network.h5") -> Network:
    """Return the network that a training left in its run folder, or began with.

    Raises
    ------
    ValueError
        If it is gone, or damaged; says what to do.
    """
    path = folder / name
    if not path.exists():
        raise ValueError(f"{path} is gone; take the line of that point out of points.jsonl, too")
    try:
        return Network.load(path)
    except FileError as error:
        raise FileError(
            f"{error}; remove its folder and take the line of that point out of points.jsonl, and "
            "it is trained anew"
        ) from error


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


def delays_by_layer(net: Network, longest: float) -> Measured:
    """Return how the delays of each layer are spread, by names that end in the layer's number.

    Parameters
    ----------
    net : Network
        With delays that are learnt, or drawn and kept.
    longest : float
        That delays may have [s].

    Returns
    -------
    dict
        For layer 1, whose delays are those of inputs, 2, ...: ``mean_delay_1``,
        ``deviation_of_delays_1``, ``late_delay_1`` (the 95th percentile) [s], ``long_share_1`` (of
        delays longer than a third of the longest), ``delays_1`` (a histogram, 0 to the longest).
    """
    found: Measured = {}
    for k, delay in enumerate(delays_of(net).values(), 1):
        found |= {
            f"mean_delay_{k}": float(delay.mean()),
            f"deviation_of_delays_{k}": float(delay.std()),
            f"late_delay_{k}": float(np.quantile(delay, 0.95)),
            f"long_share_{k}": float((delay > longest / 3).mean()),
            f"delays_{k}": histogram(delay, 0.0, longest),
        }
    return found


def refuse_moved(folder: Path) -> None:
    """Refuse a network whose delays are not those that its training began with."""
    first, last = (network_of(folder, name) for name in ("initial.h5", "network.h5"))
    refuse_changed(first, last, first.projections, "delay")
    axonal = [p.name for p in first.projections.values() if p.axonal_delay is not None]
    refuse_changed(first, last, axonal, "axonal_delay")


def refuse_changed(first: Network, then: Network, names: Iterable[str], what: str) -> None:
    """Refuse numbers of some projections that are not the same to the last bit.

    Parameters
    ----------
    first, then : Network
        Before and after.
    names : iterable of str
        Of projections.
    what : str
        An attribute of them, such as ``"weight"``.

    Raises
    ------
    ValueError
        Names the projection, and says how many numbers differ.
    """
    for name in names:
        one, other = (getattr(net.projections[name], what) for net in (first, then))
        if not same_bits(one, other):
            n = int((one != other).sum()) if one.shape == other.shape else one.size
            raise ValueError(
                f"projection {name!r}: {what} was to stay as it is, but {n:,} of {one.size:,} "
                "numbers have changed"
            )


def agreement(net: Network, model: Any, test: Any) -> Measured:
    """Return how often a network run by events decides as the layers it was exported from.

    Parameters
    ----------
    net : Network
        Of the model.
    model : Sequential
        Layers of events.
    test : data set
        Recordings.

    Returns
    -------
    dict
        ``decisions_that_agree`` and ``right_by_events``, of all recordings; ``spikes`` of a
        recording, of all but inputs.
    """
    inner = [p.name for p in net.populations.values() if p.spiking and p.name != net.input]
    simulator, equal, right, fired = Simulator(net, inner, threads=1), 0, 0, 0
    for batch in test.batches(_BATCH):
        result = simulator.run(batch)
        by_events = result.output[net.output].argmax(axis=1)
        fired += sum(len(result.spikes[name].times) for name in inner)
        with torch.no_grad(), used(model):
            equal += int((model(batch).argmax(dim=1).numpy() == by_events).sum())
        right += int((by_events == batch.labels).sum())
    found = {"decisions_that_agree": equal, "right_by_events": right}
    return {**found, "spikes": fired / len(test)}


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

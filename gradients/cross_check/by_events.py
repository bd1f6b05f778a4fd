"""How the event engine decides with a network that was trained on a grid, and why otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evsim import Network, Simulator, Spikes
from evsim.requests import MAX_RATE

from ..dense.raster import to_raster
from ..training.trainer import Recordings, used
from .rounding import network_in_steps, spikes_in_steps

Decided = npt.NDArray[np.intp]
# From what is as on the grid to what is as it is.
STAGES = ("delays and times in whole steps", "delays as they are", "times too")


@dataclass
class Agreement:
    """Decisions of a network by events beside those of the model on a grid that it came from.

    Attributes
    ----------
    n : int
        Recordings.
    alike : int
        Those whose spikes are all the same, if delays and times are whole steps: all but
        for what fires again above the threshold, and what a batch norm shifts, which drifts there
        from 0 in a layer and starts there in a network.
    equal : dict of str to int
        Equal decisions of each of `STAGES`.
    right : int
        Right decisions, with everything as it is.
    equal_read, right_read
        The same where the model reads the voltages of its readout in a way that no network has,
        by reading those of the event engine alike, at the same steps; empty if it does not.
    grid_spikes, event_spikes : int
        Spikes of all units but those of the input.
    hidden : bool
        Whether they are of hidden units alone: the output does not spike.
    """

    n: int = 0
    alike: int = 0
    equal: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    right: int = 0
    equal_read: dict[str, int] = field(default_factory=dict)
    right_read: int = 0
    grid_spikes: int = 0
    event_spikes: int = 0
    hidden: bool = True

    def lines(self) -> list[str]:
        """Return it in words."""
        n, last = max(self.n, 1), STAGES[-1]
        lines = [
            f"decisions by events: {self.equal[last]:,} of {self.n:,} as on the grid "
            f"(accuracy {self.right / n:.1%})"
        ]
        if self.equal_read:
            lines.append(
                f"  by its voltages at the steps of the grid, as there: {self.equal_read[last]:,} "
                f"of {self.n:,} (accuracy {self.right_read / n:.1%})"
            )
        told = "; ".join(f"{stage}: {n:,}" for stage, n in (self.equal_read or self.equal).items())
        lines += [
            f"  {told}; the first has {self.alike:,} recordings spike for spike",
            f"  {'hidden' if self.hidden else 'hidden and output'} spikes: {self.grid_spikes:,} on "
            f"the grid, {self.event_spikes:,} by events",
        ]
        return lines


def by_events(
    net: Network, model: Any, data: Recordings, dt: float, batch_size: int = 64
) -> Agreement:
    """Compare decisions of the event engine with those of a model on a grid.

    Parameters
    ----------
    net : Network
        Exported from the model.
    model : FromSpikes
        From `Spikes` to a value per class or a count per unit; the class is the largest.
    data : Recordings
        A data set of `evsim.datasets`, or anything with ``batches``.
    dt : float
        Length of a step [s].
    batch_size : int
        Recordings at a time. A model whose recordings last as long as the longest of a batch may
        decide otherwise with another one.

    Raises
    ------
    RunawayError
        If units fire without end.
    """
    inner = [p.name for p in net.populations.values() if p.spiking and p.name != net.input]
    read = getattr(model[-1], "read", None)
    in_steps = network_in_steps(net, dt)
    told = Agreement(equal_read={} if read is None else dict.fromkeys(STAGES, 0))
    told.hidden = net.output not in inner
    for batch in data.batches(batch_size):
        with torch.no_grad(), used(model):
            decided = model(batch).argmax(dim=1).cpu().numpy()
            raster = model.raster(batch)
            fired = _fired(model, raster)
        n = raster.shape[1]
        sampled = {} if read is None else {net.output: np.arange(n)}
        exact = Simulator(net, inner, {name: at * dt for name, at in sampled.items()})
        stepped = Simulator(in_steps, inner, sampled, max_rate=MAX_RATE * dt, in_seconds=False)
        whole = spikes_in_steps(batch, dt, n)
        results = [stepped.run(whole), exact.run(_in_seconds(whole, dt)), exact.run(batch)]
        for stage, result in zip(STAGES, results, strict=True):
            found = _decided(net, result)
            told.equal[stage] += int(np.sum(found == decided))
            if read is not None:
                seen = read(torch.from_numpy(result.voltage[net.output])).argmax(dim=1).numpy()
                told.equal_read[stage] += int(np.sum(seen == decided))
        told.n += len(batch)
        told.right += int(np.sum(found == batch.labels))
        told.right_read += int(np.sum(seen == batch.labels)) if read is not None else 0
        told.alike += int(_alike(fired, [results[0].spikes[name] for name in inner]).sum())
        told.grid_spikes += sum(int(raster.sum()) for raster in fired)
        told.event_spikes += sum(len(results[-1].spikes[name].times) for name in inner)
    return told


def _decided(net: Network, result: Any) -> Decided:
    """Return the class of each recording: most spikes, or the largest value."""
    if net.populations[net.output].spiking:
        return result.spikes[net.output].counts().argmax(axis=1)
    return result.output[net.output].argmax(axis=1)


def _fired(model: Any, raster: Tensor) -> list[Tensor]:
    """Return the spikes of every spiking layer, [batch, step, unit]."""
    found = []
    for layer in model:
        if hasattr(layer, "diagnostics"):
            raster = layer(raster)
            found.append(raster.cpu())
    return found


def _alike(fired: list[Tensor], spikes: list[Spikes]) -> npt.NDArray[np.bool_]:
    """Return of which recordings all layers have the same spikes."""
    same = [
        (raster == to_raster(one, 1.0, raster.dtype)).flatten(1).all(1).numpy()
        for raster, one in zip(fired, spikes, strict=True)
    ]
    return np.all(same, axis=0)


def _in_seconds(whole: Spikes, dt: float) -> Spikes:
    return Spikes(
        whole.times * dt, whole.units, whole.offsets, whole.size, whole.duration * dt, whole.labels
    )

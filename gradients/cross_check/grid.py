"""A network on a grid of time steps, run by the dense layers for no longer than it is active.

Arrivals are listed, spike by spike, and not convolved: spikes are few and steps are many.
Once nothing can happen any more the rest of the recording is a single step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evsim import Network, Population, Spikes
from evsim.arrays import FloatArray, IntArray
from evsim.models import MODELS
from evsim.projections import Projection

from .. import dense
from ..dense.on_grid import OnGrid
from ..network_import import chain_of_layers

_SETTLED = 10.0  # time constants after which a neuron without arrivals is at rest
_ARRIVALS = 1 << 22  # that are listed at a time


@dataclass
class GridRun:
    """What a network did on a grid; voltages are at the sampled steps.

    Attributes
    ----------
    spikes : dict of str to Spikes
        By population, times are steps.
    voltage : dict of str to float64 array [recording, sample, unit]
        By population.
    output : float64 array [recording, unit] or None
        Of the readout.
    """

    spikes: dict[str, Spikes] = field(default_factory=dict)
    voltage: dict[str, FloatArray] = field(default_factory=dict)
    output: FloatArray | None = None


class _Listed(OnGrid):
    """A dense layer whose arrivals are added up one by one."""

    def arrivals(self, raster: Tensor, found: dict[str, Tensor | None]) -> Tensor:
        """Return what the input projection delivers, [batch, step, out]."""
        axonal, synaptic = self.steps(found, "", least=0)
        if synaptic is None:
            return super().arrivals(raster, found)
        weight = found["weight"]
        assert weight is not None
        late = synaptic.place if axonal is None else synaptic.place + axonal.place
        batch, n_steps, _ = raster.shape
        n_out = len(weight)
        # Whatever comes after the end is added to one more step, which is cut off.
        total = weight.new_zeros(batch * (n_steps + 1) * n_out)
        recording, step, unit = raster.nonzero().T
        unit_out = torch.arange(n_out, device=weight.device)
        for part in torch.arange(len(unit), device=weight.device).split(1 + _ARRIVALS // n_out):
            b, n, i = recording[part], step[part], unit[part]
            when = (n[:, None] + late.T[i]).clamp(max=n_steps)
            place = (b[:, None] * (n_steps + 1) + when) * n_out + unit_out
            total.index_add_(0, place.ravel(), (raster[b, n, i][:, None] * weight.T[i]).ravel())
        return total.view(batch, n_steps + 1, n_out)[:, :-1]


class _CubaLIF(_Listed, dense.CubaLIF):
    pass


class _LIF(_Listed, dense.LIF):
    pass


class _SRM(_Listed, dense.SRM):
    pass


class _CubaLI(_Listed, dense.CubaLI):
    pass


class _LI(_Listed, dense.LI):
    pass


_LAYERS: dict[str, Any] = {
    "CubaLIF": _CubaLIF, "LIF": _LIF, "SRM": _SRM, "CubaLI": _CubaLI, "LI": _LI,
    "Delay": dense.Delay,
}  # fmt: skip


def grid_model(net: Network, dt: float, device: str = "cpu") -> nn.Sequential:
    """Return the dense layers that a network is, with rounded delays.

    Raises
    ------
    ValueError
        If the network holds what no dense layer does; the message names it.
    """
    makers = {name: partial(layer, dt=dt) for name, layer in _LAYERS.items()}
    model = chain_of_layers(net, makers)
    for name, layer in model.named_children():
        if isinstance(layer, (dense.CubaLIF, dense.LIF)):
            layer.reset_mode = net.populations[name].reset_mode
    return model.to(device)


@torch.no_grad()
def run_on_grid(
    model: nn.Sequential, net: Network, spikes: Spikes, dt: float, until: float, kept: IntArray
) -> GridRun:
    """Run dense layers until nothing can happen any more.

    Parameters
    ----------
    model : Sequential
        See `grid_model`.
    net : Network
        What it was made of.
    spikes : Spikes
        Input.
    dt : float
        Length of a step [s].
    until : float
        When to look for the first time whether it is quiet [s].
    kept : int64 array [sample]
        Steps before then at which voltages are kept.

    Returns
    -------
    GridRun
        Of the whole duration.
    """
    while True:
        duration = min(until, spikes.duration)
        found = _run(model, spikes.before(duration), dt, spikes.duration, kept)
        last = {name: dt * last_spikes(s) for name, s in found.spikes.items()}
        quiet = quiet_after(net, {net.input: last_spikes(spikes), **last}, dt).max()
        if duration >= spikes.duration or quiet <= until:
            return found
        until = float(quiet)


def quiet_after(net: Network, last: dict[str, FloatArray], dt: float) -> FloatArray:
    """Return when nothing can happen any more.

    Parameters
    ----------
    net : Network
        What is at rest then.
    last : dict of str to float64 array [recording]
        Last spike of every spiking population [s], -inf if there is none.
    dt : float
        Length of a step [s]: delays and refractory periods are rounded to it.

    Returns
    -------
    float64 array [recording]
        The last arrival, ten time constants and a refractory period later [s].
    """
    arrival = [last[p.pre] + longest_delay(net, p) for p in net.projections.values()]
    settling = max(map(_settling, net.populations.values()))
    return np.max(arrival, axis=0).clip(min=0) + settling + 3 * dt


def last_spikes(spikes: Spikes) -> FloatArray:
    """Return the time of the last spike of every recording, -inf if there is none."""
    last = np.full(len(spikes), -np.inf)
    some = np.diff(spikes.offsets) > 0
    last[some] = spikes.times[spikes.offsets[1:][some] - 1]
    return last


def longest_delay(net: Network, projection: Projection) -> float:
    """Return the longest delay of a projection [s]."""
    axonal = projection.axonal(net.populations[projection.pre].size).max(initial=0.0)
    own = 0.0 if projection.synaptic is None else projection.synaptic.max(initial=0.0)
    return float(axonal + own)


def _settling(population: Population) -> float:
    """Return how long after the last arrival a unit may still fire or reach its maximum [s]."""
    model = MODELS[population.model]
    if model.only_relaxes:
        return 0.0
    waited = sum(float(population.parameters[name].max()) for name in model.waits)
    return float(_SETTLED * population.taus.max() + waited)


def _run(
    model: nn.Sequential, spikes: Spikes, dt: float, horizon: float, kept: IntArray
) -> GridRun:
    """Run for the duration of the spikes, then in one step to the horizon."""
    run = GridRun()
    dtype, device = torch.float64, next(model.parameters()).device
    raster = dense.to_raster(spikes, dt, dtype).to(device)
    layer: Any
    for name, layer in model.named_children():
        if isinstance(layer, dense.Delay):
            raster = layer(raster)
            continue
        if isinstance(layer, (dense.CubaLI, dense.LI)):
            output, voltage = layer.run(raster, horizon)
            run.output = output.cpu().numpy()
        else:
            raster, voltage = layer.run(raster)
            run.spikes[name] = dense.to_spikes(raster, 1.0)
        run.voltage[name] = voltage[:, kept].cpu().numpy()
    return run

"""The differentiable reference: a time-stepped network that autograd goes through.

An independent witness for the exact gradients of the event layers on networks that are too
large for finite differences. It knows no adjoint and has no backward pass of its own: float64,
ordinary torch operations, and spike times that are solved for inside a step. How far it is
from the event layers is told by `evsim.gradients.reference.comparison`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.quantities import positive
from evsim.spike_checks import check_size

from ..layers import Delay, Readout
from ..synapses import Spiking, Synapses
from ..tensors import as_tensors
from .cells import Cells, CubaLIFCells, SRMCells
from .readouts import observe
from .traffic import Grid, Traffic

_CELLS: dict[str, Any] = {"CubaLIF": CubaLIFCells, "SRM": SRMCells}


def reference_run(model: nn.Module, spikes: Spikes, dt: float) -> Spikes | Tensor:
    """Run a model of event layers in small steps, so that autograd gives its gradients.

    Parameters
    ----------
    model : Module
        A layer of `evsim.gradients`, or ``Sequential`` of such layers. Its own parameters are
        used: a backward pass from the result fills their ``grad``.
    spikes : Spikes
        Input, of arrays or tensors; times may be in the autograd graph.
    dt : float
        Longest step [s]. A recording is cut into equal steps.

    Returns
    -------
    Spikes or float64 Tensor
        What the model returns: spikes with times in the graph, or values of a readout.

    Raises
    ------
    ValueError
        If the model holds other layers, a step is longer than a recurrent delay, or a unit
        would fire twice in a step.

    Notes
    -----
    Between events the state is linear, so a step multiplies it by constants and adds what has
    arrived, each arrival with the closed form of its own time since then: a delay or an input
    time has a derivative although it falls inside a step. A spike time is interpolated by a
    parabola, with an error of third order in dt; two Newton steps double the order twice, and
    the derivative of the second one has the order before it (``exact.crossings``). So spike
    times converge with order 12, gradients with order 6, down to rounding. A second crossing
    of a unit in the same step is lost if the unit is below the threshold again at the end of
    the step. The bound on gradients that a layer may have is not applied.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> _ = torch.manual_seed(0)
    >>> model = g.CubaLIF(3, 4, tau_mem=20e-3, tau_syn=5e-3, delay="axonal")
    >>> spikes = Spikes([0.01, 0.02, 0.03], [0, 1, 2], size=3, duration=0.1)
    >>> fired = reference_run(model, spikes, dt=1e-4)
    >>> fired
    Spikes(1 recordings, 10 spikes, size=4, duration=0.1)
    >>> bool((fired.times - model(spikes).times).abs().max() < 1e-9)
    True
    """
    return reference_layers(model, spikes, dt)[-1]


def reference_layers(model: nn.Module, spikes: Spikes, dt: float) -> list[Any]:
    """Return what every layer of a model returns in `reference_run`.

    Parameters
    ----------
    model, spikes, dt
        As for `reference_run`.

    Returns
    -------
    list of (Spikes or float64 Tensor)
        One after another; the last is the model's output.

    Raises
    ------
    ValueError
        As in `reference_run`.
    """
    spikes = as_tensors(spikes, "the reference")
    positive("dt", dt, "s")
    outputs: list[Any] = []
    for layer in layers_of(model):
        flowing = outputs[-1] if outputs else spikes
        if isinstance(layer, Delay):
            outputs.append(layer(flowing))
        else:
            outputs.append(_run(layer, flowing, Grid.over(spikes.duration, dt)))
    return outputs


def layers_of(model: nn.Module) -> list[Any]:
    """Return the layers of a model one after another."""
    if isinstance(model, nn.Sequential):
        return [layer for part in model for layer in layers_of(part)]
    if not isinstance(model, (Delay, Spiking, Readout)):
        raise ValueError(
            "the reference runs layers of evsim.gradients and Sequential of them, not "
            f"{type(model).__name__}"
        )
    return [model]


def _run(layer: Synapses, spikes: Any, grid: Grid) -> Spikes | Tensor:
    check_size(spikes, layer.in_features, f"the layer has {layer.in_features} inputs")
    n, n_recordings = layer.out_features, len(spikes)
    tensors = {k: v.double() for k, v in layer.tensors().items() if v is not None}
    p = {name: tensors[name].expand(n).repeat(n_recordings) for name in layer.cells}
    into = _traffic(tensors, "", grid)
    into.send(spikes.recordings(), spikes.units, spikes.times)
    if isinstance(layer, Readout):
        values = observe(layer, p, into, grid).unflatten(0, (n_recordings, n))
        return values if layer.at is None else values.movedim(1, 2)
    cells = _CELLS[layer.model](p, torch.tensor(grid.dt, dtype=torch.float64))
    loop = _loop(tensors, grid) if layer.recurrent is not None else None
    fired, times = _fire(cells, n, into, loop, grid)
    return _sorted(spikes, n, fired, times)


def _loop(tensors: dict[str, Tensor], grid: Grid) -> Traffic:
    loop = _traffic(tensors, "recurrent_", grid)
    shortest = loop.delay.min().item()
    if shortest < grid.dt:
        raise ValueError(
            f"dt = {grid.dt:g} s is longer than the shortest recurrent delay, {shortest:g} s"
        )
    return loop


def _traffic(tensors: dict[str, Tensor], prefix: str, grid: Grid) -> Traffic:
    weight = tensors[f"{prefix}weight"]
    delay = torch.zeros_like(weight)
    for name in (f"{prefix}axonal_delay", f"{prefix}delay"):
        if name in tensors:
            delay = delay + tensors[name]
    return Traffic(weight, delay, grid)


def _fire(
    cells: Cells, n: int, into: Traffic, loop: Traffic | None, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Step through a recording; return cells and times of all spikes, step by step."""
    spikes = [(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64))]
    for k in range(grid.n_steps):
        arrivals = into.due(k)
        if loop is not None:
            arrivals = arrivals.and_also(loop.due(k))
        fired, times = cells.step(*grid.ends(k), arrivals)
        if len(fired):
            spikes.append((fired, times))
            if loop is not None:
                loop.send(fired // n, fired % n, times, k + 1)
    fired, times = (torch.cat(part) for part in zip(*spikes, strict=True))
    return fired, times


def _sorted(spikes: Spikes, n: int, cells: Tensor, times: Tensor) -> Spikes:
    """Return spikes of cells sorted by recording, time, unit."""
    recordings, units = cells // n, cells % n
    order = torch.arange(len(cells))
    for key in (units, times.detach(), recordings):
        order = order[torch.argsort(key[order], stable=True)]
    counts = torch.bincount(recordings, minlength=len(spikes))
    offsets: Any = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    sorted_times: Any = times[order]
    sorted_units: Any = units[order]
    return spikes.replace(sorted_times, sorted_units, offsets, size=n)

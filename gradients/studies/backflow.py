"""How an error flows back through a late loop: by a surrogate on a grid, or exactly.

Time is counted in steps: a recording has `N_STEPS`, on the grid and as events, which have no
steps but the same time constants and delays.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from evsim import Spikes

from .. import dense
from .. import layers as events
from ..dense.raster import to_raster

GRID, CURRENTS, EXACT = "grid", "grid, currents", "exact"
GRADIENTS = (GRID, CURRENTS, EXACT)
N_STEPS, TAU, TAU_SYN = 128, 2, 1  # of a recording; time constants [steps]
KEPT = exp(-1 / TAU)
_CURRENT = TAU / TAU_SYN  # weight of a current whose voltage has the integral of an arrival of 1
_DRIVE = 3.0  # deviation of what one spike of every input unit adds, in thresholds
_FROM, _TO = 20, 110  # steps before the end, between which growth is fitted

Floats = npt.NDArray[np.float64]


class Flow(NamedTuple):
    """An error on its way back.

    Attributes
    ----------
    error : array [recording, step]
        At the input: root mean square over its units, or over the spikes in a step.
    norm : float
        Of the gradient by the loop's weights, in thresholds.
    """

    error: Floats
    norm: float


def network(
    gradient: str, strength: float, delays: Tensor, sizes: tuple[int, int, int], dt: float,
    seed: int,
) -> nn.Sequential:  # fmt: skip
    """Return a layer with a loop, and a readout of its last voltage.

    Parameters
    ----------
    gradient : str
        Of `GRADIENTS`. ``"grid"`` is `LIF` as DelRec has it on SSC: soft reset, fires again,
        a triangle, nothing detached. The others are one network of `CubaLIF` on the grid and
        as events, with a refractory period of a step, for there is one spike in a step.
    strength : float
        Of the loop, an orthogonal matrix times this: all its singular values.
    delays : tensor [unit]
        Of the loop [steps]; which unit has which is drawn.
    sizes : tuple of int
        Inputs, units, classes.
    dt : float
        Length of a step [s].
    seed : int
        Of all weights, which are the same for all networks.
    """
    n_in, n, n_classes = sizes
    drawn = torch.Generator().manual_seed(seed)
    into, around, out = (
        torch.randn(shape, generator=drawn, dtype=torch.float64)
        for shape in ((n, n_in), (n, n), (n_classes, n))
    )
    late = delays[torch.randperm(n, generator=drawn)]
    options: dict[str, Any] = {
        "tau_mem": TAU * dt, "recurrent": "dense", "recurrent_delay": "axonal",
        "recurrent_max_delay": N_STEPS * dt, "dtype": torch.float64,
    }  # fmt: skip
    currents: dict[str, Any] = {"tau_syn": TAU_SYN * dt, "refractory": dt}
    grid: dict[str, Any] = {"dt": dt, "detach_reset": False, "surrogate": "triangle"}
    read: dict[str, Any] = {"tau_mem": TAU * dt / 2, "output": "last", "dtype": torch.float64}
    layer: Any
    if gradient == GRID:
        layer = dense.LIF(n_in, n, reset_mode="soft", refire=True, **grid, **options)
    elif gradient == CURRENTS:
        layer = dense.CubaLIF(n_in, n, **grid, **currents, **options)
    else:
        layer = events.CubaLIF(n_in, n, **currents, **options)
    exact = gradient == EXACT
    readout = events.LI(n, n_classes, **read) if exact else dense.LI(n, n_classes, dt=dt, **read)
    one = unit(layer)
    with torch.no_grad():
        layer.weight.copy_(into * one * _DRIVE / sqrt(n_in))
        layer.recurrent_weight.copy_(torch.linalg.qr(around)[0] * one * strength)
        layer.recurrent_delay.copy_(late * dt).requires_grad_(False)
        readout.weight.copy_(out / sqrt(n))
    return nn.Sequential(layer, readout)


def outputs(model: nn.Sequential, batch: Spikes) -> tuple[Tensor, Tensor]:
    """Return the last voltages, and what was put in: a raster, or times."""
    dt = getattr(model[0], "dt", None)
    if dt is None:
        spikes = batch.torch()
        times: Any = spikes.times
        times.requires_grad_()
        return model(spikes), times
    raster = to_raster(batch, dt, torch.float64).requires_grad_()
    return model(raster), raster


def back(model: nn.Sequential, batch: Spikes) -> Flow:
    """Follow the gradient of a cross-entropy back to the input and to the loop's weights."""
    model.zero_grad()
    values, entered = outputs(model, batch)
    cross_entropy(values, torch.as_tensor(batch.labels)).backward()
    assert entered.grad is not None
    felt = len(batch) * entered.grad.numpy()  # of each recording's own loss
    error = rms(felt, 2) if felt.ndim == 3 else _by_steps(felt, batch)
    layer: Any = model[0]
    return Flow(error, unit(layer) * float(layer.recurrent_weight.grad.norm()))


def growth_of(error: Floats) -> Floats:
    """Return by what errors [recording, step] grow in a step back, of each recording.

    That is the slope of their logarithm, by least squares; steps without an error don't count,
    and recordings with less than two others are left out.
    """
    found, steps = [], np.arange(_FROM, _TO)
    for one in error[:, ::-1][:, _FROM:_TO]:
        there = one > 0
        if there.sum() > 1:
            found.append(np.polyfit(steps[there], np.log(one[there]), 1)[0])
    return np.exp(found)


@torch.no_grad()
def mean_squares(model: nn.Sequential, batches: list[Spikes]) -> tuple[float, float]:
    """Return those of what units of `GRID` keep in a step, and of their spikes' derivative."""
    layer: Any = model[0]
    kept, sent = [], []
    for batch in batches:
        fired, after = layer.run(to_raster(batch, layer.dt, torch.float64))
        slope = layer.surrogate(after + fired - 1)  # a spike has subtracted the threshold, 1
        kept.append(float((KEPT * (1 - slope)).square().mean()))
        sent.append(float(slope.square().mean()))
    return float(np.mean(kept)), float(np.mean(sent))


def rms(values: Floats, axis: int) -> Floats:
    """Return root mean squares along an axis."""
    found: Floats = np.sqrt((values**2).mean(axis))
    return found


def unit(layer: nn.Module) -> float:
    """Return the weight that counts as one threshold."""
    return 1.0 if isinstance(layer, dense.LIF) else _CURRENT


def _by_steps(values: Floats, batch: Spikes) -> Floats:
    """Return root mean squares of what spikes have, [recording, step]; 0 without spikes."""
    steps = (batch.times / batch.duration * N_STEPS).astype(int)
    at, size = batch.recordings() * N_STEPS + steps, len(batch) * N_STEPS
    squares, there = np.bincount(at, values**2, size), np.bincount(at, minlength=size)
    return np.sqrt(squares / there.clip(1)).reshape(len(batch), N_STEPS)

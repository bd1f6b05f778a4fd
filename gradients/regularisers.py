"""Terms to be added to a loss: units fire neither too little nor too much, delays stay short.

`silent_loss` lifts units that don't fire, by an exact gradient. A spike count has none, or
only 0: `spike_counts` has one made by hand, for `spike_count_regulariser` and any other loss
on counts. Both are means over the recordings of a batch. `delay_penalty` is of the model alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from evsim import Spikes
from evsim.quantities import positive

from .delays import Delayed, free_delay
from .functional import slopes
from .losses import batch_mean, places
from .tensors import as_tensors


def silent_loss(peaks: Tensor) -> Tensor:
    """Return how far silent units stay below their threshold; exact, it wakes them up.

    Parameters
    ----------
    peaks : tensor [recording, unit]
        Peak voltages minus thresholds, 0 where a unit fired, as ``layer.peak_voltage`` gives.

    Returns
    -------
    tensor []
        Mean over the recordings; 0 if there are none.

    Notes
    -----
    Sum over units of threshold - peak. It is linear because a square would fade before the
    unit fires. Where it is enough that a unit fires in some recording of the batch, pass
    ``peaks[:, (peaks < 0).all(dim=0)]``. A unit whose voltage never rises has no gradient.

    Examples
    --------
    >>> silent_loss(torch.tensor([[-0.5, 0.0], [-0.25, -0.25]]))
    tensor(0.5000)
    """
    if peaks.ndim != 2:
        raise ValueError(f"peaks: shape {list(peaks.shape)}, must be [recording, unit]")
    return batch_mean(-peaks.sum(dim=1))


def spike_counts(spikes: Spikes) -> Tensor:
    """Return how often every unit fired, with a gradient made by hand.

    Parameters
    ----------
    spikes : Spikes
        As a spiking layer returned them.

    Returns
    -------
    float64 tensor [recording, unit]
        Counts.

    Raises
    ------
    TypeError
        If ``spikes`` are something else; the message tells how to make `Spikes` of it.
    ValueError
        If a time or unit is not legal, or the spikes have a gradient, but do not come from a
        spiking layer directly.

    Notes
    -----
    The derivative of a count is 0 or does not exist. In its place, that with respect to the
    voltage just before each of the spikes is taken to be 1 per unit of voltage: dN/dV(t_k) = 1.
    A voltage higher by dV makes the spike earlier by dV / V'(t_k), so what the layer is told is
    dN/dt_k = -V'(t_k). Units without a spike get nothing, see `silent_loss`.

    Examples
    --------
    >>> spike_counts(Spikes([0.1, 0.2, 0.2], [0, 0, 2], size=3, duration=0.5))
    tensor([[2., 0., 1.]], dtype=torch.float64)
    """
    spikes = as_tensors(spikes, "spike_counts")
    times = torch.as_tensor(spikes.times)
    slope = slopes(spikes) if times.requires_grad else times
    n_places = len(spikes) * spikes.size
    counts: Tensor = _Count.apply(times, slope, places(spikes), n_places)
    return counts.reshape(len(spikes), spikes.size)


def spike_count_regulariser(
    spikes: Spikes, target: float | npt.ArrayLike | Tensor, strength: float = 1.0
) -> Tensor:
    """Return how far the spike counts of units are from a target, to be added to a loss.

    Parameters
    ----------
    spikes : Spikes
        As a spiking layer returned them.
    target : float or array [unit]
        Spikes per recording, on average over the batch, >= 0.
    strength : float
        Factor, > 0.

    Returns
    -------
    float64 tensor []
        The term; 0 if there are no recordings.

    Raises
    ------
    ValueError
        As for `spike_counts`, or if a number is not legal.

    Notes
    -----
    strength/2 sum over units of (n - target)^2, n the mean count over the B recordings. Its
    gradient is made by hand, see `spike_counts`: at each spike the costate of the voltage,
    dL/dV, gets strength (n - target) / B. That is the kick of Nowotny, Turner and Knight,
    arXiv 2212.01232, whose lambda_V = -dL/dV / tau_mem changes by -(r/B^2) (N - target B) for
    N = n B spikes in the batch: strength = r tau_mem.

    Examples
    --------
    >>> spikes = Spikes([0.1, 0.2, 0.2], [0, 0, 2], size=3, duration=0.5)
    >>> float(spike_count_regulariser(spikes, target=1.0))
    1.0
    """
    spikes = as_tensors(spikes, "spike_count_regulariser")
    wanted = torch.as_tensor(target, dtype=torch.float64)
    if wanted.shape not in ((), (spikes.size,)):
        raise ValueError(f"target: shape {list(wanted.shape)}, must be [] or [{spikes.size}]")
    if not ((wanted >= 0) & wanted.isfinite()).all():
        raise ValueError("target: must be finite and >= 0")
    strength = positive("strength", strength)
    counts = spike_counts(spikes)
    if len(counts) == 0:
        return counts.sum()
    return strength / 2 * (counts.mean(dim=0) - wanted).square().sum()


def delay_penalty(model: nn.Module, strength: float | npt.ArrayLike | Tensor) -> Tensor:
    """Return the squares of a model's delays, which pull them towards 0.

    Parameters
    ----------
    model : Module
        A layer, or a model of layers.
    strength : float or array [layer]
        Factor [1/s^2], >= 0: of all layers, or one for each that has learnt delays, in the
        order of ``model.modules()``. A layer's input and loop count together.

    Returns
    -------
    tensor []
        Sum over layers of strength times the sum of squares of the delays [s^2], without those
        of synapses that a mask leaves out; 0 if there are none. Where delays lie on a grid
        (`evsim.gradients.lowbit.DelayGrid`) the free ones behind it are taken.

    Raises
    ------
    ValueError
        If a strength is negative or not finite, or there are not as many as layers.

    Notes
    -----
    The regulariser of Sun et al., Exploiting heterogeneous delays for efficient computation in
    low-bit neural networks (2025), whose delays are in steps: theirs times 1/dt^2.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> layer = g.CubaLI(2, 2, 20e-3, 5e-3, delay="axonal")
    >>> _ = torch.nn.init.constant_(layer.delay, 10e-3)
    >>> round(float(delay_penalty(layer, 100.0)), 6)
    0.02
    """
    layers = [part for part in model.modules() if isinstance(part, Delayed) and part.delay_limits()]
    factors = torch.as_tensor(strength, dtype=torch.float64)
    if factors.shape not in ((), (len(layers),)):
        raise ValueError(
            f"strength: shape {list(factors.shape)}, must be [] or [{len(layers)}], one number per "
            "layer that has delays"
        )
    if not ((factors >= 0) & factors.isfinite()).all():
        raise ValueError(f"strength = {factors.tolist()}, must be finite and >= 0 [1/s^2]")
    total = torch.zeros(())
    for factor, layer in zip(factors.expand(len(layers)).tolist(), layers, strict=True):
        for delay in _present_delays(layer):
            total = total + factor * delay.square().sum()
    return total


def _present_delays(layer: Any) -> Iterator[Tensor]:
    """Yield the delays of a layer, without those of synapses that are not there."""
    for name in layer.delay_limits():
        delay, mask = free_delay(layer, name), getattr(layer, name.replace("delay", "mask"), None)
        yield delay if mask is None or mask.shape != delay.shape else delay[mask]


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times: Tensor, slope: Tensor, places: Tensor, n: int) -> Tensor:
        ctx.save_for_backward(slope, places)
        return torch.bincount(places, minlength=n).to(times.dtype)

    @staticmethod
    def backward(ctx: Any, g_counts: Tensor) -> Any:
        slope, places = ctx.saved_tensors
        return -slope * g_counts[places], None, None, None

"""Between spikes and rasters: counts [batch, step, unit], where step n stands for time n dt.

A raster rounds every spike time to the nearest step; on the way back nothing is lost.
"""

from __future__ import annotations

from math import ceil, inf

import numpy as np
import torch
from torch import Tensor

from evsim import Spikes
from evsim.quantities import positive
from evsim.taken_spikes import as_spikes

MOST_STEPS = 1 << 40  # more than any memory holds


def to_raster(
    spikes: Spikes,
    dt: float,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return how many spikes each unit has at each step.

    Parameters
    ----------
    spikes : Spikes
        Of arrays or tensors.
    dt : float
        Length of a step [s].
    dtype : torch.dtype or None
        Of the raster; torch's default if left out.
    device : device or None
        Where it goes; where tensors are, if left out.

    Returns
    -------
    tensor [batch, step, unit]
        As many steps as begin before ``spikes.duration``. A spike that rounds to the
        horizon is beyond it, and left out.

    Raises
    ------
    TypeError
        If ``spikes`` are something else; the message tells how to make `Spikes` of it.
    ValueError
        If a time or unit is not legal (recording and index are named), or ``dt`` is not a
        positive number.

    Examples
    --------
    >>> spikes = Spikes([0.001, 0.0011, 0.003], [0, 0, 1], size=2, duration=0.004)
    >>> to_raster(spikes, 1e-3)[0].T
    tensor([[0., 2., 0., 0.],
            [0., 0., 0., 1.]])
    """
    spikes = as_spikes(spikes, "to_raster")
    positive("dt", dt, "s")
    if device is None and torch.is_tensor(spikes.times):
        device = spikes.times.device
    spikes = spikes.to("cpu")
    recordings, times, units = (
        torch.as_tensor(a) for a in (spikes.recordings(), spikes.times, spikes.units)
    )
    n = n_steps(spikes.duration, dt)
    step = (times.detach() / dt).round().long()
    inside = step < n
    where = (recordings[inside], step[inside], units[inside])
    raster = torch.zeros(len(spikes), n, spikes.size, dtype=dtype)
    one = torch.ones((), dtype=raster.dtype)
    return raster.index_put(where, one, accumulate=True).to(device)


def to_spikes(raster: Tensor, dt: float) -> Spikes:
    """Return the spikes of a raster.

    Parameters
    ----------
    raster : tensor [batch, step, unit]
        Whole numbers, not negative.
    dt : float
        Length of a step [s].

    Returns
    -------
    Spikes
        Of arrays; its duration is that of all steps.

    Raises
    ------
    ValueError
        If the raster has another shape, or an entry that is no count.

    Examples
    --------
    >>> to_spikes(torch.tensor([[[0, 0], [2, 0], [0, 1]]]), 1e-3).times
    array([0.001, 0.001, 0.002])
    """
    positive("dt", dt, "s")
    counts = raster.detach().cpu()
    if counts.ndim != 3 or counts.shape[1] == 0:
        raise ValueError(f"raster: shape {list(raster.shape)}, must be [batch, step, unit]")
    wrong = ~((counts >= 0) & (counts == counts.round()) & (counts < inf))
    if wrong.any():
        b, n, j = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"raster[{b}, {n}, {j}] = {counts[b, n, j].item():g}, must be a number of spikes"
        )
    where = counts.nonzero()
    batch, step, units = where.repeat_interleave(counts[tuple(where.T)].long(), 0).numpy().T
    offsets = np.searchsorted(batch, np.arange(len(counts) + 1))
    return Spikes(step * dt, units, offsets, counts.shape[2], counts.shape[1] * dt)


def n_steps(duration: float, dt: float) -> int:
    """Return the number of steps that begin before ``duration`` [s]; one at least.

    Raises
    ------
    ValueError
        If there are more than `MOST_STEPS`.
    """
    if duration > MOST_STEPS * dt:
        raise ValueError(f"dt = {dt:g} s: too many steps for {duration:g} s; check the unit")
    # A duration that is a multiple of dt, but for rounding, has no further step.
    return max(1, ceil(duration / dt * (1 - 1e-9)))

"""First weights with which layers of the grid fire as much as wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SPAN = 64.0  # of factors
_STEPS = 10  # of the search for them


@torch.no_grad()
def scale_weights(
    layer: Any, raster: Tensor, wanted: float, low: float, high: float
) -> tuple[float, Tensor]:
    """Scale the weights of a layer until its units have a number of spikes on average.

    Parameters
    ----------
    layer : dense layer
        One that spikes.
    raster : tensor [batch, step, unit]
        What it is given.
    wanted : float
        Spikes of a unit in a recording, on average.
    low, high : float
        Between which the factor is searched for.

    Returns
    -------
    factor : float
        Of the weights it had.
    fired : tensor [batch, step, unit]
        Its spikes with the new ones.
    """
    first, factor, fired = layer.weight.clone(), 1.0, raster
    for _ in range(_STEPS):
        factor = (low * high) ** 0.5
        layer.weight.copy_(first * factor)
        fired = layer(raster)
        low, high = (factor, high) if mean_count(fired) < wanted else (low, factor)
    return factor, fired


def mean_count(fired: Tensor) -> float:
    """Return how many spikes a unit has in a recording, on average."""
    return float(fired.sum(1).mean())

"""Inputs that are values, told by several units whose spikes are worth different parts of them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Worth(nn.Module):
    """A parametrisation of weights: one per unit for the value, times what a spike is worth.

    Parameters
    ----------
    worth : float array [unit]
        Of a spike of each input unit.
    """

    worth: Tensor

    def __init__(self, worth: npt.ArrayLike) -> None:
        super().__init__()
        # It is known from the data; checkpoints need not hold it.
        self.register_buffer("worth", torch.as_tensor(worth).float(), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return weights [out, in] of those of one input, [out, 1]."""
        return weight * self.worth


def take_values(layer: Any, worth: npt.ArrayLike) -> None:
    """Let a layer of one input take it from several units, with as many weights as before.

    Parameters
    ----------
    layer : Module
        A layer with ``in_features`` of 1, changed in place. Its ``weight`` becomes
        [out, units], that of one input times ``worth``; so a network has it.
    worth : float array [unit]
        What a spike of each unit adds to the value.

    Raises
    ------
    ValueError
        If the layer has other than one input, or delays of it.

    Examples
    --------
    >>> from evsim.gradients.dense import LIF
    >>> layer = LIF(1, 2, tau_mem=10e-3, dt=1e-3)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> take_values(layer, [1 / 3, 2 / 3])
    >>> layer.in_features, layer.weight[0].tolist(), sum(p.numel() for p in layer.parameters())
    (2, [1.0, 2.0], 2)
    """
    if layer.in_features != 1:
        raise ValueError(f"the layer has {layer.in_features} inputs; one value is one input")
    if layer.delay_kind is not None:
        raise ValueError(
            f"delay = {layer.delay_kind!r}: the layer's input can't be late; leave it out"
        )
    parametrize.register_parametrization(layer, "weight", Worth(worth), unsafe=True)
    layer.in_features = layer.weight.shape[1]

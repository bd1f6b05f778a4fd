"""Delays where paper A has them: behind hidden units, and none behind inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..constructors import arguments_for


@torch.no_grad()
def give_axons_delays(model: nn.Sequential, longest: float) -> None:
    """Give all layers but the first axonal delays, in place of the layers as they are.

    Parameters
    ----------
    model : Sequential
        Of layers of events without delays.
    longest : float
        Delays are drawn from 0 to it [s].

    Examples
    --------
    >>> from evsim.gradients.training.start import delay_model
    >>> model = delay_model(4, [3, 2], 2, delay="none")
    >>> give_axons_delays(model, 0.1)
    >>> [None if layer.delay is None else len(layer.delay) for layer in model]
    [None, 3, 2]
    """
    for i in range(1, len(model)):
        layer: Any = model[i]
        late = type(layer)(**{**arguments_for(layer), "delay": "axonal", "max_delay": longest})
        late.weight.copy_(layer.weight)
        model[i] = late

"""Time constants that are trained, kept within a range: they must stay above 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from evsim.models import MODELS

from ..synapses import Synapses
from .method import Method

SPAN = 10.0  # a time constant stays between a tenth and ten times of what it was


def time_learning(method: Method) -> Method:
    """Return a method whose optimiser keeps trained time constants in their range."""

    def optimizer(model: nn.Module, options: Any) -> torch.optim.Optimizer:
        found = method.optimizer(model, options)
        hold_time_constants(model, found)
        return found

    return replace(method, optimizer=optimizer)


def hold_time_constants(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Have an optimiser keep time constants near what they are now, after each of its steps.

    Parameters
    ----------
    model : Module
        Of layers; what is not trained is left alone.
    optimizer : Optimizer
        Of torch.

    Returns
    -------
    handle
        Its ``remove()`` undoes it.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> layer = g.CubaLIF(1, 1, 20e-3, 5e-3, learn="tau_mem").double()
    >>> optimizer = torch.optim.SGD([layer.tau_mem], lr=1.0)
    >>> _ = hold_time_constants(layer, optimizer)
    >>> layer.tau_mem.grad = torch.ones_like(layer.tau_mem)
    >>> optimizer.step()
    >>> round(layer.tau_mem.item(), 9)
    0.002
    """
    limits = [(p, p.detach() / SPAN, p.detach() * SPAN) for p in _trained(model)]

    @torch.no_grad()
    def hold(*_: Any) -> None:
        for parameter, low, high in limits:
            parameter.clamp_(low, high)

    return optimizer.register_step_post_hook(hold)


def _trained(model: nn.Module) -> Iterator[Tensor]:
    for layer in model.modules():
        if isinstance(layer, Synapses):
            for name in MODELS[layer.model].time_constants:
                parameter = getattr(layer, name)
                if isinstance(parameter, nn.Parameter) and parameter.requires_grad:
                    yield parameter

"""Delays as parameters: where they start, and how they are kept between their limits.

The default is a projection: after a step, what has left the limits is put back on the wall.
It lets a delay reach 0 exactly and leaves gradients as they are. Two things help it:
`hold_delays` also clears the optimiser's momentum at the wall, which would otherwise hold
the delay there for long; `Bounded` is the alternative, a parametrisation without walls, in
which 0 is never reached and gradients shrink on the way there.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_MOMENTS = ("exp_avg", "momentum_buffer")  # of Adam and its kin, of SGD


@runtime_checkable
class Delayed(Protocol):
    """A module that has delays."""

    def delay_limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits [s] of every parameter that is a delay, by name."""
        ...


class Bounded(nn.Module):
    """A parametrisation that keeps a delay inside (low, high) by a sigmoid.

    Parameters
    ----------
    low, high : float
        Limits [s].

    Examples
    --------
    >>> from evsim import gradients as g
    >>> layer = g.Delay(3, max_delay=0.05)
    >>> _ = parametrize.register_parametrization(layer, "delay", Bounded(0.0, 0.05))
    >>> bool(((layer.delay > 0) & (layer.delay < 0.05)).all())
    True
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, free: Tensor) -> Tensor:
        """Return the delay."""
        return self.low + (self.high - self.low) * torch.sigmoid(free)

    def right_inverse(self, delay: Tensor) -> Tensor:
        """Return the free parameter of a delay; one at a wall is taken a little inside."""
        share = (delay - self.low) / (self.high - self.low)
        return torch.logit(share, eps=1e-4)


@torch.no_grad()
def keep_delays(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Put every delay of a module back between its limits.

    Layers do this themselves before they run.

    Parameters
    ----------
    module : Module
        A layer, or a model of layers.
    optimizer : Optimizer or None
        Whose momentum is cleared where a delay was put back.
    """
    for part in module.modules():
        if not isinstance(part, Delayed):
            continue
        for name, (low, high) in part.delay_limits().items():
            if parametrize.is_parametrized(part, name):
                continue
            delay = getattr(part, name)
            outside = (delay < low) | (delay > high)
            if outside.any():
                delay.clamp_(low, high)
                if optimizer is not None:
                    _forget(optimizer.state.get(delay, {}), outside)


def hold_delays(module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Have an optimiser keep the delays of a module between their limits after each step.

    Parameters
    ----------
    module : Module
        A model of layers.
    optimizer : Optimizer
        Of torch.

    Returns
    -------
    handle
        Its ``remove()`` undoes it.
    """
    return optimizer.register_step_post_hook(lambda *_: keep_delays(module, optimizer))


def _forget(state: dict[str, Any], where: Tensor) -> None:
    for name in _MOMENTS:
        moment = state.get(name)
        if torch.is_tensor(moment) and moment.shape == where.shape:
            moment[where] = 0.0

"""How large a step each parameter takes: weights, delays and time constants have units.

Adam moves a parameter by about its learning rate, whatever the size of the gradient. So the
rate of a weight is told as a share of its layer's weights, and that of a delay in seconds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evsim.models import MODELS
from evsim.train_options import USUAL

from ..delays import Delayed, hold_delays, trained_delays
from ..lowbit import DelayGrid, Ternary, Uniform

_LEVELS = 0.1  # step of learnt levels, of that of weights; all weights of a layer move with one


def parameter_groups(
    model: nn.Module,
    lr: float = USUAL.lr,
    delay_lr: float = USUAL.delay_lr,
    time_lr: float = USUAL.time_lr,
) -> list[dict[str, Any]]:
    """Sort the parameters of a model into groups for an optimiser of torch.

    Parameters
    ----------
    model : Module
        Of layers.
    lr : float
        Learning rate of weights, thresholds and all that is not told below, as a share of
        the root mean square that the parameter has now: 0.1 moves weights of about 2 by 0.2.
    delay_lr : float
        Of delays [s], free ones behind a `evsim.gradients.lowbit.DelayGrid` and its lowest
        point included. With the defaults a delay, counted in ms, takes steps 20 times as large
        as a weight, counted in usual weights.
    time_lr : float
        Of time constants and refractory periods, as a share like ``lr``. Learnt levels of
        weights (`evsim.gradients.lowbit`) move by a tenth of ``lr``, as a share of the
        level.

    Returns
    -------
    list of dict
        One per parameter, with ``params``, ``name``, ``lr`` and ``first_lr``, the same.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> layer = g.CubaLIF(3, 2, 20e-3, 5e-3, delay="axonal", learn="tau_mem")
    >>> rates = {group["name"]: round(group["lr"], 9) for group in parameter_groups(layer)}
    >>> list(rates), rates["tau_mem"], rates["delay"]
    (['tau_mem', 'weight', 'delay'], 4e-05, 0.002)
    """
    groups = []
    rules = (rule for model in MODELS.values() for rule in model.parameters.items())
    times = {name for name, rule in rules if rule.is_time}
    free = {id(delay) for _, delay, _ in trained_delays(model)}  # behind a grid, too
    for prefix, module in model.named_modules():
        delays = module.delay_limits() if isinstance(module, Delayed) else {}
        levels = module.slopes() if isinstance(module, (Ternary, Uniform)) else {}
        for name, parameter in module.named_parameters(recurse=False):
            # What another parametrisation trains in place of a delay has no unit.
            if name in delays or id(parameter) in free or isinstance(module, DelayGrid):
                rate = delay_lr
            elif name in levels:
                rate = _LEVELS * lr * levels[name]
            else:
                usual = 1.0  # unless it has values, which on the device "meta" nothing has
                if not parameter.is_meta:
                    usual = float(parameter.detach().double().square().mean().sqrt())
                rate = (time_lr if name in times else lr) * (usual or 1.0)
            full = f"{prefix}.{name}" if prefix else name
            groups.append({"params": [parameter], "name": full, "lr": rate, "first_lr": rate})
    return groups


def adam(
    model: nn.Module,
    lr: float = USUAL.lr,
    delay_lr: float = USUAL.delay_lr,
    time_lr: float = USUAL.time_lr,
) -> torch.optim.Adam:
    """Return the optimiser of ``evsim train``: Adam with a step size for each kind of parameter.

    After each of its steps delays are put back between their limits, and its momentum is
    cleared where one was outside (`evsim.gradients.hold_delays`).

    Parameters
    ----------
    model : Module
        Of layers; first weights must be there, for step sizes are shares of them.
    lr, delay_lr, time_lr : float
        See `parameter_groups`.

    Returns
    -------
    Adam
        With the groups of `parameter_groups`.

    Examples
    --------
    >>> from evsim import gradients as g
    >>> optimizer = adam(g.CubaLIF(3, 2, 20e-3, 5e-3, delay="axonal"))
    >>> [group["name"] for group in optimizer.param_groups]
    ['weight', 'delay']
    """
    optimizer = torch.optim.Adam(parameter_groups(model, lr, delay_lr, time_lr))
    hold_delays(model, optimizer)
    return optimizer

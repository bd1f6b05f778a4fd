"""What a step of dt does to the state of a neuron: closed forms, differentiable in the taus.

The formulas are those of the event engine (`evsim._flows`), so at the ends of a step there
is no error of discretisation, however long it is.
"""

from __future__ import annotations

from math import factorial

import torch
from torch import Tensor

_SERIES = [(-1) ** n / factorial(n + 1) for n in range(7)]  # of (1 - e^-x) / x


def decay(tau: Tensor, dt: float) -> Tensor:
    """Return e^(-dt / tau)."""
    return torch.exp(-dt / tau)


def psp(tau_mem: Tensor, tau_syn: Tensor, dt: float) -> Tensor:
    """Return the voltage a time ``dt`` after a unit step of the current.

    Parameters
    ----------
    tau_mem, tau_syn : tensor
        Time constants [s].
    dt : float
        [s].

    Returns
    -------
    tensor
        In the common shape of the two.

    Notes
    -----
    With a = dt/tau_mem and b = dt/tau_syn it is a e^-a (1 - e^-(b - a))/(b - a), which for
    b = a is a e^-a. The last factor is smooth; near 0, where its two parts cancel, its
    series stands in, so that derivatives keep their digits too.

    Examples
    --------
    >>> tau = torch.tensor(0.01, dtype=torch.float64)
    >>> psp(tau, tau, 0.01)
    tensor(0.3679, dtype=torch.float64)
    """
    a = dt / tau_mem
    # Taken from the difference of the time constants, which is exact where they are close.
    x = dt * ((tau_mem - tau_syn) / (tau_mem * tau_syn))
    near = x.abs() < 0.03
    far = torch.where(near, torch.ones_like(x), x)  # a division by 0 would spoil gradients
    series = torch.zeros_like(x)
    for coefficient in reversed(_SERIES):
        series = series * x + coefficient
    return a * torch.exp(-a) * torch.where(near, series, -torch.expm1(-far) / far)

"""The closed forms of the neurons in torch, differentiable in everything that enters.

The formulas are those of the event engine (`evsim._flows`, `evsim.readouts`), so at the ends of
a step there is no error of discretisation, however long it is. The dense layers and the
differentiable reference both stand on them.
"""

from __future__ import annotations

from math import e, exp, expm1, factorial

import torch
from torch import Tensor

_SERIES = [(-1) ** n / factorial(n + 1) for n in range(7)]  # of (1 - e^-x) / x
_FAR = 500.0  # from here on e^x is about to overflow


def decay(tau: Tensor, s: Tensor | float) -> Tensor:
    """Return e^(-s / tau)."""
    return torch.exp(-s / tau)


def psp(tau_mem: Tensor, tau_syn: Tensor, s: Tensor | float) -> Tensor:
    """Return the voltage a time ``s`` after a unit step of the current.

    Parameters
    ----------
    tau_mem, tau_syn : tensor
        Time constants [s].
    s : tensor or float
        [s].

    Returns
    -------
    tensor
        In the common shape of all.

    Notes
    -----
    With a = s/tau_mem and b = s/tau_syn it is a e^-a (1 - e^-(b - a))/(b - a), which for
    b = a is a e^-a. The last factor is smooth; near 0, where its two parts cancel, its
    series stands in, so that derivatives keep their digits too.

    Examples
    --------
    >>> tau = torch.tensor(0.01, dtype=torch.float64)
    >>> psp(tau, tau, 0.01)
    tensor(0.3679, dtype=torch.float64)
    """
    a = s / tau_mem
    # Taken from the difference of the time constants, which is exact where they are close.
    x = s * ((tau_mem - tau_syn) / (tau_mem * tau_syn))
    near, late = x.abs() < 0.03, x < -_FAR
    usual = torch.where(near | late, torch.ones_like(x), x)  # else it would spoil gradients
    series = torch.zeros_like(x)
    for coefficient in reversed(_SERIES):
        series = series * x + coefficient
    found = a * torch.exp(-a) * torch.where(near, series, -torch.expm1(-usual) / usual)
    slow = torch.where(late, -x, torch.ones_like(x))  # of the current only e^-b is left
    return torch.where(late, a * decay(tau_syn, s) / slow, found)


def alpha(weight: Tensor) -> Tensor:
    """Return the current of an arrival at an `SRM`, whose kernel is to have a peak of 1."""
    return e * weight


def recovery(threshold: Tensor) -> Tensor:
    """Return the current of an own spike of an `SRM`: a kernel with a peak of -2 threshold."""
    return -2 * e * threshold


def integral(
    charge: Tensor, u: Tensor, i: Tensor | None, taus: tuple[Tensor, Tensor | None], weight: Weight
) -> Tensor:
    """Return the integral of the voltage of a readout, by parts from arrivals and final state.

    See `evsim.readouts.readout_values`, of which this is the same formula; ``v_leak`` is left
    out.

    Parameters
    ----------
    charge : tensor
        Sum of what arrived, each times the weight then.
    u, i : tensor
        Voltage and current at the end; no current where arrivals step the voltage.
    taus : pair of tensor
        ``tau_mem`` and ``tau_syn`` [s].
    weight : Weight
        Of times.
    """
    tau_mem, tau_syn = taus
    rate, end = weight.rate, weight.at_end
    if i is None or tau_syn is None:
        return (charge - end * u) / (1 / tau_mem + rate)
    current = tau_syn * (charge - end * i) / (1 + tau_syn * rate)
    return (current - tau_mem * end * u) / (1 + tau_mem * rate)


class Weight:
    """The weight e^(-rate t) of an integral over a recording.

    Parameters
    ----------
    tau_output : float or None
        1 / rate [s]; the weight is 1 if left out.
    duration : float
        Of the recording [s].
    """

    def __init__(self, tau_output: float | None, duration: float) -> None:
        self.rate = 0.0 if tau_output is None else 1 / tau_output
        self.at_end = exp(-self.rate * duration)
        self.total = -expm1(-self.rate * duration) / self.rate if self.rate else duration

    def at(self, times: Tensor) -> Tensor:
        """Return it at some times [s]."""
        return torch.exp(-self.rate * times)

"""The neuron models, one step of dt at a time.

A step flows for dt, then takes what arrives at its end, all together, and then looks at the
threshold: the order of `evsim.reference`. With u = V - v_leak; every unit starts at rest.
An object holds the state of one batch, tensors [batch, unit], and lives for one run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .flows import alpha, decay, psp, recovery
from .surrogates import Surrogate, spike


@dataclass(frozen=True)
class Firing:
    """How units fire, besides the parameters of their model.

    Attributes
    ----------
    surrogate : function
        Derivative of a spike.
    soft : bool
        Whether a spike subtracts ``threshold - reset`` and does not put V to ``reset``.
    detach_reset : bool
        Whether gradients bypass what a spike does to its own unit.
    refire : bool
        Whether every step at or above the threshold is a spike, and not only one that the
        voltage reaches from below, or at which something arrives.
    """

    surrogate: Surrogate
    soft: bool = False
    detach_reset: bool = True
    refire: bool = False

    def spike(self, over: Tensor, may: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes of units that may fire, and the same for their own reset.

        ``over`` is the voltage minus the threshold.
        """
        fired = spike(over, self.surrogate) * may
        return fired, fired.detach() if self.detach_reset else fired


class LICells:
    """Arrivals step the voltage: tau_mem u' = -u.

    Parameters
    ----------
    cells : dict of str to tensor
        Parameters of the model, scalar or [unit].
    dt : float
        Length of a step [s].
    zero : tensor [batch, unit]
        Zeros, in the type of the weights.
    """

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor) -> None:
        self.cells, self.u = cells, zero
        self.set_step(dt)

    def set_step(self, dt: float) -> None:
        """Make the next steps ``dt`` long [s]."""
        self.decay_mem = decay(self.cells["tau_mem"], dt).to(self.u)

    def step(self, arriving: Tensor) -> None:
        """Go on to the next step."""
        self.u = self.u * self.decay_mem + arriving


class CubaLICells:
    """Arrivals step a current: tau_mem u' = -u + i, tau_syn i' = -i.

    The parameters are those of `LICells`.
    """

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor) -> None:
        self.cells, self.u, self.i = cells, zero, zero
        self.set_step(dt)

    def set_step(self, dt: float) -> None:
        """Make the next steps ``dt`` long [s]."""
        taus = self.cells["tau_mem"], self.cells["tau_syn"]
        self.decay_mem, self.decay_syn = (decay(tau, dt).to(self.u) for tau in taus)
        self.gain = psp(*taus, dt).to(self.u)

    def step(self, arriving: Tensor) -> None:
        """Go on to the next step."""
        self.u = self.u * self.decay_mem + self.i * self.gain
        self.i = self.i * self.decay_syn + arriving


class _Resetting:
    """Units that have a reset and a refractory period, in whole steps.

    Parameters
    ----------
    cells, dt, zero
        As for `LICells`.
    firing : Firing
        How they fire.
    """

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor, firing: Firing) -> None:
        self.firing = firing
        self.threshold = (cells["threshold"] - cells["v_leak"]).to(zero)
        self.reset = (cells["reset"] - cells["v_leak"]).to(zero)
        self.refractory = (cells["refractory"].detach() / dt).round().to(zero)
        self.wait = torch.zeros_like(zero)  # steps until released

    def pass_time(self) -> Tensor:
        """Let the refractory periods run; return who was not held during the step."""
        free = self.wait == 0
        self.wait = (self.wait - 1).clamp(min=0)
        return free

    def fire(self, u: Tensor, may: Tensor) -> Tensor:
        """Return the spikes at voltage ``u`` of those that may, and reset them."""
        fired, jump = self.firing.spike(u - self.threshold, may)
        if self.firing.soft:
            self.u = u - jump * (self.threshold - self.reset)
        else:  # exact: one of the two products is 0
            self.u = u * (1 - jump) + self.reset * jump
        self.wait = torch.where(fired > 0, self.refractory, self.wait)
        return fired


class LIFCells(_Resetting):
    """`LICells` that fire.

    As in the engine, arrivals in the refractory period are lost, one at the moment of
    release counts, and a unit that is still above the threshold after a soft reset waits
    for the next arrival. So it must know whether there was one: with a soft reset,
    ``arriving`` is twice as wide, and its second half is positive where something arrived.
    One that fires again by itself, ``firing.refire``, takes ``arriving`` as it is.
    """

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor, firing: Firing) -> None:
        super().__init__(cells, dt, zero, firing)
        self.decay_mem = decay(cells["tau_mem"], dt).to(zero)
        self.u = zero

    @staticmethod
    def lift(cells: dict[str, Tensor], dt: float) -> Tensor | None:
        """Return the voltage that an arrival of 1 at every step holds up; inf without a leak."""
        return -1 / torch.expm1(-dt / cells["tau_mem"].double())

    def step(self, arriving: Tensor) -> Tensor:
        """Go on to the next step; return the spikes."""
        u = torch.where(self.pass_time(), self.u * self.decay_mem, self.u)
        may = self.wait == 0
        if not self.firing.soft or self.firing.refire:
            return self.fire(u + arriving * may, may)
        arriving, touched = arriving.chunk(2, dim=1)
        return self.fire(u + arriving * may, may & (touched > 0))


class CubaLIFCells(_Resetting):
    """`CubaLICells` that fire; while V is held in the refractory period, the current goes on."""

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor, firing: Firing) -> None:
        super().__init__(cells, dt, zero, firing)
        self.flow = CubaLICells(cells, dt, zero)
        self.u = zero

    @staticmethod
    def lift(cells: dict[str, Tensor], dt: float) -> Tensor | None:
        """Return the voltage that an arrival of 1 at every step holds up; inf without a leak."""
        tau_mem, tau_syn = cells["tau_mem"].double(), cells["tau_syn"].double()
        gain = psp(tau_mem, tau_syn, dt)
        return gain / torch.expm1(-dt / tau_mem) / torch.expm1(-dt / tau_syn)

    def step(self, arriving: Tensor) -> Tensor:
        """Go on to the next step; return the spikes."""
        self.flow.u = self.u
        self.flow.step(arriving)
        u = torch.where(self.pass_time(), self.flow.u, self.u)
        return self.fire(u, self.wait == 0)


class SRMCells:
    """Alpha functions for arrivals, (v + i s/tau_syn) e^(-s/tau_syn), and for own spikes.

    A unit fires when u = v + r, which never jumps, comes from below the threshold, or, with
    ``firing.refire``, at every step at which it is not below. The parameters are those of
    `LIFCells`.
    """

    def __init__(self, cells: dict[str, Tensor], dt: float, zero: Tensor, firing: Firing) -> None:
        self.firing = firing
        self.threshold = cells["threshold"].to(zero)
        self.decay_syn, self.decay_r = (decay(cells[n], dt).to(zero) for n in ("tau_syn", "tau_r"))
        self.gain_syn, self.gain_r = (
            psp(cells[n], cells[n], dt).to(zero) for n in ("tau_syn", "tau_r")
        )
        self.u = self.v = self.i = self.r = self.k = zero

    @staticmethod
    def lift(cells: dict[str, Tensor], dt: float) -> Tensor | None:
        """Return None: there is no leak voltage that could stand for what always arrives."""
        return None

    def step(self, arriving: Tensor) -> Tensor:
        """Go on to the next step; return the spikes."""
        may = torch.ones_like(self.u) if self.firing.refire else self.u < self.threshold
        self.v = self.v * self.decay_syn + self.i * self.gain_syn
        self.r = self.r * self.decay_r + self.k * self.gain_r
        self.u = self.v + self.r
        fired, jump = self.firing.spike(self.u - self.threshold, may)
        self.i = self.i * self.decay_syn + alpha(arriving)
        self.k = self.k * self.decay_r + recovery(self.threshold) * jump
        return fired

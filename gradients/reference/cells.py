"""Spiking cells of the differentiable reference: from one step to the next.

A cell is one unit in one recording. At most one spike of a cell per step.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..dense.flows import alpha, recovery
from .crossings import crossings
from .step import Arrivals, Flow, Step


class Cells(Protocol):
    """All units of a layer in all recordings."""

    def step(self, start: float, end: float, arrivals: Arrivals) -> tuple[Tensor, Tensor]:
        """Go on to ``end`` [s]; return the cells that fired, and when [s]."""
        ...


class CubaLIFCells:
    """Cells of `evsim.gradients.CubaLIF`, at rest.

    Parameters
    ----------
    p : dict of Tensor [cell]
        Parameters of the model.
    dt : Tensor []
        Length of a step [s].
    """

    def __init__(self, p: dict[str, Tensor], dt: Tensor) -> None:
        self.flow = Flow(p["tau_mem"], p["tau_syn"])
        self.whole = self.flow.over(dt)
        self.threshold, self.reset = p["threshold"] - p["v_leak"], p["reset"] - p["v_leak"]
        self.refractory = p["refractory"]
        self.u = self.i = torch.zeros_like(self.threshold)
        self.held = torch.zeros_like(self.threshold, dtype=torch.bool)
        self.release = torch.zeros_like(self.threshold)  # of those that are held [s]

    def step(self, start: float, end: float, arrivals: Arrivals) -> tuple[Tensor, Tensor]:
        """Go on to ``end`` [s]; return the cells that fired, and when [s]."""
        step = Step(self.flow, self.whole, self.u, self.i, start, end, arrivals)
        near = torch.nonzero((step.bound() >= self.threshold) & ~self.held)[:, 0]
        fired, times, _ = crossings([step], self.threshold, near)
        if len(fired):
            self.release = self.release.index_put((fired,), times + self.refractory[fired])
            self.held = self.held.index_fill(0, fired, True)
        u, self.i = step.at_end()
        self.u = self._reset(step, u) if self.held.any() else u
        return fired, times

    def _reset(self, step: Step, u: Tensor) -> Tensor:
        """Return u at the end of a step, with cells held at their reset, and released."""
        free = torch.nonzero(self.held & (self.release < step.end))[:, 0]
        self.held = self.held.index_fill(0, free, False)
        u = torch.where(self.held, self.reset, u)
        if len(free) == 0:
            return u
        # ``u`` is as if they had not been held before their release; the rest of the step is
        # linear, so what is missing there decays.
        release = self.release[free]
        missing = self.reset[free] - step.at(free, release)[0]
        u = u.index_add(0, free, missing * self.flow.of(free).over(step.end - release).kept)
        _refuse_second_spike(step, u[free] >= self.threshold[free])
        return u


class SRMCells:
    """Cells of `evsim.gradients.SRM`, at rest.

    An alpha function is the flow with two equal time constants; a spike is an arrival at a
    second one, of recovery.

    Parameters
    ----------
    p : dict of Tensor [cell]
        Parameters of the model.
    dt : Tensor []
        Length of a step [s].
    """

    def __init__(self, p: dict[str, Tensor], dt: Tensor) -> None:
        self.threshold = p["threshold"]
        self.synapse, self.recovery = (Flow(p[tau], p[tau]) for tau in ("tau_syn", "tau_r"))
        self.whole = self.synapse.over(dt), self.recovery.over(dt)
        none = torch.zeros_like(self.threshold)
        self.driven, self.own = (none, none), (none, none)

    def step(self, start: float, end: float, arrivals: Arrivals) -> tuple[Tensor, Tensor]:
        """Go on to ``end`` [s]; return the cells that fired, and when [s]."""
        arrivals = arrivals._replace(weights=alpha(arrivals.weights))
        driven = Step(self.synapse, self.whole[0], *self.driven, start, end, arrivals)
        own = Step(self.recovery, self.whole[1], *self.own, start, end, arrivals.none())
        # Recovery is negative and rises at most to what is kept of it at the end.
        bound = driven.bound() + self.whole[1].kept * self.own[0]
        near = torch.nonzero(bound >= self.threshold)[:, 0]
        fired, times, slopes = crossings([driven, own], self.threshold, near)
        self.driven, (u, i) = driven.at_end(), own.at_end()
        if len(fired):
            drop, flow = recovery(self.threshold[fired]), self.recovery.of(fired)
            du, di = flow.arrived(drop, end - times)
            u, i = u.index_add(0, fired, du), i.index_add(0, fired, di)
            falls = slopes + flow.slope(torch.zeros_like(drop), drop) < 0
            above = (self.driven[0] + u)[fired] >= self.threshold[fired]
            _refuse_second_spike(driven, falls & above)
        self.own = u, i
        return fired, times


def _refuse_second_spike(step: Step, crosses_again: Tensor) -> None:
    if crosses_again.any():
        raise ValueError(
            f"dt = {step.end - step.start:g} s: a unit fires twice between {step.start:g} and "
            f"{step.end:g} s; take a smaller dt"
        )

"""One step of the differentiable reference: linear flow, and arrivals at their true times.

A cell is one unit in one recording; all tensors are flat over cells. Between the ends of a
step everything is closed form and ordinary torch operations, so a voltage has a derivative
with respect to the state, the arrivals' times and weights, the time constants, and the
instant at which it is read.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..dense.flows import decay, psp


class Flow(NamedTuple):
    """The dynamics tau_mem u' = -u + i, tau_syn i' = -i; without tau_syn there is no i.

    Attributes
    ----------
    tau_mem : Tensor [cell]
        [s].
    tau_syn : Tensor [cell] or None
        [s].
    """

    tau_mem: Tensor
    tau_syn: Tensor | None

    def of(self, cells: Tensor) -> Flow:
        """Return the flow of some of the cells."""
        return Flow(self.tau_mem[cells], None if self.tau_syn is None else self.tau_syn[cells])

    def over(self, s: Tensor) -> Passage:
        """Return what ``s`` seconds do."""
        kept = decay(self.tau_mem, s)
        if self.tau_syn is None:
            return Passage(kept, torch.zeros_like(kept), torch.ones_like(kept))
        return Passage(kept, psp(self.tau_mem, self.tau_syn, s), decay(self.tau_syn, s))

    def arrived(self, weight: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return what an arrival has added to u and i ``s`` seconds later."""
        passage = self.over(s)
        if self.tau_syn is None:
            return weight * passage.kept, torch.zeros_like(weight)
        return weight * passage.gained, weight * passage.left

    def slope(self, u: Tensor, i: Tensor) -> Tensor:
        """Return u'."""
        return (i - u) / self.tau_mem

    def bend(self, u: Tensor, i: Tensor) -> Tensor:
        """Return u''."""
        i_slope = torch.zeros_like(i) if self.tau_syn is None else -i / self.tau_syn
        return (i_slope - self.slope(u, i)) / self.tau_mem


class Passage(NamedTuple):
    """What a stretch of time does: u becomes kept u + gained i, and i becomes left i."""

    kept: Tensor
    gained: Tensor
    left: Tensor

    def after(self, u: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and i after it."""
        return self.kept * u + self.gained * i, self.left * i


class Arrivals(NamedTuple):
    """What arrives during a step.

    Attributes
    ----------
    cells : int64 Tensor [arrival]
        Where.
    times : Tensor [arrival]
        When [s].
    weights : Tensor [arrival]
        What is added to i, or to u where there is no i.
    """

    cells: Tensor
    times: Tensor
    weights: Tensor

    def none(self) -> Arrivals:
        """Return none of them."""
        return Arrivals(*(part[:0] for part in self))

    def and_also(self, others: Arrivals) -> Arrivals:
        """Return all of both."""
        return Arrivals(*map(torch.cat, zip(self, others, strict=True)))


class Step(NamedTuple):
    """All cells during one step.

    Attributes
    ----------
    flow : Flow
        Of the cells.
    whole : Passage
        What the whole step does; the same for all steps.
    u, i : Tensor [cell]
        State at the start, before any arrival.
    start, end : float
        [s].
    arrivals : Arrivals
        From start to end.
    """

    flow: Flow
    whole: Passage
    u: Tensor
    i: Tensor
    start: float
    end: float
    arrivals: Arrivals

    def at_end(self) -> tuple[Tensor, Tensor]:
        """Return u and i of all cells at the end."""
        u, i = self.whole.after(self.u, self.i)
        cells, times, weights = self.arrivals
        if len(cells) == 0:
            return u, i
        du, di = self.flow.of(cells).arrived(weights, self.end - times)
        return u.index_add(0, cells, du), i.index_add(0, cells, di)

    @torch.no_grad()
    def bound(self) -> Tensor:
        """Return what u of each cell does not exceed during the step."""
        cells, _, weights = self.arrivals
        gain = torch.zeros_like(self.u).index_add(0, cells, weights.clamp(min=0))
        if self.flow.tau_syn is None:
            return self.u.clamp(min=0) + gain
        # u' <= (top - u) / tau_mem
        top = self.i.clamp(min=0) + gain
        return self.u.maximum(top + (self.u - top) * self.whole.kept)

    def at(self, cells: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and i of ``cells`` [read], each at its own instant; arrivals then included."""
        flow = self.flow.of(cells)
        u, i = flow.over(times - self.start).after(self.u[cells], self.i[cells])
        here = (cells[:, None] == self.arrivals.cells) & (times[:, None] >= self.arrivals.times)
        read, arrival = torch.nonzero(here, as_tuple=True)
        if len(read) == 0:
            return u, i
        passed = times[read] - self.arrivals.times[arrival]
        du, di = self.flow.of(cells[read]).arrived(self.arrivals.weights[arrival], passed)
        return u.index_add(0, read, du), i.index_add(0, read, di)

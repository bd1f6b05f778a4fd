"""Crossings inside a step of the differentiable reference.

For the few cells that can reach the threshold in a step, the step is cut at what arrives
there, so that the voltage is smooth on every piece. The first piece on which it crosses is
taken, the crossing is interpolated by the parabola that fits the voltage at the start of the
piece, and two Newton steps on the voltage itself give the time of the spike. The second is
an ordinary torch operation in the graph: its derivative is that of the implicit function
V(t) = threshold, up to the error that the first one left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .step import Flow, Step


class Voltage(NamedTuple):
    """A voltage at some instants, and the states that it is the sum of.

    Attributes
    ----------
    parts : list of (Flow, Tensor, Tensor)
        Flow, u and i of each.
    threshold : Tensor
        Is taken off.
    """

    parts: list[tuple[Flow, Tensor, Tensor]]
    threshold: Tensor

    @classmethod
    def read(
        cls, steps: Sequence[Step], threshold: Tensor, cells: Tensor, times: Tensor
    ) -> Voltage:
        """Return the voltage of cells, the sum of the u of ``steps``, each at its instant."""
        parts = [(step.flow.of(cells), *step.at(cells, times)) for step in steps]
        return cls(parts, threshold[cells])

    def after(self, s: Tensor) -> Voltage:
        """Return the voltage ``s`` seconds later, if nothing arrives."""
        later = [(flow, *flow.over(s).after(u, i)) for flow, u, i in self.parts]
        return Voltage(later, self.threshold)

    def value(self) -> Tensor:
        """Return the voltage above the threshold."""
        return torch.stack([u for _, u, _ in self.parts]).sum(0) - self.threshold

    def slope(self) -> Tensor:
        """Return its derivative."""
        return torch.stack([flow.slope(u, i) for flow, u, i in self.parts]).sum(0)

    def bend(self) -> Tensor:
        """Return its second derivative."""
        return torch.stack([flow.bend(u, i) for flow, u, i in self.parts]).sum(0)


class Crossings(NamedTuple):
    """The first crossings of cells in a step.

    Attributes
    ----------
    cells : int64 Tensor [spike]
        Which.
    times : Tensor [spike]
        When [s], in the autograd graph.
    slopes : Tensor [spike]
        Of the voltage, just before.
    """

    cells: Tensor
    times: Tensor
    slopes: Tensor


def crossings(steps: Sequence[Step], threshold: Tensor, cells: Tensor) -> Crossings:
    """Return which of some cells cross the threshold in a step for the first time, and when.

    Parameters
    ----------
    steps : sequence of Step
        The same step of all that the voltage is the sum of; the first one has the arrivals.
    threshold : Tensor [cell]
        Of all cells.
    cells : int64 Tensor
        Those that may cross.

    Returns
    -------
    Crossings
        In any order.
    """
    with torch.no_grad():
        fired, times = _interpolated(steps, threshold, cells)
        if len(fired) == 0:
            return Crossings(fired, times, times)
        times, _ = _newton(steps, threshold, fired, times)
    return Crossings(fired, *_newton(steps, threshold, fired, times))


def _newton(
    steps: Sequence[Step], threshold: Tensor, cells: Tensor, times: Tensor
) -> tuple[Tensor, Tensor]:
    """Return better times of crossings, and the slopes at the given ones."""
    now = Voltage.read(steps, threshold, cells, times)
    slopes = now.slope()
    return times - now.value() / slopes, slopes


def _interpolated(steps: Sequence[Step], threshold: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `crossings` does, where parabolas cross."""
    at, times, spans = _pieces(steps[0], cells)
    first = Voltage.read(steps, threshold, at, times)
    below, slope, bend = first.value(), first.slope(), first.bend()
    peaked = (slope > 0) & (bend < 0)
    top = torch.where(peaked, -slope / bend, spans).minimum(spans)
    found = torch.nonzero((below < 0) & (first.after(top).value() >= 0))[:, 0]
    found = found[torch.diff(at[found], prepend=at.new_tensor([-1])) != 0]  # the first of a cell
    gap, slope, bend = -below[found], slope[found], bend[found]
    root = (slope**2 + 2 * bend * gap).clamp(min=0).sqrt()
    return at[found], times[found] + (2 * gap / (slope + root)).minimum(spans[found])


def _pieces(step: Step, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a step at the arrivals of each cell; return the pieces' cells, starts and lengths."""
    which, arrival = torch.nonzero(cells[:, None] == step.arrivals.cells, as_tuple=True)
    at = torch.cat([cells, cells[which]])
    starts = step.u.new_full((len(cells),), step.start)
    times = torch.cat([starts, step.arrivals.times[arrival]])
    order = torch.argsort(times, stable=True)
    order = order[torch.argsort(at[order], stable=True)]
    at, times = at[order], times[order]
    last = torch.diff(at, append=at.new_tensor([-1])) != 0
    return at, times, torch.where(last, step.end, times.roll(-1)) - times

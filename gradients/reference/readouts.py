"""Readouts of the differentiable reference: values of a voltage that was stepped through."""

from __future__ import annotations

import torch
from torch import Tensor

from ..dense.flows import Weight, integral
from ..layers import Readout
from .step import Flow, Step
from .traffic import Grid, Traffic

_ROUNDS = 2  # of Newton's method for the top of a voltage


def observe(layer: Readout, p: dict[str, Tensor], into: Traffic, grid: Grid) -> Tensor:
    """Return the values of a readout.

    Parameters
    ----------
    layer : Readout
        Says which value.
    p : dict of Tensor [cell]
        Its parameters; a cell is a unit in a recording.
    into : Traffic
        Its input.
    grid : Grid
        Steps.

    Returns
    -------
    float64 Tensor
        [cell], or [cell, time] with ``at``.
    """
    flow = Flow(p["tau_mem"], p.get("tau_syn"))
    whole = flow.over(flow.tau_mem.new_tensor(grid.dt))
    u = i = torch.zeros_like(flow.tau_mem)
    steps = []
    for k in range(grid.n_steps):
        steps.append(Step(flow, whole, u, i, *grid.ends(k), into.due(k)))
        u, i = steps[-1].at_end()
    if layer.at is not None:
        samples = [_sample(steps[min(int(t / grid.dt), len(steps) - 1)], t) for t in layer.at]
        return torch.stack(samples, dim=1) + p["v_leak"][:, None]
    if layer.output == "integral":
        weight = Weight(layer.tau_output, grid.duration)
        return _integral(steps, u, i, weight) + p["v_leak"] * weight.total
    return p["v_leak"] + (_highest(steps, u) if layer.output == "max" else u)


def _sample(step: Step, t: float) -> Tensor:
    cells = torch.arange(len(step.u))
    return step.at(cells, step.u.new_full((len(cells),), t))[0]


def _integral(steps: list[Step], u: Tensor, i: Tensor, weight: Weight) -> Tensor:
    """Return the weighted integral of u."""
    flow, charge = steps[0].flow, torch.zeros_like(u)
    for step in steps:
        cells, times, weights = step.arrivals
        charge = charge.index_add(0, cells, weights * weight.at(times))
    return integral(charge, u, i, (flow.tau_mem, flow.tau_syn), weight)


def _highest(steps: list[Step], u: Tensor) -> Tensor:
    """Return the largest u of every cell; ``u`` is that at the end."""
    ends = torch.stack([*(step.u for step in steps), u])
    values, tops = ends.max(0)
    higher = torch.stack([step.bound() for step in steps]) >= values
    found = []
    for cell, top in enumerate(tops.tolist()):
        inside = [_turns(steps[k], cell) for k in torch.nonzero(higher[:, cell])[:, 0].tolist()]
        found.append(torch.cat([ends[top, cell][None], *inside]).max())
    return torch.stack(found)


def _turns(step: Step, cell: int) -> Tensor:
    """Return u of a cell where it may turn: at arrivals, and where its slope is 0."""
    times = step.arrivals.times[step.arrivals.cells == cell]
    if step.flow.tau_syn is not None:
        times = torch.cat([times, _tops(step, cell, times.detach())])
    return step.at(torch.full((len(times),), cell), times)[0]


@torch.no_grad()
def _tops(step: Step, cell: int, arrivals: Tensor) -> Tensor:
    """Return the tops to which Newton's method leads from the start and from each arrival."""
    times = torch.cat([arrivals.new_tensor([step.start]), arrivals])
    cells = torch.full((len(times),), cell)
    flow = step.flow.of(cells)
    for _ in range(_ROUNDS):
        u, i = step.at(cells, times)
        times = times - flow.slope(u, i) / flow.bend(u, i)
        times = times.nan_to_num(step.start).clamp(step.start, step.end)
    return times

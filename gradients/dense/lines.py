"""Values that arrive late, step after step: `Line`, whose cost doesn't grow with the delays.

All that was sent is kept, as the gradient needs it anyway, and what arrives is gathered from it:
a step costs as much as the arrivals of a spike are many. Backwards, the gradient of all that
arrives is kept, and what a spike gains is gathered from that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Line:
    """A delay for each unit, step after step: ``step`` and ``send`` in turns.

    Parameters
    ----------
    first : int64 tensor [unit]
        Steps from a spike to its first arrival.
    shares : tensor [unit, arrival]
        How much arrives there, and at each step after it. What would arrive at once is lost.
    batch, n_steps : int
        Recordings, and steps that a recording has.
    """

    def __init__(self, first: Tensor, shares: Tensor, batch: int, n_steps: int) -> None:
        size, n_arrivals = shares.shape
        wait = first[:, None] + torch.arange(n_arrivals, device=first.device)
        self.shares = torch.where(wait < 1, 0.0, shares)
        unit = torch.arange(size, device=first.device)[:, None]
        self.sent = _Sent(shares.new_zeros(n_steps + 1, size, batch), wait * size, unit)
        self.nothing = self.sending = shares.new_zeros(batch, size)
        self.later = shares.new_zeros(()).expand_as(self.sent.values)
        self.now = -1

    def step(self) -> Tensor:
        """Go on to the next step and return what arrives, [batch, unit]."""
        self.now += 1  # at the first, too, nothing arrives with a gradient: shares always have one
        found: tuple[Tensor, Tensor] = _Arrivals.apply(
            self.sending, self.shares, self.later, self.sent, self.now
        )
        arriving, self.later = found
        self.sending = self.nothing
        return arriving

    def send(self, values: Tensor) -> None:
        """Send values [batch, unit] at this step."""
        self.sending = values


class Held:
    """A `Line` from whose units everything arrives at the next step.

    Parameters
    ----------
    nothing : tensor [batch, unit]
        Zeros.
    """

    def __init__(self, nothing: Tensor) -> None:
        self.nothing = self.sending = nothing

    def step(self) -> Tensor:
        """Go on to the next step and return what arrives, [batch, unit]."""
        arriving, self.sending = self.sending, self.nothing
        return arriving

    def send(self, values: Tensor) -> None:
        """Send values [batch, unit] at this step."""
        self.sending = values


class _Sent(NamedTuple):
    """What was sent, and where it arrives.

    Attributes
    ----------
    values : tensor [step, unit, batch]
        Those of step n at n + 1, zeros before. A unit's batch is a row, for rows are read whole.
    wait : tensor [unit, arrival]
        Rows from a value to its arrivals.
    unit : tensor [unit, 1]
        Rows of the first step.
    """

    values: Tensor
    wait: Tensor
    unit: Tensor

    def sources(self, now: int) -> Tensor:
        """Return the rows of values that arrive at a step; those from before have zeros."""
        return self._rows(self.unit - self.wait, now + 1)

    def targets(self, now: int) -> Tensor:
        """Return the rows, of steps and units, at which the last value sent arrives."""
        return self._rows(self.unit + self.wait, now - 1)

    def _rows(self, rows: Tensor, step: int) -> Tensor:
        n_steps, size, _ = self.values.shape
        return rows.add_(step * size).clamp_(0, n_steps * size - 1)


class _Arrivals(torch.autograd.Function):
    """One step of a line.

    ``later`` has no values. It puts the steps into an order, and its gradient is the gradient of
    all that arrives later, [step, unit, batch], which each step on the way back adds to in place.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, shares: Tensor, later: Tensor, sent: _Sent, now: int
    ) -> tuple[Tensor, Tensor]:
        sent.values[now] = values.T
        ctx.save_for_backward(shares)
        ctx.sent, ctx.now = sent, now
        ctx.set_materialize_grads(False)
        return _summed(sent.values, sent.sources(now), shares), later.detach()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor | None, later: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        (shares,), sent, now = ctx.saved_tensors, ctx.sent, ctx.now
        if later is None:
            later = torch.zeros_like(sent.values)
        if gradient is not None:
            later[now] = gradient.T  # behind the last step there are zeros
        rows = sent.targets(now)
        of_values = of_shares = None
        if ctx.needs_input_grad[1]:
            found = later.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
            of_shares = torch.bmm(found, sent.values[now][..., None])[..., 0]
        if ctx.needs_input_grad[0]:
            of_values = _summed(later, rows, shares)
        return of_values, of_shares, later, None, None


def _summed(values: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Return sums of rows of values [step, unit, batch], times shares, [batch, unit]."""
    table = values.flatten(0, 1)
    return functional.embedding_bag(rows, table, mode="sum", per_sample_weights=shares).T

"""The projection of a population onto itself, step after step.

Delays of units, and those of kernels, which reach the nearest units only, wait in a `Line`: `Loop`.
Those of each synapse need a line of as many steps as the longest has: `Matrix`, or `Ring` where no
gradient is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .delays import InLoops, Steps
from .lines import Held, Line
from .spread import Triangle

Weigh = Callable[[Tensor], Tensor]  # from values at the ends of synapses to others


def loop_of(
    weight: Tensor, axonal: InLoops | None, synaptic: InLoops | None, batch: int, n_steps: int
) -> Loop | Matrix | Ring:
    """Return the projection of a population onto itself, step after step.

    Parameters
    ----------
    weight : tensor [post, pre] or [channel, K, post]
        A matrix; or kernels of K weights, whose unit ``post`` listens to unit
        ``post + k - K // 2``. What they deliver has ``channel`` times as many units as there are.
    axonal, synaptic : Steps, Triangle or None
        Delays [pre], or in a shape that broadcasts with the weights, at least 1; one of them.
    batch, n_steps : int
        Recordings, and their steps.
    """
    if weight.ndim == 3:
        return _band(weight, axonal, synaptic, batch, n_steps)
    if axonal is not None:
        line = _line(axonal, weight.shape[1:], weight.dtype, batch, n_steps)
        return Loop(line, after=lambda late: late @ weight.T)
    assert synaptic is not None
    if _same_for_all(synaptic):  # what arrives at a unit may be summed before it waits
        line = _line(synaptic.of(slice(None), 0), weight.shape[:1], weight.dtype, batch, n_steps)
        return Loop(line, before=lambda fired: fired @ weight.T)
    if not torch.is_grad_enabled() and isinstance(synaptic, Steps):
        return Ring(weight, synaptic, batch)
    return Matrix(weight, synaptic, batch)


def _same_for_all(steps: InLoops) -> bool:
    """Return whether [post, pre] or [post, 1] delays are the same from all sending units."""
    half = steps.half if isinstance(steps, Triangle) else steps.place
    return steps.place.shape[1] == 1 and (half.ndim == 0 or half.shape[-1] == 1)


def _band(
    weight: Tensor, axonal: InLoops | None, synaptic: InLoops | None, batch: int, n_steps: int
) -> Loop:
    reach, size = weight.shape[1:]

    def weighed(values: Tensor) -> Tensor:
        return neighbours(values, reach)[:, None] * weight

    if axonal is not None:
        line = _line(axonal, (size,), weight.dtype, batch, n_steps)
        return Loop(line, after=lambda late: weighed(late).sum(2).flatten(1))
    assert synaptic is not None
    line = _line(synaptic, weight.shape, weight.dtype, batch, n_steps)
    return Loop(
        line,
        before=lambda fired: weighed(fired).flatten(1),
        after=lambda late: late.unflatten(1, weight.shape).sum(2).flatten(1),
    )


def _line(
    steps: InLoops, shape: Sequence[int], dtype: torch.dtype, batch: int, n_steps: int
) -> Line | Held:
    """Return a line of delays that broadcast to a shape, all of them in a row."""
    if isinstance(steps, Steps) and steps.share is None and steps.longest() == 1:
        size = torch.Size(shape).numel()
        return Held(torch.zeros(batch, size, dtype=dtype, device=steps.whole.device))
    first, shares = steps.window(dtype)
    first, shares = first.expand(shape), shares.expand(*shape, -1)
    return Line(first.flatten(), shares.flatten(0, -2), batch, n_steps)


def _as_it_is(values: Tensor) -> Tensor:
    return values


class Loop:
    """A projection whose delays belong to units, or to the few synapses of a kernel.

    Parameters
    ----------
    line : Line or Held
        The delays.
    before, after : callable
        What weights make of spikes [batch, pre] on their way into the line, and of what comes out
        of it, [batch, post] in the end.
    """

    def __init__(
        self, line: Line | Held, before: Weigh = _as_it_is, after: Weigh = _as_it_is
    ) -> None:
        self.line, self.before, self.after = line, before, after

    def step(self) -> Tensor:
        """Go on to the next step and return what arrives there, [batch, post]."""
        return self.after(self.line.step())

    def send(self, fired: Tensor) -> None:
        """Send the spikes [batch, pre] of this step."""
        self.line.send(self.before(fired))


class Matrix:
    """A projection with a delay for each synapse: a line of arrivals, as long as the longest.

    Parameters
    ----------
    weight : tensor [post, pre]
        Weights.
    steps : Steps or Triangle
        Delays [post, pre], at least 1.
    batch : int
        Recordings.
    """

    def __init__(self, weight: Tensor, steps: InLoops, batch: int) -> None:
        taps = steps.taps(steps.longest() + 1, weight.dtype)[..., 1:]  # none arrives at once
        post, pre = weight.shape
        self.into = (weight[..., None] * taps).permute(1, 2, 0).reshape(pre, -1)
        self.line = weight.new_zeros(batch, taps.shape[-1], post)

    def step(self) -> Tensor:
        """Move the line by a step and return what arrives now, [batch, post]."""
        first = self.line[:, 0].clone()  # a view would keep the whole line for the gradient
        self.line = functional.pad(self.line[:, 1:], (0, 0, 0, 1))
        return first

    def send(self, fired: Tensor) -> None:
        """Put the spikes [batch, pre] of this step on the line."""
        self.line = torch.addmm(self.line.flatten(1), fired, self.into).view(self.line.shape)


def neighbours(values: Tensor, reach: int, beyond: float = 0.0) -> Tensor:
    """Return what units see around them, [batch, reach, unit], of values [batch, unit].

    Examples
    --------
    >>> neighbours(torch.tensor([[1.0, 2.0, 3.0]]), 3)
    tensor([[[0., 1., 2.],
             [1., 2., 3.],
             [2., 3., 0.]]])
    """
    half, size = reach // 2, values.shape[1]
    padded = functional.pad(values, (half, half), value=beyond)
    return torch.stack([padded[:, k : k + size] for k in range(reach)], 1)


def diagonals(matrix: Tensor, reach: int) -> Tensor:
    """Return the entries [reach, unit] of a matrix [post, pre] that `neighbours` stand for.

    Examples
    --------
    >>> diagonals(torch.arange(9).view(3, 3), 3)
    tensor([[0, 3, 7],
            [0, 4, 8],
            [1, 5, 8]])
    """
    post = torch.arange(len(matrix), device=matrix.device)
    around = torch.arange(reach, device=matrix.device)[:, None] - reach // 2
    return matrix[post, (post + around).clamp(0, len(matrix) - 1)]  # beyond the ends is nobody


class Ring:
    """The same as `Matrix` where no gradient is wanted: a circular buffer of arrivals.

    A spike costs its own arrivals, and a step without spikes costs nothing.

    Parameters
    ----------
    weight, steps, batch
        As for `Matrix`; no triangles.
    """

    def __init__(self, weight: Tensor, steps: Steps, batch: int) -> None:
        whole = steps.whole.expand_as(weight)
        self.routes = [(whole.T, weight.T)]  # [pre, post]
        if steps.share is not None:
            later = weight * steps.share.to(weight.dtype)
            self.routes = [(whole.T, (weight - later).T), (whole.T + 1, later.T)]
        post = len(weight)
        self.line = weight.new_zeros(batch, steps.longest() + 1, post)
        self.post = torch.arange(post, device=weight.device)
        self.now = 0

    def step(self) -> Tensor:
        """Return what arrives now, [batch, post], and make room for what comes later."""
        slot = self.now % self.line.shape[1]
        first = self.line[:, slot].clone()
        self.line[:, slot] = 0.0
        return first

    def send(self, fired: Tensor) -> None:
        """Put the spikes [batch, pre] of this step on the line, and end the step."""
        recording, unit = fired.nonzero().T
        if len(unit):
            for late, weight in self.routes:
                slot = (self.now + late[unit]) % self.line.shape[1]
                what = fired[recording, unit][:, None] * weight[unit]
                self.line.index_put_((recording[:, None], slot, self.post), what, accumulate=True)
        self.now += 1

"""The projection of a population onto itself, step after step.

A line of as many steps as the longest delay has: `Loop` for any synapses, `Band` for those of a
kernel, which reach the nearest units only; `Ring` where no gradient is wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .delays import OnSteps, Steps
from .spread import Triangle


def loop_of(
    weight: Tensor, axonal: OnSteps | None, synaptic: OnSteps | None, batch: int
) -> Loop | Band | Ring:
    """Return the loop of these weights: of a matrix, or of a kernel if they have three axes."""
    if weight.ndim == 3:
        return Band(weight, axonal, synaptic, batch)
    if not torch.is_grad_enabled():
        if not (isinstance(axonal, Triangle) or isinstance(synaptic, Triangle)):
            return Ring(weight, axonal, synaptic, batch)
    return Loop(weight, axonal, synaptic, batch)


def _taps(axonal: OnSteps | None, synaptic: OnSteps | None, dtype: torch.dtype) -> Tensor:
    """Return the impulse response of delays from the next step on: none arrives at once."""
    steps = axonal if synaptic is None else synaptic
    assert steps is not None
    return steps.taps(steps.longest() + 1, dtype)[..., 1:]


class Loop:
    """The projection of a population onto itself, step after step.

    Its memory is the longest delay times the size, whatever the duration.

    Parameters
    ----------
    weight : tensor [post, pre]
        Weights.
    axonal, synaptic : Steps, Triangle or None
        Delays [pre] or [post, pre] (or [post, 1]), at least 1; one of them.
    batch : int
        Recordings.
    """

    def __init__(
        self, weight: Tensor, axonal: OnSteps | None, synaptic: OnSteps | None, batch: int
    ) -> None:
        taps = _taps(axonal, synaptic, weight.dtype)
        post, pre = weight.shape
        self.length = taps.shape[-1]
        if synaptic is None:  # the line holds spikes, which weights turn into arrivals at its end
            self.into = taps.T.contiguous()
            self.out_of: Tensor | None = weight.T
            self.line = weight.new_zeros(batch, self.length, pre)
        else:  # the line holds arrivals
            self.into = (weight[..., None] * taps).permute(1, 2, 0).reshape(pre, -1)
            self.out_of = None
            self.line = weight.new_zeros(batch, self.length, post)

    def step(self) -> Tensor:
        """Move the line by a step and return what arrives now, [batch, post]."""
        first = self.line[:, 0]
        self.line = functional.pad(self.line[:, 1:], (0, 0, 0, 1))
        return first if self.out_of is None else first @ self.out_of

    def send(self, fired: Tensor) -> None:
        """Put the spikes [batch, pre] of this step on the line."""
        if self.out_of is None:
            self.line = torch.addmm(self.line.flatten(1), fired, self.into).view(self.line.shape)
        else:
            self.line = torch.addcmul(self.line, fired[:, None], self.into)


class Band:
    """The same as `Loop` for a kernel along the units: K weights per unit, never a matrix.

    Parameters
    ----------
    weight : tensor [channel, K, post]
        Weights; unit ``post`` listens to unit ``post + k - K // 2``. What it delivers has
        ``channel`` times as many units as there are.
    axonal, synaptic : Steps, Triangle or None
        Delays [pre], or in a shape that broadcasts with the weights; one of them.
    batch : int
        Recordings.
    """

    def __init__(
        self, weight: Tensor, axonal: OnSteps | None, synaptic: OnSteps | None, batch: int
    ) -> None:
        taps = _taps(axonal, synaptic, weight.dtype)
        n_channels, self.reach, size = weight.shape
        if synaptic is None:
            self.into = taps.T.contiguous()
            self.out_of: Tensor | None = weight
            self.line = weight.new_zeros(batch, taps.shape[-1], size)
        else:
            self.into = weight[..., None] * taps
            self.out_of = None
            self.line = weight.new_zeros(batch, taps.shape[-1], n_channels * size)

    def step(self) -> Tensor:
        """Move the line by a step and return what arrives now, [batch, channel * post]."""
        first = self.line[:, 0]
        self.line = functional.pad(self.line[:, 1:], (0, 0, 0, 1))
        if self.out_of is None:
            return first
        near = neighbours(first, self.reach)
        return torch.einsum("bkj,ckj->bcj", near, self.out_of).flatten(1)

    def send(self, fired: Tensor) -> None:
        """Put the spikes [batch, pre] of this step on the line."""
        if self.out_of is None:
            near = neighbours(fired, self.reach)
            sent = torch.einsum("bkj,ckjl->blcj", near, self.into)
            self.line = self.line + sent.flatten(2)
        else:
            self.line = torch.addcmul(self.line, fired[:, None], self.into)


def neighbours(values: Tensor, reach: int, beyond: float = 0.0) -> Tensor:
    """Return what units see around them, [batch, reach, unit], of values [batch, unit].

    Examples
    --------
    >>> neighbours(torch.tensor([[1.0, 2.0, 3.0]]), 3)
    tensor([[[0., 1., 2.],
             [1., 2., 3.],
             [2., 3., 0.]]])
    """
    half = reach // 2
    return functional.pad(values, (half, half), value=beyond).unfold(1, values.shape[1], 1)


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
    """The same as `Loop` where no gradient is wanted: a circular buffer of arrivals.

    A spike costs its own arrivals, and a step without spikes costs nothing.

    Parameters
    ----------
    weight, axonal, synaptic, batch
        As for `Loop`.
    """

    def __init__(
        self, weight: Tensor, axonal: Steps | None, synaptic: Steps | None, batch: int
    ) -> None:
        steps = axonal if synaptic is None else synaptic
        assert steps is not None
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

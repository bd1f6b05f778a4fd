"""Delays on a grid: rounded to steps, cut to whole ones, or shared between two steps.

`arrivals` is what a projection makes of a whole raster at once. `Loop` is the projection of
a population onto itself: a line of as many steps as the longest delay has.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..delays import nearness

DELAYS = ("round", "interpolate", "floor")
_LONGEST_KERNEL = 400  # steps; a convolution with longer ones is slower than row after row


class Steps(NamedTuple):
    """Delays in steps.

    Attributes
    ----------
    whole : int64 tensor
        Step at which a spike arrives.
    share : tensor or None
        Part of it that arrives one step later; None if all are 0, and have no gradient.
    """

    whole: Tensor
    share: Tensor | None

    def longest(self) -> int:
        """Return the step of the last arrival."""
        return int(self.whole.max()) + (self.share is not None)

    def of(self, *which: int | slice) -> Steps:
        """Return some of them."""
        return Steps(self.whole[which], None if self.share is None else self.share[which])


def in_steps(delay: Tensor, dt: float, delays: str, least: int = 0) -> Steps:
    """Return delays [s] in steps, ``least`` or more.

    Parameters
    ----------
    delay : tensor
        [s].
    dt : float
        Length of a step [s].
    delays : {"round", "interpolate", "floor"}
        Take the nearest step; or share a spike between two by linear interpolation: then
        the shares have a gradient by the delay, which is exact where what arrives is linear;
        or cut what is left of the last whole step, with SLAYER's gradient (which is that of
        shares, taken where they are 0). A delay within one part in 10^9 of a whole number of
        steps, 10^6 if it is not float64, is that number.
    least : int
        The shortest delay [steps].
    """
    if delays == "floor":
        return _cut(delay, dt, least)
    steps = (delay / dt).clamp(min=least)
    if delays == "round":
        return Steps(steps.detach().round().long(), None)
    whole = steps.detach().floor()
    return Steps(whole.long(), steps - whole)


def _cut(delay: Tensor, dt: float, least: int) -> Steps:
    # 5 ms are a little less than 5 steps of 1 ms in float32, whose user meant 5.
    near = nearness(delay.dtype)
    steps = (delay.double() / dt).clamp(min=least)
    nearest = steps.detach().round()
    meant = (steps.detach() - nearest).abs() <= near * nearest
    whole = torch.where(meant, nearest, steps.detach().floor()).long()
    return Steps(whole, steps - steps.detach() if steps.requires_grad else None)


def late(raster: Tensor, steps: Steps) -> Tensor:
    """Return a raster [batch, step, unit], every unit delayed by its own number of steps."""
    batch, n_steps, size = raster.shape
    longest = min(steps.longest(), n_steps)  # what comes later, comes after the end
    before = functional.pad(raster, (0, 0, longest, 0))

    def delayed(by: Tensor) -> Tensor:
        when = torch.arange(n_steps, device=raster.device)[:, None] + longest
        source = when - by.clamp(max=longest)
        return before.gather(1, source.expand(batch, n_steps, size))

    if steps.share is None:
        return delayed(steps.whole)
    share = steps.share.to(raster.dtype)
    return (1 - share) * delayed(steps.whole) + share * delayed(steps.whole + 1)


def kernel(steps: Steps, n_taps: int, dtype: torch.dtype) -> Tensor:
    """Return the impulse response of delays, [..., n_taps].

    Examples
    --------
    >>> kernel(Steps(torch.tensor([1, 0]), torch.tensor([0.25, 0.0])), 3, torch.float32)
    tensor([[0.0000, 0.7500, 0.2500],
            [1.0000, 0.0000, 0.0000]])
    """
    whole = steps.whole[..., None]
    taps = torch.zeros(*steps.whole.shape, n_taps, dtype=dtype, device=whole.device)
    if steps.share is None:
        return taps.scatter(-1, whole, 1.0)
    share = steps.share[..., None].to(dtype)
    return taps.scatter(-1, torch.cat([whole, whole + 1], -1), torch.cat([1 - share, share], -1))


def arrivals(
    raster: Tensor, weight: Tensor, axonal: Steps | None, synaptic: Steps | None
) -> Tensor:
    """Return what a projection delivers at every step.

    Parameters
    ----------
    raster : tensor [batch, step, pre]
        Spikes.
    weight : tensor [post, pre]
        Weights.
    axonal, synaptic : Steps or None
        Delays [pre] and [post, pre], or [post, 1]: the same for all synapses of a unit.

    Returns
    -------
    tensor [batch, step, post]
        Sum of the weights that arrive at each step.
    """
    if axonal is not None:
        raster = late(raster, axonal)
    if synaptic is None:
        return functional.linear(raster, weight)
    if synaptic.whole.shape[1] == 1:  # what arrives at a unit may be summed before it waits
        return late(functional.linear(raster, weight), synaptic.of(slice(None), 0))
    n_taps = synaptic.longest() + 1
    if n_taps > _LONGEST_KERNEL:
        return torch.stack([_row(raster, weight, synaptic, j) for j in range(len(weight))], -1)
    response = weight[..., None] * kernel(synaptic, n_taps, weight.dtype)
    before = functional.pad(raster.transpose(1, 2), (n_taps - 1, 0))
    return functional.conv1d(before, response.flip(-1)).transpose(1, 2)


def _row(raster: Tensor, weight: Tensor, steps: Steps, j: int) -> Tensor:
    """Return what arrives at unit ``j``, [batch, step]: to one unit, any delay is axonal."""
    return late(raster, steps.of(j)) @ weight[j]


class Loop:
    """The projection of a population onto itself, step after step.

    Its memory is the longest delay times the size, whatever the duration.

    Parameters
    ----------
    weight : tensor [post, pre]
        Weights.
    axonal, synaptic : Steps or None
        Delays [pre] or [post, pre] (or [post, 1]), at least 1; one of them.
    batch : int
        Recordings.
    """

    def __init__(
        self, weight: Tensor, axonal: Steps | None, synaptic: Steps | None, batch: int
    ) -> None:
        steps = axonal if synaptic is None else synaptic
        assert steps is not None
        taps = kernel(steps, steps.longest() + 1, weight.dtype)[..., 1:]  # none arrives at once
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

"""Delays on a grid: rounded to steps, cut to whole ones, or shared between two or more steps.

`arrivals` is what a projection makes of a whole raster at once. The projection of a population
onto itself is in `loops`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..delays import nearness
from .bell import Bell
from .spread import Triangle

DELAYS = ("round", "interpolate", "floor", "spread", "gaussian")
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

    @property
    def place(self) -> Tensor:
        """Where a spike arrives [steps], in the shape of the delays."""
        return self.whole

    def longest(self) -> int:
        """Return the step of the last arrival."""
        return int(self.whole.max()) + (self.share is not None)

    def of(self, *which: int | slice | None) -> Steps:
        """Return some of them."""
        return Steps(self.whole[which], None if self.share is None else self.share[which])

    def window(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the first step at which something arrives, and shares from there on [..., k]."""
        if self.share is None:
            return self.whole, torch.ones_like(self.whole, dtype=dtype)[..., None]
        share = self.share.to(dtype)
        return self.whole, torch.stack([1 - share, share], -1)

    def taps(self, n_taps: int, dtype: torch.dtype) -> Tensor:
        """Return the impulse response, [..., n_taps].

        Examples
        --------
        >>> Steps(torch.tensor([1, 0]), torch.tensor([0.25, 0.0])).taps(3, torch.float32)
        tensor([[0.0000, 0.7500, 0.2500],
                [1.0000, 0.0000, 0.0000]])
        """
        whole = self.whole[..., None]
        taps = torch.zeros(*self.whole.shape, n_taps, dtype=dtype, device=whole.device)
        if self.share is None:
            return taps.scatter(-1, whole, 1.0)
        share = self.share[..., None].to(dtype)
        where, what = torch.cat([whole, whole + 1], -1), torch.cat([1 - share, share], -1)
        return taps.scatter(-1, where, what)


InLoops = Steps | Triangle
OnSteps = InLoops | Bell


def in_steps(
    delay: Tensor,
    dt: float,
    delays: str,
    least: int = 0,
    width: Tensor | None = None,
    limit: float = 0.0,
) -> OnSteps:
    """Return delays [s] in steps, ``least`` or more.

    Parameters
    ----------
    delay : tensor
        [s].
    dt : float
        Length of a step [s].
    delays : {"round", "interpolate", "floor", "spread", "gaussian"}
        Take the nearest step; or share a spike between two by linear interpolation: then
        the shares have a gradient by the delay, which is exact where what arrives is linear;
        or cut what is left of the last whole step, with SLAYER's gradient (which is that of
        shares, taken where they are 0). A delay within one part in 10^9 of a whole number of
        steps, 10^6 if it is not float64, is that number. Or share a spike over a triangle,
        or over a bell.
    least : int
        The shortest delay [steps].
    width : tensor or None
        Half-widths of triangles [steps], in a shape that broadcasts with the delays, or the
        standard deviation of bells.
    limit : float
        Longest delay [s], where the kernel of a bell ends.
    """
    if width is not None:
        steps = delay / dt
        if delays == "gaussian":
            return Bell.up_to(limit / dt, steps, width)
        return Triangle.around(steps, width, least)
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


def late(raster: Tensor, steps: OnSteps) -> Tensor:
    """Return a raster [batch, step, unit], every unit delayed by its own number of steps."""
    batch, n_steps, size = raster.shape
    if not isinstance(steps, Steps):
        n_taps = min(steps.longest() + 1, n_steps)
        response = steps.taps(n_taps, raster.dtype).expand(size, n_taps).flip(-1)
        before = functional.pad(raster.transpose(1, 2), (n_taps - 1, 0))
        return functional.conv1d(before, response[:, None], groups=size).transpose(1, 2)
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


def arrivals(
    raster: Tensor, weight: Tensor, axonal: OnSteps | None, synaptic: OnSteps | None
) -> Tensor:
    """Return what a projection delivers at every step.

    Parameters
    ----------
    raster : tensor [batch, step, pre]
        Spikes.
    weight : tensor [post, pre]
        Weights.
    axonal, synaptic : Steps, Triangle, Bell or None
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
    if synaptic.place.shape[1] == 1:  # what arrives at a unit may be summed before it waits
        return late(functional.linear(raster, weight), synaptic.of(slice(None), 0))
    n_taps = synaptic.longest() + 1
    if n_taps > _LONGEST_KERNEL:
        return torch.stack([_row(raster, weight, synaptic, j) for j in range(len(weight))], -1)
    response = weight[..., None] * synaptic.taps(n_taps, weight.dtype)
    before = functional.pad(raster.transpose(1, 2), (n_taps - 1, 0))
    return functional.conv1d(before, response.flip(-1)).transpose(1, 2)


def _row(raster: Tensor, weight: Tensor, steps: OnSteps, j: int) -> Tensor:
    """Return what arrives at unit ``j``, [batch, step]: to one unit, any delay is axonal."""
    return late(raster, steps.of(j)) @ weight[j]

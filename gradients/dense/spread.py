"""Spikes shared over a triangle of steps, so that delays learn from far away.

Of Queant et al., DelRec: a wide triangle gives a weak gradient with a long reach; while it
narrows, delays find their place. See `evsim.gradients.methods.delrec`.
"""

from __future__ import annotations

from math import ceil, inf
from typing import NamedTuple

import torch
from torch import Tensor

from .bell import NARROWEST

WIDE = ("spread", "gaussian")  # ways that have a sigma: a triangle and a `bell`
SIGMA = 10.0  # of a layer that nobody told [steps]


def triangle(centre: Tensor, half: Tensor, n_taps: int) -> Tensor:
    """Return the shares of a spike that arrive 0, 1, 2, ... steps later.

    Parameters
    ----------
    centre : tensor [...]
        Where most arrives [steps].
    half : tensor
        Half-width [steps], 1 or more, in a shape that broadcasts with the centre.
    n_taps : int
        Steps.

    Returns
    -------
    tensor [..., n_taps]
        max(0, half - abs(k - centre)) / half^2 at step k. The sum is 1 but for what lies before
        step 0 or behind the last.

    Examples
    --------
    >>> triangle(torch.tensor([2.0, 0.0]), torch.tensor(2.0), 5)
    tensor([[0.0000, 0.2500, 0.5000, 0.2500, 0.0000],
            [0.5000, 0.2500, 0.0000, 0.0000, 0.0000]])
    """
    steps = torch.arange(n_taps, dtype=centre.dtype, device=centre.device)
    return _shares(steps, centre[..., None], half[..., None])


def _shares(steps: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    return (half - (steps - centre).abs()).clamp(min=0) / half.square()


class Triangle(NamedTuple):
    """Delays as triangles of steps.

    Attributes
    ----------
    place : tensor
        Their centres [steps].
    half : tensor
        Half-widths [steps], in a shape that broadcasts with the centres.
    """

    place: Tensor
    half: Tensor

    @classmethod
    def around(cls, steps: Tensor, half: Tensor, least: int) -> Triangle:
        """Return triangles around delays [steps], none of them shorter than ``least``.

        A delay at the limit keeps its gradient, rounded as it may be: it shall come back.
        """
        short = steps.detach() < least - 1e-6
        return cls(torch.where(short, steps.new_tensor(float(least)), steps), half)

    def longest(self) -> int:
        """Return the step of the last arrival."""
        return ceil(float((self.place + self.half).detach().max())) - 1

    def of(self, *which: int | slice | None) -> Triangle:
        """Return some of them."""
        return Triangle(self.place[which], self.half.expand_as(self.place)[which])

    def window(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the first step at which something arrives, and shares from there on [..., k]."""
        place, half = self.place.detach(), self.half.detach()
        first = (place - half).ceil()
        n_taps = int(((place + half).floor() - first).max()) + 1
        steps = first[..., None] + torch.arange(n_taps, dtype=place.dtype, device=place.device)
        return first.long(), _shares(steps, self.place[..., None], self.half[..., None]).to(dtype)

    def taps(self, n_taps: int, dtype: torch.dtype) -> Tensor:
        """Return the impulse response, [..., n_taps]."""
        return triangle(self.place, self.half, n_taps).to(dtype)


def acting(delays: str, sigma: float, training: bool) -> str:
    """Return how delays are put on the grid now: wide ones are rounded after the training.

    Raises
    ------
    ValueError
        If ``sigma`` is no width.
    """
    if delays not in WIDE:
        return delays
    if not 0 <= sigma < inf:
        raise ValueError(f"sigma = {sigma}, must be finite and >= 0 [steps]")
    if not training:
        return "round"
    return "interpolate" if delays == "spread" and sigma == 0 else delays


def width_of(delays: str, sigma: float) -> float:
    """Return the half-width of a triangle, or the standard deviation of a bell [steps]."""
    return sigma + (NARROWEST if delays == "gaussian" else 1.0)

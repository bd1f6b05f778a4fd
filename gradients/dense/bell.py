"""Spikes shared over a bell of steps, so that delays of what arrives learn from far away.

Of Hammouamri et al., dilated convolutions with learnable spacings: see
`evsim.gradients.methods.dcls`.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

NARROWEST = 0.27  # deviation of a bell whose sigma is 0 [steps]


def bell(centre: Tensor, deviation: Tensor, n_taps: int) -> Tensor:
    """Return the shares of a spike that arrive 0, 1, 2, ... steps later.

    Parameters
    ----------
    centre : tensor [...]
        Where most arrives [steps].
    deviation : tensor
        Standard deviation [steps], above 0, in a shape that broadcasts with the centre.
    n_taps : int
        Steps.

    Returns
    -------
    tensor [..., n_taps]
        exp(-((k - centre) / deviation)^2 / 2) at step k, divided by the sum over all steps.

    Examples
    --------
    >>> bell(torch.tensor([1.0, 0.0]), torch.tensor(1.0), 3)
    tensor([[0.2741, 0.4519, 0.2741],
            [0.5741, 0.3482, 0.0777]])
    """
    centre, deviation = centre[..., None], deviation[..., None]
    steps = torch.arange(n_taps, dtype=centre.dtype, device=centre.device)
    return (((steps - centre) / deviation).square() / -2).softmax(dim=-1)


class Bell(NamedTuple):
    """Delays as bells over a kernel of steps.

    Attributes
    ----------
    place : tensor
        Their centres [steps].
    deviation : tensor []
        Standard deviation of all [steps].
    n_taps : int
        Steps of the kernel, over which shares are normalised.
    """

    place: Tensor
    deviation: Tensor
    n_taps: int

    @classmethod
    def up_to(cls, limit: float, steps: Tensor, deviation: Tensor) -> Bell:
        """Return bells around delays [steps] on a kernel that ends at the limit [steps]."""
        # 70 ms are a little more than 7 steps of 10 ms in floats, whose user meant 7.
        return cls(steps, deviation, ceil(limit * (1 - 1e-6)) + 1)

    def longest(self) -> int:
        """Return the step of the last arrival."""
        return self.n_taps - 1

    def of(self, *which: int | slice) -> Bell:
        """Return some of them."""
        return self._replace(place=self.place[which])

    def taps(self, n_taps: int, dtype: torch.dtype) -> Tensor:
        """Return the first steps of the impulse response, [..., n_taps]."""
        return bell(self.place, self.deviation, self.n_taps)[..., :n_taps].to(dtype)

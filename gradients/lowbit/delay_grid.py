"""Delays on a few values."""

from __future__ import annotations

from math import ceil, inf, log2

import torch
from torch import Tensor, nn

from evsim import Levels
from evsim.bits import FULL
from evsim.quantities import positive

from ..delays import nearness
from ..synapses import SHORTEST_LOOP
from .table import from_table
from .through import through


class DelayGrid(nn.Module):
    """Delays on a grid: low, low + step, low + 2 step, ..., and 0 for what lies below low.

    A delay d is first limited to ``high``; then q = floor((d - low) / step) step + low. dL/dd =
    dL/dq everywhere, so that what was cut can come back; dL/dlow is the sum of dL/dq over d >=
    low. A delay within one part in 10^9 of a grid point (10^6 if it, or a learnt low, is float32)
    is on it.

    Parameters
    ----------
    step : float
        [s], > 0.
    low : float
        Lowest grid point [s], 0 <= low < high.
    high : float
        Longest delay [s]. The layer's own limits don't hold a free delay; this does.
    learn : bool
        Whether ``low`` is trained; it is put back into [0, high) before it is used.
    loop : bool
        For a ``recurrent_delay``: a loop takes time, so what lies below ``low``, which must be
        1e-4 s or more, becomes ``low``.

    Attributes
    ----------
    low : tensor []
        [s]; a parameter if it is learnt.

    Raises
    ------
    ValueError
        If one of them is out of its range.

    Notes
    -----
    Sun et al., Exploiting heterogeneous delays for efficient computation in low-bit neural
    networks; there the offset has no gradient in the published program.

    Examples
    --------
    >>> grid = DelayGrid(4e-3, low=3e-3, high=20e-3)
    >>> (1e3 * grid(torch.tensor([1e-3, 3e-3, 6.9e-3, 7e-3, 16.2e-3, 25e-3]))).round().tolist()
    [0.0, 3.0, 3.0, 7.0, 15.0, 19.0]
    """

    free_is_delay = True  # what is behind it is in seconds, too

    def __init__(
        self,
        step: float,
        low: float = 0.0,
        high: float = inf,
        learn: bool = False,
        loop: bool = False,
    ) -> None:
        super().__init__()
        self.step = positive("step", step, "s")
        self.high = positive("high", high, "s", infinite=True)
        self.loop = bool(loop)
        if not 0 <= low < self.high:
            raise ValueError(f"low = {low}, must be at least 0 and below high = {high:g} [s]")
        if self.loop and low < SHORTEST_LOOP:
            raise ValueError(
                f"low = {low}, must be at least {SHORTEST_LOOP:g} s with loop=True: a loop takes "
                "time"
            )
        self.low: Tensor
        if learn:
            self.low = nn.Parameter(torch.tensor(low))
        else:
            self.register_buffer("low", torch.tensor(low, dtype=torch.float64))

    def forward(self, delay: Tensor) -> Tensor:
        """Return the delays on the grid."""
        self._keep_low()
        low = self.low.double()
        point = self._points(delay.detach())
        below = low.detach() if self.loop else torch.zeros_like(low)
        return through(delay, torch.where(point < 0, below, point * self.step + low))

    def right_inverse(self, delay: Tensor) -> Tensor:
        """Return the free delays of what is assigned: the same."""
        return delay

    @torch.no_grad()
    def _keep_low(self) -> None:
        """Put a learnt lowest point back into its limits."""
        if isinstance(self.low, nn.Parameter) and not self.low.is_meta:
            least = SHORTEST_LOOP if self.loop else 0.0
            if not least <= float(self.low) < self.high:
                most = torch.tensor(self.high, dtype=self.low.dtype)
                below = torch.nextafter(most, torch.zeros_like(most))
                self.low.clamp_(least, float(below))

    def _points(self, delay: Tensor) -> Tensor:
        """Return the number of each delay's grid point, whole, negative below the lowest."""
        near = max(nearness(delay.dtype), nearness(self.low.dtype))
        low = self.low.detach().double()
        d = delay.double().clamp(max=self.high)
        steps = (d - low) / self.step
        nearest = steps.round()
        on = (d - (nearest * self.step + low)).abs() <= near * d.abs()
        return torch.where(on, nearest, steps.floor())

    @torch.no_grad()
    def levels(self, delay: Tensor) -> Levels | None:
        """Return whole numbers that stand for the delays on the grid, to the last bit.

        None if they are too many to list, which is needed of float32 delays, and of a lowest
        point that is not 0 if what lies below becomes 0.
        """
        self._keep_low()
        point, low = self._points(delay), self.low.double()
        bits = max(1, int(self.n_bits(delay.dtype)))
        whole = point.clamp(min=0).long()
        if delay.dtype == torch.float64 and (low == 0 or self.loop):
            return Levels(whole.cpu().numpy(), self.step, low.item(), bits)
        n = 1 + max(int(whole.max()) if whole.numel() else 0, self._last_point(delay.dtype))
        values = torch.arange(n, dtype=torch.float64) * self.step + low
        if not self.loop and low > 0:  # what lies below is 0
            whole = (point + 1).clamp(min=0).long()
            values = torch.cat([torch.zeros(1, dtype=torch.float64), values])
        return from_table(whole, values, delay.dtype, bits)

    def n_values(self, dtype: torch.dtype = torch.float64) -> float:
        """Return how many delays of a type it can give, inf without a longest one."""
        self._keep_low()
        if self.high == inf:
            return inf
        return 1 + self._last_point(dtype) + (self.low.item() > 0 and not self.loop)

    def _last_point(self, dtype: torch.dtype) -> int:
        """Return the number of the grid's last point, if it has an end, else 0."""
        if self.high == inf:
            return 0
        return int(self._points(torch.tensor(self.high, dtype=dtype)))

    def n_bits(self, dtype: torch.dtype = torch.float64) -> float:
        """Return the bits of a delay of a type."""
        n = self.n_values(dtype)
        return FULL if n == inf else ceil(log2(n))

    def extra_repr(self) -> str:
        """Return the grid."""
        low = "" if self.low.is_meta else f", low={self.low.item():g}"
        return f"step={self.step:g}{low}, high={self.high:g}{', loop=True' if self.loop else ''}"

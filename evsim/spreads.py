"""How the delays and weights of a projection are spread, without listing its synapses.

A convolution has many times more synapses than its kernel has entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.projections import Conv, Projection


class Spread(NamedTuple):
    """Values, and how many synapses have each; one if ``counts`` is None."""

    values: FloatArray
    counts: IntArray | None = None

    def scaled(self, factor: float) -> Spread:
        """Return the values in another unit."""
        return Spread(self.values * factor, self.counts)

    def median(self) -> float:
        """Return the median over all synapses."""
        if self.counts is None:
            return float(np.median(self.values))
        order = np.argsort(self.values)
        ends = np.cumsum(self.counts[order])
        middle = np.searchsorted(ends, [(ends[-1] - 1) // 2, ends[-1] // 2], side="right")
        return float(self.values[order][middle].mean())


def spreads(projection: Projection, pre_size: int) -> tuple[Spread, Spread]:
    """Return the total delay [s] and the weight of every synapse."""
    axonal = projection.axonal(pre_size)
    if isinstance(projection, Conv) and (axonal == axonal[:1]).all():
        # Without listing the synapses, which may be many times the kernel.
        counts = np.broadcast_to(projection.repeats, projection.kernel.shape).ravel()
        late = np.zeros(projection.kernel.shape)
        if projection.synaptic is not None:
            late = projection.synaptic
        return Spread(axonal[0] + late.ravel(), counts), Spread(projection.kernel.ravel(), counts)
    synapses = projection.synapses(pre_size)
    return Spread(axonal[synapses.pre] + synapses.delay), Spread(synapses.weight)

"""Errors of voltages on a grid, summed up batch by batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evsim.arrays import FloatArray, IntArray

from .records import VoltageErrors

_SAMPLES = 100  # of a recording


def sampled(n_steps: int) -> IntArray:
    """Return a hundred steps at most, evenly spaced over all.

    Examples
    --------
    >>> sampled(3), len(sampled(1000))
    (array([0, 1, 2]), 100)
    """
    return np.unique(np.linspace(0, n_steps - 1, _SAMPLES).round().astype(np.int64))


class VoltageSums:
    """Absolute errors and voltages of every population, summed over batches."""

    def __init__(self) -> None:
        self._sums: dict[str, FloatArray] = {}
        self._largest: dict[str, float] = {}

    def add(self, grid: Mapping[str, FloatArray], events: Mapping[str, FloatArray]) -> None:
        """Count the voltages [recording, sample, unit] of a batch.

        Parameters
        ----------
        grid, events : mapping of str to float64 array
            By population, of both simulations.
        """
        for name, voltage in grid.items():
            error = np.abs(voltage - events[name])
            sums = np.array([error.sum(), np.abs(events[name]).sum(), error.size])
            self._sums[name] = self._sums.get(name, 0) + sums
            self._largest[name] = max(self._largest.get(name, 0.0), float(error.max()))

    def errors(self, dt: float) -> dict[str, VoltageErrors]:
        """Return what was found at the step ``dt`` [s], by population."""
        return {
            name: VoltageErrors(name, dt, float(error / n), self._largest[name], float(voltage / n))
            for name, (error, voltage, n) in self._sums.items()
        }

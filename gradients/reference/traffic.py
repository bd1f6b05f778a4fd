"""Spikes on their way in the differentiable reference: who gets what in which step.

Times and weights are looked up in the autograd graph when an arrival is due; before that
only its place in the tables is kept.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from evsim.arrays import IntArray

from .step import Arrivals


class Grid(NamedTuple):
    """Equal steps over a recording.

    Attributes
    ----------
    n_steps : int
        How many.
    dt : float
        Their length [s].
    duration : float
        Of the recording [s].
    """

    n_steps: int
    dt: float
    duration: float

    @classmethod
    def over(cls, duration: float, dt: float) -> Grid:
        """Return the fewest steps over ``duration`` that are not longer than ``dt``."""
        n_steps = max(1, ceil(duration / dt * (1 - 1e-12)))
        return cls(n_steps, duration / n_steps, duration)

    def ends(self, k: int) -> tuple[float, float]:
        """Return when step ``k`` starts and ends [s]."""
        return k * self.dt, (k + 1) * self.dt


class Traffic:
    """A projection with its spikes in flight.

    Parameters
    ----------
    weight, delay : Tensor [post, pre]
        Of its synapses; delay in s.
    grid : Grid
        Steps.
    """

    def __init__(self, weight: Tensor, delay: Tensor, grid: Grid) -> None:
        self.weight, self.delay, self.grid = weight, delay, grid
        self._delay = delay.detach().numpy()
        self._times = weight.new_empty(0)  # of all spikes sent so far
        self._units = self._recordings = torch.empty(0, dtype=torch.int64)
        # Step by step, places in a table [spike, post].
        self._due: list[list[IntArray]] = [[] for _ in range(grid.n_steps)]

    def send(self, recordings: Tensor, units: Tensor, times: Tensor, earliest: int = 0) -> None:
        """Put spikes on their way; nothing is due before step ``earliest``."""
        n_post, first = len(self._delay), len(self._times)
        self._times = torch.cat([self._times, times])
        self._units = torch.cat([self._units, units])
        self._recordings = torch.cat([self._recordings, recordings])
        arrive = (times.detach().numpy()[:, None] + self._delay.T[units.numpy()]).ravel()
        places = np.flatnonzero(arrive < self.grid.duration)
        if len(places) == 0:
            return
        steps = (arrive[places] / self.grid.dt).astype(np.int64)
        steps = steps.clip(earliest, self.grid.n_steps - 1)
        order = np.argsort(steps, kind="stable")
        places, steps = places[order] + first * n_post, steps[order]
        borders = np.flatnonzero(np.diff(steps, prepend=-1))
        for k, part in zip(steps[borders], np.split(places, borders[1:]), strict=True):
            self._due[k].append(part)

    def due(self, k: int) -> Arrivals:
        """Return what arrives in step ``k``; ask once."""
        n_post = len(self._delay)
        places = torch.from_numpy(np.concatenate(self._due[k] or [np.empty(0, np.int64)]))
        self._due[k] = []
        spike, post = places // n_post, places % n_post
        pre = self._units[spike]
        times = self._times[spike] + self.delay[post, pre]
        return Arrivals(self._recordings[spike] * n_post + post, times, self.weight[post, pre])

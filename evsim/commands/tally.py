"""Counts over batches: spikes of a population, right answers of a readout."""

from __future__ import annotations

import numpy as np

from evsim.arrays import FloatArray, IntArray
from evsim.spikes import Spikes
from evsim.words import count


class Tally:
    """Counts of a population's spikes, added up batch by batch.

    Attributes
    ----------
    per_unit : int64 array [unit]
        Spikes of every unit in all recordings.
    last_time : float
        Time of the last spike of all [s].
    n_late : int
        Spikes at or after the duration.
    """

    def __init__(self, size: int, duration: float) -> None:
        self.duration = duration
        self.per_unit: IntArray = np.zeros(size, np.int64)
        self.last_time, self.n_late = 0.0, 0
        self._lengths: list[IntArray] = []

    def add(self, spikes: Spikes) -> None:
        """Count one batch."""
        if len(spikes.times) < len(self.per_unit):
            np.add.at(self.per_unit, spikes.units, 1)
        else:
            self.per_unit += np.bincount(spikes.units, minlength=len(self.per_unit))
        self._lengths.append(np.diff(spikes.offsets))
        self.last_time = max(self.last_time, float(spikes.times.max(initial=0.0)))
        self.n_late += int((spikes.times >= self.duration).sum())

    @property
    def per_recording(self) -> IntArray:
        """Spikes of every recording, int64 [recording]."""
        return np.concatenate([np.empty(0, np.int64), *self._lengths])

    @property
    def n_spikes(self) -> int:
        """Spikes in all recordings."""
        return int(self.per_unit.sum())

    @property
    def unit_rates(self) -> FloatArray:
        """Mean rate of every unit over the recordings [Hz]."""
        n_recordings = sum(map(len, self._lengths))
        with np.errstate(over="ignore"):  # a duration may be next to nothing
            return self.per_unit / (max(n_recordings, 1) * self.duration)

    def summary(self) -> str:
        """Return spikes, mean rate and silent units in one line."""
        size = len(self.per_unit)
        with np.errstate(over="ignore"):
            rate = float(self.unit_rates.mean()) if size else 0.0
        silent = int((self.per_unit == 0).sum())
        spikes, units = count(self.n_spikes, "spike"), count(size, "unit")
        return f"{spikes}, {rate:.2f} Hz per unit; {silent:,} of {units} silent"


class Answers:
    """How often the largest value of a recording stands at the label, batch by batch.

    Parameters
    ----------
    of : str
        What is largest, if it is not the value of a readout.
    """

    def __init__(self, of: str = "") -> None:
        self.of = of
        self.right = self.total = 0

    def add(self, output: FloatArray | IntArray, labels: IntArray) -> None:
        """Count one batch: values or counts [recording, unit] and labels [recording]."""
        self.right += int((output.argmax(axis=1) == labels).sum())
        self.total += len(labels)

    def summary(self) -> str:
        """Return the accuracy in words."""
        accuracy = f"accuracy {self.right / max(self.total, 1):.1%}"
        return f"{accuracy} ({self.right} of {self.total}){f' by {self.of}' if self.of else ''}"

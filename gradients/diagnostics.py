"""What to look at when training stalls: slopes, grazing spikes, silent and saturated units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.arrays import IntArray

from .reverse import Run

GRAZING = 0.05  # of the slope of a spike whose current is twice the threshold
SATURATED = 200.0  # rate of a unit that does little else than fire [Hz]


@dataclass(frozen=True)
class Diagnostics:
    """How a layer fired on one batch.

    The gradient of a spike is divided by the slope of the voltage at the threshold; it is
    large where the voltage only just reaches it (grazing), and there is none where it does
    not (silent units).

    Attributes
    ----------
    smallest_slope : float
        Of the voltage at the spikes [1/s]; inf without any, NaN on a grid, which has no slopes,
        and after an online rule, which doesn't keep them.
    n_spikes, n_grazing : int
        Spikes; those with a slope below 5 % of threshold / tau_mem (tau_syn for `SRM`).
    silent : int
        Units that never fired in the batch.
    silent_share : float
        Of all units in all recordings, those without a spike.
    saturated : int
        Units above 200 Hz on average.
    rate : float
        Mean rate of a unit [Hz].
    """

    smallest_slope: float
    n_spikes: int
    n_grazing: int
    silent: int
    silent_share: float
    saturated: int
    rate: float

    @classmethod
    def of(cls, run: Run) -> Diagnostics:
        """Return the diagnostics of a run."""
        (population,) = (p for p in run.net.populations.values() if p.model != "Input")
        p, spikes = population.parameters, run.spikes
        tau = p["tau_mem"] if "tau_mem" in p else p["tau_syn"]
        slopes = run.records[0]  # per unit of time of the run, as is `usual`
        usual = (p["threshold"] - p.get("v_leak", np.zeros(population.size))) / tau
        counts = spikes.counts()
        return cls(
            float(slopes.min(initial=np.inf)) / run.unit,
            len(slopes),
            int((slopes < GRAZING * usual[spikes.units]).sum()),
            **_rates(counts, max(len(spikes), 1) * spikes.duration * run.unit),
        )

    @classmethod
    def of_counts(cls, counts: IntArray, duration: float) -> Diagnostics:
        """Return the diagnostics of a layer on a grid, or of one that a rule has played.

        Parameters
        ----------
        counts : int array [recording, unit]
            Spikes.
        duration : float
            Of a recording [s].
        """
        rates = _rates(counts, max(len(counts), 1) * duration)
        return cls(float("nan"), int(counts.sum()), 0, **rates)

    def __str__(self) -> str:
        """Return one line."""
        told = f"{self.rate:.1f} Hz per unit, "
        told += f"{self.silent} silent and {self.saturated} saturated units"
        if np.isnan(self.smallest_slope):
            return told
        return (
            f"{told}, {self.n_grazing} of {self.n_spikes} spikes grazing, smallest slope "
            f"{self.smallest_slope:.3g} /s"
        )


def _rates(counts: IntArray, seconds: float) -> dict[str, Any]:
    """Return what counts [recording, unit] tell; ``seconds`` are those of all recordings."""
    rates = counts.sum(axis=0) / seconds
    return {
        "silent": int((rates == 0).sum()),
        "silent_share": float((counts == 0).mean()) if counts.size else 0.0,
        "saturated": int((rates > SATURATED).sum()),
        "rate": float(rates.mean()) if len(rates) else 0.0,
    }

"""Dense, time-stepped twins of the readouts of `evsim.gradients`.

They take a raster and return a value per recording, or their voltage at every step. Last
voltages and integrals are exact for what the raster holds; a maximum is that over all steps.
"""

from __future__ import annotations

from math import exp, expm1
from typing import Any

import torch
from torch import Tensor

from .. import layers as events
from .cells import CubaLICells, LICells
from .on_grid import OnGrid


class _Reads(OnGrid, events.Readout):
    """What the readouts have in common."""

    cells_of_model: type[LICells] | type[CubaLICells]

    def forward(self, raster: Tensor) -> Tensor:  # type: ignore[override]
        """Return the output of the readout.

        Parameters
        ----------
        raster : tensor [batch, step, in]
            Spikes.

        Returns
        -------
        tensor
            [batch, out], or voltages [batch, time, out] with ``at``, times rounded to steps.

        Raises
        ------
        ValueError
            If the raster's shape does not fit, a sample time is outside the recording, or a
            parameter is not legal.
        """
        arriving, voltages, units = self._run(raster)
        leak = self.cell("v_leak")
        if self.at is not None:
            return voltages[:, self._samples(raster.shape[1])] + leak
        if self.output == "max":
            return voltages.max(dim=1).values.clamp(min=0) + leak  # it starts at 0
        if self.output == "last":
            return voltages[:, -1] + leak
        return self._integral(arriving, voltages[:, -1], units)

    def voltage(self, raster: Tensor) -> Tensor:
        """Return the voltage [batch, step, out], after all that arrives at each step."""
        return self._run(raster)[1][:, :-1] + self.cell("v_leak")

    def population(self) -> dict[str, Any]:
        """Return what an `evsim.Population` of the layer's units is built with."""
        return {**super().population(), "output": self.output, "tau_output": self.tau_output}

    def _run(self, raster: Tensor) -> tuple[Tensor, Tensor, LICells | CubaLICells]:
        """Return arrivals, voltages above v_leak at all steps and at the end, and the units."""
        raster, found = self.checked(raster)
        cells: dict[str, Any] = {name: found[name] for name in self.cells}
        nothing = self.weight.new_zeros(len(raster), self.out_features)
        units = self.cells_of_model(cells, self.dt, nothing)
        arriving = self.arrivals(raster, found)
        voltages = []
        for now in (*arriving.unbind(1), nothing):
            units.step(now)
            voltages.append(units.u)
        return arriving, torch.stack(voltages, 1), units

    def _samples(self, n_steps: int) -> Tensor:
        """Return the steps of the sample times."""
        at = torch.from_numpy(self.at)
        steps = (at / self.dt).round().long()
        outside = (steps < 0) | (steps > n_steps)
        if outside.any():
            raise ValueError(
                f"at: {at[outside][0]:g} s is outside the recording, 0 to {n_steps * self.dt:g} s"
            )
        return steps.to(self.weight.device)

    def _integral(self, arriving: Tensor, u: Tensor, units: LICells | CubaLICells) -> Tensor:
        """Return the integral of the voltage, by parts from arrivals and the final state.

        See `evsim.readouts.readout_values`, of which this is the same formula.
        """
        n_steps = arriving.shape[1]
        rate = 0.0 if self.tau_output is None else 1 / self.tau_output
        duration = n_steps * self.dt
        at_step = torch.arange(n_steps, dtype=torch.float64) * self.dt
        weighted = (arriving * torch.exp(-rate * at_step).to(arriving)[:, None]).sum(dim=1)
        end = exp(-rate * duration)
        tau_mem = self.cell("tau_mem")
        if isinstance(units, CubaLICells):
            tau_syn = self.cell("tau_syn")
            current = tau_syn * (weighted - end * units.i) / (1 + tau_syn * rate)
            integral = (current - tau_mem * end * u) / (1 + tau_mem * rate)
        else:
            integral = (weighted - end * u) / (1 / tau_mem + rate)
        span = duration if rate == 0 else -expm1(-rate * duration) / rate
        return integral + self.cell("v_leak") * span


class CubaLI(_Reads, events.CubaLI):
    """Readout neurons with a synaptic current: `CubaLIF` without a threshold.

    Parameters
    ----------
    in_features, out_features, ...
        As for `evsim.gradients.CubaLI`. The largest voltage is that at a step.
    dt, delays
        As for `Delay`.
    """

    cells_of_model = CubaLICells


class LI(_Reads, events.LI):
    """Readout neurons whose voltage an arrival steps.

    Parameters
    ----------
    in_features, out_features, ...
        As for `evsim.gradients.LI`.
    dt, delays
        As for `Delay`.
    """

    cells_of_model = LICells

"""Dense, time-stepped twins of the readouts of `evsim.gradients`.

They take a raster and return a value per recording, or their voltage at every step. Last
voltages and integrals are exact for what the raster holds; a maximum is that over all steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import layers as events
from .cells import CubaLICells, LICells
from .flows import Weight, integral
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
        return self._output(*self._stepped(raster, None))

    def voltage(self, raster: Tensor) -> Tensor:
        """Return the voltage [batch, step, out], after all that arrives at each step."""
        return self._stepped(raster, None)[1][:, :-1] + self.cell("v_leak")

    def run(self, raster: Tensor, duration: float | None = None) -> tuple[Tensor, Tensor]:
        """Return the output and the voltages of the readout.

        Parameters
        ----------
        raster : tensor [batch, step, in]
            Spikes.
        duration : float or None
            Of the recording [s], that of the raster if left out; what is behind the raster, in
            which nothing arrives, is passed in a single step.

        Returns
        -------
        output : tensor
            As of the layer.
        voltages : tensor [batch, step, out]
            After all that arrives at each step.
        """
        arriving, u, units, duration = self._stepped(raster, duration)
        output = self._output(arriving, u, units, duration)
        return output, u[:, :-1] + self.cell("v_leak")

    def _stepped(
        self, raster: Tensor, duration: float | None
    ) -> tuple[Tensor, Tensor, LICells | CubaLICells, float]:
        """Return arrivals, voltages above v_leak at all steps and at the end, units, and the end.

        The end is ``duration`` or, if left out, the step after the last one.
        """
        raster, found = self.checked(raster)
        cells: dict[str, Any] = {name: found[name] for name in self.cells}
        nothing = self.weight.new_zeros(len(raster), self.out_features)
        units = self.cells_of_model(cells, self.dt, nothing)
        arriving = self.arrivals(raster, found)
        voltages = []
        for now in arriving.unbind(1):
            units.step(now)
            voltages.append(units.u)
        n_steps = len(voltages)
        if duration is None:
            duration = n_steps * self.dt
        else:
            units.set_step(duration - (n_steps - 1) * self.dt)
        units.step(nothing)
        return arriving, torch.stack([*voltages, units.u], 1), units, duration

    def population(self) -> dict[str, Any]:
        """Return what an `evsim.Population` of the layer's units is built with."""
        return {**super().population(), "output": self.output, "tau_output": self.tau_output}

    def _output(
        self, arriving: Tensor, u: Tensor, units: LICells | CubaLICells, duration: float
    ) -> Tensor:
        """Return the output from voltages above v_leak at all steps and at the end."""
        leak = self.cell("v_leak")
        if self.at is not None:
            return u[:, self._samples(arriving.shape[1])] + leak
        if self.output == "max":
            return u.max(dim=1).values.clamp(min=0) + leak  # it starts at 0
        if self.output == "last":
            return u[:, -1] + leak
        return self._integral(arriving, units, duration)

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

    def _integral(self, arriving: Tensor, units: LICells | CubaLICells, duration: float) -> Tensor:
        """Return the integral of the voltage from arrivals and the final state."""
        weight = Weight(self.tau_output, duration)
        at_step = torch.arange(arriving.shape[1], dtype=torch.float64) * self.dt
        charge = (arriving * weight.at(at_step).to(arriving)[:, None]).sum(dim=1)
        i, tau_syn = None, None
        if isinstance(units, CubaLICells):
            i, tau_syn = units.i, self.cell("tau_syn")
        found = integral(charge, units.u, i, (self.cell("tau_mem"), tau_syn), weight)
        return found + self.cell("v_leak") * weight.total


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
